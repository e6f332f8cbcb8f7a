"""Times as people write them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.errors import ConfigError
from callboard.repl.times import moment, relative, shown, span

#: A Wednesday.
NOW = datetime(2026, 3, 25, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("now", "2026-03-25T12:30:00Z"),
        ("5m", "2026-03-25T12:35:00Z"),
        ("in 1h 30m", "2026-03-25T14:00:00Z"),
        ("1h 30m ago", "2026-03-25T11:00:00Z"),
        ("2030-01-31T09:00+01:00", "2030-01-31T08:00:00Z"),
        ("2030-01-31T09:00Z", "2030-01-31T09:00:00Z"),
        ("today 18:00 UTC", "2026-03-25T18:00:00Z"),
        ("tomorrow 09:00 Europe/Berlin", "2026-03-26T08:00:00Z"),
        ("9:00 Europe/Berlin", "2026-03-26T08:00:00Z"),  # has been today
        ("18:15:30 UTC", "2026-03-25T18:15:30Z"),
        ("fri 9:00 Asia/Tokyo", "2026-03-27T00:00:00Z"),
        ("Wednesday 09:00 UTC", "2026-04-01T09:00:00Z"),  # the next, not today
        ("tomorrow UTC", "2026-03-26T00:00:00Z"),
        ("2030-07-31 09:00 Europe/Berlin", "2030-07-31T07:00:00Z"),
        ("2026-10-25 02:30 Europe/Berlin", "2026-10-25T00:30:00Z"),  # twice: the first
    ],
)
def test_a_time_is_read_as_people_write_it(text: str, at: str) -> None:
    assert moment(text, now=NOW) == datetime.fromisoformat(at)


def test_without_a_zone_the_machines_own_is_meant() -> None:
    there = NOW.astimezone() + timedelta(days=1)
    assert moment("tomorrow 18:00", now=NOW) == there.replace(hour=18, minute=0)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("soon", "is no time"),
        ("", "is no time"),
        ("25:00", "hour must be in"),
        ("tomorrow tomorrow 9:00", "is no time"),
        ("9:00 Europe/Berlln", "there is no time zone"),
        ("2026-03-29 02:30 Europe/Berlin", "put forward"),
        ("0001-01-01 00:00 Asia/Tokyo", "out of range"),
    ],
)
def test_what_is_no_time_is_refused_in_one_line(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        moment(text, now=NOW)
    assert "\n" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from("0123456789:-TZ+ nowtmrafisundy/Europ")) | st.text())
def test_any_text_is_a_time_or_refused(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert moment(text, now=NOW).tzinfo is UTC


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "now"), (240, "in 4m"), (-7500, "2h 5m ago"), (86_400 * 3 + 3600, "in 3d 1h"),
     (59, "in 59s"), (86_400 * 7, "in 1w")],
)  # fmt: skip
def test_a_distance_is_told_in_its_largest_units(seconds: int, text: str) -> None:
    assert relative(NOW + timedelta(seconds=seconds), now=NOW) == text


def test_an_instant_is_shown_as_iso_and_how_far_away_it_is() -> None:
    assert shown(NOW + timedelta(minutes=4), now=NOW) == "2026-03-25 12:34:00Z (in 4m)"
    assert span(0.25) == "0.2s"
