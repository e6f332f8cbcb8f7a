"""The rate of a mailbox: never exceeded in any window, over restarts and crashes too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors.limits import Limits, Rate
from callboard.actors.mail import Refill
from callboard.actors.mailbox import MailboxActor
from callboard.actors.rate import Limiter
from callboard.clock import SECOND

if TYPE_CHECKING:
    from callboard.runtime.testing import Board


class Owner:
    """Starts as often as it may; the reservations are what a store would keep."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.now = 1_000_000 * SECOND
        self.rows: list[tuple[int, int]] = []
        self.starts: list[int] = []
        self.crash()

    def crash(self) -> None:
        self.limiter = Limiter(self.rate, self.rows, self.now)

    def start(self, most: int) -> None:
        for _ in range(most):
            if not self.limiter.available(self.now):
                count = self.limiter.wanted(self.now)
                if not count:
                    return
                if self.rows and self.rows[-1][0] == self.now:
                    self.rows[-1] = (self.now, self.rows[-1][1] + count)
                else:
                    self.rows.append((self.now, count))
                self.limiter.granted(count)
            assert self.limiter.take(self.now)
            self.starts.append(self.now)

    def check(self) -> None:
        for index, at in enumerate(self.starts):
            within = [each for each in self.starts[index:] if each < at + self.rate.period]
            assert len(within) <= self.rate.count


STEPS = st.lists(
    st.tuples(st.sampled_from(["start", "wait", "wait for it", "crash"]), st.integers(1, 40)),
    max_size=40,
)


@settings(max_examples=400, deadline=None)
@given(count=st.sampled_from([1, 2, 3, 20, 30, 40]), period=st.integers(1, 6), steps=STEPS)
def test_no_window_has_more_starts_than_the_rate(
    count: int, period: int, steps: list[tuple[str, int]]
) -> None:
    owner = Owner(Rate(count, period * SECOND))
    for what, number in steps:
        if what == "start":
            owner.start(number)
        elif what == "wait":
            owner.now += number * SECOND // 7
        elif what == "crash":
            owner.crash()
        elif (free := owner.limiter.next(owner.now)) is not None:
            assert free > owner.now
            owner.now = free
            before = len(owner.starts)
            owner.start(1)
            assert len(owner.starts) == before + 1, "it is free when it says so"
    owner.check()


def test_what_it_can_start_without_a_crash_is_all_that_the_rate_allows() -> None:
    owner = Owner(Rate(100, 60 * SECOND))
    for _ in range(10):
        owner.start(1000)
        owner.now += 60 * SECOND
    assert len(owner.starts) == 1000


def test_a_high_rate_is_counted_in_little_memory() -> None:
    owner = Owner(Rate(100_000, 60 * SECOND))
    for _ in range(2000):
        owner.start(100)
        owner.now += SECOND // 10
    assert len(owner.limiter._starts) < 1100
    for index in range(0, len(owner.starts), 997):
        at = owner.starts[index]
        within = sum(at <= each < at + owner.rate.period for each in owner.starts)
        assert within <= owner.rate.count


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [
        ("100/min", 100, 60), ("5/s", 5, 1), ("1000/h", 1000, 3600), ("10/30s", 10, 30),
        ("1/day", 1, 86400), ("2/5 minutes", 2, 300), (" 7 / second ", 7, 1), ("3/hours", 3, 3600),
    ],
)  # fmt: skip
def test_a_rate_is_read_as_people_write_it(text: str, count: int, seconds: int) -> None:
    rate = Limits.of("jobs", None, "reject", text, (), None).rate
    assert rate == Rate(count, seconds * SECOND)


def test_a_mailbox_starts_as_often_as_its_rate_allows(board: Board) -> None:
    at: list[int] = []
    board.rt.mailbox("calls", lambda _: at.append(board.clock.now()), workers=4, rate="3/min")
    begun = board.clock.now()
    with board:
        board.rt.tell_many("calls", range(8))
        board.settle()
        assert len(at) == 3
        board.advance("59s")
        assert len(at) == 3
        board.advance("2m")
        assert [(each - begun) // (60 * SECOND) for each in at] == [0] * 3 + [1] * 3 + [2] * 2


def test_it_is_not_exceeded_over_a_restart_or_a_crash(board: Board) -> None:
    at: list[int] = []
    board.rt.mailbox("calls", lambda _: at.append(board.clock.now()), rate="20/min")
    with board:
        board.rt.tell_many("calls", range(100))
        board.settle()
        assert len(at) == 20
        board.clock.shift(30)
        board.crash()
        board.settle()
        board.clock.shift(30)
        board.stop()
        board.start()
        board.settle()
        board.advance("5m")
        assert len(at) == 100
    for index, each in enumerate(at):
        assert sum(each <= other < each + 60 * SECOND for other in at[index:]) <= 20


def test_a_batch_that_was_used_slowly_counts_from_its_last_possible_start() -> None:
    owner = Owner(Rate(40, 60 * SECOND))  # reserved by fours
    owner.start(1)
    owner.now += 59 * SECOND
    owner.start(3)
    owner.crash()
    owner.now += 2 * SECOND
    owner.start(40)
    owner.check()


def test_what_was_started_before_the_last_reservation_is_known_after_a_crash(board: Board) -> None:
    seen: list[int] = []
    board.rt.mailbox("calls", seen.append, rate="20/min")
    with board:
        for _ in range(2):
            board.rt.tell_many("calls", range(10))
            board.settle()
            board.clock.shift(20)
        board.crash()
        board.rt.tell_many("calls", range(10))
        board.settle()
        assert len(seen) == 20
        board.advance("1m")
        assert len(seen) == 30


def test_what_is_told_late_to_a_limited_mailbox_is_not_forgotten(board: Board) -> None:
    seen: list[int] = []
    board.rt.mailbox("calls", seen.append, rate="2/min")
    with board:
        board.rt.tell_many("calls", [1, 2])
        board.settle()
        board.rt.tell("calls", 3)
        board.settle()
        assert seen == [1, 2]
        board.advance("1m")
        assert seen == [1, 2, 3]


def test_a_window_that_opens_while_the_mailbox_looks_does_not_leave_it_asleep(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    board.rt.mailbox("calls", seen.append, rate="3/min")
    with board:
        board.rt.tell_many("calls", range(6))
        board.settle()
        assert len(seen) == 3
        dispatch = MailboxActor.dispatch

        def then_the_minute_ends(mailbox: MailboxActor) -> None:
            dispatch(mailbox)
            monkeypatch.undo()
            board.clock._now += 61 * SECOND  # silently: the clock's own wake-up is not the point

        monkeypatch.setattr(MailboxActor, "dispatch", then_the_minute_ends)
        engine = board.rt._host.engine
        assert engine is not None
        (mailbox,) = engine.mailboxes.values()
        mailbox.post(Refill())
        board.settle()
        assert len(seen) == 6


def test_starts_that_are_counted_together_count_until_the_last_of_them_is_over() -> None:
    limiter = Limiter(Rate(2000, SECOND), [], 0)
    step = SECOND // 1024
    limiter.granted(3000)
    assert limiter.take(0)
    for _ in range(1999):
        assert limiter.take(step - 1)
    assert limiter.available(SECOND) == 0
    assert limiter.available(SECOND + step - 1) == 1000
