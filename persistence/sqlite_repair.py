"""The statements of repairs: a state written by hand, notes for the owner, who has changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .store import Audit, Edit, Note

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite3 import sqlite3
    from .store import Noted

_SET = """
INSERT INTO callboard_state (mailbox, key, kind, version, body) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (mailbox, key) DO UPDATE
SET kind = excluded.kind, version = excluded.version, body = excluded.body"""
_RESET = "DELETE FROM callboard_state WHERE mailbox = ? AND key = ?"
_CHANGED = "UPDATE callboard_counter SET changes = changes + 1"
# The counter of changes has just been raised: so the names are in the order of the notes.
_NOTE = """
INSERT INTO callboard_meta (name, value)
SELECT printf('note.%020d', changes), ? FROM callboard_counter"""
_AUDIT = "INSERT INTO callboard_audit (at, who, command) VALUES (?, ?, ?)"
_NOTED = "DELETE FROM callboard_meta WHERE name = ?"
NOTES = "SELECT name, value FROM callboard_meta WHERE name GLOB 'note.*' ORDER BY name"


def repair(run: Callable[..., sqlite3.Cursor], op: Edit | Note | Noted | Audit) -> None:
    """Do one of these operations in the transaction that is open."""
    if isinstance(op, Edit):
        if op.state is None:
            run(_RESET, (op.mailbox, op.key))
        else:
            state = op.state
            run(_SET, (op.mailbox, op.key, state.kind, state.version, state.body))
    elif isinstance(op, Note):
        run(_CHANGED)
        run(_NOTE, (op.body,))
    elif isinstance(op, Audit):
        run(_AUDIT, (op.at, op.who, op.command))
    else:
        run(_NOTED, (op.name,))
