"""The quickest way of writing: what fits it, and what makes it step aside for the usual one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard.errors import StoreOwned
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Outcome, Unit, Written

from .store_tools import message, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
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
