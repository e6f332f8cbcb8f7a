"""The only place that reads time.

Deadlines are integer microseconds since 1970, UTC: they survive restarts and are compared with the
wall clock. Waiting is monotonic, in slices of at most one second, and the wall clock is read again
after each: a clock that jumps forward fires what became due within a second, one that jumps back
fires nothing twice (agronholm/apscheduler#339, dotnet/orleans#5659).
"""

from __future__ import annotations

import re
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = 1_000_000
SLICE = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND,
          "d": 86_400 * SECOND, "w": 604_800 * SECOND}  # fmt: skip
_INFINITE = (float("inf"), float("-inf"))
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|min|[smhdw])\s*")
# The last instant that a datetime can show; later ones could be stored but never printed.
LATEST = 253_402_300_799 * SECOND
_EARLIEST = -62_135_596_800 * SECOND


class Clock(Protocol):
    """What callboard asks of time."""

    def now(self) -> int:
        """Return the wall clock: microseconds since 1970, UTC."""
        ...

    def slice(self, deadline: int | None) -> float | None:
        """Return the real seconds to wait before looking again; None: until :meth:`on_change`."""
        ...

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` whenever the clock is set by hand; returns the call that ends it."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return the wall clock: microseconds since 1970, UTC."""
        return time.time_ns() // 1000

    def slice(self, deadline: int | None) -> float | None:
        """Wait until the deadline, and at most a second."""
        if deadline is None:
            return None
        return min(SLICE, max(0.0, (deadline - self.now()) / SECOND))

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Nobody sets this clock by hand: ``callback`` is never called."""
        return lambda: None


class ManualClock:
    """A clock that stands still until it is moved: for tests.

    Args:
        start: an aware ``datetime``; default 2024-01-01 00:00 UTC.

    """

    def __init__(self, start: datetime | None = None) -> None:
        """Stand at ``start``."""
        self._now = micros(start) if start is not None else micros(datetime(2024, 1, 1, tzinfo=UTC))
        self._callbacks: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def now(self) -> int:
        """Return where the clock stands: microseconds since 1970, UTC."""
        return self._now

    def slice(self, deadline: int | None) -> float | None:
        """Wait until somebody moves the clock; not at all when the deadline has come."""
        return 0.0 if deadline is not None and deadline <= self._now else None

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` after each move, on the mover's thread."""
        with self._lock:
            self._callbacks.append(callback)

        def off() -> None:
            with self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return off

    def set(self, now: int | datetime) -> None:
        """Move to an instant, forward or backward.

        Args:
            now: microseconds since 1970, UTC, or an aware ``datetime``.

        """
        self._now = micros(now) if isinstance(now, datetime) else now
        with self._lock:
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def shift(self, by: float | str | timedelta) -> None:
        """Move by a duration, such as ``"7d"``; negative seconds move back."""
        self.set(self._now + duration(by, negative=True))


#: Seconds that only ever grow: for waiting and for measuring, never for deadlines.
monotonic = time.monotonic


def cpu_seconds() -> float:
    """Return the processor time that this process has used, in seconds."""
    return time.process_time()


def sleep(seconds: float) -> None:
    """Hold the calling thread for real seconds (a gate that is taken, a pause for others)."""
    time.sleep(seconds)


def micros(at: datetime) -> int:
    """Turn an aware datetime into microseconds UTC; ValueError for a naive one."""
    if at.tzinfo is None:
        msg = f"{at!r} has no time zone: write datetime(..., tzinfo=ZoneInfo('Europe/Paris'))"
        raise ValueError(msg)
    return (at - _EPOCH) // timedelta(microseconds=1)


def instant(at: int) -> datetime:
    """Turn microseconds UTC into an aware datetime, the first or the last for what is beyond."""
    return _EPOCH + timedelta(microseconds=min(max(at, _EARLIEST), LATEST))


def duration(value: object, *, negative: bool = False) -> int:
    """Turn seconds, a ``timedelta`` or text such as ``"30m"`` and ``"1h 30m"`` into microseconds.

    Raises:
        ValueError: the text is no duration, or it is negative and may not be.

    """
    if isinstance(value, timedelta):
        result = value // timedelta(microseconds=1)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value != value or value in _INFINITE:  # noqa: PLR0124  (NaN)
            msg = f"a duration must be a finite number of seconds, got {value!r}"
            raise ValueError(msg)
        result = round(value * SECOND)
    elif isinstance(value, str):
        result = _parse(value)
    else:
        msg = f'a duration is seconds, a timedelta or text such as "30m", got {value!r}'
        raise ValueError(msg)
    if result < 0 and not negative:
        msg = f"a duration must not be negative, got {value!r}"
        raise ValueError(msg)
    return result


def _parse(text: str) -> int:
    total, at = 0, 0
    stripped = text.strip()
    for part in _PART.finditer(stripped):
        if part.start() != at:
            break
        unit = "m" if part[2] == "min" else part[2]
        number = part[1]
        # Whole numbers stay exact: hundreds of years in microseconds are more than a float holds.
        whole = number.isdecimal()
        total += int(number) * _UNITS[unit] if whole else round(float(number) * _UNITS[unit])
        at = part.end()
    if not stripped or at != len(stripped):
        msg = f'a duration reads like "90s", "30m", "24h", "7d" or "1h 30m", got {text[:80]!r}'
        raise ValueError(msg)
    return total
