"""Future calls: each fires once, not early, in the order of (due, number); memory is bounded."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callboard.actors.mailbox import MailboxActor
from callboard.actors.sizes import Sizes
from callboard.actors.timer import Near, TimerActor
from callboard.clock import SECOND
from callboard.errors import StoreError
from callboard.persistence.store import Message

if TYPE_CHECKING:
    import pytest

    from callboard.runtime.testing import Board

PATIENCE = 10.0
LIMIT = 6
HOUR = 3600 * SECOND


class NearAndFar(RuleBasedStateMachine):
    """The timers of a mailbox in memory, against all that are stored and not handed over."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100
        self.near = Near(self.now)
        self.rows: dict[int, Message] = {}
        self.last = 0
        self.unseen: list[int] = []  # committed, not yet offered

    @rule(delays=st.lists(st.integers(1, 30), min_size=1, max_size=8))
    def commit(self, delays: list[int]) -> None:
        for delay in delays:
            self.last += 1
            row = Message(1, "json", b"1", due=self.near.upto + delay, number=self.last)
            self.rows[self.last] = row
            self.unseen.append(self.last)

    @rule()
    def arrive(self) -> None:
        for number in self.unseen:
            if number in self.rows:  # else it was read as a page, and has fired or was cancelled
                self.near.offer(msgspec.structs.replace(self.rows[number]), LIMIT)
        self.unseen.clear()

    @rule(delays=st.lists(st.integers(1, 30), min_size=1, max_size=8))
    def tell(self, delays: list[int]) -> None:
        self.commit(delays)
        self.arrive()

    @precondition(lambda self: self.near.hungry)
    @rule()
    def page(self) -> None:
        limit = LIMIT // 2
        after = self.near.horizon
        assert after is not None
        found = sorted((r for r in self.rows.values() if r.due_sort > after), key=_place)
        self.near.page([msgspec.structs.replace(row) for row in found[:limit]], limit)

    @rule(by=st.integers(0, 20))
    def pop(self, by: int) -> None:
        self.now = max(self.now, self.near.upto) + by
        self.pop_at(self.now)

    @rule(by=st.integers(1, 50))
    def pop_when_the_clock_was_set_back(self, by: int) -> None:
        upto = self.near.upto
        assert self.near.pop(upto - by) == ([], False)
        assert self.near.upto == upto, "what is due until then is the mailbox's still"

    @precondition(lambda self: self.rows)
    @rule(pick=st.integers(0, 1_000))
    def drop(self, pick: int) -> None:
        self.arrive()
        number = list(self.rows)[pick % len(self.rows)]
        del self.rows[number]
        self.near.drop(number)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.near) <= LIMIT

    @invariant()
    def nothing_that_was_told_is_slept_through(self) -> None:
        told = [r.due for r in self.rows.values() if r.due and r.number not in self.unseen]
        if told:
            assert self.near.next is not None
            assert self.near.next <= min(told)

    def teardown(self) -> None:
        self.arrive()
        while self.rows:
            if self.near.hungry:
                self.page()
            if self.near.next is not None:
                self.pop_at(max(self.near.next, self.near.upto))

    def pop_at(self, now: int) -> None:
        self.arrive()
        fired, behind = self.near.pop(now)
        assert self.near.upto == now
        assert fired == sorted(fired, key=_place)
        for message in fired:
            assert message.due is not None
            assert message.due <= now
            assert self.rows.pop(message.number, None) is not None  # live, and only once
        left = [r.number for r in self.rows.values() if r.due is not None and r.due <= now]
        assert behind or not left
        for number in left:
            del self.rows[number]  # the mailbox reads them


def _place(message: Message) -> tuple[int, int]:
    return message.due_sort


TestNear = NearAndFar.TestCase
TestNear.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def near(board: Board) -> Near:
    engine = board.rt._host.engine
    assert engine is not None
    (found,) = engine.timers._near.values()
    return found


def fired(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Return an event that is set when the mailbox has taken what became due."""
    event, due_now = threading.Event(), MailboxActor._due_now

    def take(self: MailboxActor, message: Any) -> None:
        due_now(self, message)
        if message.messages:
            event.set()

    monkeypatch.setattr(MailboxActor, "_due_now", take)
    return event


def test_ten_years_of_monthly_bills(board: Board) -> None:
    bills: list[tuple[int, int]] = []
    start = board.clock.now()

    @board.rt.mailbox("bill")
    def bill(number: int) -> None:
        bills.append((number, board.clock.now() - start))
        board.rt.tell("bill", number + 1, after="30d", id="bill")

    with board:
        board.rt.tell("bill", 1, after="30d", id="bill")
        board.advance("3600d")
    assert bills == [(n, n * 30 * 24 * HOUR) for n in range(1, 121)]


def test_after_a_crash_the_overdue_come_first_in_their_order_then_the_waiting(
    board: Board,
) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.pause("jobs")
        board.rt.tell("jobs", "waits 1")
        board.rt.tell("jobs", "due in 3 h", after="3h")
        board.rt.tell("jobs", "due in 1 h, first", after="1h")
        board.rt.tell("jobs", "waits 2")
        board.rt.tell("jobs", "due in 1 h, second", after="1h")
        board.rt.tell("jobs", "due in 2 h", after="2h")
        board.rt.tell("jobs", "due in 5 h", after="5h")
        board.settle()
        board.rt._host.crash()
        board.clock.shift("4h")  # while nobody runs
        board.start()
        board.settle()
        assert seen == []
        board.rt.resume("jobs")
        board.settle()
        overdue = ["due in 1 h, first", "due in 1 h, second", "due in 2 h", "due in 3 h"]
        assert seen == [*overdue, "waits 1", "waits 2"]
        board.advance("1h")
        assert seen[6:] == ["due in 5 h"]


def test_what_is_cancelled_or_replaced_before_it_is_due_is_never_delivered(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", "cancelled by id", after="1h", id="a")
        number = board.rt.tell("jobs", "cancelled by number", after="1h")
        board.rt.tell("jobs", "replaced", after="1h", id="b")
        board.rt.tell("jobs", "replaces it", after="2h", id="b")
        assert board.rt.cancel("jobs", "a")
        assert board.rt.cancel("jobs", number)
        board.advance("1h")
        assert seen == []
        board.advance("1d")
        assert seen == ["replaces it"]


def test_what_is_cancelled_when_it_has_fired_and_waits_for_a_worker_is_not_delivered(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    runs, go_on, taken = threading.Event(), threading.Event(), fired(monkeypatch)

    @board.rt.mailbox("jobs")
    def work(message: str) -> None:
        if message == "long":
            runs.set()
            assert go_on.wait(PATIENCE)
        seen.append(message)

    try:
        board.start()
        board.rt.tell("jobs", "by id", after="1h", id="a")
        number = board.rt.tell("jobs", "by number", after="1h")
        board.rt.tell("jobs", "stays", after="1h")
        board.rt.tell("jobs", "long")
        assert runs.wait(PATIENCE)
        board.clock.shift("1h")
        assert taken.wait(PATIENCE)
        assert board.rt.cancel("jobs", "a")
        assert board.rt.cancel("jobs", number)
        go_on.set()
        board.settle()
        assert seen == ["long", "stays"]
    finally:
        go_on.set()


def test_a_clock_that_is_set_forward_fires_at_once_and_one_set_back_fires_nothing_twice(
    board: Board,
) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", "one", after="1h")
        board.rt.tell("jobs", "two", after="2h")
        board.rt.tell("jobs", "ten", after="10h")
        board.clock.shift("3h")
        board.settle()
        assert seen == ["one", "two"]
        board.clock.shift(-3 * 3600)
        board.settle()
        board.advance("9h")
        assert seen == ["one", "two"]
        board.advance("1h")
        assert seen == ["one", "two", "ten"]


def test_many_timers_are_held_in_little_memory_and_fire_in_their_order(board: Board) -> None:
    seen: list[int] = []
    held: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        for hour in (3, 1, 4, 2):
            board.rt.tell_many("jobs", range(hour * 5000, hour * 5000 + 5000), after=f"{hour}h")
            board.settle()
            held.append(len(near(board)))
        for hour in (1, 2):
            board.advance("1h")
            assert seen == [*range(5000, 5000 + hour * 5000)]
            held.append(len(near(board)))
        board.clock.shift("2h")  # two at once
        board.settle()
        assert seen == [*range(5000, 25_000)]
        assert len(near(board)) == 0
    assert max(held) <= Sizes().near


def test_one_that_is_due_soon_after_another_is_not_early(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", "first", after="1h")
        board.rt.tell("jobs", "a microsecond later", after=timedelta(hours=1, microseconds=1))
        board.advance("1h")
        assert seen == ["first"]
        board.advance(timedelta(microseconds=1))
        assert seen == ["first", "a microsecond later"]


def test_what_is_due_waits_for_no_long_page_of_those_that_are_not(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    board.rt.mailbox("work", seen.append)
    board.rt.tell_many("work", range(2000), after="2h")
    board.rt.tell("work", -1, after="1h")
    read, timers = list[int](), board.rt._store.timers

    def counted(*args: Any, **options: Any) -> list[Message]:
        found = timers(*args, **options)
        read.append(len(found))
        return found

    monkeypatch.setattr(board.rt._store, "timers", counted)
    with board:
        board.advance("1h")
        assert seen == [-1]
        assert max(read) == 512
        board.advance("1h")
        assert seen == [-1, *range(2000)]


def test_a_timer_told_after_the_clock_was_set_back_is_not_early(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", "in 3 h", after="3h")
        board.clock.shift("3h")
        board.settle()
        board.clock.shift(-3 * 3600)
        board.rt.tell("jobs", "in 1 h", after="1h")
        board.settle()
        assert seen == ["in 3 h"]
        board.advance("1h")
        assert seen == ["in 3 h", "in 1 h"]


def test_timers_go_on_after_the_store_could_not_be_read_when_they_fired(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    monkeypatch.setattr("callboard.runtime.parts.Parts.sizes", Sizes(near=4, least=4))
    board.rt.mailbox("jobs", seen.append)
    with board:
        for hour in range(1, 11):
            board.rt.tell("jobs", hour, after=f"{hour}h")
        board.settle()
        store, faults = board.rt._store, iter([1])
        read = store.timers

        def timers(*args: Any, **options: Any) -> Any:
            for _ in faults:
                msg = "disk I/O error"
                raise StoreError(msg)
            return read(*args, **options)

        monkeypatch.setattr(store, "timers", timers)
        board.advance("10h")
        assert list(faults) == []
        assert seen == [*range(1, 11)]


def test_what_came_due_while_the_timers_were_down_is_handled(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They crash before anything is handed over, and begin anew after their back-off."""
    seen: list[int] = []
    faults = iter([1])
    pop = Near.pop

    def failing(near: Near, now: int) -> Any:
        for _ in faults:
            msg = "a fault"
            raise RuntimeError(msg)
        return pop(near, now)

    monkeypatch.setattr(Near, "pop", failing)
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", 1, after="1h")
        board.advance("2h")
        assert list(faults) == []
        assert seen == [1]


def test_a_backlog_told_after_the_clock_was_set_back_is_neither_early_nor_lost(
    board: Board,
) -> None:
    """More than the window holds: the mailbox pages it in, each when it is due again."""
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", -1, after="3h")
        board.advance("3h")
        board.clock.shift(-3 * 3600)
        board.rt.pause("jobs")
        board.rt.tell_many("jobs", range(3000), after="0s")
        board.rt.tell_many("jobs", range(3000, 6000), after="1h")
        board.settle()
        board.rt.resume("jobs")
        board.settle()
        assert seen == [-1, *range(3000)]
        board.advance("1h")
        assert seen == [-1, *range(6000)]


def test_a_backlog_that_was_due_before_the_clock_was_set_back_is_not_lost(board: Board) -> None:
    """Part of it is in memory, and has been handed over; the rest comes when it is due again."""
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.pause("jobs")
        board.rt.tell_many("jobs", range(3000), after="1h")
        board.advance("1h")
        board.clock.shift(-3600)
        board.rt.resume("jobs")
        board.settle()
        board.advance("1h")
        assert sorted(seen) == [*range(3000)]


def test_a_timer_that_its_actor_hears_of_late_is_handled_once(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    late: list[list[Message]] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", 0, after="1h")
        board.settle()
        later = TimerActor.later
        monkeypatch.setattr(TimerActor, "later", lambda _, messages: late.append(messages))
        board.rt.tell("jobs", 1, after="30m")
        monkeypatch.setattr(TimerActor, "later", later)
        engine = board.rt._host.engine
        assert engine is not None
        timers = engine.timers
        timers.post("reload")  # it is read from the store before it is heard of
        board.advance("1h")
        assert seen == [1, 0]
        assert [m.number for messages in late for m in messages] == [2]
        for messages in late:
            timers.later(messages)
        board.advance("1m")
        assert seen == [1, 0]
        assert board.rt.peek("jobs") == []
