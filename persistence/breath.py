"""A breath for connections that cannot pass the gate.

SQLite's busy handler sleeps up to 100 ms between its tries and never wins against a writer that
commits back to back. After 0.4 s without a pause the lock is left free for 35 ms in every 285: a
connection that tries every 100 ms then gets through within a second, the first 0.4 s included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH, EVERY, OUT_OF = 0.035, 0.25, 0.4


class Breath:
    """Knows when the lock was last free for long enough.

    Args:
        pause: sleeps so many seconds; None: never pause.
        now: reads the seconds that the pauses are reckoned in.

    """

    def __init__(
        self, pause: Callable[[float], None] | None, now: Callable[[], float] = monotonic
    ) -> None:
        """Begin with a free lock."""
        self._pause = pause
        self._now = now
        self._free_since = now()
        self._last_end = self._free_since
        self._last_breath = self._free_since - EVERY

    def take(self) -> None:
        """Pause before a commit, if it is time to; the lock is not held."""
        if self._pause is None:
            return
        now = self._now()
        if now - self._last_end > LENGTH:
            self._free_since = now
        elif now - self._free_since > OUT_OF and now - self._last_breath > EVERY:
            self._pause(LENGTH)
            self._last_breath = self._now()

    def ended(self) -> float:
        """Note that a commit has ended, and when."""
        self._last_end = self._now()
        return self._last_end
