"""How full a mailbox with a capacity is: a counter row, kept by triggers, whoever writes.

Counted is what waits without a deadline, and what was tried before; a future call is not, before
its time. The triggers are made with the first capacity: a store without one does not pay for them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._sqlite3 import sqlite3

_TRIGGERS = (
    """
CREATE TRIGGER IF NOT EXISTS callboard_level_insert AFTER INSERT ON callboard_message
WHEN NEW.due IS NULL OR NEW.attempt > 0 BEGIN
  UPDATE callboard_level SET held = held + 1 WHERE mailbox = NEW.mailbox;
END""",
    """
CREATE TRIGGER IF NOT EXISTS callboard_level_delete AFTER DELETE ON callboard_message
WHEN OLD.due IS NULL OR OLD.attempt > 0 BEGIN
  UPDATE callboard_level SET held = held - 1 WHERE mailbox = OLD.mailbox;
END""",
    """
CREATE TRIGGER IF NOT EXISTS callboard_level_update AFTER UPDATE OF due, attempt
ON callboard_message
WHEN (OLD.due IS NULL OR OLD.attempt > 0) != (NEW.due IS NULL OR NEW.attempt > 0) BEGIN
  UPDATE callboard_level SET held = held + iif(NEW.due IS NULL OR NEW.attempt > 0, 1, -1)
  WHERE mailbox = NEW.mailbox;
END""",
)
_COUNT = """
INSERT OR REPLACE INTO callboard_level (mailbox, held)
SELECT ?, count(*) FROM callboard_message
WHERE mailbox = ? AND (due IS NULL OR attempt > 0)"""


def keep_level(run: Callable[..., sqlite3.Cursor], mailbox: int, capacity: int | None) -> None:
    """Begin or end to count what a mailbox holds, inside the open transaction."""
    if capacity is None:
        run("DELETE FROM callboard_level WHERE mailbox = ?", (mailbox,))
        return
    for trigger in _TRIGGERS:
        run(trigger)
    run(_COUNT, (mailbox, mailbox))
