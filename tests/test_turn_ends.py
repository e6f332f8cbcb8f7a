"""How turns end, and what may start behind one: beside what test_turns.py has."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    Context,
    MessageError,
    RetryPolicy,
    Runtime,
    StoreFull,
    TurnEnded,
    WorkerActor,
)
from callboard.actors.turn import Phase, Turn
from callboard.errors import StoreError
from callboard.persistence import committer
from callboard.persistence.store import Message, Tell
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 10.0


class Commits:
    """Holds up every commit that acknowledges a message, or refuses it."""

    def __init__(self, board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered, self.go = threading.Event(), threading.Event()
        self.refuse = False
        write = board.rt._store.write

        def held(units: Any, *args: Any, **options: Any) -> Any:
            if any(unit.ack is not None for unit in units):
                self.entered.set()
                if self.refuse:
                    raise StoreFull(28, "no room")
                assert self.go.wait(PATIENCE)
            return write(units, *args, **options)

        monkeypatch.setattr(board.rt._store, "write", held)


def rest(board: Board) -> Any:
    """Wait until no handler runs or is about to; returns the engine."""
    engine = board.rt._host.engine
    assert engine is not None
    driver = engine.environment.driver
    while driver.busy:
        driver.rest(0.001)
    return engine


def new_turn(number: int = 1) -> Turn:
    home: Any = SimpleNamespace(home=object())
    return Turn(home, "jobs", Message(1, "json", b"1", number=number), 0, threading.Lock())


# --- the turn itself -------------------------------------------------------------------------


def test_a_turn_ends_once_sealed_or_abandoned() -> None:
    sealed, left = new_turn(), new_turn()
    assert sealed.seal()
    assert not sealed.abandon()
    assert sealed.phase is Phase.SEALED
    assert not sealed.join([Message(1, "json", b"1")])
    assert not sealed.ops
    assert left.abandon()
    assert not left.seal()
    assert left.phase is Phase.ABANDONED
    with pytest.raises(TurnEnded):
        left.join([Message(1, "json", b"1")])


@pytest.mark.parametrize("end", ["seal", "abandon"])
def test_a_call_that_meets_the_end_of_its_turn_joins_it_or_comes_too_late(end: str) -> None:
    """The other thread gets the lock first: as the call looks, the turn has ended."""
    turn = new_turn()

    class Ends:
        def __enter__(self) -> None:
            turn.lock = threading.Lock()
            getattr(turn, end)()

        def __exit__(self, *exc: object) -> None:
            pass

    lock: Any = Ends()
    turn.lock = lock
    joined = False
    with contextlib.suppress(TurnEnded):
        joined = turn.join([Message(1, "json", b"1")])
    assert not joined
    assert not turn.ops


def test_a_turn_knows_how_many_bytes_it_has_staged() -> None:
    """What is staged is bounded by it."""
    turn = new_turn()
    turn.join([Message(1, "json", b"x" * 100)])
    turn.join([Tell(Message(1, "json", b"x" * 1000, name="id"), "replace")])
    assert turn.size == 1100


def test_what_a_turn_tells_says_where_it_comes_from() -> None:
    turn = new_turn(7)
    plain, named = Message(1, "json", b"1"), Message(1, "json", b"1", name="id")
    turn.join([plain, Tell(named, "replace")])
    assert [(m.cause, m.sender) for m in (plain, named)] == [(7, "jobs")] * 2


def test_a_handler_that_returns_after_its_timeout_settles_nothing(board: Board) -> None:
    """Its message waits for its retry; the late return neither removes it nor tells."""
    rt = board.rt
    go, left = threading.Event(), threading.Event()
    got: list[int] = []
    rt.mailbox("other", got.append)
    rt.events.subscribe(lambda _: left.set(), "handler.abandoned")

    @rt.mailbox("slow", workers=2, timeout=0.05, retry=RetryPolicy(delay=3600, jitter=0))
    def slow(n: int, context: Context) -> None:
        if context.attempt > 1:
            got.append(-n)
            return
        rt.tell("other", n)
        assert go.wait(PATIENCE)

    with board:
        number = rt.tell(slow, 1)
        assert left.wait(PATIENCE)
        engine = board.rt._host.engine
        assert engine is not None
        assert engine.environment.slots.running() == []
        go.set()
        board.settle()
        assert got == []
        assert [t.id for t in rt.timers("slow")] == [number]
        board.advance("1h")
        assert got == [-1]


def test_a_handler_that_comes_back_late_no_longer_counts_and_takes_nothing_more(
    board: Board,
) -> None:
    """Else its mailbox would be faulted in time, or run more at once than it has workers."""
    rt = board.rt
    go, left = threading.Event(), threading.Semaphore(0)
    got: list[int] = []
    threads: list[threading.Thread] = []
    faults: list[object] = []
    rt.events.subscribe(lambda _: left.release(), "handler.abandoned")
    rt.events.subscribe(faults.append, "mailbox.faulted")

    @rt.mailbox("slow", workers=2, timeout=0.05, retry=RetryPolicy(attempts=1))
    def slow(n: int) -> None:
        if n < 0:
            threads.append(threading.current_thread())
            assert go.wait(PATIENCE)
        got.append(n)

    with board:
        engine = board.rt._host.engine
        assert engine is not None
        mailbox = engine.mailbox("slow")
        assert mailbox is not None
        for n in (1, 2):
            go.clear()
            rt.tell(slow, -n)
            assert left.acquire(timeout=PATIENCE)
            go.set()
            board.settle()
            rest(board)
            rt.tell(slow, n)
            board.settle()
        assert faults == []
        assert not mailbox.recovery.abandoned
        assert set(mailbox.idle) <= set(mailbox.cells)
        assert [n for n in got if n > 0] == [1, 2]
        for thread in threads:  # another has its place: sooner than one that finds nothing to do
            thread.join(PATIENCE / 2)
            assert not thread.is_alive()


def test_a_thread_takes_the_place_of_one_that_was_left_behind(tmp_path: Path) -> None:
    go, handled = threading.Event(), threading.Event()
    rt = Runtime(tmp_path / "b.db", threads=1)
    rt.mailbox("stuck", lambda _n: go.wait(PATIENCE), timeout=0.05, retry=RetryPolicy(attempts=1))
    rt.mailbox("other", lambda _n: handled.set())
    with rt:
        rt.tell("stuck", 1)
        rt.tell("other", 1)
        try:
            assert handled.wait(PATIENCE / 2)
        finally:
            go.set()


# --- what joins, and what does not -----------------------------------------------------------


@pytest.mark.filterwarnings("ignore:SQLite .* can corrupt:RuntimeWarning")
def test_what_is_told_through_a_connection_never_joins_the_turn(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("other", got.append)

    @rt.mailbox("work", retry=RetryPolicy(attempts=1))
    def work(_n: int) -> None:
        mine = sqlite3.connect(rt._config.path)
        rt.tell("other", 1, connection=mine)
        mine.commit()
        mine.close()
        rt.tell("other", 2)
        raise ZeroDivisionError

    with board:
        rt.tell(work, 1)
        board.settle()
        rt.wake()
        board.settle()
        assert got == [1]


def test_a_transaction_takes_nothing_after_its_block(board: Board) -> None:
    board.rt.mailbox("a", lambda _n: None)
    with board:
        with board.rt.transaction() as tx:
            tx.tell("a", 1)
        calls: list[Callable[[], Any]] = [
            lambda: tx.tell("a", 2), lambda: tx.cancel("a", "x"), lambda: tx.execute("SELECT 1"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(TurnEnded, match="inside its with block"):
                call()


def test_a_transaction_refuses_a_statement_when_it_is_staged(board: Board) -> None:
    with board, board.rt.transaction() as tx, pytest.raises(MessageError):
        tx.execute("COMMIT")


def test_a_handler_gets_what_was_stored_and_never_the_senders_object(board: Board) -> None:
    sent = [1, 2]
    got: list[list[int]] = []

    @board.rt.mailbox("work")
    def work(items: list[int]) -> None:
        got.append(items)
        items.append(3)

    with board:
        board.rt.tell(work, sent)
        board.settle()
    assert got == [[1, 2, 3]]
    assert sent == [1, 2]


def test_a_future_call_knows_when_it_was_due(board: Board) -> None:
    seen: list[Any] = []
    board.rt.mailbox("work", lambda _n, context: seen.append((context.due, context.now)))
    with board:
        now = board.now
        due = now + timedelta(hours=1)
        board.rt.tell("work", 1, at=due)
        board.rt.tell("work", 2)
        board.advance("2h")
    assert seen == [(None, now), (due, due)]


# --- what may start before a commit ----------------------------------------------------------


@dataclass
class Seen:
    items: list[int] = field(default_factory=list)


def test_a_stateful_actor_starts_nothing_behind_an_uncommitted_statement(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Ledger(WorkerActor):
        state: Seen

        def on_receive(self, n: int) -> None:
            started.append(n)
            self.context.execute("UPDATE rows SET n = n")

    board.rt._store.open()
    connection = board.rt._store._connection
    assert connection is not None
    connection.execute("CREATE TABLE rows (n INTEGER)")
    commits = Commits(board, monkeypatch)
    board.rt.mailbox("ledger", Ledger)
    with board:
        board.rt.tell_many("ledger", [1, 2])
        assert commits.entered.wait(PATIENCE)
        rest(board)
        assert started == [1]
        commits.go.set()
        board.settle()
        assert started == [1, 2]


def test_no_handler_starts_while_the_store_refuses(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []
    inside, go = threading.Event(), threading.Event()
    refused, recovered = threading.Event(), threading.Event()
    commits = Commits(board, monkeypatch)
    board.rt.events.subscribe(lambda _: refused.set(), "store.refused")
    board.rt.events.subscribe(lambda _: recovered.set(), "store.recovered")

    def work(n: int) -> None:
        started.append(n)
        inside.set()
        if n > 1:
            assert go.wait(PATIENCE)

    board.rt.mailbox("work", work)
    board.rt.tell_many("work", range(1, 20))
    commits.refuse = True
    with board:
        assert refused.wait(PATIENCE)
        go.set()  # one that had started already may end
        rest(board)
        assert len(started) <= 2
        commits.refuse = False
        commits.go.set()
        assert recovered.wait(PATIENCE)
        board.settle()
        assert started == [*range(1, 20)]


def test_no_handler_starts_while_too_much_is_staged(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(committer, "STAGED_UNITS", 4)
    started: list[int] = []
    board.rt.mailbox("work", started.append)
    commits = Commits(board, monkeypatch)
    with board:
        board.rt.tell_many("work", range(50))
        assert commits.entered.wait(PATIENCE)
        rest(board)
        assert started == [0, 1, 2, 3]
        commits.go.set()
        board.settle()
        assert started == [*range(50)]


@pytest.mark.parametrize("when", ["while it runs", "before its commit"])
def test_an_actor_is_not_put_away_before_its_last_turn_has_committed(
    board: Board, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Else the next message would load the state from before that turn."""
    inside, leave = threading.Event(), threading.Event()
    built: list[object] = []

    class Adder(WorkerActor):
        state: Seen

        def on_start(self) -> None:
            built.append(self)

        def on_receive(self, n: int) -> None:
            inside.set()
            assert leave.wait(PATIENCE)
            self.state.items.append(n)

    commits = Commits(board, monkeypatch)
    board.rt.mailbox("adder", Adder, keyed=True)
    with board:
        board.rt.tell("adder", 1, key="a")
        assert inside.wait(PATIENCE)
        mailbox = board.rt._host.engine.mailbox("adder")  # type: ignore[union-attr]
        assert mailbox is not None
        if when == "before its commit":
            leave.set()
            assert commits.entered.wait(PATIENCE)
            rest(board)
        for _ in range(3):
            mailbox.sweep()
        assert list(mailbox.activations) == ["a"]
        leave.set()
        commits.go.set()
        board.rt.tell("adder", 2, key="a")
        board.settle()
        assert board.rt.state("adder", "a").items == [1, 2]
        assert len(built) == 1


def test_an_actor_restarted_before_a_commit_goes_on_from_what_it_has_staged(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store holds is older; an ask comes in beside the commit that is under way."""
    asked, answers = threading.Event(), list[list[int]]()

    class Adder(WorkerActor):
        state: Seen

        def on_receive(self, n: int) -> list[int]:
            self.state.items.append(n)
            if n == 2:
                asked.set()
            return list(self.state.items)

    commits = Commits(board, monkeypatch)
    rt = board.rt
    rt.mailbox("adder", Adder, keyed=True)
    with board:
        rt.tell("adder", 1, key="a")
        assert commits.entered.wait(PATIENCE)
        mailbox = rest(board).mailbox("adder")
        mailbox.recovery.renew(clean=False)
        asker = threading.Thread(target=lambda: answers.append(rt.ask("adder", 2, key="a")))
        asker.start()
        assert asked.wait(PATIENCE)
        commits.go.set()
        asker.join(PATIENCE)
        assert rt.state("adder", "a").items == [1, 2]
    assert answers == [[1, 2]]


# --- messages that are not run ---------------------------------------------------------------


def test_a_cancelled_message_lets_the_next_of_its_key_run(board: Board) -> None:
    rt = board.rt
    inside, go = threading.Event(), threading.Event()
    seen: list[str] = []

    @rt.mailbox("work", keyed=True)
    def work(what: str) -> None:
        seen.append(what)
        inside.set()
        assert go.wait(PATIENCE)

    with board:
        rt.tell(work, "first", key="a")
        assert inside.wait(PATIENCE)
        rt.tell(work, "second", key="a", id="x")
        rt.tell(work, "third", key="a")
        other = Runtime(board.rt._config.path, clock=board.clock)
        assert other.cancel("work", "x")
        go.set()
        board.settle()
        other.stop()
        assert seen == ["first", "third"]


def test_a_message_whose_look_up_fails_is_run_afterwards(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is restarted; nothing of the message had happened."""
    got: list[int] = []
    store, faults = board.rt._store, iter([1])
    present = store.present

    def failing(numbers: Any) -> Any:
        for _ in faults:
            msg = "disk I/O error"
            raise StoreError(msg)
        return present(numbers)

    monkeypatch.setattr(store, "present", failing)
    board.rt.mailbox("work", got.append)
    with board:
        board.rt.tell("work", 1, id="x")
        board.rt.tell("work", 2)
        board.advance("1m")
        assert list(faults) == []
        assert sorted(got) == [1, 2]
        assert board.rt.dead() == []
