"""Schedules of a runtime: each instant ticks once, and none is passed over in silence."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from callboard import (
    BadSchedule,
    ConfigError,
    Context,
    Event,
    MailboxNotFound,
    ManualClock,
    MessageError,
    RetryPolicy,
    Runtime,
    ScheduleInfo,
    Tick,
)
from callboard.actors.cell import Wake
from callboard.clock import SECOND, micros
from callboard.errors import StoreBusy, StoreFull
from callboard.persistence.store import ScheduleRow
from callboard.runtime.testing import Board

HOUR = 3600 * SECOND
START = datetime(2024, 1, 1, tzinfo=UTC)
PATIENCE = 20.0


@pytest.fixture
def said(board: Board) -> list[Event]:
    events: list[Event] = []
    board.rt.events.subscribe(events.append, "schedule.")
    return events


def reopened(board: Board, declare: Callable[[Runtime], object] = lambda _: None) -> Board:
    """Stop, and return another process's board on the same store and clock."""
    board.stop()
    other = Board(Runtime(board.rt._config.path, clock=board.clock))
    declare(other.rt)
    return other


def names(said: list[Event]) -> list[str]:
    return [event.name.removeprefix("schedule.") for event in said]


def hours(ticks: list[Tick]) -> list[int]:
    return [(micros(tick.at) - micros(START)) // HOUR for tick in ticks]


# --- declaring -----------------------------------------------------------------------------------


def test_a_function_runs_when_its_time_has_come(board: Board) -> None:
    seen: list[str] = []

    @board.rt.cron("0 9 * * mon-fri", tz="Europe/Paris")
    def standup() -> None:
        seen.append(board.now.isoformat())

    assert standup.__name__ == "standup"
    board.start()
    board.advance("7d")
    assert seen == [f"2024-01-0{day}T08:00:00+00:00" for day in (1, 2, 3, 4, 5)]


def test_a_function_may_take_the_tick_and_the_context(board: Board) -> None:
    seen: list[Any] = []

    @board.rt.cron("@hourly")
    def plain(tick):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        seen.append(tick)

    @board.rt.cron("30 * * * *", name="with context")
    async def both(tick: Tick, context: Context) -> None:
        seen.append((tick, context.mailbox))

    board.start()
    board.advance("1h")
    assert seen == [
        (Tick("with context", datetime(2024, 1, 1, 0, 30, tzinfo=UTC)), "with context"),
        Tick("plain", datetime(2024, 1, 1, 1, tzinfo=UTC)),
    ]


def test_by_a_call_it_tells_a_mailbox_a_message_of_its_own(board: Board) -> None:
    seen: list[object] = []
    board.rt.mailbox("clean", seen.append)
    assert board.rt.cron("@hourly", to="clean") == "clean"
    assert board.rt.cron("@daily", name="deep", to="clean", message={"deep": True}) == "deep"
    board.start()
    board.advance("24h")
    assert len(seen) == 25
    assert {"deep": True} in seen


def test_it_may_tell_one_actor_of_a_keyed_mailbox(board: Board) -> None:
    seen: list[str | None] = []

    @board.rt.mailbox("shops", keyed=True)
    def shop(tick: Tick, context: Context) -> None:
        seen.append(context.key)

    with pytest.raises(ConfigError, match="say for which actor its ticks are"):
        board.rt.cron("@hourly", to=shop)
    board.rt.cron("@hourly", to=board.rt.ref(shop, "paris"))
    board.start()
    board.advance("1h")
    assert seen == ["paris"]


def test_declared_after_the_start_it_ticks_too(board: Board) -> None:
    seen: list[Tick] = []
    board.start()
    board.rt.cron("@hourly", name="late")(seen.append)
    board.advance("2h")
    assert hours(seen) == [1, 2]


def test_its_function_is_tried_again_as_declared(board: Board) -> None:
    seen: list[int] = []

    @board.rt.cron("@hourly", retry=RetryPolicy(attempts=2, delay=5.0, jitter=0.0))
    def fails(tick: Tick, context: Context) -> None:
        seen.append(context.attempt)
        raise ValueError

    board.start()
    board.advance("61m")
    assert seen == [1, 2]
    assert [letter.kind for letter in board.rt.dead()] == ["callboard.tick"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"expression": "61 * * * *"}, BadSchedule),
        ({"expression": "0 0 31 2 *"}, BadSchedule),
        ({"expression": "R * * * *"}, BadSchedule),
        ({"tz": "Europe/Nowhere"}, BadSchedule),
        ({"missed": "never"}, ConfigError),
        ({"overlap": "maybe"}, ConfigError),
        ({"jitter": -1}, ConfigError),
        ({"jitter": "soon"}, ConfigError),
        ({"jitter": "1h"}, ConfigError),
        ({"jitter": 60, "expression": "0,1 9 * * mon"}, ConfigError),
        ({"name": ""}, ConfigError),
        ({"to": "numbers"}, MessageError),
        ({"to": "numbers", "message": "three"}, MessageError),
        ({"to": "numbers", "message": 3, "timeout": 5.0}, ConfigError),
        ({"to": "numbers", "message": 3, "retry": RetryPolicy()}, ConfigError),
        ({"to": "numbers", "message": 3, "name": "taken"}, ConfigError),
    ],
    ids=str,
)
def test_what_cannot_work_is_refused_where_it_is_declared(
    board: Board, options: dict[str, Any], error: type[Exception]
) -> None:
    @board.rt.mailbox("numbers")
    def numbers(n: int) -> None: ...

    board.rt.cron("@daily", to="elsewhere", name="taken")
    with pytest.raises(error):
        declare(board.rt, options)
    assert [info.name for info in board.rt.schedules()] == []


def declare(rt: Runtime, options: dict[str, Any]) -> None:
    made = rt.cron(**({"expression": "@hourly"} | options))
    if callable(made):
        made(lambda: None)


@pytest.mark.parametrize(
    ("options", "message", "error"),
    [({}, None, MessageError), ({"keyed": True}, 3, ConfigError)],
    ids=["message", "key"],
)
def test_a_mailbox_that_is_declared_later_is_checked_at_the_start(
    board: Board, options: Any, message: Any, error: type[Exception]
) -> None:
    board.rt.cron("@hourly", to="numbers", message=message)

    def numbers(n: int) -> None: ...

    board.rt.mailbox("numbers", numbers, **options)
    with pytest.raises(error, match="'numbers'"):
        board.start()
    assert board.rt.role == "client"


def test_a_bad_expression_is_refused_before_it_decorates(board: Board) -> None:
    with pytest.raises(BadSchedule):
        board.rt.cron("* * * *")


def test_two_schedules_of_one_name_are_refused(board: Board) -> None:
    board.rt.cron("@hourly", name="job")(lambda: None)
    with pytest.raises(ConfigError, match="declared already: choose another name"):
        board.rt.cron("@daily", name="job")(lambda: None)


# --- ticking once --------------------------------------------------------------------------------


def test_a_crash_ticks_nothing_twice_and_leaves_nothing_out(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    for _ in range(5):
        board.advance("1h")
        board.crash()
        board.settle()
    assert hours(seen) == [1, 2, 3, 4, 5]


def test_a_clock_set_back_ticks_nothing_twice(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.advance("2h")
    board.clock.shift(-3600)
    board.settle()
    board.advance("3h")
    assert hours(seen) == [1, 2, 3, 4]


def test_a_clock_set_forward_makes_up_for_what_it_jumped_over(
    board: Board, said: list[Event]
) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.settle()
    board.clock.shift("5h 30m")
    board.settle()
    assert hours(seen) == [5]
    assert seen[0].missed == 4
    assert names(said) == ["declared", "missed", "ticked"]


def test_a_stale_owner_ticks_nothing(board: Board, said: list[Event]) -> None:
    """Somebody else has moved the schedule on: the compare-and-set finds it."""
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.settle()
    store = board.rt._store

    def moved(rows: list[ScheduleRow]) -> list[ScheduleRow]:
        row = rows[0]
        return [ScheduleRow(**{each: getattr(row, each) for each in row.__struct_fields__}
                            | {"next_at": micros(START) + 2 * HOUR})]  # fmt: skip

    store.declare_schedules(moved)
    board.advance("1h")
    assert seen == []
    board.advance("1h")
    assert hours(seen) == [2]
    assert names(said) == ["declared", "ticked"]


def test_a_store_that_refuses_loses_no_tick(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.settle()
    store, left = board.rt._store, [1, 2, 3]
    write = store.write

    def full(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()
            msg = "no room"
            raise StoreFull(msg)
        return write(*args, **options)

    monkeypatch.setattr(store, "write", full)
    board.advance("1h")
    assert hours(seen) == [1]
    assert not left


def test_a_schedule_whose_actor_crashes_goes_on(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.settle()
    engine = board.rt._host.engine
    assert engine is not None
    tick, left = engine.schedules._tick, [1]

    def broken(*args: Any) -> None:
        if left:
            left.pop()
            msg = "broken"
            raise RuntimeError(msg)
        tick(*args)

    monkeypatch.setattr(engine.schedules, "_tick", broken)
    board.advance("1h 1s")
    assert not left
    assert hours(seen) == [1]


def test_nothing_ticks_once_the_runtime_stops(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job", missed="skip")(seen.append)
    board.start()
    board.settle()
    board.stop()
    board.clock.shift("1h")
    assert seen == []
    board.start()
    board.settle()
    assert hours(seen) == [1]  # late, and therefore not missed


def test_nothing_ticks_while_handlers_are_waited_for(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, shutting = threading.Event(), threading.Event(), threading.Event()

    def slow(n: int) -> None:
        begun.set()
        assert go_on.wait(PATIENCE)

    board.rt.mailbox("slow", slow)
    board.rt.cron("@hourly", to="job", name="job")
    board.rt.mailbox("job", lambda _: None)
    board.start()
    board.settle()
    board.rt.tell("slow", 1)
    assert begun.wait(PATIENCE)
    engine = board.rt._host.engine
    assert engine is not None
    shut = engine.shut

    def closes() -> None:
        shut()
        shutting.set()

    monkeypatch.setattr(engine, "shut", closes)
    stopping = threading.Thread(target=board.rt.stop)
    stopping.start()
    assert shutting.wait(PATIENCE)
    board.clock.shift("1h")
    engine.schedules.post(Wake())
    engine.environment.driver.drain()
    go_on.set()
    stopping.join()
    assert board.rt.peek("job") == []
    assert board.rt.schedules()[0].last_at is None


def test_a_store_that_cannot_be_read_skips_no_tick(
    board: Board, said: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.settle()
    sender, left = board.rt._sender, [1]
    operations = sender.operations

    def busy(*args: Any, **options: Any) -> Any:
        if left:
            left.pop()
            msg = "the write lock is held"
            raise StoreBusy(msg)
        return operations(*args, **options)

    monkeypatch.setattr(sender, "operations", busy)
    board.advance("1h 1s")
    assert not left
    assert hours(seen) == [1]
    assert names(said) == ["declared", "ticked"]


# --- missed --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("missed", "ticks", "told"),
    [("last", [(4, 3)], 1), ("skip", [], 0), ("all", [(1, 0), (2, 0), (3, 0), (4, 0)], 4)],
)
def test_what_was_missed_is_made_up_for_as_declared(
    board: Board, said: list[Event], missed: Any, ticks: list[tuple[int, int]], told: int
) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job", missed=missed)(seen.append)
    board.start()
    board.stop()
    board.clock.shift("4h 30m")
    board.start()
    board.settle()
    assert [(hour, tick.missed) for hour, tick in zip(hours(seen), seen, strict=True)] == ticks
    event = next(each for each in said if each.name == "schedule.missed")
    first, last = micros(START) + HOUR, micros(START) + 4 * HOUR
    assert (event["count"], event["first"], event["last"], event["ticks"]) == (4, first, last, told)
    seen.clear()
    board.advance("30m")
    assert hours(seen) == [5]


def test_all_makes_up_for_a_hundred_at_most(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job", missed="all")(seen.append)
    board.start()
    board.stop()
    board.clock.shift("250h")
    board.start()
    board.settle()
    assert hours(seen) == [*range(151, 251)]
    assert (seen[0].missed, seen[1].missed) == (150, 0)


def test_a_late_tick_runs_even_where_missed_ones_are_skipped(
    board: Board, said: list[Event]
) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job", missed="skip")(seen.append)
    board.start()
    board.stop()
    board.clock.shift("1h 1m")
    board.start()
    board.settle()
    assert hours(seen) == [1]
    assert "missed" not in names(said)


# --- overlap -------------------------------------------------------------------------------------


def test_no_tick_while_the_last_one_waits(board: Board, said: list[Event]) -> None:
    seen: list[Tick] = []
    board.rt.mailbox("job", seen.append)
    board.rt.cron("@hourly", to="job")
    board.rt.cron("@hourly", to="job", name="free", overlap="allow")
    board.rt._looking.pause("job", paused=True)  # the mailbox alone
    board.start()
    board.advance("3h")
    told = [event["schedule"] for event in said if event.name == "schedule.ticked"]
    assert (told.count("job"), told.count("free")) == (1, 3)
    skipped = [event for event in said if event.name == "schedule.skipped"]
    assert [event["at"] for event in skipped] == [micros(START) + n * HOUR for n in (2, 3)]
    waits = next(e["id"] for e in said if e.name == "schedule.ticked" and e["schedule"] == "job")
    assert [e["reason"] for e in skipped] == [f"message {waits} of its last tick waits"] * 2
    board.rt.resume("job")
    board.settle()
    board.advance("1h")
    assert hours([tick for tick in seen if tick.schedule == "job"]) == [1, 4]


def test_no_tick_while_the_last_one_runs_or_is_to_be_tried_again(board: Board) -> None:
    seen: list[int] = []

    @board.rt.cron("@hourly", retry=RetryPolicy(attempts=3, delay=5400.0, factor=1.0, limit=5400.0,
                                                jitter=0.0))  # fmt: skip
    def fails(tick: Tick) -> None:
        seen.append(hours([tick])[0])
        raise ValueError

    board.start()
    board.advance("5h")
    # At 1:00, 2:30 and 4:00; then it is dead, and 5:00 ticks.
    assert seen == [1, 1, 1, 5]


def test_a_cancelled_message_lets_the_next_tick_come(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.mailbox("job", seen.append)
    board.rt.cron("@hourly", to="job")
    board.rt._looking.pause("job", paused=True)
    board.start()
    board.advance("1h")
    waiting = board.rt.peek("job")[0]
    assert board.rt.cancel("job", waiting.id)
    board.advance("1h")
    assert [info.id for info in board.rt.peek("job")] != [waiting.id]
    assert len(board.rt.peek("job")) == 1


def test_a_tick_that_cannot_be_told_is_skipped_and_said(board: Board, said: list[Event]) -> None:
    seen: list[int] = []

    @board.rt.mailbox("small", capacity=1)
    def small(n: int) -> None:
        seen.append(n)

    board.rt.cron("@hourly", to="small", message=7, overlap="allow", name="job")
    board.rt.cron("@hourly", to="nowhere", name="lost")
    board.rt._looking.pause("small", paused=True)
    board.start()
    board.advance("2h")
    skipped = [(event["schedule"], event["reason"]) for event in said
               if event.name == "schedule.skipped"]  # fmt: skip
    assert sorted(name for name, _ in skipped) == ["job", "lost", "lost"]
    assert "no mailbox 'nowhere'" in dict(skipped)["lost"]
    assert "takes 1 waiting" in dict(skipped)["job"]
    board.rt.resume("small")
    board.settle()
    board.advance("1h")
    assert seen == [7, 7]


# --- changes -------------------------------------------------------------------------------------


def test_a_changed_expression_is_reckoned_from_now(board: Board, said: list[Event]) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.advance("1h")
    board.stop()
    board.clock.shift("10h")
    other = reopened(board, lambda rt: rt.cron("30 * * * *", name="job")(seen.append))
    events: list[Event] = []
    other.rt.events.subscribe(events.append, "schedule.")
    with other:
        other.settle()
        assert hours(seen) == [1]
        assert names(events) == ["changed", "declared"]
        assert events[0]["was"] == micros(START) + 2 * HOUR
        other.advance("30m")
        assert len(seen) == 2


def test_a_changed_zone_is_reckoned_from_now(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("0 9 * * *", name="job", tz="Asia/Tokyo")(seen.append)
    board.start()
    other = reopened(board, lambda rt: rt.cron("0 9 * * *", name="job", tz="America/New_York")(
        seen.append))  # fmt: skip
    with other:
        other.advance("24h")
    assert hours(seen) == [14]


def test_new_zone_data_is_reckoned_from_now_where_it_matters(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint has changed; what is waited for, 9:00 in Paris, is right by both."""
    seen: list[Tick] = []
    board.rt.cron("0 9 * * *", name="job", tz="Europe/Paris")(seen.append)
    board.rt.cron("0 9 * * *", name="wrong", tz="Europe/Paris")(seen.append)
    board.start()
    board.stop()

    def older(rows: list[ScheduleRow]) -> list[ScheduleRow]:
        return [ScheduleRow(**{each: getattr(row, each) for each in row.__struct_fields__}
                            | {"zone": "older", "next_at": (row.next_at or 0)
                               - (HOUR if row.name == "wrong" else 0)})
                for row in rows]  # fmt: skip

    board.rt._store.declare_schedules(older)
    board.clock.shift("10h")  # both were missed
    board.start()
    board.settle()
    assert [(tick.schedule, hours([tick])) for tick in seen] == [("job", [8])]
    board.advance("24h")
    assert sorted(tick.schedule for tick in seen) == ["job", "job", "wrong"]


def test_no_longer_declared_it_is_kept_shown_and_stopped(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.start()
    board.advance("1h")
    other = reopened(board)
    events: list[Event] = []
    other.rt.events.subscribe(events.append, "schedule.")
    with other:
        other.advance("5h")
        assert [(s.name, s.next_at, s.last_at) for s in other.rt.schedules()] == [
            ("job", None, datetime(2024, 1, 1, 1, tzinfo=UTC))
        ]
        other.rt.events.flush(PATIENCE)
    assert names(events) == ["stopped"]
    assert hours(seen) == [1]
    again = reopened(other, lambda rt: rt.cron("@hourly", name="job")(seen.append))
    with again:
        again.settle()
        assert hours(seen) == [1, 6]
        assert again.rt.schedules()[0].next_at == datetime(2024, 1, 1, 7, tzinfo=UTC)


# --- pausing and looking -------------------------------------------------------------------------


def test_a_pause_is_durable_and_what_it_left_out_is_not_made_up_for(
    board: Board, said: list[Event]
) -> None:
    seen: list[Tick] = []
    board.rt.mailbox("job", seen.append)
    board.rt.cron("@hourly", to="job", name="often", missed="all")
    board.start()
    board.advance("1h")
    board.rt.pause("often")
    board.settle()
    assert board.rt.schedules()[0] == ScheduleInfo(
        "often", "@hourly", "UTC", "job", None, datetime(2024, 1, 1, 1, tzinfo=UTC), paused=True
    )
    board.advance("2h")
    board.crash()
    board.advance("2h")
    assert hours(seen) == [1]
    client = Runtime(board.rt._config.path, clock=board.clock)
    seen_by_owner = threading.Event()
    board.rt.events.subscribe(lambda _: seen_by_owner.set(), "schedule.resumed")
    client.resume("often")
    client.resume("often")
    client.stop()
    assert seen_by_owner.wait(PATIENCE)
    board.advance("1h")
    assert hours(seen) == [1, 6]
    assert [name for name in names(said) if name in ("paused", "resumed", "missed")] == [
        "paused", "resumed",
    ]  # fmt: skip


def test_a_client_resumes_and_pauses_without_an_owner(board: Board) -> None:
    seen: list[Tick] = []
    board.rt.cron("@hourly", name="job")(seen.append)
    board.rt.pause("job")  # before the first start
    board.start()
    board.advance("2h")
    board.stop()
    assert seen == []
    board.rt.resume("job")
    board.clock.shift("2h")
    board.start()
    board.settle()
    assert hours(seen) == [4]
    assert seen[0].missed == 1  # while nobody owned the store, and after the pause


def test_a_function_is_paused_with_its_schedule(board: Board) -> None:
    seen: list[Tick] = []

    @board.rt.cron("@hourly")
    def job(tick: Tick) -> None:
        seen.append(tick)

    board.start()
    board.rt.pause(job)
    board.rt.tell("job", Tick("by hand", START))
    board.advance("2h")
    assert seen == []
    assert board.rt.mailboxes()[0].waiting == 1
    board.rt.resume(job)
    board.settle()
    assert [tick.schedule for tick in seen] == ["by hand"]
    board.advance("1h")
    assert hours(seen)[1:] == [3]


def test_what_has_neither_mailbox_nor_schedule_cannot_be_paused(board: Board) -> None:
    with pytest.raises(MailboxNotFound):
        board.rt.pause("nothing")


def test_owner_client_and_offline_see_the_same(board: Board, tmp_path: Path) -> None:
    board.rt.cron("0 9 * * *", name="job", tz="Europe/Paris", to="mail")
    board.start()
    board.settle()
    expected = [
        ScheduleInfo("job", "0 9 * * *", "Europe/Paris", "mail",
                     datetime(2024, 1, 1, 8, tzinfo=UTC), None, paused=False)
    ]  # fmt: skip
    client = Runtime(board.rt._config.path, clock=ManualClock())
    assert board.rt.schedules() == client.schedules() == expected
    assert client.next_runs("job", 2) == board.rt.next_runs("job", 2)
    board.stop()
    assert client.schedules() == expected
    client.stop()


def test_next_runs_are_in_the_zone_of_the_schedule(board: Board) -> None:
    @board.rt.cron("0 9 * * *", tz="Europe/Paris")
    def job() -> None: ...

    found = board.rt.next_runs(job, 2)
    assert [at.isoformat() for at in found] == [
        "2024-01-01T09:00:00+01:00",
        "2024-01-02T09:00:00+01:00",
    ]
    assert len(board.rt.next_runs("job")) == 10
    assert board.rt.next_runs("job", 0) == []
    with pytest.raises(LookupError, match="no schedule 'jib': did you mean 'job'"):
        board.rt.next_runs("jib")


def test_jitter_delays_the_tick_and_not_its_instant(board: Board, said: list[Event]) -> None:
    seen: list[tuple[Tick, datetime]] = []

    @board.rt.cron("@hourly", jitter="10m")
    def job(tick: Tick) -> None:
        seen.append((tick, board.now))

    board.start()
    board.advance("5h")
    board.advance("10m")
    assert hours([tick for tick, _ in seen]) == [1, 2, 3, 4, 5]
    delays = [(now - tick.at).total_seconds() for tick, now in seen]
    assert all(0 <= delay <= 600 for delay in delays)
    assert len(set(delays)) == 5
    assert [event["late"] for event in said if event.name == "schedule.ticked"] == [0.0] * 5


def test_a_tick_survives_the_store_as_what_it_is(board: Board) -> None:
    @dataclass
    class Other:
        at: int

    seen: list[Tick | Other] = []

    @board.rt.mailbox("both")
    def both(message: Tick | Other) -> None:
        seen.append(message)

    board.rt.cron("@hourly", to=both)
    board.start()
    board.advance("1h")
    assert seen == [Tick("both", datetime(2024, 1, 1, 1, tzinfo=UTC))]
