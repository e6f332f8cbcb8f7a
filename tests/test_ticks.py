"""What is done when a schedule's time has come: late, missed, made up for, jittered."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors.schedule import Schedule
from callboard.actors.ticks import MOST_TICKS, Agenda, Missed, ScheduleSpec, plan
from callboard.clock import SECOND

MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND


def _spec(expression: str = "@hourly", missed: Missed = "last", **options: Any) -> ScheduleSpec:
    return ScheduleSpec(
        name="job", schedule=Schedule(expression), expression=expression, tz="UTC", mailbox="job",
        missed=missed, overlap="skip", build=lambda _: [], **({"jitter": 0} | options),
    )  # fmt: skip


def test_in_time() -> None:
    done = plan(_spec(), HOUR, HOUR)
    assert (done.ticks, done.missed, done.next_at) == (((HOUR, 0),), 0, 2 * HOUR)


def test_late_until_a_minute_whatever_is_done_about_missed_ones() -> None:
    every: list[Missed] = ["last", "skip", "all"]
    for missed in every:
        late = plan(_spec(missed=missed), HOUR, HOUR + MINUTE)
        assert (late.ticks, late.missed) == (((HOUR, 0),), 0)
    over = plan(_spec(missed="skip"), HOUR, HOUR + MINUTE + 1)
    assert (over.ticks, over.missed, over.first, over.last) == ((), 1, HOUR, HOUR)
    assert over.next_at == 2 * HOUR


def test_late_until_half_the_distance_where_that_is_less() -> None:
    often = _spec("* * * * * */30", "skip")
    assert plan(often, 0, 15 * SECOND).ticks == ((0, 0),)
    assert plan(often, 0, 15 * SECOND + 1).ticks == ()


def test_last_makes_up_for_all_with_one_tick() -> None:
    done = plan(_spec(), HOUR, 5 * HOUR + 30 * MINUTE)
    assert (done.ticks, done.missed) == (((5 * HOUR, 4),), 5)
    assert (done.first, done.last, done.next_at) == (HOUR, 5 * HOUR, 6 * HOUR)
    late = plan(_spec(), HOUR, 5 * HOUR + MINUTE)
    assert (late.ticks, late.missed, late.last) == (((5 * HOUR, 4),), 4, 4 * HOUR)


def test_skip_leaves_out_the_missed_and_ticks_the_late() -> None:
    assert plan(_spec(missed="skip"), HOUR, 5 * HOUR + 30 * MINUTE).ticks == ()
    late = plan(_spec(missed="skip"), HOUR, 5 * HOUR + MINUTE)
    assert (late.ticks, late.missed) == (((5 * HOUR, 0),), 4)


def test_all_makes_up_for_each_and_for_the_newest_hundred_at_most() -> None:
    few = plan(_spec(missed="all"), HOUR, 3 * HOUR + 30 * MINUTE)
    assert few.ticks == ((HOUR, 0), (2 * HOUR, 0), (3 * HOUR, 0))
    many = plan(_spec(missed="all"), HOUR, 250 * HOUR)
    assert len(many.ticks) == MOST_TICKS
    assert many.ticks[0] == (151 * HOUR, 150)
    assert many.ticks[-1] == (250 * HOUR, 0)
    assert [at for at, _ in many.ticks] == [n * HOUR for n in range(151, 251)]


def test_an_instant_that_is_none_of_the_schedule_ticks_once() -> None:
    """New zone data may leave one behind."""
    done = plan(_spec(), HOUR + 7, HOUR + 8)
    assert (done.ticks, done.next_at) == (((HOUR + 7, 0),), 2 * HOUR)


@settings(deadline=None)
@given(
    st.sampled_from(["@hourly", "*/7 * * * *", "0 9 * * mon-fri"]),
    st.sampled_from(["last", "skip", "all"]),
    st.integers(0, 40 * HOUR),
    st.integers(0, 20 * MINUTE),
)
def test_nothing_is_ticked_early_or_passed_over_in_silence(
    expression: str, missed: Missed, waited: int, jitter: int
) -> None:
    spec = _spec(expression, missed, jitter=jitter)
    first = spec.schedule.next(DAY)
    now = spec.fires(first) + waited
    done = plan(spec, first, now)
    instants = [at for at, _ in done.ticks]
    assert instants == sorted(set(instants))
    assert all(first <= at and spec.fires(at) <= now for at in instants)
    assert done.next_at > max(instants, default=first)
    assert spec.schedule.previous(done.next_at) >= max(instants, default=first)
    passed = spec.schedule.count(first, done.next_at - 1)
    made_up = len(instants) + sum(count for _, count in done.ticks)
    assert made_up == passed or (missed == "skip" and made_up + done.missed == passed)


def test_jitter_is_bounded_spread_and_the_same_everywhere() -> None:
    spec = _spec(jitter=30 * SECOND)
    drawn = {spec.fires(n * HOUR) - n * HOUR for n in range(500)}
    assert 0 <= min(drawn) < 2 * SECOND
    assert 28 * SECOND < max(drawn) <= 30 * SECOND
    assert len(drawn) > 450
    assert spec.fires(HOUR) == _spec("@daily", jitter=30 * SECOND).fires(HOUR)
    assert _spec().fires(HOUR) == HOUR


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | st.integers(0, 50)), max_size=40))
def test_the_agenda_gives_each_name_once_at_its_last_instant(
    puts: list[tuple[str, int | None]],
) -> None:
    agenda, model = Agenda(), dict[str, int]()
    for name, at in puts:
        agenda.put(name, at)
        model.pop(name, None)
        if at is not None:
            model[name] = at
        assert agenda.next == min(model.values(), default=None)
    due = agenda.pop(25)
    assert sorted(due) == sorted(name for name, at in model.items() if at <= 25)
    assert [model[name] for name in due] == sorted(model[name] for name in due)
    assert agenda.pop(25) == []
    assert len(agenda.pop(50)) == len(model) - len(due)


def test_the_agenda_does_not_grow_with_changes() -> None:
    agenda = Agenda()
    for at in range(10_000):
        agenda.put("a", at)
    assert len(agenda._heap) < 100
    assert agenda.next == 9_999
