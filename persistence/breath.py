"""A breath for connections that cannot pass the gate.

SQLite's busy handler sleeps, soon 100 ms at a time, and never wins against writers that commit back
to back. When the lock was hardly free for a while every process of ours is kept out for 110 ms:
longer than such a sleep, so a connection that waits finds the lock free in the next pause, whenever
it looks. A shorter one is missed by chance, and missed again.

A pause is a tell that takes 110 ms longer, so it is rare (after every three busy seconds) as long
as nobody but this process writes: the first commit of a newcomer may take that long, which is less
than the 5 s that Python's sqlite3 waits, and a burst that is over sooner needs no pause. Beside
other writers it comes within a second; and soon again after one in which a foreign connection has
written, since two of them may have met there.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

LENGTH = 0.11
#: Busy seconds before the first pause, beside others; while nobody else writes they are RARELY.
OUT_OF = 0.4
#: Seconds from one pause to the next: while nobody else writes, beside others, and after one that
#: a foreign connection has used.
RARELY, EVERY, SOON = 3.0, 0.7, 0.3
#: So long others are expected to come again.
REMEMBERED = 30.0
#: Seconds from one look at how busy the lock is to the next.
LOOK = 0.15
#: A lock that is free for more than a third of the time is found free by who tries often.
BUSY = 0.65


class Breath:
    """Knows how busy the lock was, and whether others write.

    Args:
        pause: sleeps so many seconds; None: never pause.
        others: says whether another connection has written since it was last asked.
        hold: see :meth:`Store.breathe`.
        now: reads the seconds that the pauses are reckoned in.

    """

    def __init__(
        self,
        pause: Callable[[float], None] | None,
        others: Callable[[], bool],
        hold: Callable[[Callable[[], None], float], bool],
        now: Callable[[], float] = monotonic,
    ) -> None:
        """Begin with a free lock."""
        self._pause = pause
        self._others = others
        self._hold = hold
        self._now = now
        self._free_since = self._last_end = self._begun = self._looked = now()
        self._last_breath = self._free_since - RARELY
        self._others_at = self._free_since - REMEMBERED
        self._used = False
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
        elif now - self._looked > LOOK:
            self._look(now)
            apart = self._apart(now)
            busy = now - self._free_since
            if busy > (apart if apart == RARELY else OUT_OF) and now - self._last_breath > apart:
                self._used = self._hold(partial(self._pause, LENGTH), apart)
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

    def _apart(self, now: float) -> float:
        """Return the seconds from one pause to the next."""
        if self._used:
            return SOON
        return EVERY if now - self._others_at < REMEMBERED else RARELY
