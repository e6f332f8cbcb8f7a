"""The rate of a mailbox: so many handler starts at the most in any window of a length. Pure.

A start uses a token, and tokens are reserved in the store before they are used, some at a time: so
after a crash it is known how many starts there may have been, and when at the latest. A batch is
reserved when the one before is used up, so all of it was used before the next one's instant; the
last batch may have been used up to the crash, and is counted as used when the next owner begins.

Many starts are counted in steps of a thousandth of the period, each as late as its last: the window
is never exceeded, and memory stays small.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .limits import Rate

_STEPS = 1024
_BATCHES, _LARGEST = 10, 1000


class Limiter:
    """Counts the starts of one mailbox. Not thread-safe: the mailbox's lock guards it.

    Args:
        rate: what may be.
        reserved: (instant, count) of the batches that the store knows of, by instant.
        now: the last of those is counted as used now.

    """

    def __init__(self, rate: Rate, reserved: Sequence[tuple[int, int]], now: int) -> None:
        """Count what may have been used before."""
        self._rate = rate
        self.period = rate.period
        self._step = 0 if rate.count <= _STEPS else rate.period // _STEPS
        self._starts: deque[list[int]] = deque()  # last instant, first instant, count
        self._used = 0
        self._left = 0
        #: A reservation is on its way to the disk.
        self.reserving = False
        ends = [at for at, _ in reserved[1:]] + [now]
        for (_, count), end in zip(reserved, ends, strict=False):
            self._note(end, count)

    def available(self, now: int) -> int:
        """Return how many may start now, without a reservation."""
        self._forget(now)
        return max(0, min(self._left, self._rate.count - self._used))

    def take(self, now: int) -> bool:
        """Use a token for a start; False: there is none now."""
        if not self.available(now):
            return False
        self._left -= 1
        self._note(now, 1)
        return True

    def wanted(self, now: int) -> int:
        """Return how many to reserve now; 0: the window is full, or enough are reserved."""
        self._forget(now)
        if self._left or self.reserving:
            return 0
        batch = min(max(1, self._rate.count // _BATCHES), _LARGEST)
        return max(0, min(batch, self._rate.count - self._used))

    def granted(self, count: int) -> None:
        """Note that so many are reserved, on disk."""
        self._left += count

    def next(self, now: int) -> int | None:
        """Return when a start is possible again; None: it is now, or nothing was started."""
        self._forget(now)
        above = self._used - self._rate.count
        if above < 0:
            return None
        for last, _, count in self._starts:
            above -= count
            if above < 0:
                return last + self._rate.period
        return None

    def _note(self, at: int, count: int) -> None:
        self._used += count
        if self._starts and self._step and 0 <= at - self._starts[-1][1] < self._step:
            last = self._starts[-1]
            last[0], last[2] = max(at, last[0]), last[2] + count
        else:
            self._starts.append([at, at, count])

    def _forget(self, now: int) -> None:
        starts = self._starts
        while starts and starts[0][0] <= now - self._rate.period:
            self._used -= starts.popleft()[2]
