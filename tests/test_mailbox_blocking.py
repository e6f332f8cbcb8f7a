"""A failed message that keeps its place: what waits behind it always goes on again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard import Context, RetryPolicy, Runtime, WorkerActor
from callboard.actors.mail import Refill

if TYPE_CHECKING:
    import pytest

    from callboard.runtime.testing import Board

PATIENCE = 10.0


@dataclass
class Count:
    messages: int = 0


def test_a_key_goes_on_when_a_turn_that_failed_stood_on_a_void_one(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    runs, go_on, failed, stalled = (threading.Event() for _ in range(4))
    store = board.rt._store
    write = store.write

    def stalling(units: Any, **options: Any) -> Any:
        if go_on.is_set() and not stalled.is_set():
            stalled.set()
            assert failed.wait(PATIENCE)
        return write(units, **options)

    class Work(WorkerActor):
        state: Count

        def on_receive(self, message: str) -> None:
            seen.append(message)
            self.state.messages += 1
            if message == "cancelled":
                runs.set()
                assert go_on.wait(PATIENCE)
            elif not failed.is_set():
                failed.set()
                raise ArithmeticError(message)

    board.rt.mailbox("jobs", Work, keyed=lambda _: "one", retry=RetryPolicy(delay=1.0))
    board.start()
    number = board.rt.tell("jobs", "cancelled")
    board.rt.tell("jobs", "fails once")
    assert runs.wait(PATIENCE)
    assert board.rt.cancel("jobs", number)
    monkeypatch.setattr(store, "write", stalling)
    go_on.set()
    assert failed.wait(PATIENCE)
    board.settle()
    board.advance("1m")
    assert seen == ["cancelled", "fails once", "fails once"]


def test_a_message_of_before_the_mailbox_was_keyed_is_tried_again(
    board: Board, tmp_path: Path
) -> None:
    seen: list[str] = []
    before = Runtime(tmp_path / "board.db")
    before.mailbox("jobs", seen.append)
    before.tell("jobs", "without a key")
    before.stop()

    def fails_once(message: str) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise ArithmeticError(message)

    board.rt.mailbox("jobs", fails_once, keyed=lambda _: "one")
    board.start()
    board.advance("1m")
    assert seen == ["without a key", "without a key"]
    board.rt.tell("jobs", "with a key")
    board.settle()
    assert seen[2:] == ["with a key"]


def test_one_that_fails_at_its_commit_keeps_its_place_before_one_that_failed_meanwhile(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    runs, stalled, held, go_on = (threading.Event() for _ in range(4))
    store, committer = board.rt._store, board.rt._host.committer
    write = store.write
    calls: list[int] = []

    def stalling(units: Any, **options: Any) -> Any:
        calls.append(len(units))
        if len(calls) == 1:  # until both have ended: they are written together then
            stalled.set()
            while committer.pending < 3:
                assert len(calls) == 1
        if len(calls) == 3:  # the retry of the one that failed at its commit
            held.set()
            assert go_on.wait(PATIENCE)
        return write(units, **options)

    def work(message: str, context: Context) -> None:
        seen.append(message)
        if message == "at its commit" and len(seen) == 1:
            runs.set()
            assert stalled.wait(PATIENCE)
            context.execute("UPDATE mine SET n = 1", expect=1)
        elif message == "meanwhile" and len(seen) == 2:
            raise ArithmeticError(message)

    rt = board.rt
    rt.mailbox("jobs", work, keyed=lambda _: "one", retry=RetryPolicy(delay=1.0, jitter=0))
    rt.mailbox("other", print)
    board.start()
    connection: Any = store._connection
    connection.execute("CREATE TABLE mine (n INTEGER)")
    rt.tell("jobs", "at its commit")
    rt.tell("jobs", "meanwhile")
    assert runs.wait(PATIENCE)
    monkeypatch.setattr(store, "write", stalling)
    rt.tell("other", "a commit that takes long")
    assert held.wait(PATIENCE)
    board.clock.shift(2)  # the one that failed meanwhile may run again
    engine = rt._host.engine
    assert engine is not None
    engine.environment.driver.drain()
    go_on.set()
    board.advance("1m")
    assert seen == ["at its commit", "meanwhile", "at its commit", "meanwhile"]


def test_nothing_overtakes_what_runs_again_after_a_void_turn(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second stands on the first, which is cancelled; the third may not begin before it."""
    seen: list[int] = []
    taken: list[Any] = []
    runs, go_on, staged, voided = (threading.Event() for _ in range(4))
    store = board.rt._store
    write = store.write

    def slow(units: Any, **options: Any) -> Any:
        if any(unit.ack is not None and unit.ack.number == 1 for unit in units):
            assert staged.wait(PATIENCE)
        return write(units, **options)

    class Work(WorkerActor):
        state: Count

        def on_receive(self, message: int) -> None:
            self.state.messages += 1
            if message == 1:
                runs.set()
                assert go_on.wait(PATIENCE)
            seen.append(message)
            mailbox.open = len(seen) != 2  # so that no worker takes the third by itself

    board.rt.mailbox("jobs", Work, keyed=lambda _: "one")
    board.start()
    mailbox: Any = board.rt._host.engine.mailbox("jobs")  # type: ignore[union-attr]
    settled, finished = mailbox.settling._settled, mailbox.finished

    def settle(unit: Any, message: Any, activation: Any) -> None:
        settled(unit, message, activation)
        if message.number == 1:
            with mailbox.lock:
                taken.append(mailbox.window.take())
            voided.set()

    def finish(message: Any) -> None:
        finished(message)
        if message.number == 2:
            staged.set()

    monkeypatch.setattr(mailbox.settling, "_settled", settle)
    monkeypatch.setattr(mailbox, "finished", finish)
    monkeypatch.setattr(store, "write", slow)
    board.rt.tell("jobs", 1)
    assert runs.wait(PATIENCE)
    board.rt.tell_many("jobs", [2, 3])
    assert board.rt.cancel("jobs", 1)
    go_on.set()
    assert staged.wait(PATIENCE)
    assert voided.wait(PATIENCE)
    mailbox.open = True
    mailbox.post(Refill())
    board.settle()
    assert taken == [None]
    assert seen == [1, 2, 2, 3]
    assert board.rt.state("jobs", "one") == Count(2)


def test_a_turn_that_fails_at_its_commit_lets_no_two_of_its_key_run_at_once(board: Board) -> None:
    """Its key was free since it was staged: the next message of that key may be running."""
    seen: list[str] = []
    runs, go_on = threading.Event(), threading.Event()
    running: list[str] = []
    together: list[str] = []

    def work(message: str) -> None:
        together.extend(running)
        running.append(message)
        if message == "refused" and "refused" not in seen:
            board.rt.tell("full", 1)
        elif message == "long":
            runs.set()
            assert go_on.wait(PATIENCE)
        seen.append(message)
        running.clear()

    board.rt.mailbox("full", lambda _: None, capacity=1)
    board.rt.mailbox("jobs", work, workers=2, keyed=lambda _: "one",
                     retry=RetryPolicy(delay=1.0, order="aside"))  # fmt: skip
    board.rt.tell("full", 0)
    board.rt.pause("full")
    failed = threading.Event()
    board.rt.events.subscribe(lambda _: failed.set(), "message.failed")
    board.rt.tell_many("jobs", ["refused", "long", "last"])
    board.start()
    assert runs.wait(PATIENCE)
    assert failed.wait(PATIENCE)
    mailbox: Any = board.rt._host.engine.mailbox("jobs")  # type: ignore[union-attr]
    with mailbox.lock:
        assert mailbox.window.take() is None
    go_on.set()
    board.advance("1m")
    assert together == []
    assert seen == ["refused", "long", "last", "refused"]
