"""Whether what a soak has measured stays flat: a linear trend and the bounds for it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from statistics import median
from typing import Any

#: Seconds at the beginning that are not judged, at most; of a short soak a third.
WARM_UP = 300.0
HOUR = 3600.0
Sample = dict[str, Any]


@dataclass(frozen=True)
class Line:
    """One thing that is measured, and how much it may grow.

    Args:
        name: in the sample; with ``index`` for one of a latency's three.
        label: for people.
        per_hour: the most that it may grow in an hour, in its unit.
        slack: growth that a short soak may show by chance.
        scale: what the sample's number is divided by.

    """

    name: str
    label: str
    per_hour: float
    slack: float
    unit: str = ""
    scale: float = 1.0
    index: int | None = None

    def values(self, samples: list[Sample]) -> list[float]:
        """Return what was measured, in the line's unit."""
        found = (each[self.name] for each in samples)
        return [(each if self.index is None else each[self.index]) / self.scale for each in found]

    def allowed(self, seconds: float) -> float:
        """Return how much it may grow in so long."""
        return max(self.slack, self.per_hour * seconds / HOUR)


MB = 1e6
LINES = (
    Line("rss", "resident memory", 5.0, 2.0, "MB", MB),
    Line("objects", "objects of callboard's types", 100.0, 100.0),
    Line("descriptors", "descriptors", 0.0, 2.0),
    Line("threads", "threads", 0.0, 2.0),
    Line("wal", "WAL", 1.0, 1.0, "MB", MB),
    Line("file", "database file", 0.5, 0.2, "MB", MB),
    Line("tell", "tell, median", 0.0, 2.0, "ms", index=0),
    Line("tell", "tell, 99 %", 0.0, 20.0, "ms", index=1),
    Line("handle", "tell to handler, median", 0.0, 2.0, "ms", index=0),
    Line("handle", "tell to handler, 99 %", 0.0, 20.0, "ms", index=1),
    Line("ask", "ask, median", 0.0, 2.0, "ms", index=0),
)


@dataclass(frozen=True)
class Trend:
    """How one line has gone: its middle, and its growth over the time that is judged."""

    line: Line
    seconds: float
    middle: float
    growth: float

    @property
    def per_hour(self) -> float:
        """The growth in an hour, if it went on so."""
        return self.growth * HOUR / self.seconds

    @property
    def complaint(self) -> str | None:
        """What is wrong, if anything is."""
        allowed = self.line.allowed(self.seconds)
        if self.growth <= allowed:
            return None
        return (
            f"{self.line.label} grew by {self.growth:.2f} {self.line.unit} in "
            f"{self.seconds:.0f} s, allowed are {allowed:.2f}"
        )


def warm_up(samples: list[Sample]) -> float:
    """Return the seconds at the beginning that are not judged."""
    return min(WARM_UP, float(samples[-1]["at"]) / 3)


def trends(samples: list[Sample]) -> list[Trend]:
    """Return the trend of every line that the samples have, after the warm-up."""
    judged = [each for each in samples if each["at"] >= warm_up(samples)]
    at = [float(each["at"]) for each in judged]
    return [_trend(line, at, line.values(judged)) for line in LINES if line.name in samples[0]]


def slope(at: list[float], values: list[float]) -> float:
    """Return the growth in a second: the median over all pairs (Theil and Sen).

    A few samples that are far off, of a machine that did something else, do not bend it.
    """
    return median((values[j] - values[i]) / (at[j] - at[i])
                  for i, j in combinations(range(len(at)), 2))  # fmt: skip


def _trend(line: Line, at: list[float], values: list[float]) -> Trend:
    seconds = at[-1] - at[0]
    return Trend(line, seconds, median(values), slope(at, values) * seconds)
