"""The turn is one transaction: each test breaks if one of its promises is broken."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    Context,
    MessageError,
    Reject,
    RetryLater,
    RetryPolicy,
    Runtime,
    TurnEnded,
    WorkerActor,
)

if TYPE_CHECKING:
    from callboard.runtime.testing import Board

ONCE = RetryPolicy(attempts=1)


def rows(board: Board, sql: str) -> list[Any]:
    return board.rt._store.query(sql, ())


def user_table(board: Board) -> None:
    board.rt._store.open()
    connection = board.rt._store._connection
    assert connection is not None
    connection.execute("CREATE TABLE paid (id INTEGER PRIMARY KEY, n INTEGER UNIQUE)")


def test_what_a_handler_tells_happens_with_its_turn(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("second", got.append)

    @rt.mailbox("first")
    def first(n: int) -> None:
        assert rt.tell("second", n) == 0  # numbers are given at the commit
        rt.tell("second", n + 1, after="1h")

    with board:
        rt.tell(first, 1)
        board.settle()
        assert got == [1]
        board.advance("1h")
        assert got == [1, 2]


def test_a_handler_that_raises_has_told_nothing(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("second", got.append)

    @rt.mailbox("first", retry=ONCE)
    def first(n: int) -> None:
        rt.tell("second", n)
        rt.cancel("second", "waits")
        msg = "no"
        raise ValueError(msg)

    with board:
        rt.tell("second", 7, after="1d", id="waits")
        rt.tell(first, 1)
        board.settle()
        assert got == []
        assert [t.name for t in rt.timers("second")] == ["waits"]
        (letter,) = rt.dead("first")
        assert letter.error == "ValueError: no"
        assert letter.attempts == 1
        assert "first" in letter.traceback


def test_the_cause_and_the_sender_of_a_message_are_kept(board: Board) -> None:
    rt = board.rt
    seen: list[str | None] = []
    rt.mailbox("second", lambda _m, context: seen.append(context.sender))

    @rt.mailbox("first")
    def first(n: int) -> None:
        rt.tell("second", n, after=1)

    with board:
        number = rt.tell(first, 1)
        board.settle()
        (cause,) = rows(board, "SELECT cause FROM callboard_message")[0]
        assert cause == number
        board.advance(1)
        assert seen == ["first"]


def test_a_handler_that_moves_its_own_id_does_not_run_for_ever(board: Board) -> None:
    """The acknowledgement comes first; replacing gives a new number."""
    rt = board.rt
    runs: list[int] = []

    @rt.mailbox("poll")
    def poll(n: int, context: Context) -> None:
        runs.append(context.message_id)
        rt.tell(poll, n + 1, after=60, id="poll")

    with board:
        rt.tell(poll, 0, id="poll")
        board.settle()
        assert len(runs) == 1
        board.advance("10m")
        assert len(runs) == 11
        assert len(set(runs)) == 11


def test_all_runs_of_one_message_have_one_message_id(board: Board) -> None:
    rt = board.rt
    runs: list[tuple[int, int]] = []

    @rt.mailbox("flaky", retry=RetryPolicy(delay=1, jitter=0))
    def flaky(n: int, context: Context) -> None:
        runs.append((context.message_id, context.attempt))
        if len(runs) == 1:
            raise RetryLater(after=1)
        if len(runs) == 2:
            msg = "no"
            raise ValueError(msg)

    with board:
        number = rt.tell(flaky, 1)
        board.settle()
        board.advance("1m")
    assert runs == [(number, 1), (number, 1), (number, 2)]


def test_a_statement_runs_after_the_handler_and_not_if_that_raises(board: Board) -> None:
    rt = board.rt
    user_table(board)
    seen: list[int] = []

    @rt.mailbox("work", retry=ONCE)
    def work(n: int, context: Context) -> None:
        context.execute("INSERT INTO paid (id) VALUES (?)", (n,))
        seen.append(rows(board, "SELECT count(*) FROM paid")[0][0])
        if n == 2:
            msg = "no"
            raise ValueError(msg)

    with board:
        rt.tell_many(work, [1, 2])
        board.settle()
        assert rows(board, "SELECT id FROM paid") == [(1,)]
    assert seen[0] == 0


def test_operations_of_a_turn_keep_their_order(board: Board) -> None:
    rt = board.rt
    user_table(board)

    @rt.mailbox("work")
    def work(_n: int, context: Context) -> None:
        context.execute("INSERT INTO paid (id, n) VALUES (1, 1)")
        context.execute("UPDATE paid SET n = 2 WHERE id = 1", expect=1)
        rt.tell("later", 1, after=60, id="x")
        rt.cancel("later", "x")
        rt.tell("later", 2, after=60, id="x")

    rt.mailbox("later", lambda _n: None)
    with board:
        rt.tell(work, 0)
        board.settle()
        assert rows(board, "SELECT id, n FROM paid") == [(1, 2)]
        assert [m.message for m in rt.peek("later")] == []
        assert len(rt.timers("later")) == 1
        found = rt.find("x")
        assert found is not None
        assert found.message == 2


def test_a_refused_statement_fails_its_turn_and_no_other(board: Board) -> None:
    rt = board.rt
    user_table(board)

    @rt.mailbox("work", workers=4, retry=ONCE)
    def work(n: int, context: Context) -> None:
        context.execute("INSERT INTO paid (n) VALUES (?)", (n // 2,))
        rt.tell("done", n)

    done: list[int] = []
    rt.mailbox("done", done.append)
    with board:
        rt.tell_many(work, range(100))
        board.settle()
        assert len(done) == 50
        assert len(rt.dead("work")) == 50
        assert "UNIQUE" in rt.dead("work")[0].error
        assert rows(board, "SELECT count(*) FROM paid") == [(50,)]


def test_expect_fails_the_turn_unless_so_many_rows_changed(board: Board) -> None:
    rt = board.rt
    user_table(board)

    @rt.mailbox("work", retry=ONCE)
    def work(n: int, context: Context) -> None:
        context.execute("INSERT INTO paid (n) VALUES (?)", (n,))
        context.execute("UPDATE paid SET n = 5 WHERE n = 99", expect=1)

    with board:
        rt.tell(work, 1)
        board.settle()
        assert rows(board, "SELECT count(*) FROM paid") == [(0,)]
        assert "expected 1 rows" in rt.dead("work")[0].error


@pytest.mark.parametrize(
    "sql",
    [
        "COMMIT",
        "BEGIN",
        "ROLLBACK",
        "SAVEPOINT a",
        "ATTACH 'x.db' AS x",
        "PRAGMA user_version = 3",
        "DELETE FROM callboard_message",
        "UPDATE callboard_counter SET last = 0",
        "DROP TABLE callboard_state",
        "SELECT 1; SELECT 2",
    ],
)
def test_statements_that_may_not_run_in_a_turn_are_refused_when_staged(
    board: Board, sql: str
) -> None:
    refused: list[str] = []

    @board.rt.mailbox("work")
    def work(_n: int, context: Context) -> None:
        with pytest.raises(MessageError) as caught:
            context.execute(sql)
        refused.append(str(caught.value))

    with board:
        board.rt.tell(work, 0)
        board.settle()
        assert len(refused) == 1
        assert "\n" not in refused[0]


def test_query_reads_what_is_committed(board: Board) -> None:
    user_table(board)
    seen: list[Any] = []

    @board.rt.mailbox("work")
    def work(_n: int, context: Context) -> None:
        context.execute("INSERT INTO paid (n) VALUES (1)")
        seen.append(context.query("SELECT count(*) FROM paid"))

    with board:
        board.rt.tell(work, 0)
        board.settle()
        board.rt.tell(work, 0)
        board.settle()
    assert seen[0] == [(0,)]


def test_a_message_cancelled_while_its_handler_runs_is_void(board: Board) -> None:
    """Nothing of the turn happens, no attempt is counted, and it is not run again."""
    rt = board.rt
    inside, go = threading.Event(), threading.Event()
    done: list[int] = []
    rt.mailbox("done", done.append)
    void: list[Any] = []
    rt.events.subscribe(void.append, "message.void")

    @rt.mailbox("work")
    def work(n: int) -> None:
        rt.tell("done", n)
        inside.set()
        assert go.wait(10)

    with board:
        number = rt.tell(work, 1)
        assert inside.wait(10)
        assert rt.cancel(work, number)
        go.set()
        board.settle()
        assert done == []
        assert [event["id"] for event in void] == [number]
        assert rt.find(number) is None
        assert rt.dead() == []


def test_a_message_replaced_while_its_handler_runs_is_void_and_the_new_one_runs(
    board: Board,
) -> None:
    rt = board.rt
    inside, go = threading.Event(), threading.Event()
    seen: list[int] = []

    @rt.mailbox("work")
    def work(n: int) -> None:
        seen.append(n)
        if n == 1:
            inside.set()
            assert go.wait(10)

    with board:
        rt.tell(work, 1, id="x")
        assert inside.wait(10)
        rt.tell(work, 2, id="x")
        go.set()
        board.settle()
        assert seen == [1, 2]
        assert rt.mailboxes()[0].waiting == 0


def test_a_message_with_an_id_is_looked_up_just_before_its_handler(board: Board) -> None:
    """Another process cancels it while it is in this one's memory: it is not delivered."""
    rt = board.rt
    inside, go = threading.Event(), threading.Event()
    seen: list[str] = []

    @rt.mailbox("work")
    def work(what: str) -> None:
        seen.append(what)
        if what == "first":
            inside.set()
            assert go.wait(10)

    with board:
        rt.tell(work, "first")
        assert inside.wait(10)
        rt.tell(work, "second", id="x")
        other = Runtime(board.rt._config.path, clock=board.clock)
        assert other.cancel("work", "x")
        go.set()
        board.settle()
        other.stop()
        assert seen == ["first"]


def test_an_earlier_void_turn_voids_those_staged_on_its_state(board: Board) -> None:
    """The later ones run again, uncounted, on the state of the store."""

    @dataclass
    class Total:
        seen: list[int] = field(default_factory=list)

    inside, go = threading.Event(), threading.Event()

    class Adder(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> None:
            self.state.seen.append(n)
            if n == 2 and not go.is_set():
                inside.set()
                assert go.wait(10)

    rt = board.rt
    rt.mailbox("adder", Adder)
    with board:
        rt.tell("adder", 1)
        board.settle()
        number = rt.tell("adder", 2)
        assert inside.wait(10)
        rt.tell_many("adder", [3, 4, 5])
        assert rt.cancel("adder", number)
        go.set()
        board.settle()
        assert rt.state("adder").seen == [1, 3, 4, 5]
        assert rt.dead() == []


def test_a_call_from_a_thread_without_the_context_commits_on_its_own(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("second", got.append)

    @rt.mailbox("first", retry=ONCE)
    def first(n: int) -> None:
        thread = threading.Thread(target=rt.tell, args=("second", n))
        thread.start()
        thread.join()
        msg = "the turn is void, the thread's tell is not"
        raise ValueError(msg)

    with board:
        rt.tell(first, 1)
        board.settle()
        assert got == [1]


def test_a_call_after_the_turn_has_ended_commits_on_its_own(board: Board) -> None:
    """A task that outlives an async handler carries the context; it must not vanish."""
    rt = board.rt
    got: list[int] = []
    told = threading.Event()
    rt.mailbox("second", got.append)
    tasks: list[Any] = []

    @rt.mailbox("first")
    async def first(n: int) -> None:
        ended = asyncio.Event()

        async def late() -> None:
            await ended.wait()
            await asyncio.to_thread(rt.tell, "second", n)
            told.set()

        tasks.append(asyncio.create_task(late()))
        asyncio.get_running_loop().call_later(0.05, ended.set)

    with board:
        rt.tell(first, 1)
        assert told.wait(10)
        board.settle()
        assert got == [1]


def test_execute_after_the_turn_raises(board: Board) -> None:
    kept: list[Context] = []
    board.rt.mailbox("work", lambda _n, context: kept.append(context))
    with board:
        board.rt.tell("work", 1)
        board.settle()
        with pytest.raises(TurnEnded):
            kept[0].execute("SELECT 1")


def test_a_transaction_is_all_or_nothing(board: Board) -> None:
    rt = board.rt
    user_table(board)
    got: list[int] = []
    rt.mailbox("a", got.append)
    with board:
        with rt.transaction() as tx:
            tx.tell("a", 1)
            tx.tell("a", 2, after=60, id="x")
            tx.execute("INSERT INTO paid (n) VALUES (1)")
        board.settle()
        assert got == [1]

        def refused() -> None:
            with rt.transaction() as tx:
                tx.tell("a", 3)
                tx.cancel("a", "x")
                tx.execute("UPDATE paid SET n = 9 WHERE n = 8", expect=1)

        def raises() -> None:
            with rt.transaction() as tx:
                tx.tell("a", 4)
                raise ZeroDivisionError

        with pytest.raises(ValueError, match="expected"):
            refused()
        with pytest.raises(ZeroDivisionError):
            raises()
        board.settle()
        assert got == [1]
        assert rt.find("x") is not None


def test_a_transaction_inside_a_handler_joins_its_turn(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("second", got.append)

    @rt.mailbox("first", retry=RetryPolicy(attempts=2, delay=0))
    def first(n: int, context: Context) -> None:
        with rt.transaction() as tx:
            tx.tell("second", n)
        if context.attempt == 1:
            msg = "the first attempt told nothing"
            raise ValueError(msg)

    with board:
        rt.tell(first, 1)
        board.advance(1)
        assert got == [1]


def test_two_runtimes_do_not_join_each_other(board: Board, tmp_path: Any) -> None:
    """A tell to another runtime inside a handler commits on its own."""
    other = Runtime(tmp_path / "other.db", clock=board.clock)
    other.mailbox("there", lambda _n: None)

    @board.rt.mailbox("here", retry=ONCE)
    def here(n: int) -> None:
        assert other.tell("there", n) == 1
        msg = "void here"
        raise ValueError(msg)

    with board:
        board.rt.tell(here, 1)
        board.settle()
        assert other.mailboxes()[0].waiting == 1
    other.stop()


def test_retry_later_is_no_failure_and_reject_is_final(board: Board) -> None:
    rt = board.rt
    runs: list[tuple[Any, int]] = []

    @rt.mailbox("work")
    def work(what: str, context: Context) -> None:
        runs.append((board.now, context.attempt))
        if what == "reject":
            msg = "not for me"
            raise Reject(msg)
        if len(runs) < 3:
            raise RetryLater(after="10m")

    with board:
        start = board.now
        rt.tell(work, "later")
        board.advance("1h")
        assert [(at - start).total_seconds() for at, _ in runs] == [0, 600, 1200]
        assert [attempt for _, attempt in runs] == [1, 1, 1]
        rt.tell(work, "reject")
        board.settle()
        (letter,) = rt.dead()
        assert letter.error == "not for me"


def test_state_after_a_failed_message_is_the_last_good_one(board: Board) -> None:
    @dataclass
    class Box:
        items: list[int] = field(default_factory=list)

    class Keeper(WorkerActor):
        state: Box

        def on_receive(self, n: int) -> None:
            self.state.items.append(n)
            if n < 0:
                msg = "after the change"
                raise ValueError(msg)

    rt = board.rt
    rt.mailbox("keeper", Keeper, keyed=True, retry=ONCE)
    with board:
        for n in (1, -1, 2, -2, 3):
            rt.tell("keeper", n, key="a")
        board.settle()
        assert rt.state("keeper", "a").items == [1, 2, 3]
        board.crash()
        board.settle()
        assert rt.state("keeper", "a").items == [1, 2, 3]
        assert len(rt.dead()) == 2


def test_a_stateful_actor_waits_for_the_commit_of_a_turn_with_a_statement(board: Board) -> None:
    """Its statement may be refused at the commit; what follows must not stand on its state."""

    @dataclass
    class Sum:
        total: int = 0

    class Ledger(WorkerActor):
        state: Sum

        def on_receive(self, n: int) -> None:
            self.state.total += n
            self.context.execute("INSERT INTO paid (n) VALUES (?)", (n,))

    rt = board.rt
    user_table(board)
    rt.mailbox("ledger", Ledger, retry=ONCE)
    with board:
        rt.tell_many("ledger", [1, 2, 2, 3, 3, 3, 4])
        board.settle()
        assert rt.state("ledger").total == 10
        assert len(rt.dead()) == 3
        assert rows(board, "SELECT sum(n) FROM paid") == [(10,)]


def test_sys_exit_in_a_handler_is_that_messages_failure(board: Board) -> None:
    got: list[int] = []

    @board.rt.mailbox("work", retry=ONCE)
    def work(n: int) -> None:
        if n == 1:
            raise SystemExit(3)
        got.append(n)

    with board:
        board.rt.tell_many(work, [1, 2])
        board.settle()
        assert got == [2]
        assert "SystemExit" in board.rt.dead()[0].error
