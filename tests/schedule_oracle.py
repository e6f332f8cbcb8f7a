"""Schedules beside cronsim, which does as Debian's cron does; run it for the whole of 2024 to 2030.

cronsim gives the rule for times of day to expressions of five fields only, so those with seconds
are compared where minutes or hours are wildcards.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from cronsim import CronSim

from callboard.actors.schedule import Schedule
from callboard.clock import instant, micros

if TYPE_CHECKING:
    from collections.abc import Iterator

ZONES = (
    "America/New_York", "Europe/Berlin", "Europe/Dublin", "Australia/Sydney", "Asia/Kolkata",
    "America/Sao_Paulo", "Africa/Casablanca", "UTC",
)  # fmt: skip
FIRST, LAST = datetime(2024, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
#: Times of day, some of them in every gap and fold of these zones.
FIXED = (
    "0 0 * * *", "30 0 * * *", "30 1 * * *", "59 1 * * *", "0 2 * * *", "15,45 2 * * *",
    "30 2 * * *", "0-59 2 * * *", "0 3 * * *", "30 1-3 * * *", "0-59/20 1,2,3 * * *",
    "30 0-23/2 * * *", "5 4 * * sun", "0 9 * * mon-fri", "0 0 1 * *", "0 12 15 * fri",
    "30 2 */2 * *", "30 2 */7 * sun", "0 9 1-7 * mon#1", "0 18 L * *", "0 6 29 2 *",
    "45 23 31 * *", "0 0 1 1,7 *", "30 2 * mar,nov sun", "0 22 * * fri#2", "0 1 30 * */3",
)  # fmt: skip
WILD = (
    "*/30 * * * *", "0 * * * *", "30 * * * *", "* 2 * * *", "*/20 1-3 * * *", "7,37 */2 * * *",
    "*/15 0 * * *", "*/45 2 1-7 * sun", "0 */6 * * *", "17 * 1 * *", "* 1 * * sun",
    "10 */3 29 2 *", "*/10 9-17 * * mon-fri", "50 */1 */5 * *", "*/59 * L * *",
)  # fmt: skip
SECONDS = ("0 */6 * * * 30", "*/30 2 * * * 0,59", "* 3 * * sun 15", "59 * 1 * * */20")
#: Too many to compare day by day for years, but good around a transition.
DENSE = ("* * * * *", "*/7 * * * *", "* * * * * */30")


def transitions(name: str) -> list[datetime]:
    """Return when a zone's clock jumps from 2024 to 2030, to the second."""
    tz, found, at = ZoneInfo(name), [], FIRST
    while at < LAST:
        step = at + timedelta(hours=6)
        if at.astimezone(tz).utcoffset() != step.astimezone(tz).utcoffset():
            low, high = at, step
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                before = middle.astimezone(tz).utcoffset() == at.astimezone(tz).utcoffset()
                low, high = (middle, high) if before else (low, middle)
            found.append(high.replace(microsecond=0))
        at = step
    return found


def expected(expression: str, name: str, first: datetime, last: datetime) -> Iterator[datetime]:
    """Return what cronsim says of the time after ``first`` and up to ``last``."""
    fields = expression.split()
    if len(fields) > 5:
        expression = " ".join([fields[5], *fields[:5]])  # it has seconds first
    zone = UTC if name == "UTC" else ZoneInfo(name)
    for each in CronSim(expression, first.astimezone(zone)):
        at = each.astimezone(UTC)
        if at > last:
            return
        if at > first:
            yield at


@lru_cache(256)
def _schedule(expression: str, name: str) -> Schedule:
    return Schedule(expression, name)


def compare(expression: str, name: str, first: datetime, last: datetime) -> int:
    """Step through a span beside cronsim; returns how many instants were compared."""
    schedule, at, count = _schedule(expression, name), micros(first), 0
    for each in expected(expression, name, first, last):
        at = schedule.next(at)
        assert at == micros(each), (
            f"{expression} in {name}: {instant(at).isoformat()}, cronsim {each.isoformat()}"
        )
        count += 1
    assert schedule.next(at) > micros(last)
    return count


def main() -> None:
    """Compare the whole of 2024 to 2030; the dense ones around each transition."""
    total = 0
    for name in ZONES:
        count = sum(compare(each, name, FIRST, LAST) for each in (*FIXED, *WILD, *SECONDS))
        for at in transitions(name):
            span = timedelta(days=2)
            count += sum(compare(each, name, at - span, at + span) for each in DENSE)
        print(f"{name}: {count:,} instants agree", flush=True)  # noqa: T201  (a program of its own)
        total += count
    expressions = len(FIXED) + len(WILD) + len(SECONDS) + len(DENSE)
    print(f"{total:,} instants of {expressions} expressions in {len(ZONES)} zones agree")  # noqa: T201


if __name__ == "__main__":
    main()
