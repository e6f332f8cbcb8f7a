"""What a store knows of the past: causes, kept messages of one actor, changes made by hand.

Each call takes the store's ``query``, which reads what is committed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from .store import Depth, Message

if TYPE_CHECKING:
    from collections.abc import Callable

    from .store import Params

    Query = Callable[[str, Params], list[Any]]

_LINKS = """
SELECT number, mailbox, key, kind, told_at, cause, sender,
  CASE WHEN due IS NULL THEN 'waiting' ELSE 'later' END
FROM callboard_message WHERE number = :number
UNION ALL
SELECT number, mailbox, key, kind, told_at, cause, sender, 'dead'
FROM callboard_dead WHERE number = :number
UNION ALL
SELECT number, mailbox, key, kind, told_at, cause, sender, 'handled'
FROM callboard_done WHERE number = :number"""
_AGAIN = """
SELECT mailbox, kind, version, key, body FROM callboard_message WHERE number = :number
UNION ALL SELECT mailbox, kind, version, key, body FROM callboard_dead WHERE number = :number
UNION ALL SELECT mailbox, kind, version, key, body FROM callboard_done WHERE number = :number"""
_HISTORY = """
SELECT number FROM callboard_done
WHERE mailbox = :mailbox AND (:key IS NULL OR key = :key) ORDER BY number DESC LIMIT :limit"""
_OLD = """
SELECT number FROM callboard_message
WHERE mailbox = :mailbox AND number > :after AND told_at < :before
  AND (due IS NULL OR due <= :now) ORDER BY number LIMIT :limit"""
_HOW_MANY_OLD = """
SELECT count(*) FROM callboard_message
WHERE mailbox = :mailbox AND told_at < :before AND (due IS NULL OR due <= :now)"""
_DEAD = """
SELECT number FROM callboard_dead
WHERE number > :after AND number <= :until AND (:mailbox IS NULL OR mailbox = :mailbox)
ORDER BY number LIMIT :limit"""
_DEPTH = """
SELECT count(*) FILTER (WHERE due IS NULL OR due <= :now), count(*) FILTER (WHERE due > :now),
  (SELECT count(*) FROM callboard_dead
   WHERE mailbox = :mailbox AND (:key IS NULL OR key = :key)),
  min(coalesce(due, told_at)) FILTER (WHERE due IS NULL OR due <= :now)
FROM callboard_message WHERE mailbox = :mailbox AND (:key IS NULL OR key = :key)"""
_AUDIT = "SELECT at, who, command FROM callboard_audit ORDER BY number DESC LIMIT ?"


class Link(msgspec.Struct, frozen=True):
    """One message of a chain of causes: ``state`` as a MessageInfo's, ``cause`` what told it."""

    number: int
    mailbox: int
    key: str | None
    kind: str
    told_at: int
    cause: int | None
    sender: str | None
    state: str


def link(query: Query, number: int) -> Link | None:
    """Return where a message stands in its chain; None: the store holds it no longer."""
    rows = query(_LINKS, {"number": number})
    return Link(*rows[0]) if rows else None


def again(query: Query, number: int) -> Message | None:
    """Return a message that waits, is dead or is kept, as it was told."""
    rows = query(_AGAIN, {"number": number})
    if not rows:
        return None
    mailbox, kind, version, key, body = rows[0]
    return Message(mailbox, kind, body, key, version=version, number=number)


def kept(query: Query, mailbox: int, key: str | None, limit: int) -> list[int]:
    """Return the numbers of kept messages of a mailbox, or of one key, the newest first."""
    return [row[0] for row in query(_HISTORY, {"mailbox": mailbox, "key": key, "limit": limit})]


def old(  # noqa: PLR0917  (called once)
    query: Query, mailbox: int, before: int, now: int, after: int, limit: int
) -> list[int]:
    """Return the numbers beyond ``after`` of what waits and was told before an instant."""
    asked = {"mailbox": mailbox, "before": before, "now": now, "after": after, "limit": limit}
    return [row[0] for row in query(_OLD, asked)]


def how_many_old(query: Query, mailbox: int, before: int, now: int) -> int:
    """Return how much waits and was told before an instant."""
    asked = {"mailbox": mailbox, "before": before, "now": now}
    return int(query(_HOW_MANY_OLD, asked)[0][0])


def depth(query: Query, mailbox: int, key: str | None, now: int) -> Depth:
    """Return how much a mailbox holds, or one key of it."""
    return Depth(*query(_DEPTH, {"mailbox": mailbox, "key": key, "now": now})[0])


def dead(query: Query, mailbox: int | None, after: int, until: int, limit: int) -> list[int]:
    """Return the numbers beyond ``after`` and up to ``until`` of dead letters, of one mailbox."""
    asked = {"mailbox": mailbox, "after": after, "until": until, "limit": limit}
    return [row[0] for row in query(_DEAD, asked)]


def audits(query: Query, limit: int) -> list[tuple[int, str, str]]:
    """Return (instant, who, command) of changes made by hand, the newest first."""
    return query(_AUDIT, (limit,))
