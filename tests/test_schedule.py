"""When schedules run: like Debian's cron, in every zone, around every jump of its clock."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors import zones
from callboard.actors.expression import ALIASES
from callboard.actors.schedule import Schedule
from callboard.clock import SECOND, instant, micros
from callboard.errors import BadSchedule

from .schedule_oracle import DENSE, FIXED, LAST, SECONDS, WILD, ZONES, compare, transitions

if TYPE_CHECKING:
    from pathlib import Path

HOUR = 3600 * SECOND
LORD_HOWE = "Australia/Lord_Howe"


def _runs(expression: str, tz: str, first: str, n: int) -> list[str]:
    """Return the next instants as the zone's clock shows them."""
    zone = ZoneInfo(tz)
    start = micros(datetime.fromisoformat(first).replace(tzinfo=zone))
    found = itertools.islice(Schedule(expression, tz).iterate(start), n)
    return [instant(at).astimezone(zone).strftime("%d %H:%M:%S%z") for at in found]


@pytest.mark.parametrize("name", ZONES)
def test_as_cronsim_around_transitions(name: str) -> None:
    """A sample; ``make schedules`` compares all of 2024 to 2030."""
    span, near = timedelta(hours=15), timedelta(hours=3)
    for at in transitions(name)[1::7] or [LAST - span]:
        for each in (*FIXED, *WILD, *SECONDS):
            compare(each, name, at - span, at + span)
        for each in DENSE:
            compare(each, name, at - near, at + near)


def test_a_time_of_day_in_a_gap_runs_once_at_the_first_valid_instant() -> None:
    expected = ["09 02:30:00-0500", "10 03:00:00-0400", "11 02:30:00-0400"]
    assert _runs("30 2 * * *", "America/New_York", "2024-03-08 12:00", 3) == expected
    assert _runs("10,30 2,3 * * *", "America/New_York", "2024-03-10 01:00", 2) == [
        "10 03:00:00-0400",
        "10 03:10:00-0400",
    ]
    assert _runs("0-59 2 * * *", "America/New_York", "2024-03-10 01:00", 2) == [
        "10 03:00:00-0400",
        "11 02:00:00-0400",
    ]


def test_a_time_of_day_in_a_fold_runs_once_at_the_first_pass() -> None:
    expected = ["02 01:30:00-0400", "03 01:30:00-0400", "04 01:30:00-0500"]
    assert _runs("30 1 * * *", "America/New_York", "2024-11-01 12:00", 3) == expected


def test_the_rules_for_a_time_of_day_hold_with_seconds_too() -> None:
    expected = ["03 01:30:00-0400", "03 01:30:30-0400", "04 01:30:00-0500"]
    assert _runs("30 1 * * * 0,30", "America/New_York", "2024-11-02 12:00", 3) == expected
    expected = ["10 03:00:00-0400", "11 02:30:00-0400"]
    assert _runs("30 2 * * * */20", "America/New_York", "2024-03-09 12:00", 2) == expected


def test_wildcards_run_in_both_passes_of_a_fold() -> None:
    expected = ["03 01:00:00-0400", "03 01:30:00-0400", "03 01:00:00-0500", "03 01:30:00-0500",
                "03 02:00:00-0500"]  # fmt: skip
    assert _runs("*/30 * * * *", "America/New_York", "2024-11-03 00:30", 5) == expected
    expected = ["03 01:30:00-0400", "03 01:30:00-0500"]
    assert _runs("30 */1 * * *", "America/New_York", "2024-11-03 01:00", 2) == expected


def test_wildcards_invent_nothing_after_a_gap() -> None:
    expected = ["09 02:58:00-0500", "09 02:59:00-0500", "11 02:00:00-0400"]
    assert _runs("* 2 * * *", "America/New_York", "2024-03-09 02:57", 3) == expected


def test_half_an_hour_of_summer_time() -> None:
    """Lord Howe: 02:00 becomes 02:30 in spring, 02:00 becomes 01:30 in autumn; no oracle there."""
    assert _runs("15 2 * * *", LORD_HOWE, "2024-10-05 12:00", 2) == [
        "06 02:30:00+1100",
        "07 02:15:00+1100",
    ]
    assert _runs("*/15 1-2 * * *", LORD_HOWE, "2024-10-06 01:20", 4) == [
        "06 01:30:00+1030",
        "06 01:45:00+1030",
        "06 02:30:00+1100",
        "06 02:45:00+1100",
    ]
    assert _runs("56 * * * *", LORD_HOWE, "2024-10-06 01:00", 2) == [
        "06 01:56:00+1030",
        "06 02:56:00+1100",
    ]
    assert _runs("45 1 * * *", LORD_HOWE, "2024-04-06 12:00", 2) == [
        "07 01:45:00+1100",
        "08 01:45:00+1030",
    ]
    assert _runs("*/15 1 * * *", LORD_HOWE, "2024-04-07 00:30", 6) == [
        "07 01:00:00+1100",
        "07 01:15:00+1100",
        "07 01:30:00+1100",
        "07 01:45:00+1100",
        "07 01:30:00+1030",
        "07 01:45:00+1030",
    ]


def test_a_day_that_a_zone_left_out() -> None:
    """Samoa had no 30 December 2011: a gap of a day."""
    expected = ["29 09:00:00-1000", "31 00:00:00+1400", "31 09:00:00+1400"]
    assert _runs("0 9 * * *", "Pacific/Apia", "2011-12-29 08:00", 3) == expected
    expected = ["29 21:00:00-1000", "31 00:00:00+1400"]
    assert _runs("0 */3 * * *", "Pacific/Apia", "2011-12-29 20:00", 2) == expected


def test_day_and_weekday_are_alternatives_unless_one_begins_with_a_star() -> None:
    def days(expression: str) -> list[str]:
        return [each[:2] for each in _runs(expression, "UTC", "2023-12-31 12:00", 4)]

    assert days("0 0 10 * sat") == ["06", "10", "13", "20"]
    assert days("0 0 */2 * mon") == ["01", "15", "29", "05"]
    assert days("0 0 1-31 * mon") == ["01", "02", "03", "04"]
    assert days("0 0 15 * mon#1") == ["01", "15", "05", "15"]
    assert days("0 0 15w * *") == ["15", "15", "15", "15"]
    assert days("0 0 31 2 mon") == ["05", "12", "19", "26"]


@pytest.mark.parametrize(("listed", "same"), [
    ("0 *,5 * * *", "0 * * * *"), ("*,5 3 * * *", "* 3 * * *"), ("0 0,* * * *", "0 * * * *"),
    ("0 3 * * * *,7", "0 3 * * * *"), ("0 3 *,1 * *", "0 3 * * *"),
])  # fmt: skip
def test_a_star_among_others_names_them_all(listed: str, same: str) -> None:
    found, wanted = (_runs(each, "UTC", "2026-03-28 12:00", 70) for each in (listed, same))
    assert found == wanted


@pytest.mark.parametrize(("word", "same"), ALIASES.items())
def test_words_stand_for_fields(word: str, same: str) -> None:
    assert _runs(word, "UTC", "2024-01-01 00:00", 3) == _runs(same, "UTC", "2024-01-01 00:00", 3)
    assert Schedule(word.upper()).next(0) == Schedule(same).next(0)


@pytest.mark.parametrize(
    ("expression", "marked"),
    [
        ("0 0 31 2 *", "'0 0 >31 2< *': no such day ever comes"),
        ("0 0 30,31 feb *", "'0 0 >30,31 feb< *': no such day ever comes"),
        ("61 * * * *", "'>61< * * * *': the minute takes 0-59"),
        ("0 24 * * *", "'0 >24< * * *': the hour takes 0-23"),
        ("0 0 32 * mon", "'0 0 >32< * mon': the day takes 1-31"),
        ("0 0 * foo *", "'0 0 * >foo< *': the month takes 1-12 or jan-dec"),
        ("0 0 * * mond", "'0 0 * * >mond<': the weekday takes 0-7 or sun-sat"),
        ("0 0 * * * 60", "'0 0 * * * >60<': the second takes 0-59"),
        ("*/0 * * * *", "'>*/0< * * * *': the minute takes"),
        ("1,, * * * *", "'>1,,< * * * *': the minute takes"),
        ("R * * * *", "'>r< * * * *': random and hashed fields"),
        ("0 R(0-3) * * *", "'0 >r(0-3)< * * *': random and hashed fields"),
        ("H * * * *", "'>h< * * * *': random and hashed fields"),
        ("1,R * * * *", "'>1,r< * * * *'"),
        ("0 9 fri * *", "'0 9 >fri< * *': the day takes 1-31"),
        ("\uff10 * * * *", "'>\uff10< * * * *'"),
        ("* * * *", ">* * * *<: 4 fields; write five"),
        ("0 0 1 1 * 0 2030", ">0 0 1 1 * 0 2030<: 7 fields; write five"),
        ("", "><: 0 fields; write five"),
        ("@reboot", ">@reboot<: no such word; known are @yearly"),
        ("0 9\n* *", "'0 9\\n* *'<: 4 fields"),
        ("1 " * 1000, "[...]<: 1000 fields"),
        (5, "an expression is text"),
        (None, "an expression is text"),
    ],
)
def test_what_cannot_work_is_refused_with_the_bad_field_marked(
    expression: str, marked: str
) -> None:
    with pytest.raises(BadSchedule) as caught:
        Schedule(expression)
    assert marked in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Europe/Berln", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"),
        ("Berlin", "Europe/Berlin"), ("utc", "UTC"), ("Europe", "Europe/"), ("", "Europe/"),
        ("../etc/passwd", "Europe/"), ("America/New York", "America/New_York"),
        ("Europe\nParis", "Europe/Paris"),
    ],
)  # fmt: skip
def test_an_unknown_zone_is_refused_with_the_nearest_names(name: str, nearest: str) -> None:
    with pytest.raises(BadSchedule) as caught:
        Schedule("* * * * *", name)
    assert f">{name if name.isprintable() else repr(name)}<" in str(caught.value)
    assert nearest in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("zone", [3, None, ZoneInfo("Europe/Paris")])
def test_a_zone_is_named_by_text(zone: Any) -> None:
    with pytest.raises(BadSchedule, match="a time zone is its IANA name"):
        Schedule("* * * * *", zone)


def test_zones_come_from_tzdata_where_the_system_has_none(tmp_path: Path) -> None:
    code = (
        "from callboard.actors.schedule import Schedule\n"
        "from callboard.actors.zones import fingerprint\n"
        "print(Schedule('0 9 * * *', 'Europe/Paris').next(0), fingerprint('Europe/Paris'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONTZPATH": str(tmp_path)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    at, mark = done.stdout.split()
    assert int(at) == 8 * HOUR
    assert mark


def test_the_fingerprint_follows_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = zones.fingerprint("Europe/Paris")
    assert before == zones.fingerprint("Europe/Paris") != zones.fingerprint("Europe/Rome")
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Paris").write_bytes(b"other rules")
    monkeypatch.setattr("zoneinfo.TZPATH", (str(tmp_path),))
    assert zones.fingerprint("Europe/Paris") != before
    assert not zones.fingerprint("Europe/Nowhere")


def test_croniter_is_imported_by_the_first_schedule_only() -> None:
    code = (
        "import sys, callboard, callboard.actors.schedule as s\n"
        "assert 'croniter' not in sys.modules\n"
        "s.Schedule('@daily')\n"
        "assert 'croniter' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# --- properties ----------------------------------------------------------------------------------

_minutes = st.sampled_from(
    ["*", "0", "30", "59", "*/7", "*/30", "0,45", "10-20", "5/25", "0-59", "55-5"]
)
_hours = st.sampled_from(["*", "0", "1", "2", "3", "23", "*/2", "1-3", "0-23", "22-2", "2,3"])
_days = st.sampled_from(["*", "*", "*", "1", "L", "29", "*/3", "8-14"])
_months = st.sampled_from(["*", "*", "*", "3,11", "4,10", "*/2"])
_weekdays = st.sampled_from(["*", "*", "*", "sun", "mon-fri", "0,6", "sun#1"])
_seconds = st.sampled_from(["", "", "", "0", "30", "*/20", "59"])
_expressions = st.builds(
    lambda *fields: " ".join(fields).strip(),
    _minutes, _hours, _days, _months, _weekdays, _seconds,
)  # fmt: skip
_names = st.sampled_from([*ZONES, LORD_HOWE, "Pacific/Chatham", "Asia/Beirut", "America/Santiago"])
_jumps = {name: [micros(at) for at in transitions(name)] for name in (*ZONES, LORD_HOWE)}


@st.composite
def _cases(draw: st.DrawFn) -> tuple[Schedule, str, str, int]:
    name, expression = draw(_names), draw(_expressions)
    near = draw(st.sampled_from(_jumps.get(name) or [micros(datetime(2026, 3, 1, tzinfo=UTC))]))
    at = near + draw(st.integers(-30 * HOUR, 30 * HOUR))
    return Schedule(expression, name), expression, name, at


@settings(deadline=None, max_examples=60)
@given(_cases())
def test_next_and_previous_agree(case: tuple[Schedule, str, str, int]) -> None:
    schedule, _, _, at = case
    following, last = schedule.next(at), schedule.previous(at)
    assert last < at < following
    assert schedule.previous(following) <= at
    assert schedule.next(last) >= at
    assert schedule.next(schedule.previous(following)) == following
    assert schedule.previous(schedule.next(last)) == last
    assert schedule.next(following - 1) == following
    assert schedule.previous(last + 1) == last


@settings(deadline=None, max_examples=60)
@given(_cases())
def test_instants_only_grow_and_none_is_invented(case: tuple[Schedule, str, str, int]) -> None:
    schedule, expression, name, at = case
    fixed = not any(each.startswith("*") for each in expression.split()[:2])
    zone = ZoneInfo(name)
    for found in itertools.islice(schedule.iterate(at), 12):
        assert found > at
        assert found % SECOND == 0
        at = found
        wall = instant(found).astimezone(zone)
        before = (instant(found) - timedelta(seconds=1)).astimezone(zone)
        after_a_gap = (wall.utcoffset() or timedelta()) > (before.utcoffset() or timedelta())
        if fixed and after_a_gap:
            continue  # it stands for what the gap has swallowed
        as_shown = int(wall.replace(tzinfo=UTC).timestamp()) * SECOND
        assert Schedule(expression).next(as_shown - 1) == as_shown
        assert not (fixed and wall.fold)


@settings(deadline=None, max_examples=50)
@given(_cases(), st.integers(0, 60 * HOUR))
def test_counting_is_stepping(case: tuple[Schedule, str, str, int], span: int) -> None:
    schedule, _, _, at = case
    steps = itertools.takewhile(lambda each: each <= at + span, schedule.iterate(at - 1))
    assert schedule.count(at, at + span) == sum(1 for _ in steps)


def test_counting_years_is_quick_and_exact() -> None:
    schedule = Schedule("* * * * * *", "Europe/Berlin")
    first, last = (
        micros(datetime(y, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))) for y in (2024, 2025)
    )
    assert schedule.count(first, last - 1) == (last - first) // SECOND
    daily = Schedule("30 2 * * *", "Europe/Berlin")
    assert daily.count(first, last) == 366
    assert daily.count(last, first) == 0


def test_counting_leaves_out_what_a_second_pass_repeats() -> None:
    schedule = Schedule("30 1 * * *", "America/New_York")
    first, last = (micros(datetime(2024, 11, 3, 6, m, tzinfo=UTC)) for m in (10, 50))
    assert schedule.count(first, last) == 0
    assert schedule.count(first - HOUR, last) == 1
