"""The statements of schedules: declaring, pausing, and moving on with their ticks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import LATEST
from .store import ScheduleRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite3 import sqlite3
    from .store import Advance

SCHEDULES = """
SELECT name, expression, tz, mailbox, options, message, next_at, last_at, last_number, paused, zone,
  declared_at
FROM callboard_schedule ORDER BY name"""
_NEXT_AT, _PAUSED = 6, 9
_DECLARE = """
INSERT INTO callboard_schedule
  (name, expression, tz, mailbox, options, message, next_at, zone, declared_at)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (name) DO UPDATE
SET expression = excluded.expression, tz = excluded.tz, mailbox = excluded.mailbox,
  options = excluded.options, message = excluded.message, next_at = excluded.next_at,
  zone = excluded.zone, declared_at = excluded.declared_at"""
_PAUSE = "UPDATE callboard_schedule SET paused = 1 WHERE name = ?"
_RESUME = "UPDATE callboard_schedule SET paused = 0, next_at = ? WHERE name = ? AND paused = 1"
_KNOWN = "SELECT 1 FROM callboard_schedule WHERE name = ?"
# A message is waiting as long as its row is there: neither handled, nor dead, nor cancelled.
_WAITS = """
SELECT 1 FROM callboard_schedule s JOIN callboard_message m ON m.number = s.last_number
WHERE s.name = ?"""
_ADVANCE = """
UPDATE callboard_schedule
SET next_at = ?, last_at = ifnull(?, last_at), last_number = ifnull(?, last_number)
WHERE name = ? AND next_at = ? AND paused = 0"""


def schedule_row(row: Any) -> ScheduleRow:
    """Return what was selected as a record."""
    values = list(row)
    values[_PAUSED] = bool(values[_PAUSED])
    next_at = values[_NEXT_AT]
    if next_at is not None and not 0 <= next_at <= LATEST:
        values[_NEXT_AT] = None  # no instant of ours: its owner reckons it anew when it starts
    return ScheduleRow(*values)


def declare(
    run: Callable[..., sqlite3.Cursor],
    found: list[Any],
    decide: Callable[[list[ScheduleRow]], list[ScheduleRow]],
) -> list[ScheduleRow]:
    """See Store.declare_schedules."""
    decided = decide([schedule_row(row) for row in found])
    for row in decided:
        run(_DECLARE, (row.name, row.expression, row.tz, row.mailbox, row.options, row.message,
                       row.next_at, row.zone, row.declared_at))  # fmt: skip
    return decided


def pause(run: Callable[..., sqlite3.Cursor], name: str, next_at: int | None) -> bool:
    """See Store.pause_schedule."""
    if next_at is None:
        run(_PAUSE, (name,))
    else:
        run(_RESUME, (next_at, name))
    return run(_KNOWN, (name,)).fetchone() is not None


def advance(run: Callable[..., sqlite3.Cursor], op: Advance, number: int) -> bool | None:
    """Move a schedule on.

    Args:
        run: executes a statement.
        op: where to.
        number: the last one given; those of its ticks follow.

    Returns:
        whether its ticks are to be told; None: it was not found as it was read.

    """
    told = op.count > 0
    if told and op.alone and run(_WAITS, (op.schedule,)).fetchone() is not None:
        told = False
    at, last = (op.at, number + op.count) if told else (None, None)
    moved = run(_ADVANCE, (op.next_at, at, last, op.schedule, op.was)).rowcount
    return told if moved == 1 else None
