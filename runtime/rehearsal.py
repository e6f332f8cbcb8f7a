"""Rehearsing: what would a message do? In this process's code, or else in the owner's.

The handler runs in a turn that nothing stages, in a context that writes to no store; see stage.py.
What a handler does outside the store happens.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.turn import current
from ..errors import CallboardError, ConfigError
from ..persistence import sqlite_past
from ..persistence.seal import sealed
from .records import Simulation
from .stage import Stage

if TYPE_CHECKING:
    from ..clock import Clock
    from ..persistence.sqlite import SqliteStore
    from ..persistence.store import Message
    from .host import Host
    from .registry import Registry
    from .sender import Sender

#: The longest that a simulated turn may take, in seconds.
LONGEST = 3600.0


class Rehearsal:
    """Finds who has the code of a mailbox, and has its handler run there.

    Args:
        home: the runtime.
        store: read.
        registry: has this process's code.
        sender: builds the message.
        host: says in which role this process is, and reaches the owner.
        clock: reads time.

    """

    def __init__(  # noqa: PLR0917  (built by one caller)
        self, home: object, store: SqliteStore, registry: Registry, sender: Sender, host: Host,
        clock: Clock,
    ) -> None:  # fmt: skip
        """Run nothing yet."""
        self._home = home
        self._store = store
        self._registry = registry
        self._sender = sender
        self._host = host
        self._clock = clock

    def simulate(
        self, mailbox: Any, value: Any, key: str | int | None, timeout: float
    ) -> Simulation:
        """See Runtime.simulate."""
        seconds = self._ready(timeout)
        with sealed():  # a mailbox that the store does not know is not declared by a look
            name = self._registry.name_of(mailbox)
            message = self._sender.message(name, value, key)
        return self._run(name, message, seconds)

    def replay(self, number: int, timeout: float) -> Simulation:
        """See Runtime.replay."""
        seconds = self._ready(timeout)
        found = sqlite_past.again(self._store.query, number)
        if found is None:
            msg = f"no message {number} waits, is kept or is dead: there is nothing to replay"
            raise LookupError(msg)
        name = next(row.name for row in self._store.mailboxes() if row.id == found.mailbox)
        return self._run(name, found, seconds)

    # --- inside ------------------------------------------------------------------------------

    def _ready(self, timeout: float) -> float:
        if current(self._home) is not None:
            raise CallboardError("a turn is simulated outside the handlers of its own Runtime")
        self._store.open()
        return duration(timeout)

    def _run(self, name: str, message: Message, seconds: float) -> Simulation:
        spec, engine = self._registry.specs.get(name), self._host.engine
        if spec is not None:
            loop = None if engine is None else engine.environment.loop
            return Stage(self._home, self._store, self._clock, loop).run(spec, message, seconds)
        if engine is not None or not self._host.owned():
            msg = (
                f"no code of mailbox {name!r} is here, and no owner runs that has it: name the "
                "Runtime that declares it, callboard -a MODULE:ATTR simulate ..."
            )
            raise LookupError(msg)
        answer = self._host.line.rehearse(name, message, seconds)
        return msgspec.json.decode(answer, type=Simulation)


def duration(timeout: float) -> float:
    """Return the seconds that a handler is given.

    Raises:
        ConfigError: they are none, or too many.

    """
    if not isinstance(timeout, (int, float)) or isinstance(timeout, bool) or math.isnan(timeout):
        msg = f"timeout must be a number of seconds, got {timeout!r}"
        raise ConfigError(msg)
    if not 0 < timeout <= LONGEST:
        msg = f"timeout must be over 0 and at most {LONGEST:g} seconds, got {timeout!r}"
        raise ConfigError(msg)
    return float(timeout)
