"""A COMMIT that fails: it is found out whether it is on disk, and said where that cannot be."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callboard.errors import StoreError
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import (
    Cancel,
    Dead,
    Declaration,
    Message,
    Outcome,
    Retry,
    State,
    Unit,
    Written,
)  # fmt: skip

from .committer_bench import Bench
from .fake_store import FakeStore, Job
from .store_tools import bodies, message, tell


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "board.db")
    yield store
    store.close()


@pytest.fixture
def box(store: SqliteStore) -> int:
    return store.declare([Declaration("jobs")])[0].id


def failing(store: SqliteStore, *points: str) -> None:
    """Have SQLite fail at these points of the next commits, once at each."""
    left = list(points)

    def fail(point: str) -> None:
        if point in left:
            left.remove(point)
            assert store._connection is not None
            if point == "commit":  # as SQLite does by itself at an I/O error
                store._connection.execute("ROLLBACK")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    store.probe = fail


#: What a group may consist of; each leaves something else to know it by.
GROUPS: dict[str, Callable[[Message, int], list[Unit]]] = {
    "a tell": lambda _, box: [Unit(tells=[message(box, b"2")])],
    "a named tell": lambda _, box: [Unit(ops=[Cancel(box, "x"), message(box, b"2")])],
    "a turn": lambda told, box: [Unit(ack=told, tells=[message(box, b"2")])],
    "an acknowledgement": lambda told, _: [Unit(ack=told)],
    "a failed turn": lambda told, _: [Unit(ack=told, fate=Retry(1, 99, None, "x"))],
    "a dead letter": lambda told, _: [Unit(ack=told, fate=Dead("x", "", 1, 1))],
    "a cancel": lambda told, box: [Unit(ops=[Cancel(box, told.number)])],
    "the state of an ask": lambda _, box: [Unit(state=State(box, "", "json", 1, b"2"))],
    "several": lambda told, box: [Unit(ack=told), Unit(state=State(box, "", "json", 1, b"2"))],
}


def contents(store: SqliteStore, box: int) -> list[object]:
    """Return all that such groups change."""
    rows = store.query("SELECT number, body, attempt FROM callboard_message ORDER BY 1", ())
    return [rows, store.dead(box, 9), store.state(box, "")]


@pytest.mark.parametrize("as_owner", [False, True])
@pytest.mark.parametrize("group", GROUPS)
def test_what_is_on_disk_has_not_failed(
    store: SqliteStore, box: int, group: str, *, as_owner: bool
) -> None:
    (told,) = tell(store, box, b"1")
    last, epoch, _ = store.heartbeat()
    units = GROUPS[group](told, box)
    before = contents(store, box)
    failing(store, "on disk")
    seen = (epoch, last) if as_owner else (None, None)
    written = store.write(units, epoch=seen[0], seen=seen[1])
    assert {unit.outcome for unit in units} == {Outcome.COMMITTED}
    assert contents(store, box) != before
    assert written.last == store.heartbeat()[0]
    for each in units:
        for kept in each.told:
            found = store.query(
                "SELECT body FROM callboard_message WHERE number = ?", (kept.number,)
            )
            assert [tuple(row) for row in found] == [(b"2",)]


@pytest.mark.parametrize("group", GROUPS)
def test_what_is_not_on_disk_is_refused_and_leaves_no_trace(
    store: SqliteStore, box: int, group: str
) -> None:
    (told,) = tell(store, box, b"1")
    before = contents(store, box)
    for _ in range(2):
        units = GROUPS[group](told, box)
        failing(store, "commit")
        with pytest.raises(StoreError, match="disk I/O error") as caught:
            store.write(units, epoch=None, seen=None)
        assert not caught.value.unclear
        assert contents(store, box) == before
        assert {unit.outcome for unit in units} == {None}
        store.probe = lambda _: None


@pytest.mark.parametrize("point", ["commit", "on disk"])
def test_where_even_the_look_fails_it_is_said_in_one_line(
    store: SqliteStore, box: int, point: str
) -> None:
    failing(store, point, "look")
    with pytest.raises(StoreError, match="whether this was written is not known") as caught:
        store.write([Unit(tells=[message(box, b"2")])], epoch=None, seen=None)
    assert caught.value.unclear
    assert "\n" not in str(caught.value)
    assert bodies(store, box) == ([b"2"] if point == "on disk" else [])


def test_a_pause_that_failed_at_its_commit_is_unclear(store: SqliteStore, box: int) -> None:
    failing(store, "on disk")
    with pytest.raises(StoreError) as caught:
        store.pause(box, paused=True)
    assert caught.value.unclear
    assert store.mailboxes()[0].paused


def test_of_units_written_alone_what_came_before_is_said(store: SqliteStore, box: int) -> None:
    """The second ends the transaction of the group, so that each gets one of its own."""
    first, second = Unit(tells=[message(box, b"1")]), Unit(tells=[message(box, b"2")])
    writer = store._writer
    assert writer is not None
    failing(store, "commit", "look")
    count = iter(range(9))
    fail = store.probe

    def later(point: str) -> None:
        if point != "commit" or next(count) > 0:
            fail(point)

    store.probe = later
    with pytest.raises(StoreError) as caught:
        writer._alone([first, second], None, None)
    assert caught.value.unclear
    assert caught.value.written == Written(first.results[0], [])
    assert first.outcome is Outcome.COMMITTED
    assert bodies(store, box) == [b"1"]


def test_what_must_not_be_done_twice_is_given_up_and_turns_are_tried_again() -> None:
    def unclear(_store: FakeStore, _units: object) -> Written:
        error = StoreError("is it there?")
        error.unclear = True
        raise error

    bench = Bench()
    try:
        ask, turn = Job("ask"), Job("turn")
        ask.once = True
        go = bench.busy()
        bench.store.script.append(unclear)
        bench.committer.stage(ask)
        bench.committer.stage(turn)
        go.set()
        bench.done()
        bench.told.wait_for("recovered")
    finally:
        bench.committer.close()
        bench.join()
    assert ask.settled == [Outcome.FAILED]
    assert isinstance(ask.error, StoreError)
    assert turn.settled == [Outcome.COMMITTED]
    assert bench.store.log == ["first", "turn"]
