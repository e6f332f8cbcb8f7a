"""When a schedule runs: an expression on the wall clock of a zone, as instants. Pure.

The expression says which wall-clock seconds are meant; the zone, which instants show them. Where
the zone's clock jumps, two rules decide, those of Debian's cron:

- A job for a *time of day* (neither minutes nor hours begin with ``*``) runs once a day. What falls
  into a gap runs at the first valid instant after it; what comes twice runs at the first pass.
- A job with *wildcard* minutes or hours follows the clock: what comes twice runs twice, and what a
  gap has swallowed does not run.

Instants are microseconds since 1970, UTC; those of a schedule are whole seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ..clock import SECOND
from .expression import Expression
from .zones import zone

if TYPE_CHECKING:
    from collections.abc import Iterator

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (the wall has no zone)
_SECOND = timedelta(seconds=1)
#: No clock is set back by more: times of day are counted one by one for so long after a jump.
_JUMP = 3 * 3600


class Schedule:
    """An expression in a zone. Every call may be made from any thread.

    Args:
        expression: five fields (minute, hour, day, month, weekday), six with seconds last, or
            ``@yearly``, ``@monthly``, ``@weekly``, ``@daily``, ``@hourly``.
        tz: the zone's IANA name.

    Raises:
        BadSchedule: either cannot work; the text marks what.

    """

    def __init__(self, expression: str, tz: str = "UTC") -> None:
        """Read both."""
        self._expression = Expression(expression)
        self._zone = zone(tz)

    def next(self, after: int) -> int:
        """Return the first instant after ``after``."""
        start = after // SECOND
        find = self._next_fixed if self._expression.fixed else self._next_wild
        return find(start) * SECOND

    def previous(self, before: int) -> int:
        """Return the last instant before ``before``."""
        stop = -(-before // SECOND)
        find = self._previous_fixed if self._expression.fixed else self._previous_wild
        return find(stop) * SECOND

    def iterate(self, after: int) -> Iterator[int]:
        """Return the instants after ``after``, one by one, without end."""
        while True:
            after = self.next(after)
            yield after

    def count(self, first: int, last: int) -> int:
        """Count the instants from ``first`` to ``last``, both included; years take little time."""
        at, stop, total = -(-first // SECOND), last // SECOND, 0
        fixed = self._expression.fixed
        while at <= stop:
            end = min(stop, at + _JUMP - 1)
            offset = self._offset(at)
            if not fixed and offset != self._offset(end):
                end = self._change(at, end) - 1
            if not fixed or offset == self._offset(at - _JUMP) == self._offset(end):
                total += self._expression.count(at + offset, end + offset)
            else:
                after = at * SECOND - 1
                while (after := self.next(after)) <= end * SECOND:
                    total += 1
            at = end + 1
        return total

    # --- a job for a time of day -------------------------------------------------------------

    def _next_fixed(self, start: int) -> int:
        wall = start + self._offset(start)
        while True:
            wall = self._expression.next(wall)
            found = self._once(wall)
            if found > start:
                return found

    def _previous_fixed(self, stop: int) -> int:
        wall = stop + self._offset(stop)
        shown = self._instants(wall)
        if len(shown) > 1:  # in the second pass the later times of the first have been
            wall += shown[1] - shown[0]
        while True:
            wall = self._expression.previous(wall)
            found = self._once(wall)
            if found < stop:
                return found

    def _once(self, wall: int) -> int:
        """Return the one instant at which a job for that time of day runs."""
        shown = self._instants(wall)
        if shown:
            return shown[0]
        before, after = self._offsets(wall)
        return self._change(wall - after, wall - before)

    # --- a job with wildcard minutes or hours ------------------------------------------------

    def _next_wild(self, start: int) -> int:
        here = start + self._offset(start)
        wall, found = here, None
        while found is None:
            wall = self._expression.next(wall)
            found = next((at for at in self._instants(wall) if at > start), None)
        shown = self._instants(here)
        if len(shown) > 1 and shown[0] == start:  # a second pass of what has been is to come
            change = self._change(*shown)
            offset = self._offset(change)
            again = self._expression.next(change + offset - 1) - offset
            if again in self._instants(again + offset):
                found = min(found, again)
        return found

    def _previous_wild(self, stop: int) -> int:
        here = stop + self._offset(stop)
        wall, found = here, None
        while found is None:
            wall = self._expression.previous(wall)
            found = next((at for at in reversed(self._instants(wall)) if at < stop), None)
        shown = self._instants(here)
        if len(shown) > 1 and shown[1] == stop:  # the first pass of what is to come has been
            change = self._change(*shown)
            offset = self._offset(change - 1)
            once = self._expression.previous(change + offset) - offset
            if once in self._instants(once + offset):
                found = max(found, once)
        return found

    # --- the zone's clock --------------------------------------------------------------------

    def _offset(self, at: int) -> int:
        """Return what the wall clock is ahead of UTC at an instant, in seconds."""
        shown = (_EPOCH + at * _SECOND).replace(tzinfo=UTC).astimezone(self._zone)
        return (shown.utcoffset() or timedelta()) // _SECOND

    def _offsets(self, wall: int) -> tuple[int, int]:
        """Return what the wall clock is ahead before and after a jump at that wall time."""
        shown = (_EPOCH + wall * _SECOND).replace(tzinfo=self._zone)
        before, after = shown.utcoffset(), shown.replace(fold=1).utcoffset()
        return (before or timedelta()) // _SECOND, (after or timedelta()) // _SECOND

    def _instants(self, wall: int) -> tuple[int, ...]:
        """Return the instants that show a wall time, in order: none in a gap, two in a fold."""
        before, after = self._offsets(wall)
        if before == after:
            return (wall - before,)
        return (wall - before, wall - after) if before > after else ()

    def _change(self, low: int, high: int) -> int:
        """Return the first instant of another offset than that of ``low``, until ``high``."""
        offset = self._offset(low)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                low = middle
            else:
                high = middle
        return high
