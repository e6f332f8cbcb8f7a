"""The conformance suite on SQLite, and what holds for SQLite alone."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from callboard.errors import StoreBusy, StoreError, StoreFull
from callboard.persistence.gate import Gate
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import (
    Dead,
    Declaration,
    Execute,
    Lineage,
    Message,
    Outcome,
    Store,
    Unit,
    Written,
)  # fmt: skip

from .store_contract import StoreContract
from .store_tools import bodies, do, message, run, tell, write


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "board.db")
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        other = SqliteStore(tmp_path / "board.db")
        yield other
        other.close()


class OwnersStore(SqliteStore):
    """Writes as the owner that has seen everything, where the suite writes as a client."""

    def write(self, units: Sequence[Unit], *, epoch: int | None, seen: int | None) -> Written:
        if epoch is None:
            last, epoch, _ = self.heartbeat()
            seen = last if seen is None else seen
        return super().write(units, epoch=epoch, seen=seen)


class TestSqliteStoreOfAnOwner(TestSqliteStore):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = OwnersStore(tmp_path / "board.db")
        yield store
        store.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "board.db")
    yield store
    store.close()


@pytest.fixture
def box(store: SqliteStore) -> int:
    return store.declare([Declaration("jobs")])[0].id


@pytest.mark.parametrize("count", [2, 30, 65, 300, 1001])
def test_what_is_told_together_comes_out_at_the_first_try(
    store: SqliteStore, box: int, count: int
) -> None:
    """Else each unit is written again in a savepoint, which is right, and slow."""
    run: list[str] = []
    assert store._connection is not None
    store._connection.set_trace_callback(run.append)
    written = [b"%d" % number for number in range(count)]
    write(store, *[Unit(tells=[message(box, body)]) for body in written])
    store._connection.set_trace_callback(None)
    assert not [sql for sql in run if sql.startswith(("ROLLBACK", "SAVEPOINT"))]
    assert sum("INSERT INTO callboard_message" in sql for sql in run) <= 1 + count // 256
    assert bodies(store, box) == written


def writer(store: SqliteStore) -> sqlite3.Connection:
    store.open()
    assert store._connection is not None
    return store._connection


def test_a_file_that_was_there_gets_a_write_ahead_log(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "board.db")) as own:
        own.execute("CREATE TABLE own (id INTEGER)")
        assert own.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    store = SqliteStore(tmp_path / "board.db")
    assert writer(store).execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()


# --- the write gate ------------------------------------------------------------------------------


def test_no_statement_of_ours_writes_outside_the_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter, leave = Gate.__enter__, Gate.__exit__
    inside, outside, passed = list[Gate](), list[str](), list[Gate]()

    def entering(gate: Gate) -> Gate:
        inside.append(enter(gate))
        passed.append(gate)
        return gate

    def leaving(gate: Gate, *exc: object) -> None:
        inside.remove(gate)
        leave(gate, *exc)

    monkeypatch.setattr(Gate, "__enter__", entering)
    monkeypatch.setattr(Gate, "__exit__", leaving)
    store = SqliteStore(tmp_path / "board.db")
    writer(store).set_trace_callback(lambda sql: None if inside else outside.append(sql))
    box = store.declare([Declaration("box")])[0].id
    told, seen = tell(store, box, b"1", b"2"), 2
    epoch, _, _ = store.take_over([], 0)
    store.write([Unit(ack=told[0]), Unit(tells=[message(box, b"3")])], epoch=epoch, seen=seen)
    store.write([Unit(ack=told[1], fate=Dead("no", "", 1, 0))], epoch=epoch, seen=seen)
    store.look(epoch=epoch, seen=seen)
    store.breathe(lambda: None, 0.0)
    store.requeue(told[1].number, 0)
    store.discard(told[1].number)
    store.pause(box, paused=True)
    store.sweep(0)
    assert outside == []
    before = len(passed)
    store.close()
    assert len(passed) > before, "the last to close runs a checkpoint"


# --- a statement that ends the transaction -------------------------------------------------------

ROLLING_BACK = [
    ["CREATE TABLE t (n INTEGER)",
     "CREATE TRIGGER no BEFORE INSERT ON t BEGIN SELECT RAISE(ROLLBACK, 'not that one'); END"],
    ["CREATE TABLE t (n INTEGER UNIQUE ON CONFLICT ROLLBACK)", "INSERT INTO t VALUES (1)"],
]  # fmt: skip


@pytest.mark.parametrize("schema", ROLLING_BACK)
def test_a_statement_that_rolls_back_the_transaction_fails_its_unit_alone(
    store: SqliteStore, box: int, schema: list[str]
) -> None:
    run(store, *schema)
    told = tell(store, box, b"1", b"2", b"3")
    line = Lineage()
    turns = [
        Unit(ack=told[0], tells=[message(box, b"a")]),
        Unit(
            ack=told[1], lineage=line, ops=[message(box), Execute("INSERT INTO t VALUES (1)", ())]
        ),
        Unit(ack=told[2], lineage=line),
        Unit(tells=[message(box, b"b")]),
    ]
    write(store, *turns)
    assert [turn.outcome for turn in turns] == [
        Outcome.COMMITTED, Outcome.FAILED, Outcome.AGAIN, Outcome.COMMITTED,
    ]  # fmt: skip
    assert isinstance(turns[1].error, sqlite3.IntegrityError)
    assert bodies(store, box) == [b"2", b"3", b"a", b"b"]


# --- the store refuses ---------------------------------------------------------------------------


def untouched(*units: Unit) -> bool:
    numbers = [told.number for unit in units for told in unit.told]
    return not any(numbers) and {unit.outcome for unit in units} == {None}


def test_a_full_disk_refuses_the_whole_group_and_leaves_no_trace(
    store: SqliteStore, box: int
) -> None:
    (told,) = tell(store, box, b"1")
    run(store, "CREATE TABLE t (body BLOB)")
    pages = writer(store).execute("PRAGMA page_count").fetchone()[0]
    writer(store).execute(f"PRAGMA max_page_count = {pages + 2}")
    big = Execute("INSERT INTO t VALUES (zeroblob(100000))", ())
    groups = [
        [Unit(ack=told, tells=[message(box, b"2")]), Unit(tells=[message(box, b"x" * 100_000)])],
        [Unit(ack=told, tells=[message(box, b"2")]), Unit(ops=[message(box), big])],
    ]
    for group in groups:
        with pytest.raises(StoreFull, match="no room for"):
            write(store, *group)
        assert untouched(*group)
        assert bodies(store, box) == [b"1"]
    writer(store).execute("PRAGMA max_page_count = 1000000")
    for group in groups:
        write(store, *group)
    assert groups[0][0].outcome is Outcome.COMMITTED


def test_what_was_written_before_a_full_disk_is_said_when_units_are_written_alone(
    store: SqliteStore, box: int
) -> None:
    run(store, *ROLLING_BACK[1])
    pages = writer(store).execute("PRAGMA page_count").fetchone()[0]
    writer(store).execute(f"PRAGMA max_page_count = {pages + 2}")
    units = [
        Unit(tells=[message(box, b"1")]),
        Unit(ops=[Execute("INSERT INTO t VALUES (1)", ())]),
        Unit(ops=[message(box, b"x" * 100_000)]),
        Unit(tells=[message(box, b"3")]),
    ]
    # The full disk shows only when the units are alone: before, the second ends the transaction.
    with pytest.raises(StoreFull) as caught:
        write(store, *units, seen=0)
    assert [unit.outcome for unit in units] == [Outcome.COMMITTED, Outcome.FAILED, None, None]
    assert caught.value.written.last == units[0].results[0] == store.heartbeat()[0]
    assert bodies(store, box) == [b"1"]


def test_a_lock_held_by_another_connection_is_busy_and_says_what_it_may_be(
    store: SqliteStore, box: int
) -> None:
    writer(store).execute("PRAGMA busy_timeout = 1")
    mine = sqlite3.connect(store.path, isolation_level=None)
    mine.execute("BEGIN IMMEDIATE")
    for call in (
        lambda: tell(store, box, b"1"),
        lambda: store.pause(box, paused=True),
        lambda: store.requeue(1, 1),
    ):
        with pytest.raises(StoreBusy, match="pass connection="):
            call()
    mine.close()
    tell(store, box, b"1")


class Interrupted:
    """Stands for the writer's ``execute``: Ctrl-C arrives just before or after a statement."""

    def __init__(self, execute: Callable[..., Any], word: str, *, after: bool) -> None:
        self._execute, self._word, self._after = execute, word, after

    def __call__(self, sql: str, params: Any = ()) -> Any:
        hit = sql.startswith(self._word)
        if hit and not self._after:
            raise KeyboardInterrupt
        cursor = self._execute(sql, params)
        if hit:
            raise KeyboardInterrupt
        return cursor


def interrupt(store: SqliteStore, word: str, *, after: bool) -> Callable[[], None]:
    parts = store._writer
    assert parts is not None
    run_ = parts._run
    parts._run = parts._units._run = Interrupted(run_, word, after=after)

    def off() -> None:
        parts._run = parts._units._run = run_

    return off


@pytest.mark.parametrize(("word", "after"), [("INSERT", True), ("COMMIT", False)])
def test_ctrl_c_before_the_commit_leaves_nothing(
    store: SqliteStore, box: int, word: str, *, after: bool
) -> None:
    off = interrupt(store, word, after=after)
    unit = Unit(tells=[message(box)])
    with pytest.raises(KeyboardInterrupt) as caught:
        write(store, unit)
    off()
    assert not hasattr(caught.value, "written")
    assert untouched(unit)
    write(store, unit)
    assert len(bodies(store, box)) == 1


def test_ctrl_c_just_after_the_commit_says_that_it_came_through(
    store: SqliteStore, box: int
) -> None:
    off = interrupt(store, "COMMIT", after=True)
    unit = Unit(tells=[message(box)])
    with pytest.raises(KeyboardInterrupt) as caught:
        write(store, unit)
    off()
    assert caught.value.__dict__["written"].last == unit.results[0]
    assert unit.outcome is Outcome.COMMITTED
    assert len(bodies(store, box)) == 1


def test_ctrl_c_while_units_are_written_alone_says_which_came_through(
    store: SqliteStore, box: int
) -> None:
    run(store, *ROLLING_BACK[1])
    units = [Unit(tells=[message(box, b"1")]), Unit(ops=[Execute("INSERT INTO t VALUES (1)", ())])]
    off = interrupt(store, "COMMIT", after=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        write(store, *units, seen=0)
    off()
    assert [unit.outcome for unit in units] == [Outcome.COMMITTED, None]
    assert caught.value.__dict__["written"].last == units[0].results[0]
    assert bodies(store, box) == [b"1"]


# --- readers -------------------------------------------------------------------------------------


def test_reading_does_not_wait_for_a_commit(store: SqliteStore, box: int) -> None:
    tell(store, box, b"1")
    writer(store).execute("BEGIN IMMEDIATE")
    writer(store).execute("DELETE FROM callboard_message")
    assert bodies(store, box) == [b"1"]
    writer(store).execute("ROLLBACK")


def test_a_query_cannot_write(store: SqliteStore, box: int) -> None:
    with pytest.raises(StoreError):
        store.query("DELETE FROM callboard_mailbox", ())
    assert len(store.mailboxes()) == 1


def test_a_query_that_begins_a_transaction_does_not_freeze_later_readers(
    store: SqliteStore, box: int
) -> None:
    store.query("BEGIN", ())
    store.heartbeat()
    tell(store, box, b"1")
    assert bodies(store, box) == [b"1"]


def test_a_wrong_query_raises_the_drivers_own_error(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        store.query("SELECT * FROM nowhere", ())


def test_parameters_that_do_not_fit_are_refused_when_checked(store: SqliteStore) -> None:
    from callboard.errors import MessageError

    with pytest.raises(MessageError):
        store.check("SELECT ?", ())


@pytest.mark.parametrize("sql", ["PRAGMA user_version = 1", "ATTACH ':memory:' AS a", "DETACH a"])
def test_pragma_and_attach_are_refused_in_a_turn(store: SqliteStore, sql: str) -> None:
    from callboard.errors import MessageError

    with pytest.raises(MessageError, match="may not be used"):
        store.check(sql, ())


def test_a_reader_that_is_inside_sqlite_ends_before_the_store_closes(
    store: SqliteStore, box: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, go = threading.Event(), threading.Event()

    def wait() -> int:
        inside.set()
        assert go.wait(10)
        return 1

    connection = store._take()
    connection.create_function("wait", 0, wait)
    store._give_back(connection)
    waiting = threading.Event()

    class Watched(threading.Condition):
        def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
            waiting.set()
            return super().wait_for(predicate, timeout)

    monkeypatch.setattr(store, "_quiet", Watched(store._lock))
    rows: list[Any] = []
    reader = threading.Thread(target=lambda: rows.extend(store.query("SELECT wait()", ())))
    closer = threading.Thread(target=store.close)
    reader.start()
    assert inside.wait(10)
    closer.start()
    assert waiting.wait(10)
    assert store._connection is None, "nothing new begins"
    go.set()
    closer.join(10)
    reader.join(10)
    assert [tuple(row) for row in rows] == [(1,)]
    assert store._reading == 0


# --- files ---------------------------------------------------------------------------------------


def test_what_is_made_is_for_this_user_alone(store: SqliteStore, box: int) -> None:
    tell(store, box, b"1")
    modes = {
        each.name: each.stat().st_mode & 0o777
        for each in store.path.parent.rglob("*")
    }  # fmt: skip
    assert modes == {
        "board.db": 0o600, "board.db-wal": 0o600, "board.db-shm": 0o600,
        "board.db.callboard": 0o700, "gate": 0o600, "next": 0o600,
    }  # fmt: skip


def test_it_may_be_the_users_own_database(tmp_path: Path) -> None:
    path = tmp_path / "mine.db"
    with sqlite3.connect(path) as mine:
        mine.executescript("CREATE TABLE orders (n INTEGER); PRAGMA user_version = 42;")
    store = SqliteStore(path)
    tell(store, store.declare([Declaration("jobs")])[0].id, b"1")
    do(store, Execute("INSERT INTO orders VALUES (1)", ()))
    store.close()
    names = {row[0] for row in mine.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert mine.execute("SELECT count(*) FROM orders").fetchone() == (1,)
    assert mine.execute("PRAGMA user_version").fetchone() == (42,)
    assert all(name.startswith("callboard_") for name in names - {"orders"})
    mine.close()


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("normal", 1)])
def test_durability_is_sqlites_synchronous(
    tmp_path: Path, durability: str, synchronous: int
) -> None:
    store = SqliteStore(tmp_path / "board.db", durability=durability)
    assert writer(store).execute("PRAGMA synchronous").fetchone() == (synchronous,)
    store.close()


def test_pages_are_found_by_an_index_without_sorting(store: SqliteStore, box: int) -> None:
    seen: list[str] = []
    connection = store._take()
    connection.set_trace_callback(seen.append)
    store._give_back(connection)
    store.waiting(box, after=(0, 5), limit=9, skip=["a"])
    store.due(box, upto=9, after=(5, 5), limit=9, key="k")
    store.timers(box, after=None, limit=9)
    store.find(None, "id")
    for sql in [each for each in seen if "callboard_message" in each]:
        plan = " ".join(row[3] for row in store.query(f"EXPLAIN QUERY PLAN {sql}", ()))
        assert "SEARCH callboard_message USING INDEX" in plan, (sql, plan)
        if "name" not in sql.partition("WHERE")[2]:
            assert "TEMP B-TREE" not in plan, (sql, plan)


def test_it_writes_rows_that_it_reads_back_as_the_same_message(
    store: SqliteStore, box: int
) -> None:
    told = tell(store, box, b"\x00\xff", told_at=2**62)
    assert store.waiting(box, after=None, limit=1) == told
    assert isinstance(told[0], Message)


@pytest.mark.parametrize("opened", [False, True])
def test_nothing_is_said_of_others_where_a_second_path_leads_around_the_gate(
    tmp_path: Path, store: SqliteStore, box: int, *, opened: bool
) -> None:
    tell(store, box, b"1")
    assert store.others() is not None
    if not opened:
        store.close()
    (tmp_path / "second.db").hardlink_to(store.path)
    assert store.intact(), "an owner's pulse, or a client's look"
    tell(store, box, b"2")
    assert store.others() is None
    (tmp_path / "second.db").unlink()
    assert store.intact()
    assert store.others() is not None
