"""The quickest way of writing: what fits it, and what makes it step aside for the usual one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.errors import StoreFull, StoreOwned
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Outcome, Unit, Written

from .store_tools import message, numbers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    made = SqliteStore(tmp_path / "board.db")
    yield made
    made.close()


def own(store: SqliteStore) -> tuple[int, int, int]:
    box = store.declare([Declaration("a")])[0].id
    epoch, last, _ = store.take_over([], 0)
    return box, epoch, last


def statements(store: SqliteStore) -> list[str]:
    """Record the statements that begin a transaction from now on."""
    found: list[str] = []
    connection = store._connection
    assert connection is not None
    connection.set_trace_callback(found.append)
    return found


def test_one_message_and_its_acknowledgements_are_one_statement(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    first = Unit(tells=[message(box)])
    seen = store.write([first], epoch=epoch, seen=last).last
    run = statements(store)
    second = Unit(tells=[message(box, b"2", key="k", due=7)])
    acked = Unit(ack=first.tells[0] if first.tells else None)
    written = store.write([acked, second], epoch=epoch, seen=seen)
    assert not [sql for sql in run if sql.startswith(("BEGIN", "COMMIT"))]
    assert written == Written(seen + 1, [])
    assert second.results == [seen + 1]
    assert acked.outcome is second.outcome is Outcome.COMMITTED
    (row,) = store.due(box, upto=10, after=None, limit=5)
    assert (row.number, row.body, row.key, row.due) == (seen + 1, b"2", "k", 7)
    assert numbers(store.waiting(box, after=None, limit=5)) == []


def test_a_client_tells_in_one_statement_while_nobody_else_tells(store: SqliteStore) -> None:
    box, _, last = own(store)
    for number in range(2):
        store.write([Unit(tells=[message(box)])], epoch=None, seen=None)
        last += 1
        assert store.heartbeat()[0] == last, number
    run = statements(store)
    mine = Unit(tells=[message(box, b"3")])
    assert store.write([mine], epoch=None, seen=None) == Written(last + 1, [])
    assert not [sql for sql in run if sql.startswith(("BEGIN", "COMMIT"))]
    assert mine.results == [last + 1]


def test_a_client_that_others_told_beside_takes_the_next_number(store: SqliteStore) -> None:
    box, _, last = own(store)
    other = SqliteStore(store.path)
    for count in (2, 1, 1):
        for _ in range(count):
            store.write([Unit(tells=[message(box)])], epoch=None, seen=None)
        last += count
        theirs, mine = message(box), Unit(tells=[message(box)])
        other.write([Unit(tells=[theirs])], epoch=None, seen=None)
        other.write([Unit(ack=theirs)], epoch=None, seen=None)
        store.write([mine], epoch=None, seen=None)
        assert (theirs.number, mine.results) == (last + 1, [last + 2])
        last += 2
    other.close()


def test_a_foreign_message_makes_it_step_aside_and_is_found(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    other = SqliteStore(store.path)
    told = Unit(tells=[message(box, b"1")])
    other.write([told], epoch=None, seen=None)
    mine = Unit(tells=[message(box, b"2")])
    written = store.write([mine], epoch=epoch, seen=last)
    assert [m.body for m in written.foreign] == [b"1"]
    assert mine.results == [last + 2]
    other.close()


def test_an_acknowledged_message_that_is_gone_makes_its_own_turn_void_alone(
    store: SqliteStore,
) -> None:
    box, epoch, last = own(store)
    gone, here = message(box), message(box)
    seen = store.write([Unit(tells=[gone, here])], epoch=epoch, seen=last).last
    store.write([Unit(ack=gone)], epoch=epoch, seen=seen)
    void, good, tell = Unit(ack=gone), Unit(ack=here), Unit(tells=[message(box, b"3")])
    store.write([void, good, tell], epoch=epoch, seen=seen)
    assert (void.outcome, good.outcome) == (Outcome.VOID, Outcome.COMMITTED)
    assert [m.body for m in store.waiting(box, after=None, limit=9)] == [b"3"]


def test_another_epoch_fences_it(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    store.take_over([], 0)
    with pytest.raises(StoreOwned):
        store.write([Unit(tells=[message(box)])], epoch=epoch, seen=last)
    assert store.waiting(box, after=None, limit=9) == []


def test_a_client_writes_the_usual_way(store: SqliteStore) -> None:
    box, _, _ = own(store)
    run = statements(store)
    store.write([Unit(tells=[message(box)])], epoch=None, seen=None)
    assert [sql for sql in run if sql.startswith("BEGIN")]


def test_a_message_with_a_name_does_not_fit(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    store.write([Unit(tells=[message(box, name="id")])], epoch=epoch, seen=last)
    assert store.find(box, "id") is not None


def test_a_full_disk_refuses_it_and_leaves_no_trace(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    connection = store._connection
    assert connection is not None
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    unit = Unit(tells=[message(box, b"x" * 100_000)])
    with pytest.raises(StoreFull):
        store.write([unit], epoch=epoch, seen=last)
    assert (unit.outcome, [each.number for each in unit.told]) == (None, [0])
    assert store.heartbeat()[0] == last


class Interrupted:
    """Stands for the connection: Ctrl-C arrives just before or after the one statement."""

    def __init__(self, connection: sqlite3.Connection, *, after: bool) -> None:
        self._connection, self._after = connection, after

    def execute(self, sql: str, params: Sequence[object] = ()) -> None:
        hit = sql.startswith("INSERT")
        if self._after or not hit:
            self._connection.execute(sql, params)
        if hit:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [True, False])
def test_ctrl_c_says_whether_it_came_through(
    store: SqliteStore, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    box, epoch, last = own(store)
    first = message(box)
    store.write([Unit(tells=[first])], epoch=epoch, seen=last)
    writer, connection = store._writer, store._connection
    assert writer is not None
    assert connection is not None
    monkeypatch.setattr(writer._lone, "_connection", Interrupted(connection, after=after))
    acked, tell = Unit(ack=first), Unit(tells=[message(box, b"2")])
    with pytest.raises(KeyboardInterrupt) as caught:
        store.write([acked, tell], epoch=epoch, seen=first.number)
    written = getattr(caught.value, "written", None)
    assert written == (Written(first.number + 1, []) if after else None)
    assert acked.outcome is tell.outcome is (Outcome.COMMITTED if after else None)
    assert [each.number for each in tell.told] == [first.number + 1 if after else 0]
    assert store.present([first.number]) == (set() if after else {first.number})


def test_a_number_that_another_process_has_used_up_is_not_used_again(store: SqliteStore) -> None:
    box, epoch, last = own(store)
    other = SqliteStore(store.path)
    theirs = message(box)
    other.write([Unit(tells=[theirs])], epoch=None, seen=None)
    other.write([Unit(ack=theirs)], epoch=None, seen=None)
    mine = Unit(tells=[message(box)])
    store.write([mine], epoch=epoch, seen=last)
    assert mine.results == [theirs.number + 1]
    other.close()
