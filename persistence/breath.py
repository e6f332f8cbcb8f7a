"""A breath for connections that cannot pass the gate.

SQLite's busy handler sleeps up to 100 ms between its tries and never wins against a writer that
commits back to back. After 0.4 s in which the lock was hardly free it is left free for 35 ms in
every 285: a connection that tries every 100 ms then gets through within a second, the first 0.4 s
included.

A pause is a tell that takes 35 ms longer, so it is rare (once a second) as long as nobody but this
process writes: the first commit of a newcomer may take three of them, which is still less than the
5 s that Python's sqlite3 waits. Once another connection has written, the pauses come often.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH, OUT_OF = 0.035, 0.4
#: Seconds from one pause to the next: beside others, and while nobody else writes.
EVERY, RARELY = 0.25, 1.0
#: So long others are expected to come again.
REMEMBERED = 30.0
#: A lock that is free for more than a third of the time is found free by who tries often.
BUSY = 0.65


class Breath:
    """Knows how busy the lock was, and whether others write.

    Args:
        pause: sleeps so many seconds; None: never pause.
        others: says whether another connection has written since it was last asked.
        now: reads the seconds that the pauses are reckoned in.

    """

    def __init__(
        self,
        pause: Callable[[float], None] | None,
        others: Callable[[], bool],
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Begin with a free lock."""
        self._pause = pause
        self._others = others
        self._now = now
        self._free_since = self._last_end = self._begun = self._looked = now()
        self._last_breath = self._free_since - RARELY
        self._others_at = self._free_since - REMEMBERED
        self._busy = 0.0

    def take(self) -> None:
        """Pause before a commit, if it is time to; the lock is not held.

        Raises:
            StoreError: whether others write could not be read.

        """
        if self._pause is None:
            return
        now = self._begun = self._now()
        if now - self._last_end > LENGTH:
            self._free_since, self._looked, self._busy = now, now, 0.0
        elif now - self._looked > EVERY:
            self._look(now)
            often = now - self._others_at < REMEMBERED
            if now - self._free_since > OUT_OF and now - self._last_breath > (
                EVERY if often else RARELY
            ):
                self._pause(LENGTH)
                self._last_breath = self._looked = self._begun = self._now()

    def ended(self) -> float:
        """Note that a commit has ended, and when."""
        self._last_end = self._now()
        self._busy += self._last_end - self._begun
        return self._last_end

    def _look(self, now: float) -> None:
        """See how busy the lock was since the last look, and who has written."""
        if self._busy < BUSY * (now - self._looked):
            self._free_since = now
        if self._others():
            self._others_at = now
        self._looked, self._busy = now, 0.0
