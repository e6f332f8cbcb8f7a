"""The look before a future call: one serves many, and nobody's cancel is overlooked for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from callboard import Runtime
from callboard.actors.look import AHEAD, Look, still_there
from callboard.actors.mail import DueNow
from callboard.actors.timer import TimerActor
from callboard.actors.window import Window
from callboard.persistence.store import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from callboard.runtime.testing import Board

PATIENCE = 10.0


@pytest.fixture
def other(board: Board) -> Iterator[Runtime]:
    """Return the same store as another process sees it."""
    other = Runtime(board.rt._config.path, clock=board.clock)
    yield other
    other.stop()


@pytest.fixture
def looks(board: Board, monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Note what workers look up, in order."""
    found: list[list[int]] = []
    present = board.rt._store.present

    def note(numbers: Sequence[int]) -> set[int]:
        found.append(list(numbers))
        return present(numbers)

    monkeypatch.setattr(board.rt._store, "present", note)
    return found


def fired(board: Board) -> Callable[[int], list[int]]:
    """Have a burst come due in the running owner: its timers hand it over."""

    def burst(count: int) -> list[int]:
        board.start()
        told = board.rt.tell_many("jobs", list(range(count)), after="1h")
        board.settle()
        return told

    return burst


def overdue(board: Board) -> Callable[[int], list[int]]:
    """Have a burst be overdue when the owner starts: its mailbox reads it as a page."""

    def burst(count: int) -> list[int]:
        told = board.rt.tell_many("jobs", list(range(count)), after="1h")
        board.clock.shift("1h")
        return told

    return burst


class Held:
    """A handler that stands still in the messages that it is told to."""

    def __init__(self, *at: int) -> None:
        self.seen: list[int] = []
        self.inside = {n: threading.Event() for n in at}
        self.go = {n: threading.Event() for n in at}

    def __call__(self, n: int) -> None:
        self.seen.append(n)
        if n in self.inside:
            self.inside[n].set()
            assert self.go[n].wait(PATIENCE)

    def reach(self, n: int) -> None:
        assert self.inside[n].wait(PATIENCE)

    def release(self) -> None:
        for each in self.go.values():
            each.set()


@pytest.mark.parametrize("way", [fired, overdue])
def test_what_another_process_cancels_after_the_look_is_not_delivered(
    board: Board, other: Runtime, looks: list[list[int]], way: Any
) -> None:
    work = Held(0)
    board.rt.mailbox("jobs", work)
    told = way(board)(4)
    other.mailboxes()
    try:
        if way is fired:
            board.clock.shift("1h")
        else:
            board.start()
        work.reach(0)
        before = [told] if way is fired else []
        assert looks == before, "a page is a look"
        assert other.cancel("jobs", told[2])
    finally:
        work.release()
    board.settle()
    board.stop()
    assert work.seen == [0, 1, 3]
    assert looks == [*before, told[1:], told[2:]], "nothing that was seen before it stood any more"


def test_what_this_process_cancels_while_it_becomes_the_owner_is_not_delivered(
    board: Board,
) -> None:
    """Begun as a client's, that commit marks nothing in the window, which has read the row."""
    work = Held(0)
    board.rt.mailbox("jobs", work)
    told = overdue(board)(4)
    begun, go_on = threading.Event(), threading.Event()
    cancelled: list[bool] = []

    def cancel() -> None:
        cancelled.append(board.rt.cancel("jobs", told[2]))

    client = threading.Thread(target=cancel)

    def stand_still(point: str) -> None:
        if point == "begin" and threading.current_thread() is client:
            begun.set()
            assert go_on.wait(PATIENCE)

    board.rt._store.probe = stand_still
    try:
        client.start()
        assert begun.wait(PATIENCE)
        board.start()
        work.reach(0)
        go_on.set()
        client.join(PATIENCE)
        assert cancelled == [True]
    finally:
        go_on.set()
        work.release()
    board.settle()
    board.stop()
    assert work.seen == [0, 1, 3]


@pytest.mark.parametrize("way", [fired, overdue])
def test_one_look_serves_a_burst_until_another_process_writes(
    board: Board, other: Runtime, looks: list[list[int]], way: Any
) -> None:
    """What this process writes itself, every turn of the burst included, changes nothing."""
    work = Held(0, 2)
    board.rt.mailbox("jobs", work)
    told = way(board)(AHEAD)
    other.mailboxes()
    try:
        if way is fired:
            board.clock.shift("1h")
        else:
            board.start()
        work.reach(0)
        before = [told] if way is fired else []
        board.rt.tell("jobs", AHEAD)
        work.go[0].set()
        work.reach(2)
        assert looks == before
        other.tell("jobs", AHEAD + 1)
    finally:
        work.release()
    board.settle()
    board.stop()
    assert looks == [*before, told[3:]]
    assert work.seen == [*range(AHEAD + 2)]


def test_what_has_an_id_is_looked_up_by_itself(board: Board, looks: list[list[int]]) -> None:
    work = Held()
    board.rt.mailbox("jobs", work)
    with board:
        told = [board.rt.tell("jobs", n, after="1h", id="x" if n == 1 else None) for n in range(3)]
        board.advance("1h")
    assert work.seen == [0, 1, 2]
    assert looks == [[told[0], told[2]], [told[1]]]


def test_without_a_word_of_others_each_is_looked_up(
    board: Board, other: Runtime, looks: list[list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(board.rt._store, "others", lambda: None)
    work = Held(0)
    board.rt.mailbox("jobs", work)
    told = fired(board)(4)
    try:
        board.clock.shift("1h")
        work.reach(0)
        assert other.cancel("jobs", told[2])
    finally:
        work.release()
    board.settle()
    board.stop()
    assert work.seen == [0, 1, 3]
    assert looks == [[number] for number in told]


# --- what a look does not stand for --------------------------------------------------------------


def test_a_copy_that_comes_late_is_not_run_for_a_look_that_saw_the_first(board: Board) -> None:
    """As from a page that was read before the timers heard of it: it is handled by then."""
    work = Held()
    board.rt.mailbox("jobs", work)
    burst = fired(board)
    told = burst(3)
    engine = board.rt._host.engine
    assert engine is not None
    jobs = engine.mailbox("jobs")
    assert jobs is not None
    copies = [board.rt._store.find(None, number) for number in told]
    board.advance("1h")
    assert work.seen == [0, 1, 2]
    jobs.post(DueNow([each for each in copies if each is not None], jobs.due_upto))
    board.rt.tell("jobs", 3)
    board.settle()
    board.stop()
    assert work.seen == [0, 1, 2, 3]


def test_a_retry_that_is_cancelled_on_its_way_is_not_run_for_the_look_of_its_first_attempt(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between its commit and the timers nobody holds it, so nothing marks it as gone."""
    on_the_way: list[list[Message]] = []
    failed = threading.Event()
    seen: list[int] = []

    @board.rt.mailbox("jobs")
    def work(n: int) -> None:
        seen.append(n)
        if n == 1:
            raise ValueError(n)

    def take(_: TimerActor, messages: list[Message]) -> None:
        on_the_way.append(messages)
        failed.set()

    told = fired(board)(3)
    later = TimerActor.later
    monkeypatch.setattr(TimerActor, "later", take)
    board.advance("1h")
    assert failed.wait(PATIENCE)
    monkeypatch.setattr(TimerActor, "later", later)
    assert board.rt.cancel("jobs", told[1])
    engine = board.rt._host.engine
    assert engine is not None
    for messages in on_the_way:
        engine.timers.later(messages)
    board.advance("1m")
    board.stop()
    assert seen == [0, 1, 2]


class Shelf:
    """Enough of a mailbox and its store: what ``present`` does is up to the test."""

    def __init__(self, *messages: Message) -> None:
        self.lock = threading.Lock()
        self.environment = self.store = self
        self.window = Window(keyed=False)
        self.window.due.complete = True
        self.rows = {each.number for each in messages}
        self.meanwhile: Callable[[], None] = lambda: None
        self.word: int | None = 7
        for each in messages:
            self.window.offer(each, due=True)

    def others(self) -> int | None:
        return self.word

    def present(self, numbers: Sequence[int]) -> set[int]:
        found = self.rows & set(numbers)
        self.meanwhile()
        return found

    def take(self) -> Message:
        message = self.window.take()
        assert message is not None
        return message

    def has(self, message: Message) -> bool:
        mailbox: Any = self
        return still_there(mailbox, message)


def call(number: int) -> Message:
    return Message(1, "json", b"1", due=1, number=number)


def test_who_is_taken_while_another_worker_looks_bears_no_look() -> None:
    """It may be handled, fail and be cancelled before the other one's look is over."""
    shelf = Shelf(call(1), call(2), call(3))
    first = shelf.take()
    taken: list[Message] = []

    def take() -> None:
        shelf.meanwhile = lambda: None
        taken.append(shelf.take())
        assert shelf.has(taken[0])

    shelf.meanwhile = take
    assert shelf.has(first)
    assert [each.number for each in taken] == [2]
    assert taken[0].look is None
    assert not shelf.has(msgspec.structs.replace(taken[0], number=9))


def test_a_look_that_fails_stands_for_nothing() -> None:
    shelf = Shelf(call(1), call(2))

    def fail() -> None:
        shelf.meanwhile = lambda: None
        raise OSError("unread")

    shelf.meanwhile = fail
    first = shelf.take()
    with pytest.raises(OSError, match="unread"):
        shelf.has(first)
    second = shelf.take()
    shelf.rows.clear()
    assert not shelf.has(second)


def test_what_a_look_did_not_find_is_looked_up_again() -> None:
    shelf = Shelf(call(1), call(2), call(3))
    shelf.rows.discard(2)
    assert shelf.has(shelf.take())
    assert not shelf.has(shelf.take())
    shelf.rows.clear()
    assert shelf.has(shelf.take()), "it was seen, and nobody has written since"


def test_a_look_stands_for_nothing_where_others_are_not_known() -> None:
    shelf = Shelf(call(1))
    shelf.word = None
    message = shelf.take()
    message.look = Look(None)
    shelf.rows.clear()
    assert not shelf.has(message)


def test_the_next_of_each_key_that_is_free_are_looked_up_together() -> None:
    window = Window(keyed=True)
    window.due.complete = window.waiting.complete = True
    for number, key in enumerate(("a", "a", "b", "c", "d"), 1):
        window.offer(msgspec.structs.replace(call(number), key=key), due=True)
    window.offer(Message(1, "json", b"1", key="e", number=9), due=False)
    taken = window.take()
    assert taken is not None
    assert taken.key == "a"
    assert [each.number for each in window.upcoming(3)] == [3, 4, 5]
    assert [each.number for each in window.upcoming(2)] == [3, 4]
