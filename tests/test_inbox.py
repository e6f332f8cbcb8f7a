"""The inbox against two plain deques, and its turnstile against four threads."""

from __future__ import annotations

import queue
import threading
from collections import deque

from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from callboard.actors.cell import Wake
from callboard.actors.inbox import Control, Inbox

PUTTERS = 4
EACH = 2_000
PATIENCE = 10.0


class Numbered(Control):
    """A control message that can be told from others."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


class InboxMachine(RuleBasedStateMachine):
    """One who steps takes the signal (``outstanding``), steps, and finishes."""

    def __init__(self) -> None:
        super().__init__()
        self.inbox = Inbox()
        self.control: deque[object] = deque()
        self.backlog: deque[object] = deque()
        self.paused = False
        self.bound = False
        self.outstanding = 0
        self.stepping = False
        self.numbers = 0

    @property
    def work(self) -> bool:
        return bool(self.control or (self.backlog and not self.paused))

    def expect_signal(self) -> None:
        """Assert that a signal is there exactly when there is work and nobody is at it."""
        if self.bound and self.work and not self.stepping:
            assert self.outstanding == 1

    def on_ready(self) -> None:
        self.outstanding += 1

    @initialize()
    def some_were_put_before_anybody_listened(self) -> None:
        self.put_backlog()

    @precondition(lambda self: not self.bound)
    @rule()
    def bind(self) -> None:
        self.bound = True
        self.inbox.bind(self.on_ready)
        self.expect_signal()

    @rule()
    def put_backlog(self) -> None:
        self.numbers += 1
        self.backlog.append(self.numbers)
        self.inbox.post(self.numbers)
        self.expect_signal()

    @rule()
    def put_control(self) -> None:
        self.numbers += 1
        message = Numbered(self.numbers)
        self.control.append(message)
        self.inbox.post(message)
        self.expect_signal()

    @rule()
    def put_stop(self) -> None:
        envelope: Envelope[object] = Envelope(_ActorStop())
        self.control.append(envelope.message)
        self.inbox.put(envelope)
        self.expect_signal()

    @precondition(lambda self: self.outstanding and not self.stepping)
    @rule()
    def begin_step(self) -> None:
        self.outstanding -= 1
        self.stepping = True

    @precondition(lambda self: self.bound)
    @rule()
    def claim(self) -> None:
        free = not self.stepping and not self.outstanding
        assert self.inbox.claim() is free
        if free:
            self.stepping = True

    @precondition(lambda self: self.stepping)
    @rule()
    def take(self) -> None:
        expected = None
        if self.control:
            expected = self.control.popleft()
        elif self.backlog and not self.paused:
            expected = self.backlog.popleft()
        taken = self.inbox.take()
        assert taken == (None if expected is None else (expected, None))

    @precondition(lambda self: self.stepping and (self.control or self.backlog))
    @rule()
    def empty_it_as_pykka_does(self) -> None:
        """Paused or not."""
        expected = self.control.popleft() if self.control else self.backlog.popleft()
        assert self.inbox.get().message is expected

    @precondition(lambda self: self.stepping)
    @rule()
    def finish(self) -> None:
        self.stepping = False
        self.inbox.finish()
        assert self.outstanding == int(self.work)

    @precondition(lambda self: self.stepping)
    @rule()
    def finish_and_come_again(self) -> None:
        self.stepping = False
        self.inbox.finish(again=True)
        assert self.outstanding == 1

    @rule()
    def pause(self) -> None:
        self.paused = True
        self.inbox.pause()

    @rule()
    def resume(self) -> None:
        self.paused = False
        self.inbox.resume()
        self.expect_signal()

    @invariant()
    def looks_like_the_model(self) -> None:
        assert self.inbox.has_work is self.work
        assert self.inbox.empty() is (not self.control and not self.backlog)

    @invariant()
    def scheduled_is_one_signal_or_one_step(self) -> None:
        assert self.outstanding + self.stepping <= 1
        assert self.inbox.scheduled is bool(self.outstanding or self.stepping)
        if self.bound and self.work:
            assert self.outstanding + self.stepping == 1


TestInbox = InboxMachine.TestCase
TestInbox.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_control_message_overtakes_the_backlog() -> None:
    inbox = Inbox()
    for number in range(3):
        inbox.post(number)
    inbox.post(_ActorStop())
    inbox.post(Wake())
    found = [message for message, _ in iter(inbox.take, None)]
    assert [type(each) for each in found[:2]] == [_ActorStop, Wake]
    assert found[2:] == [0, 1, 2]


def test_no_wake_up_is_lost_between_threads() -> None:
    inbox = Inbox()
    signals: queue.SimpleQueue[None] = queue.SimpleQueue()
    inbox.bind(lambda: signals.put(None))
    gate = threading.Barrier(PUTTERS)

    def putter(me: int) -> None:
        gate.wait(PATIENCE)
        for number in range(EACH):
            inbox.post((me, number))

    threads = [threading.Thread(target=putter, args=(me,)) for me in range(PUTTERS)]
    for thread in threads:
        thread.start()
    taken: list[tuple[int, int]] = []
    while len(taken) < PUTTERS * EACH:
        signals.get(timeout=PATIENCE)  # raises queue.Empty when a wake-up was lost
        for _ in range(3):  # a small budget: most steps end with work left
            pair = inbox.take()
            if pair is None:
                break
            taken.append(pair[0])
        inbox.finish()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    for me in range(PUTTERS):
        assert [number for who, number in taken if who == me] == list(range(EACH))
    assert signals.empty()
    assert not inbox.scheduled
