"""The statements that people's verbs need on dead letters: sent again, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .sqlite_read import COLUMNS
from .sqlite_text import fetch
from .store import Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._sqlite3 import sqlite3

_THERE = """
SELECT number FROM callboard_dead WHERE number IN (SELECT value FROM json_each(?))
ORDER BY number"""
_NUMBERS = """
UPDATE callboard_counter SET last = last + ?, changes = changes + 1 RETURNING last"""
_REVIVE = """
INSERT INTO callboard_message
  (number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers, retain,
   priority)
SELECT ?, mailbox, kind, version, key, body, NULL,
   CASE WHEN EXISTS (SELECT 1 FROM callboard_message m
                     WHERE m.mailbox = d.mailbox AND m.name = d.name) THEN NULL ELSE name END,
   ?, cause, sender, headers, retain, priority
FROM callboard_dead d WHERE number = ?"""
_EDIT = "UPDATE callboard_message SET kind = ?, version = ?, body = ? WHERE number = ?"
_DELETE = "DELETE FROM callboard_dead WHERE number IN (SELECT value FROM json_each(?))"
_CHANGED = "UPDATE callboard_counter SET changes = changes + 1"
_TOLD = f"SELECT {COLUMNS} FROM callboard_message WHERE number > ? AND number <= ? ORDER BY number"


def revive(
    connection: sqlite3.Connection, numbers: Sequence[int], now: int, edited: dict[int, Message]
) -> list[tuple[int, Message]]:
    """Tell dead letters again under new numbers, in the transaction that is open.

    Args:
        connection: that it is open on.
        numbers: of the dead letters; what is gone is left out.
        now: when they are told.
        edited: whose kind and body some of them have from now on, by number.

    """
    run = connection.execute
    there = [row[0] for row in run(_THERE, (_listed(numbers),)).fetchall()]
    if not there:
        return []
    last = run(_NUMBERS, (len(there),)).fetchall()[0][0]
    before = last - len(there)
    for new, was in enumerate(there, before + 1):
        run(_REVIVE, (new, now, was))
        if (message := edited.get(was)) is not None:
            run(_EDIT, (message.kind, message.version, message.body, new))
    run(_DELETE, (_listed(there),))
    rows = fetch(connection, _TOLD, (before, last))
    return [(was, Message(*row)) for was, row in zip(there, rows, strict=True)]


def delete(connection: sqlite3.Connection, numbers: Sequence[int]) -> list[int]:
    """Delete dead letters, in the transaction that is open; returns those that were there."""
    run = connection.execute
    there = [row[0] for row in run(_THERE, (_listed(numbers),)).fetchall()]
    if there:
        run(_DELETE, (_listed(there),))
        run(_CHANGED)
    return there


def _listed(numbers: Sequence[int]) -> str:
    return msgspec.json.encode(list(numbers)).decode()
