"""Repairs as users ask for them: done at once by the owner, by a note of a client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.turn import current
from ..errors import CallboardError, ConfigError, MessageError
from ..persistence import seal
from ..persistence.store import Note, State, Unit
from .names import check_key
from .supervisor_ref import SupervisorRef

if TYPE_CHECKING:
    from ..persistence.store import MailboxRow
    from .host import Host
    from .registry import Registry


class Repairs:
    """Starts actors anew and writes their state.

    Args:
        home: the runtime.
        host: with the living parts, if it is the owner's.
        registry: what is declared.

    """

    def __init__(self, home: object, host: Host, registry: Registry) -> None:
        """Do nothing yet."""
        self._home = home
        self._host = host
        self._registry = registry

    def restart(self, actor: Any, key: str | int | None) -> None:
        """See Runtime.restart."""
        self._outside("restart")
        check_key(key)
        if isinstance(actor, SupervisorRef):
            if key is not None:
                msg = f"supervisor {actor.name!r} has no keys: restart it without key="
                raise ConfigError(msg)
            self._wish({"actor": actor.name, "supervisor": True})
            return
        row = self._row(actor)
        if key is not None and not row.declaration.keyed:
            msg = f"mailbox {row.name!r} is not keyed: restart it without key="
            raise MessageError(msg)
        self._wish({"actor": row.name, "key": None if key is None else str(key)})

    def trigger(self, schedule: str) -> None:
        """See Runtime.trigger."""
        self._outside("trigger")
        self._wish({"actor": schedule, "tick": True})

    def set_state(self, mailbox: Any, state: Any, key: str | int | None) -> None:
        """See Runtime.set_state."""
        self._outside("set_state")
        row = self._actor(mailbox, key)
        spec = self._registry.specs.get(row.name)
        codec = spec.behaviour.state if spec is not None else None
        if codec is None:
            msg = (
                f"mailbox {row.name!r} has no state that this process declares: import the module "
                "that declares its worker, or use reset_state()"
            )
            raise MessageError(msg)
        name = "" if key is None else str(key)
        written = State(row.id, name, codec.kind, codec.version, codec.encode(state))
        codec.decode(written)  # what a worker could not load is refused here
        self._edit(row, key, written)

    def reset_state(self, mailbox: Any, key: str | int | None) -> None:
        """See Runtime.reset_state."""
        self._outside("reset_state")
        self._edit(self._actor(mailbox, key), key, None)

    # --- inside ------------------------------------------------------------------------------

    def _edit(self, row: MailboxRow, key: str | int | None, state: State | None) -> None:
        told = None if state is None else (state.kind, state.version, state.body.decode())
        self._wish({"actor": row.name, "edit": True, "number": row.id, "state": told,
                    "key": None if key is None else str(key)})  # fmt: skip

    def _wish(self, wish: dict[str, Any]) -> None:
        """Have the owner do it.

        A client writes no state by itself: the owner's actor may have it in memory, and turns of it
        would write over it. The note is struck off in the transaction that does what it asks for.
        """
        seal.check()  # a living part that is to do it writes nothing first
        engine = self._host.engine
        if engine is not None:
            from .repairing import Wish  # an owner's: a client does not load the living parts

            engine.repairing.do(msgspec.convert(wish, Wish))
            engine.environment.driver.drain()
            return
        body = msgspec.json.encode(wish).decode()
        self._host.committer.commit(Unit(ops=[Note(body)]))

    def _row(self, mailbox: Any) -> MailboxRow:
        return self._registry.row(self._registry.name_of(mailbox))

    def _actor(self, mailbox: Any, key: str | int | None) -> MailboxRow:
        check_key(key)
        row = self._row(mailbox)
        if row.declaration.keyed != (key is not None):
            say = "is keyed: say whose state with key=..." if key is None else "is not keyed"
            msg = f"mailbox {row.name!r} {say}"
            raise MessageError(msg)
        return row

    def _outside(self, verb: str) -> None:
        if current(self._home) is not None:
            msg = f"{verb}() inside a handler: a repair does not join a turn; do it from outside"
            raise CallboardError(msg)
