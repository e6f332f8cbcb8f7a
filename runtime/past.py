"""Looking back: what caused a message, what an actor has handled, who changed what by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..clock import instant, micros
from ..errors import ConfigError, MessageError
from ..persistence import sqlite_past
from .looking import MOST
from .names import check_target

if TYPE_CHECKING:
    from datetime import datetime

    from ..clock import Clock
    from ..persistence.sqlite import SqliteStore
    from ..persistence.store import By
    from .looking import Looking
    from .records import AuditInfo, CauseInfo, MessageInfo

# A chain longer than this is a conversation that two actors have had for days.
_LONGEST = 1000


class StateAt(NamedTuple):
    """The state that an actor had, since when, and what had made it so.

    Attributes:
        state: as Runtime.state returns it.
        at: since when, UTC.
        by: a turn of a message or of an ask, or somebody by hand.
        message: number of that message, which may be kept no longer.

    """

    state: Any
    at: datetime
    by: By
    message: int | None


class Past:
    """Reads what the store keeps of what has happened.

    Args:
        store: read through its own connections.
        looking: shows messages.
        clock: says what is past.

    """

    def __init__(self, store: SqliteStore, looking: Looking, clock: Clock) -> None:
        """Open nothing."""
        self._store = store
        self._looking = looking
        self._clock = clock

    def why(self, number: int) -> list[CauseInfo]:
        """See Runtime.why."""
        check_target(number)
        from .records import CauseInfo

        names = {row.id: row.name for row in self._store.mailboxes()}
        found: list[CauseInfo] = []
        at: int | None = number
        sender: str | None = None
        while at is not None and len(found) < _LONGEST:
            link = sqlite_past.link(self._store.query, at)
            if link is None:
                if not found:
                    msg = f"no message {number} waits, is kept or is dead: its cause is not known"
                    raise LookupError(msg)
                found.append(CauseInfo(at, sender or "?", None, None, "lost", None))
                break
            found.append(CauseInfo(
                link.number, names.get(link.mailbox, "?"), link.key, link.kind, link.state,
                instant(link.told_at),
            ))  # fmt: skip
            at, sender = link.cause, link.sender
        return found

    def history(self, mailbox: Any, key: str | int | None, n: int) -> list[MessageInfo]:
        """See Runtime.history."""
        row = self._looking.row(mailbox)
        numbers = sqlite_past.kept(
            self._store.query, row.id, None if key is None else str(key), max(0, min(n, MOST))
        )
        if not numbers and row.declaration.retain is None:
            msg = (
                f"mailbox {row.name!r} keeps no handled messages: declare it with retain=, such as "
                'retain="7d"'
            )
            raise ConfigError(msg)
        found = [self._looking.find(number) for number in numbers]
        return [each for each in found if each is not None]

    def state_at(self, mailbox: Any, key: str | int | None, at: datetime) -> StateAt:
        """See Runtime.state, with ``at``."""
        row = self._looking.actor(mailbox, key)
        when = self._past(at)
        name = "" if key is None else str(key)
        found = self._store.state_at(row.id, name, when)
        if found is not None:
            state = self._looking.loaded(row, found.state)
            return StateAt(state, instant(found.at), found.by, found.message)
        if row.declaration.retain is None:
            msg = (
                f"mailbox {row.name!r} keeps no states of before: declare it with retain=, such as "
                'retain="7d"'
            )
            raise ConfigError(msg)
        whose = repr(row.name) if key is None else f"{name!r} of {row.name!r}"
        after = self._store.kept_after(row.id, name, when)
        msg = f"no state of {whose} is kept: nothing has changed it since the mailbox has retain="
        if after is not None:
            msg = (
                f"the state of {whose} at {instant(when).isoformat()} is not kept: what is goes "
                f"back to {instant(after).isoformat()}"
            )
        raise LookupError(msg)

    def _past(self, at: datetime) -> int:
        try:
            when = micros(at)
        except ValueError as error:
            raise MessageError(str(error)) from error
        if when > self._clock.now():
            msg = f"at={instant(when).isoformat()} is not past: a state is not known beforehand"
            raise MessageError(msg)
        return when

    def audits(self, n: int) -> list[AuditInfo]:
        """See Runtime.audits."""
        from .records import AuditInfo

        found = sqlite_past.audits(self._store.query, max(0, min(n, MOST)))
        return [AuditInfo(instant(at), who, command) for at, who, command in found]
