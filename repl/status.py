"""What the prompt and the status line say, read from the store once a second on a thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import SECOND, monotonic
from ..errors import CallboardError

if TYPE_CHECKING:
    from .desk import Desk

#: Seconds between two looks.
EVERY = 1.0
_MINUTE = 60 * SECOND
# The newest letters, and the future calls and retries of the next minute, found by their index.
_FAILED = """
SELECT count(*) FROM (SELECT failed_at FROM callboard_dead ORDER BY number DESC LIMIT 10000)
WHERE failed_at > ?"""
_SOON = """
SELECT count(*), ifnull(sum(attempt > 0), 0) FROM (
    SELECT attempt FROM callboard_message
    WHERE mailbox IN (SELECT id FROM callboard_mailbox) AND due > ? AND due <= ? LIMIT 10000)"""


@dataclass(frozen=True, slots=True)
class Figures:
    """A look at the store.

    Attributes:
        waiting: messages in all mailboxes.
        due: future calls and retries that come within a minute.
        dead: dead letters.
        errors: messages given up in the last minute, and those retried within the next one.

    """

    waiting: int
    due: int
    dead: int
    errors: int


class Status:
    """Looks at the store in the background.

    Args:
        desk: whose store.

    """

    def __init__(self, desk: Desk) -> None:
        """Look once for the owner; the rest comes with :meth:`start`."""
        self._desk = desk
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="callboard-status", daemon=True)
        self._figures: Figures | None = None
        self._trouble = ""
        self._looked = monotonic()
        self.owner = desk.owner

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End; waits for a look that is under way, a few seconds at most."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout=2.0)

    def look_now(self) -> None:
        """Look before the second is over: a command may have changed something."""
        self._wake.set()

    def parts(self) -> list[tuple[str, str]]:
        """Return the status line as (style, text)."""
        if self._trouble:
            return [("bad", self._trouble)]
        found = self._figures
        live = ("live", f"live, owner {self.owner}") if self.owner else ("offline", "offline")
        if found is None:
            return [live, ("dim", "  reading ...")]
        late = monotonic() - self._looked
        return [
            live,
            ("", f"  depth {found.waiting:,}  due {found.due:,}  "),
            ("bad" if found.dead else "", f"dead {found.dead:,}"),
            ("", "  "),
            ("bad" if found.errors else "", f"errors/min {found.errors:,}"),
            ("dim", f"  as of {late:.0f} s ago" if late > 5 * EVERY else ""),
        ]

    def _run(self) -> None:
        while not self._stop.is_set():
            self._look()
            self._wake.wait(EVERY)
            self._wake.clear()

    def _look(self) -> None:
        try:
            self.owner = self._desk.owner
            self._figures = look(self._desk)
            self._trouble = ""
        except CallboardError as error:
            self._trouble = " ".join(str(error).split())
        self._looked = monotonic()


def look(desk: Desk) -> Figures:
    """Return the figures of now.

    Raises:
        StoreError: the store cannot be read.

    """
    rt = desk.rt
    boxes = rt.mailboxes()
    now = rt._config.clock.now()  # noqa: SLF001  (of the same package)
    store = rt._store  # noqa: SLF001
    ((failed,),) = store.query(_FAILED, (now - _MINUTE,))
    ((due, retries),) = store.query(_SOON, (now, now + _MINUTE))
    return Figures(sum(m.waiting for m in boxes), due, sum(m.dead for m in boxes), failed + retries)
