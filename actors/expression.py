"""Cron expressions: read by croniter, checked field by field, and cut into times and days.

Five fields (minute, hour, day, month, weekday), a sixth for seconds at the end, or ``@daily`` and
its like. As crontab(5) says, day and weekday are alternatives unless one of them begins with ``*``.
"""

from __future__ import annotations

import textwrap
import threading
from bisect import bisect_left, bisect_right
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..errors import BadSchedule

if TYPE_CHECKING:
    from collections.abc import Sequence

DAY = 86_400
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  (days on the wall have no zone)
_FIELDS = ("minute", "hour", "day", "month", "weekday", "second")
_RANGES = ("0-59", "0-23", "1-31", "1-12 or jan-dec", "0-7 or sun-sat", "0-59")
_MOST, _LINE, _ANY = 6, 80, ("*", "?")
ALIASES = {
    "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0", "@daily": "0 0 * * *", "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}  # fmt: skip


class Times:
    """The times of day that hours, minutes and seconds give, by their rank. Pure."""

    def __init__(
        self, hours: Sequence[int], minutes: Sequence[int], seconds: Sequence[int]
    ) -> None:
        """Take sorted numbers."""
        self._hours, self._minutes, self._seconds = hours, minutes, seconds
        self.count = len(hours) * len(minutes) * len(seconds)

    def upto(self, time: int) -> int:
        """Count the times at or before a second of the day."""
        hour, minute, second = time // 3600, time // 60 % 60, time % 60
        rank = bisect_left(self._hours, hour)
        each = len(self._minutes) * len(self._seconds)
        if rank == len(self._hours) or self._hours[rank] != hour:
            return rank * each
        inner = bisect_left(self._minutes, minute)
        rank = rank * each + inner * len(self._seconds)
        if inner == len(self._minutes) or self._minutes[inner] != minute:
            return rank
        return rank + bisect_right(self._seconds, second)

    def at(self, rank: int) -> int:
        """Return the second of the day of one of them, from 0."""
        rank, second = divmod(rank, len(self._seconds))
        hour, minute = divmod(rank, len(self._minutes))
        return self._hours[hour] * 3600 + self._minutes[minute] * 60 + self._seconds[second]


class Days:
    """The days that an expression names, by croniter; days are numbered from 1970-01-01.

    Where neither day nor weekday begins with ``*`` they are alternatives, each looked for alone:
    croniter does not see ``mon#1`` and ``15w`` as such.

    Args:
        fields: day, month and weekday.

    Raises:
        ValueError: no such day ever comes.

    """

    def __init__(self, fields: Sequence[str]) -> None:
        """Read the expression and look for a first day."""
        day, month, weekday = fields
        free = day.startswith(_ANY) or weekday.startswith(_ANY)
        ways = [(day, month, weekday)] if free else [(day, month, "*"), ("*", month, weekday)]
        self._ways = [way for way in map(_days, ways) if way is not None]
        if not self._ways:
            msg = "no such day ever comes"
            raise ValueError(msg)
        self._lock = threading.Lock()
        self.after = lru_cache(16)(self._after)
        self.before = lru_cache(16)(self._before)

    def has(self, day: int) -> bool:
        """Say whether it is one of the days."""
        return self.after(day - 1) == day

    def _after(self, day: int) -> int:
        start = _EPOCH + timedelta(days=day)
        with self._lock:
            found = min(way.get_next(start_time=start) for way in self._ways)
        return int((found - _EPOCH).days)

    def _before(self, day: int) -> int:
        start = _EPOCH + timedelta(days=day)
        with self._lock:
            found = max(way.get_prev(start_time=start) for way in self._ways)
        return int((found - _EPOCH).days)


def _days(fields: Sequence[str]) -> Any:
    """Return croniter's reading of day fields; None when no such day ever comes."""
    from croniter import CroniterBadDateError, croniter

    found = croniter(" ".join(("0 0", *fields)), _EPOCH, ret_type=datetime, implement_cron_bug=True)
    try:
        found.get_next(start_time=_EPOCH)
    except CroniterBadDateError:
        return None
    return found


class Expression:
    """A checked expression: which wall-clock seconds it names. Seconds count from 1970 on the wall.

    Attributes:
        text: as it was written.
        fixed: neither minutes nor hours begin with ``*``: the job is for a time of day.

    Raises:
        BadSchedule: it cannot work; the bad field is marked in the text.

    """

    def __init__(self, text: str) -> None:
        """Check and cut it."""
        if not isinstance(text, str):
            msg = f'an expression is text such as "0 9 * * mon-fri", got {text!r}'
            raise BadSchedule(msg)
        self.text = text
        fields = _split(text)
        seconds = fields[5] if len(fields) == _MOST else "0"
        parts = [_numbers(fields, i) for i in range(len(fields))]
        self._times = Times(parts[1], parts[0], parts[5] if seconds != "0" else (0,))
        try:
            self._days = Days(fields[2:5])
        except ValueError as error:
            raise BadSchedule(_marked(fields, 2, 3, "no such day ever comes")) from error
        self.fixed = not (fields[0].startswith("*") or fields[1].startswith("*"))

    def next(self, wall: int) -> int:
        """Return the first second after ``wall``."""
        day, time = divmod(wall, DAY)
        rank = self._times.upto(time)
        if rank < self._times.count and self._days.has(day):
            return day * DAY + self._times.at(rank)
        return self._days.after(day) * DAY + self._times.at(0)

    def previous(self, wall: int) -> int:
        """Return the last second before ``wall``."""
        day, time = divmod(wall, DAY)
        rank = self._times.upto(time - 1) if time else 0
        if rank and self._days.has(day):
            return day * DAY + self._times.at(rank - 1)
        return self._days.before(day) * DAY + self._times.at(self._times.count - 1)

    def count(self, first: int, last: int) -> int:
        """Count the seconds from ``first`` to ``last``, both included; less than a day apart."""
        return self._upto(last, first // DAY) - self._upto(first - 1, first // DAY)

    def _upto(self, wall: int, base: int) -> int:
        """Count from the beginning of the day ``base``, or of the one before, whose sum is 0."""
        day, time = divmod(wall, DAY)
        found = self._times.upto(time) if self._days.has(day) else 0
        if day == base:
            return found
        if day > base:
            return found + (self._times.count if self._days.has(base) else 0)
        return found - (self._times.count if self._days.has(day) else 0)


def _split(text: str) -> list[str]:
    word = text.strip().lower()
    shown = textwrap.shorten(text, _LINE) if text.isprintable() else repr(text[:_LINE])
    if word.startswith("@"):
        if word not in ALIASES:
            msg = f"schedule >{shown}<: no such word; known are {', '.join(ALIASES)}"
            raise BadSchedule(msg)
        word = ALIASES[word]
    fields = word.split()
    if len(fields) not in (_MOST - 1, _MOST):
        msg = (
            f"schedule >{shown}<: {len(fields)} fields; write five (minute hour day month "
            "weekday), or six with seconds last"
        )
        raise BadSchedule(msg)
    return fields


def _numbers(fields: list[str], index: int) -> list[int]:
    """Return the numbers that a field means; of day fields what croniter makes of them."""
    from croniter import croniter

    field = fields[index]
    if field.startswith(("r", "h")):
        why = "random and hashed fields would make another schedule of each start"
        raise BadSchedule(_marked(fields, index, index, why))
    alone = ["*"] * 5 + ["0"]
    alone[index] = field
    try:
        found: list[Any] = croniter.expand(" ".join(alone))[0][index]
    except (ValueError, TypeError, KeyError, IndexError) as error:
        why = f"the {_FIELDS[index]} takes {_RANGES[index]}, lists, ranges and steps"
        raise BadSchedule(_marked(fields, index, index, why)) from error
    if "*" in found:
        return list(range(24 if index == 1 else 60))
    return sorted(set(found))


def _marked(fields: list[str], first: int, last: int, why: str) -> str:
    shown = [*fields[:first], f">{' '.join(fields[first : last + 1])}<", *fields[last + 1 :]]
    return f"schedule {' '.join(shown)!r}: {why}"
