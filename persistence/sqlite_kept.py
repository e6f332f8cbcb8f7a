"""States of before: what a mailbox with ``retain=`` keeps of its actors, a row for each change.

A row is written in the transaction of the change, so there is no state without one as long as the
mailbox retains; a mailbox that no longer does has none at all (:data:`FORGET`). The last row of an
actor stays: it says since when its state is what it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .store import Kept, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite3 import sqlite3
    from .sqlite_past import Query
    from .store import Remember

_END = """
UPDATE callboard_past SET upto = ?, until = ?
WHERE number = (SELECT max(number) FROM callboard_past WHERE mailbox = ? AND key = ?)"""
# A state that was reset has no row: its place in the past is empty.
_BEGIN = """
INSERT INTO callboard_past (mailbox, key, at, by, message, kind, version, body)
SELECT a.mailbox, a.key, ?, ?, ?, s.kind, s.version, s.body
FROM (SELECT ? AS mailbox, ? AS key) a
LEFT JOIN callboard_state s ON s.mailbox = a.mailbox AND s.key = a.key"""
# The last of those that began by then. Where the clock was set back that is the later one.
_AT = """
SELECT at, by, message, kind, version, body FROM (
  SELECT * FROM callboard_past WHERE mailbox = :mailbox AND key = :key AND at <= :at
  ORDER BY number DESC LIMIT 1)
WHERE upto IS NULL OR upto > :at"""
_AFTER = "SELECT min(at) FROM callboard_past WHERE mailbox = ? AND key = ? AND at > ?"
#: Of a mailbox that keeps no states any more.
FORGET = "DELETE FROM callboard_past WHERE mailbox = ?"
#: What is kept no longer, some thousands at once.
SWEEP = """
DELETE FROM callboard_past WHERE number IN
  (SELECT number FROM callboard_past WHERE until <= :now LIMIT 2000)"""


def remember(run: Callable[..., sqlite3.Cursor], op: Remember) -> None:
    """Keep the state that an actor has in the transaction that is open, and end the one before."""
    run(_END, (op.at, op.at + op.retain, op.mailbox, op.key))
    run(_BEGIN, (op.at, op.by, op.number, op.mailbox, op.key))


def state_at(query: Query, mailbox: int, key: str, at: int) -> Kept | None:
    """See Store.state_at."""
    rows = query(_AT, {"mailbox": mailbox, "key": key, "at": at})
    if not rows:
        return None
    since, by, message, kind, version, body = rows[0]
    state = None if body is None else State(mailbox, key, kind, version, body)
    return Kept(since, by, message, state)


def kept_after(query: Query, mailbox: int, key: str, at: int) -> int | None:
    """See Store.kept_after."""
    rows: list[tuple[int | None]] = query(_AFTER, (mailbox, key, at))
    return rows[0][0]
