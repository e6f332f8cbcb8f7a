"""How often a child has crashed within a period, and how long it has to wait. Pure."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..clock import SECOND

if TYPE_CHECKING:
    import random
    from collections.abc import Hashable

_FIRST, _FACTOR, _LONGEST, _JITTER = 0.1, 2.0, 30.0, 0.2
_MOST_DOUBLINGS = 16


class Tally:
    """Counts what happens to each child within a sliding period.

    Args:
        period: seconds.

    """

    def __init__(self, period: float) -> None:
        """Start with a clean record."""
        self.period = round(period * SECOND)
        self._times: dict[Hashable, deque[int]] = {}

    def __len__(self) -> int:
        """How many children have a record."""
        return len(self._times)

    def note(self, child: Hashable, now: int) -> int:
        """Note that it has happened; returns how often within the period."""
        times = self._times.setdefault(child, deque())
        while times and times[0] <= now - self.period:
            times.popleft()
        times.append(now)
        return len(times)

    def count(self, child: Hashable, now: int) -> int:
        """Return how often it happened to a child within the period."""
        return sum(1 for at in self._times.get(child, ()) if at > now - self.period)

    def children(self, now: int) -> list[Any]:
        """Return the children to whom it happened within the period."""
        return [child for child in self._times if self.count(child, now)]

    def forget(self, child: Hashable) -> None:
        """Clear a child's record: it was repaired, or is gone."""
        self._times.pop(child, None)

    def clear(self) -> None:
        """Clear every record."""
        self._times.clear()

    def sweep(self, now: int) -> None:
        """Forget the children to whom nothing has happened within the period."""
        for child in [c for c, times in self._times.items() if times[-1] <= now - self.period]:
            del self._times[child]


class Failures(Tally):
    """Counts in all as well, at once however many children there are."""

    def __init__(self, period: float) -> None:
        """Start with a clean record."""
        super().__init__(period)
        self._all: deque[tuple[int, Hashable]] = deque()

    def note(self, child: Hashable, now: int) -> int:
        """Note that it has happened; returns how often within the period."""
        self.sweep(now)
        self._all.append((now, child))
        return super().note(child, now)

    def total(self, now: int) -> tuple[int, int]:
        """Return to how many children it happened within the period, and how often in all."""
        self.sweep(now)
        return len(self._times), len(self._all)

    def forget(self, child: Hashable) -> None:
        """Clear a child's record."""
        if self._times.pop(child, None) is not None:
            self._all = deque(each for each in self._all if each[1] != child)

    def clear(self) -> None:
        """Clear every record."""
        super().clear()
        self._all.clear()

    def sweep(self, now: int) -> None:
        """Forget what has happened before the period."""
        while self._all and self._all[0][0] <= now - self.period:
            _, child = self._all.popleft()
            times = self._times[child]
            times.popleft()
            if not times:
                del self._times[child]


class Restarts(Tally):
    """Counts crashes and says how long to wait.

    Args:
        intensity: so many restarts within the period are granted.
        period: seconds.
        random: for the jitter of the back-off.

    """

    def __init__(self, intensity: int, period: float, random: random.Random) -> None:
        """Start with a clean record."""
        super().__init__(period)
        self.intensity = intensity
        self._random = random

    def crashed(self, child: Hashable, now: int) -> int | None:
        """Note a crash; returns microseconds until the restart, or None: leave it alone."""
        count = self.note(child, now)
        if count > self.intensity:
            return None
        seconds = min(_LONGEST, _FIRST * _FACTOR ** min(count - 1, _MOST_DOUBLINGS))
        return round(seconds * (1 + _JITTER * (2 * self._random.random() - 1)) * SECOND)
