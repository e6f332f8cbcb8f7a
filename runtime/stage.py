"""Where handlers are rehearsed: a turn's surroundings that keep nothing of what it does.

Each rehearsal has a thread, a context and a turn of its own; the context carries a seal, so that
nothing that is called in it writes to the store, while everybody else goes on.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, cast

from ..actors.turn import Turn
from ..clock import monotonic
from ..errors import CallboardError
from ..events import Events
from ..persistence.seal import sealed
from .play import Play

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.aio import Loop
    from ..actors.environment import Environment
    from ..actors.mail import MailboxSpec
    from ..clock import Clock
    from ..persistence.store import Message, Store, Unit
    from .records import Simulation

#: Rehearsals for other processes that may run at once; one that does not end is among them.
MOST = 8


class Stage:
    """Stands in for the environment of an owner's actors.

    Args:
        home: the runtime, by which turns know whose they are.
        store: read.
        clock: reads time.
        loop: where the owner's coroutines run; None: nothing of this process is owned.

    """

    def __init__(self, home: object, store: Store, clock: Clock, loop: Loop | None = None) -> None:
        """Run nothing yet."""
        self.home = home
        self.store = store
        self.clock = clock
        self.events = Events(clock.now)  # nobody hears of the progress that is told here
        self.committer = self.driver = self
        self._loop = loop
        self._lock = threading.Lock()
        self._running = 0

    def stage(self, unit: Unit) -> None:
        """Keep nothing: what a turn writes beside itself, its progress, is not written either."""

    def seconds(self) -> float:
        """Return real seconds, as a driver does."""
        return monotonic()

    def run(
        self, spec: MailboxSpec, message: Message, seconds: float,
        ended: Callable[[], None] = lambda: None,
    ) -> Simulation:  # fmt: skip
        """Run the handler for a message, and say what it would have done. Blocks.

        Args:
            spec: of its mailbox.
            message: that it gets.
            seconds: for the handler; one that runs on is left, and whatever it does is refused.
            ended: called when the handler has ended, which may be long after this.

        Raises:
            CallboardError: the machine gives no thread.

        """
        turn = Turn(
            cast("Environment", self), spec.name, message, self.clock.now(), threading.Lock()
        )
        play = Play(spec, turn, self.store, self._loop, seconds)

        def perform() -> None:
            try:
                play.run()
            finally:
                ended()

        with sealed():
            context = copy_context()
        begun = monotonic()
        thread = threading.Thread(
            target=context.run, args=(perform,), name="callboard-simulation", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            ended()
            msg = f"no turn can be simulated: {error}"
            raise CallboardError(msg) from error
        thread.join(seconds)
        if thread.is_alive() and turn.abandon():
            play.error = TimeoutError(f"the handler did not end in {seconds:g} s")
        took = monotonic() - begun
        return play.found(took, {row.id: row.name for row in self.store.mailboxes()})

    def begin(
        self, spec: MailboxSpec, message: Message, seconds: float,
        deliver: Callable[[Simulation | None, BaseException | None], None],
    ) -> None:  # fmt: skip
        """Do what :meth:`run` does on a thread of its own; ``deliver`` is called there.

        Raises:
            CallboardError: too many run, or the machine gives no thread.

        """
        with self._lock:
            if self._running >= MOST:
                msg = f"{MOST} simulated turns still run in the owner: try again when one has ended"
                raise CallboardError(msg)
            self._running += 1

        def perform() -> None:
            try:
                found = self.run(spec, message, seconds, self._ended)
            except BaseException as error:  # noqa: BLE001  (it is the asker's)
                deliver(None, error)
            else:
                deliver(found, None)

        thread = threading.Thread(target=perform, name="callboard-rehearsal", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self._ended()
            msg = f"no turn can be simulated: {error}"
            raise CallboardError(msg) from error

    def _ended(self) -> None:
        with self._lock:
            self._running -= 1
