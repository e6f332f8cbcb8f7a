"""Looking back: what caused a message, what an actor has handled, who changed what by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import instant
from ..errors import ConfigError
from ..persistence import sqlite_past
from .looking import MOST
from .names import check_target

if TYPE_CHECKING:
    from ..persistence.sqlite import SqliteStore
    from .looking import Looking
    from .records import AuditInfo, CauseInfo, MessageInfo

# A chain longer than this is a conversation that two actors have had for days.
_LONGEST = 1000


class Past:
    """Reads what the store keeps of what has happened.

    Args:
        store: read through its own connections.
        looking: shows messages.

    """

    def __init__(self, store: SqliteStore, looking: Looking) -> None:
        """Open nothing."""
        self._store = store
        self._looking = looking

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

    def audits(self, n: int) -> list[AuditInfo]:
        """See Runtime.audits."""
        from .records import AuditInfo

        found = sqlite_past.audits(self._store.query, max(0, min(n, MOST)))
        return [AuditInfo(instant(at), who, command) for at, who, command in found]
