"""Time: durations as people write them, and clocks that wait in slices."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.clock import (
    LATEST,
    SECOND,
    SLICE,
    ManualClock,
    SystemClock,
    duration,
    instant,
    micros,
    monotonic,
)

UNITS = {"us": 1, "ms": 1_000, "s": SECOND, "m": 60 * SECOND, "min": 60 * SECOND,
         "h": 3_600 * SECOND, "d": 86_400 * SECOND, "w": 604_800 * SECOND}  # fmt: skip
PARTS = st.tuples(st.integers(0, 10_000), st.sampled_from(sorted(UNITS)))


@given(st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(["", " ", "  "]))
def test_a_duration_s_text_means_the_sum_of_its_parts(
    parts: list[tuple[int, str]], between: str
) -> None:
    text = between.join(f"{number}{between}{unit}" for number, unit in parts)
    assert duration(text) == sum(number * UNITS[unit] for number, unit in parts)
    assert duration(f"  {text} ") == duration(text)


@given(st.integers(0, 10**9))
def test_round_numbers_stay_round(number: int) -> None:
    assert duration(number) == duration(f"{number}s") == number * SECOND
    assert duration(timedelta(seconds=number)) == number * SECOND
    assert duration(f"{number}.5s") == number * SECOND + SECOND // 2


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("30min", 1800), ("24h", 86_400), ("7d", 604_800),
     ("1h 30m", 5400), ("1h30m", 5400), ("0.1s", 0.1), ("1.5h", 5400), ("250ms", 0.25)],
)  # fmt: skip
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert duration(text) == round(seconds * SECOND)


@pytest.mark.parametrize(
    "value",
    ["", "  ", "5", "s", "5x", "-5s", "5s-", "1h,30m", "1,5h", ".5s", "5 s now", "five minutes",
     "1e3s", "1M", None, True, False, b"5s", [5], object(),
     float("nan"), float("inf"), float("-inf"), -1, -0.5, timedelta(seconds=-1)],
)  # fmt: skip
def test_what_is_no_duration_is_refused_in_one_line(value: object) -> None:
    with pytest.raises(ValueError, match="a duration ") as caught:
        duration(value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=12))
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        found = duration(text)
    except ValueError as error:
        assert "a duration reads like" in str(error)  # noqa: PT017
    else:
        assert found >= 0


def test_only_a_clock_may_be_moved_back() -> None:
    assert duration(-1.5, negative=True) == -1_500_000
    assert duration(timedelta(seconds=-2), negative=True) == -2 * SECOND


@given(st.integers(-62_135_000_000 * SECOND, LATEST - 86_400 * SECOND))
def test_an_instant_and_its_microseconds_are_the_same(at: int) -> None:
    assert micros(instant(at)) == at
    assert micros(instant(at).astimezone(timezone(timedelta(hours=5, minutes=30)))) == at


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        micros(datetime(2024, 1, 1))  # noqa: DTZ001


def test_a_manual_clock_stands_until_it_is_moved() -> None:
    start = datetime(2030, 6, 1, 12, tzinfo=UTC)
    clock = ManualClock(start)
    assert clock.now() == clock.now() == micros(start)
    assert ManualClock().now() == micros(datetime(2024, 1, 1, tzinfo=UTC))
    clock.shift("1h 30m")
    assert instant(clock.now()) == start + timedelta(minutes=90)
    clock.shift(-60)
    assert instant(clock.now()) == start + timedelta(minutes=89)
    clock.set(start)
    assert clock.now() == micros(start)
    clock.set(5)
    assert clock.now() == 5


def test_a_manual_clock_tells_each_move_to_those_who_still_listen() -> None:
    clock = ManualClock()
    told: list[tuple[str, int]] = []
    off = clock.on_change(lambda: told.append(("one", clock.now())))
    clock.on_change(lambda: told.append(("two", clock.now())))
    clock.set(1)
    off()
    off()
    clock.set(2)
    assert told == [("one", 1), ("two", 1), ("two", 2)]


def test_a_manual_clock_waits_for_its_mover() -> None:
    clock = ManualClock()
    assert clock.slice(None) is None
    assert clock.slice(clock.now() + 1) is None
    assert clock.slice(clock.now()) == clock.slice(clock.now() - SECOND) == 0.0


@given(st.integers(-LATEST, LATEST))
def test_the_system_clock_waits_a_second_at_most(deadline: int) -> None:
    wait = SystemClock().slice(deadline)
    assert wait is not None
    assert 0.0 <= wait <= SLICE == 1.0


def test_the_system_clock_is_the_machine_s() -> None:
    clock = SystemClock()
    assert clock.slice(None) is None
    assert clock.slice(clock.now() - 1) == 0.0
    soon = clock.slice(clock.now() + SECOND // 2)
    assert soon is not None
    assert 0.0 < soon <= 0.5
    assert instant(clock.now()).year >= 2024
    clock.on_change(pytest.fail)()
    assert monotonic() <= monotonic()
