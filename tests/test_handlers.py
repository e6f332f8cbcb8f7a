"""Handlers: sync and async, timeouts, poison, crashes of actors, order, and putting away."""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    Context,
    HandlerTimeout,
    RetryPolicy,
    Runtime,
    StoreFull,
    TurnEnded,
    WorkerActor,
    message,
    upcast,
)

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.runtime.testing import Board

ONCE = RetryPolicy(attempts=1)


class Waits:
    """Collects events of one name and waits for so many."""

    def __init__(self, rt: Runtime, name: str) -> None:
        self.events: list[Any] = []
        self._more = threading.Condition()
        rt.events.subscribe(self._take, name)

    def _take(self, event: Any) -> None:
        with self._more:
            self.events.append(event)
            self._more.notify_all()

    def wait(self, count: int = 1) -> list[Any]:
        with self._more:
            assert self._more.wait_for(lambda: len(self.events) >= count, 10)
        return self.events


def test_functions_of_every_shape(board: Board) -> None:
    rt = board.rt
    seen: list[Any] = []

    @rt.mailbox("none")
    def none() -> None:
        seen.append("none")

    @rt.mailbox("one")
    def one(text: str) -> None:
        seen.append(text)

    @rt.mailbox("two")
    def two(text: str, context: Context) -> None:
        seen.append((text, context.mailbox, context.attempt, context.key, context.due))

    @rt.mailbox("async")
    async def later(text: str) -> None:
        await asyncio.sleep(0)  # noqa: TID251  (yields to the loop once)
        seen.append(text)

    with board:
        rt.tell(none)
        rt.tell(one, "a")
        rt.tell(two, "b")
        rt.tell(later, "c")
        board.settle()
    assert set(seen) == {"none", "a", ("b", "two", 1, None, None), "c"}


def test_a_class_has_its_context_only_while_it_handles(board: Board) -> None:
    seen: list[Any] = []

    class Worker(WorkerActor):
        def on_start(self) -> None:
            with pytest.raises(AttributeError):
                _ = self.context
            seen.append("start")

        def on_receive(self, n: int) -> None:
            seen.append((n, self.context.mailbox))

        def on_stop(self) -> None:
            with pytest.raises(AttributeError):
                _ = self.context
            seen.append("stop")

    board.rt.mailbox("w", Worker)
    with board:
        board.rt.tell_many("w", [1, 2])
        board.settle()
    assert seen == ["start", (1, "w"), (2, "w"), "stop"]


def test_an_async_handler_past_its_timeout_is_cancelled_and_fails(board: Board) -> None:
    cancelled = threading.Event()

    @board.rt.mailbox("slow", timeout=0.05, retry=ONCE)
    async def slow(_n: int) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    dead = Waits(board.rt, "message.dead")
    with board:
        board.rt.tell(slow, 1)
        dead.wait()
        assert cancelled.is_set()
        assert "HandlerTimeout" in board.rt.dead()[0].error


def test_many_async_handlers_run_at_once_on_few_threads(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "b.db", threads=2)
    inside = []
    everybody = asyncio.Event()
    done = threading.Event()

    @rt.mailbox("wait", workers=50)
    async def wait(n: int) -> None:
        inside.append(n)
        if len(inside) == 50:
            everybody.set()
        await everybody.wait()
        if n == 0:
            done.set()

    with rt:
        rt.tell_many(wait, range(50))
        assert done.wait(10)


def test_a_sync_handler_past_its_timeout_is_left_behind_and_fails(board: Board) -> None:
    """Its later calls raise TurnEnded, a new thread takes its place, others go on."""
    rt = board.rt
    go, told = threading.Event(), threading.Event()
    late: list[BaseException] = []
    got: list[int] = []
    rt.mailbox("other", got.append)

    @rt.mailbox("slow", workers=2, timeout=0.05, retry=ONCE)
    def slow(n: int, context: Context) -> None:
        if n != 1:
            got.append(n)
            return
        go.wait(10)
        for call in (lambda: rt.tell("other", 99), lambda: context.execute("SELECT 1")):
            try:
                call()
            except TurnEnded as error:
                late.append(error)
        told.set()

    dead = Waits(rt, "message.dead")
    with board:
        rt.tell(slow, 1)
        dead.wait()
        rt.tell(slow, 2)
        board.settle()
        assert got == [2]
        go.set()
        assert told.wait(10)
        board.settle()
        assert len(late) == 2
        assert got == [2]
        assert "HandlerTimeout" in rt.dead()[0].error
        assert issubclass(HandlerTimeout, TimeoutError)


def test_after_as_many_left_threads_as_workers_the_mailbox_is_faulted_and_names_them(
    board: Board,
) -> None:
    rt = board.rt
    go = threading.Event()

    @rt.mailbox("stuck", workers=2, timeout=0.05, retry=ONCE)
    def stuck(_n: int) -> None:
        go.wait(10)

    got: list[int] = []
    rt.mailbox("other", got.append)
    faulted = Waits(rt, "mailbox.faulted")
    with board:
        numbers = rt.tell_many(stuck, [1, 2])
        (event,) = faulted.wait()
        assert all(str(number) in event["error"] for number in numbers)
        rt.tell(stuck, 3)
        rt.tell("other", 4)
        board.settle()
        assert got == [4]
        assert next(m for m in rt.mailboxes() if m.name == "stuck").waiting == 1
        go.set()


def test_a_stateful_actor_goes_on_from_its_good_state_after_a_timeout(board: Board) -> None:
    @dataclass
    class Seen:
        items: list[int] = field(default_factory=list)

    go = threading.Event()

    class Slow(WorkerActor):
        state: Seen

        def on_receive(self, n: int) -> None:
            self.state.items.append(n)
            if n == 2:
                go.wait(10)

    rt = board.rt
    rt.mailbox("slow", Slow, keyed=True, workers=4, timeout=0.2, retry=ONCE)
    dead = Waits(rt, "message.dead")
    with board:
        for n in (1, 2, 3):
            rt.tell("slow", n, key="a")
        dead.wait()
        board.settle()
        go.set()
        assert rt.state("slow", "a").items == [1, 3]


def test_a_broken_body_of_a_known_kind_is_a_dead_letter_at_once(board: Board) -> None:
    rt = board.rt
    got: list[int] = []

    @rt.mailbox("work")
    def work(n: int) -> None:
        got.append(n)

    with board:
        rt.pause(work)
        first = rt.tell(work, 1)
        rt.tell(work, 2)
        board.settle()
        connection = rt._store._connection
        assert connection is not None
        connection.execute(
            "UPDATE callboard_message SET body = CAST('{oops' AS BLOB) WHERE number = ?", (first,)
        )
        board.crash()
        rt.resume(work)
        board.settle()
        assert got == [2]
        (letter,) = rt.dead()
        assert letter.id == first
        assert letter.attempts == 1


def test_a_kind_that_nobody_knows_waits_and_is_delivered_when_the_code_is_there(
    tmp_path: Path,
) -> None:
    @message("test.order", version=2)
    @dataclass
    class OrderTwo:
        number: int

    old = Runtime(tmp_path / "b.db")
    old.mailbox("orders", lambda _m: None)
    old.tell("orders", OrderTwo(7))
    old.tell("orders", "plain")
    old.stop()

    @message("test.other")
    @dataclass
    class Other:
        x: int

    got: list[Any] = []

    def handle(order: Other | str) -> None:
        got.append(order)

    middle = Runtime(tmp_path / "b.db")
    middle.mailbox("orders", handle)
    unknown = Waits(middle, "message.unknown")
    handled = Waits(middle, "message.handled")
    with middle:
        unknown.wait()
        handled.wait()
        assert got == ["plain"]
        assert middle.mailboxes()[0].waiting == 1
        restarted: list[Any] = []
        middle.events.subscribe(restarted.append, "actor.")
        unknown = Waits(middle, "message.unknown")
        handled = Waits(middle, "message.handled")
        old.tell("orders", OrderTwo(8))  # as the owner runs
        old.tell("orders", "plain too")
        unknown.wait()
        handled.wait()
        assert middle.mailboxes()[0].waiting == 2
        old.stop()
        assert restarted == []

    def handle_two(order: OrderTwo) -> None:
        got.append(order)

    new = Runtime(tmp_path / "b.db")
    new.mailbox("orders", handle_two)
    handled = Waits(new, "message.handled")
    with new:
        handled.wait(2)
    assert got == ["plain", "plain too", OrderTwo(7), OrderTwo(8)]


def test_an_old_version_is_raised_by_upcasts(board: Board) -> None:
    @message("test.price", version=3)
    @dataclass
    class Price:
        cents: int
        currency: str

    @upcast("test.price", version=1)
    def one(old: dict[str, Any]) -> dict[str, Any]:
        return {"cents": old["euros"] * 100}

    @upcast("test.price", version=2)
    def two(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "currency": "EUR"}

    got: list[Price] = []

    def handle(price: Price) -> None:
        got.append(price)

    rt = board.rt
    rt.mailbox("prices", handle)
    with board:
        rt.pause("prices")
        rt.tell("prices", Price(1, "x"))
        connection = rt._store._connection
        assert connection is not None
        connection.execute(
            """UPDATE callboard_message SET version = 1, body = CAST('{"euros": 3}' AS BLOB)"""
        )
        board.crash()
        rt.resume("prices")
        board.settle()
        assert got == [Price(300, "EUR")]


def test_state_that_cannot_be_loaded_faults_that_actor_alone(board: Board) -> None:
    @dataclass
    class Total:
        n: int = 0

    class Adder(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> None:
            self.state.n += n

    rt = board.rt
    rt.mailbox("adder", Adder, keyed=True, workers=2)
    faulted = Waits(rt, "actor.faulted")
    with board:
        rt.tell("adder", 1, key="bad")
        rt.tell("adder", 1, key="good")
        board.settle()
        connection = rt._store._connection
        assert connection is not None
        connection.execute("UPDATE callboard_state SET body = CAST('{' AS BLOB) WHERE key = 'bad'")
        board.crash()
        for _ in range(40):
            rt.tell("adder", 1, key="bad")
            rt.tell("adder", 1, key="good")
        board.settle()
        (event,) = faulted.wait()
        assert "bad" in event["actor"]
        assert rt.state("adder", "good").n == 41
        assert rt.mailboxes()[0].waiting == 40
        board.advance("1d")
        assert rt.mailboxes()[0].waiting == 40


def test_an_actor_whose_on_start_raises_is_restarted_with_back_off(board: Board) -> None:
    starts: list[Any] = []
    got: list[int] = []

    class Flaky(WorkerActor):
        def on_start(self) -> None:
            starts.append(board.now)
            if len(starts) < 4:
                msg = "not yet"
                raise ConnectionError(msg)

        def on_receive(self, n: int) -> None:
            got.append(n)

    board.rt.mailbox("flaky", Flaky)
    with board:
        board.rt.tell("flaky", 1)
        board.settle()
        assert got == []
        board.advance("1m")
        assert got == [1]
        waits = [(b - a).total_seconds() for a, b in pairwise(starts)]
        assert len(waits) == 3
        assert waits == sorted(waits)
        assert waits[0] > 0.05


def test_an_actor_that_never_starts_is_faulted_and_its_messages_wait(board: Board) -> None:
    class Never(WorkerActor):
        def on_start(self) -> None:
            msg = "no"
            raise ConnectionError(msg)

        def on_receive(self, n: int) -> None:
            raise AssertionError(n)

    rt = board.rt
    rt.mailbox("never", Never, keyed=True)
    faulted = Waits(rt, "actor.faulted")
    with board:
        rt.tell_many("never", [1, 2, 3], key="a")
        board.advance("1d")
        faulted.wait()
        assert rt.mailboxes()[0].waiting == 3
        assert rt.dead() == []


def test_keyed_messages_keep_their_order_also_over_a_retry(board: Board) -> None:
    """The default for keyed mailboxes: a failed message keeps its key waiting, and no other."""
    rt = board.rt
    seen: list[tuple[str | None, int]] = []

    @rt.mailbox("keyed", keyed=True, workers=4, retry=RetryPolicy(delay=60, jitter=0))
    def keyed(n: int, context: Context) -> None:
        if n == 1 and context.attempt == 1 and context.key == "a":
            msg = "first time"
            raise ValueError(msg)
        seen.append((context.key, n))

    with board:
        for n in range(50):
            rt.tell(keyed, n, key="a")
            rt.tell(keyed, n, key="b")
        board.settle()
        assert [n for key, n in seen if key == "a"] == [0]
        assert [n for key, n in seen if key == "b"] == list(range(50))
        board.crash()
        board.settle()
        assert [n for key, n in seen if key == "a"] == [0]
        board.advance("2m")
        assert [n for key, n in seen if key == "a"] == list(range(50))


def test_without_keys_others_go_on_while_one_waits_for_its_retry(board: Board) -> None:
    rt = board.rt
    seen: list[int] = []

    @rt.mailbox("work", retry=RetryPolicy(delay=60))
    def work(n: int, context: Context) -> None:
        if n == 0 and context.attempt == 1:
            msg = "first time"
            raise ValueError(msg)
        seen.append(n)

    with board:
        rt.tell_many(work, [0, 1, 2])
        board.settle()
        assert seen == [1, 2]
        board.advance("2m")
        assert seen == [1, 2, 0]


def test_retry_order_block_holds_the_whole_mailbox(board: Board) -> None:
    rt = board.rt
    seen: list[int] = []

    @rt.mailbox("work", retry=RetryPolicy(delay=60, order="block"))
    def work(n: int, context: Context) -> None:
        if n == 0 and context.attempt == 1:
            msg = "first time"
            raise ValueError(msg)
        seen.append(n)

    with board:
        rt.tell_many(work, [0, 1, 2])
        board.settle()
        assert seen == []
        board.crash()
        board.settle()
        assert seen == []
        board.advance("2m")
        assert seen == [0, 1, 2]


def test_never_sends_some_errors_straight_to_the_dead_letters(board: Board) -> None:
    @board.rt.mailbox("work", retry=RetryPolicy(never=(KeyError,)))
    def work(_n: int) -> None:
        raise KeyError("x")

    with board:
        board.rt.tell(work, 1)
        board.settle()
        assert board.rt.dead()[0].attempts == 1


def test_idle_actors_are_put_away_and_come_back_with_their_state(board: Board) -> None:
    stopped: list[str | None] = []

    @dataclass
    class Total:
        n: int = 0

    class Adder(WorkerActor):
        state: Total
        key: str | None = None

        def on_receive(self, n: int) -> None:
            self.key = self.context.key
            self.state.n += n

        def on_stop(self) -> None:
            stopped.append(self.key)

    rt = board.rt
    rt.mailbox("adder", Adder, keyed=True)
    with board:
        for key in range(20):
            rt.tell("adder", 1, key=key)
        board.settle()
        engine = rt._host.engine
        assert engine is not None
        mailbox = engine.mailbox("adder")
        assert mailbox is not None
        mailbox.sweep()  # used since the last one
        board.settle()
        assert stopped == []
        mailbox.sweep()
        engine.after()
        board.settle()
        assert sorted(map(str, stopped)) == sorted(map(str, range(20)))
        assert not mailbox.activations
        rt.tell("adder", 1, key=3)
        board.settle()
        assert rt.state("adder", 3).n == 2


def test_the_store_refusing_runs_no_handler_again(board: Board) -> None:
    """Senders get the error, staged turns are kept, and work goes on when there is room."""
    rt = board.rt
    runs: list[int] = []
    inside, go = threading.Event(), threading.Event()

    @rt.mailbox("work")
    def work(n: int) -> None:
        runs.append(n)
        inside.set()
        assert go.wait(10)

    refused = Waits(rt, "store.refused")
    recovered = Waits(rt, "store.recovered")
    with board:
        rt.tell(work, 1)
        assert inside.wait(10)
        connection = rt._store._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        body = "x" * 1_000_000
        rt.mailbox("big", lambda _t: None)
        with pytest.raises(StoreFull):
            rt.tell("big", body)
        refused.wait()
        connection.execute("PRAGMA max_page_count = 1000000")
        go.set()
        recovered.wait()
        board.settle()
        assert runs == [1]
        assert rt.tell("big", body) > 0
        board.settle()


def test_a_hundred_thousand_failures_log_few_lines(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    @board.rt.mailbox("work", retry=RetryPolicy(attempts=1))
    def work(_n: int) -> None:
        msg = "always"
        raise ValueError(msg)

    with caplog.at_level(logging.DEBUG, "callboard"), board:
        board.rt.tell_many(work, range(2000))
        board.settle()
        board.rt.events.flush(5)
    lines = [r for r in caplog.records if "message.dead" in r.getMessage()]
    assert 1 <= len(lines) <= 10


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_stop_from_a_handler_does_not_wait_for_itself(tmp_path: Path, kind: str) -> None:
    rt = Runtime(tmp_path / "b.db")
    ended = Waits(rt, "runtime.stopped")

    def work(_n: int) -> None:
        rt.stop(timeout=5)

    async def work_async(_n: int) -> None:
        rt.stop(timeout=5)

    rt.mailbox("work", work if kind == "sync" else work_async)
    rt.start()
    rt.tell("work", 1)
    ended.wait()
    assert rt.mailboxes()[0].waiting == 0
    rt.stop()  # the look has opened the store again


def test_what_stop_interrupts_is_not_counted(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "b.db")
    inside, go = threading.Event(), threading.Event()

    @rt.mailbox("work")
    def work(_n: int) -> None:
        inside.set()
        go.wait(10)

    stopped = Waits(rt, "runtime.stopped")
    rt.start()
    number = rt.tell(work, 1)
    assert inside.wait(10)
    rt.stop(timeout=0.1)
    (event,) = stopped.wait()
    assert event["unfinished"] == [f"work (message {number})"]
    go.set()
    found = rt.find(number)
    assert found is not None
    assert found.attempt == 0
    rt.stop()
