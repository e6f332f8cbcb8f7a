"""Telling inside the caller's own transaction, on the caller's own connection."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard import Runtime
from callboard.clock import monotonic
from callboard.errors import AlreadyTold, ConfigError, StoreBusy, StoreError
from callboard.persistence import foreign
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Outcome, Tell, Unit

from .store_tools import bodies, message, numbers, tell


@pytest.fixture(autouse=True)
def _mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether this SQLite has the WAL-reset bug is no matter here."""
    monkeypatch.setattr(foreign, "_warned", True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(tmp_path / "board.db")
    store.open()
    yield store
    store.close()


@pytest.fixture
def box(store: SqliteStore) -> int:
    return store.declare([Declaration("jobs")])[0].id


@pytest.fixture(params=["implicit", "autocommit"])
def mine(request: pytest.FixtureRequest, store: SqliteStore) -> Iterator[sqlite3.Connection]:
    """Connect as the caller does, in each of the driver's ways to begin."""
    connection = sqlite3.connect(store.path, timeout=0.1)
    if request.param == "autocommit":
        connection.isolation_level = None
    connection.execute("CREATE TABLE IF NOT EXISTS orders (n INTEGER PRIMARY KEY)")
    yield connection
    connection.close()


def begin(mine: sqlite3.Connection) -> None:
    """Open a transaction and write in it, as the driver would."""
    if mine.isolation_level is None:
        mine.execute("BEGIN")
    mine.execute("INSERT INTO orders VALUES (1)")


def test_what_is_told_is_there_when_the_caller_commits_and_not_before(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    begin(mine)
    told = [message(box, b"1"), message(box, b"2", due=9)]
    unit = Unit(tells=told)
    store.tell_on(mine, unit)
    assert unit.outcome is Outcome.COMMITTED
    assert mine.in_transaction
    assert store.present(numbers(told)) == set()
    mine.commit()
    assert store.present(numbers(told)) == set(numbers(told))
    assert store.query("SELECT n FROM orders", ())[0][0] == 1


def test_what_is_told_goes_when_the_caller_rolls_back(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    begin(mine)
    store.tell_on(mine, Unit(tells=[message(box)]))
    mine.rollback()
    assert bodies(store, box) == []
    tell(store, box, b"after")
    assert bodies(store, box) == [b"after"]


def test_without_a_transaction_it_begins_one_as_the_driver_would(
    store: SqliteStore, box: int
) -> None:
    mine = sqlite3.connect(store.path)
    store.tell_on(mine, Unit(tells=[message(box, b"1")]))
    assert mine.in_transaction
    assert bodies(store, box) == []
    mine.commit()
    assert bodies(store, box) == [b"1"]
    mine.close()


class OfTomorrow(sqlite3.Connection):
    """As ``sqlite3.connect(autocommit=True)`` of Python 3.12: its commit() does nothing."""

    autocommit = True


@pytest.mark.parametrize(
    "options", [{"isolation_level": None}, {"factory": OfTomorrow}], ids=["legacy", "3.12"]
)
def test_in_autocommit_it_is_on_disk_at_once_number_and_row_together(
    store: SqliteStore, box: int, options: dict[str, Any]
) -> None:
    """Else another process could be given a higher number and be seen first."""
    mine = sqlite3.connect(store.path, **options)
    seen: list[str] = []
    mine.set_trace_callback(seen.append)
    store.tell_on(mine, Unit(tells=[message(box, b"1")]))
    assert not mine.in_transaction
    assert bodies(store, box) == [b"1"]
    assert [sql for sql in seen if sql.startswith(("BEGIN", "COMMIT"))] == [
        "BEGIN IMMEDIATE", "COMMIT",
    ]  # fmt: skip
    mine.close()


def test_names_are_replaced_and_kept_there_too(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    (old,) = tell(store, box, b"1", name="id")
    begin(mine)
    replace = Unit(ops=[Tell(message(box, b"2", name="id"))])
    store.tell_on(mine, replace)
    keep = Unit(ops=[Tell(message(box, b"3", name="id"), "keep")])
    store.tell_on(mine, keep)
    mine.commit()
    assert (replace.removed, keep.results) == ([old.number], [0])
    assert bodies(store, box) == [b"2"]


def test_what_fails_leaves_the_callers_transaction_as_it_was(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    tell(store, box, b"1", name="id")
    begin(mine)
    unit = Unit(ops=[message(box, b"x"), Tell(message(box, b"2", name="id"), "raise")])
    with pytest.raises(AlreadyTold):
        store.tell_on(mine, unit)
    assert mine.in_transaction
    mine.commit()
    assert bodies(store, box) == [b"1"]
    assert store.query("SELECT n FROM orders", ())[0][0] == 1


def test_what_fails_leaves_no_transaction_where_there_was_none(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    mine.commit()
    tell(store, box, b"1", name="id")
    with pytest.raises(AlreadyTold):
        store.tell_on(mine, Unit(ops=[Tell(message(box, b"2", name="id"), "raise")]))
    assert not mine.in_transaction
    tell(store, box, b"2")


def test_a_lock_held_by_another_is_busy(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    mine.commit()
    mine.execute("PRAGMA busy_timeout = 1")
    holder = sqlite3.connect(store.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy):
        store.tell_on(mine, Unit(tells=[message(box)]))
    assert not mine.in_transaction
    holder.close()


def test_a_standby_has_the_rows_of_what_it_declares_before_anybody_sends(tmp_path: Path) -> None:
    owner, standby = Runtime(tmp_path / "board.db"), Runtime(tmp_path / "board.db")
    owner.start()
    standby.mailbox("early", lambda _n: None)
    standby.start()
    standby.mailbox("late", lambda _n: None)
    assert standby.role == "standby"
    assert [mailbox.name for mailbox in owner.mailboxes()] == ["early", "late"]
    standby.stop()
    owner.stop()


def test_a_client_that_holds_the_write_lock_does_not_wait_for_itself(
    store: SqliteStore, mine: sqlite3.Connection
) -> None:
    """Its first tell looks the mailbox up, and writes nothing about it: the owner's word stands."""

    def work(n: int) -> None: ...

    owner, client = Runtime(store.path), Runtime(store.path)
    owner.mailbox("work", work, topics=["numbers"])
    owner.start()
    client.mailbox("work", work, workers=2)  # of another version
    begin(mine)
    before = monotonic()
    client.tell("work", 1, connection=mine)
    assert monotonic() - before < 2.0
    mine.commit()
    (row,) = store.mailboxes()
    assert (row.declaration.topics, row.declaration.workers) == (("numbers",), 1)
    client.stop()
    owner.stop()


def test_an_owner_stores_what_it_declares_late_over_what_was_there(store: SqliteStore) -> None:
    store.declare([Declaration("work", workers=1)])
    owner = Runtime(store.path)
    owner.start()
    owner.mailbox("work", lambda _n: None, workers=2)
    (row,) = store.mailboxes()
    assert row.declaration.workers == 2
    owner.stop()


def test_the_owner_sees_it_as_told_by_another(
    store: SqliteStore, box: int, mine: sqlite3.Connection
) -> None:
    seen = store.heartbeat()[0]
    told = message(box, b"1", key="k")
    store.tell_on(mine, Unit(tells=[told]))
    mine.commit()
    assert store.look(epoch=None, seen=seen).foreign == [told]


@pytest.mark.parametrize("factory", [sqlite3.Row, lambda _cursor, row: {"it": row}])
def test_the_callers_row_and_text_factories_do_not_matter(
    store: SqliteStore, box: int, mine: sqlite3.Connection, factory: Any
) -> None:
    mine.row_factory, mine.text_factory = factory, bytes
    tell(store, box, b"1", name="id")
    begin(mine)
    store.tell_on(mine, Unit(ops=[Tell(message(box, b"2", name="id"))]))
    mine.commit()
    assert bodies(store, box) == [b"2"]
    assert mine.row_factory is factory


# --- which connection ----------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["other.db", ":memory:"])
def test_a_connection_to_another_database_is_refused(
    store: SqliteStore, box: int, tmp_path: Path, where: str
) -> None:
    other = sqlite3.connect(where if where == ":memory:" else tmp_path / where)
    with pytest.raises(StoreError, match="one transaction needs one file"):
        store.tell_on(other, Unit(tells=[message(box)]))
    assert not other.in_transaction
    other.close()


def test_another_name_of_the_same_file_is_the_same_file(
    store: SqliteStore, box: int, tmp_path: Path
) -> None:
    (tmp_path / "link.db").symlink_to(store.path)
    mine = sqlite3.connect(tmp_path / "link.db", isolation_level=None)
    store.tell_on(mine, Unit(tells=[message(box, b"1")]))
    assert bodies(store, box) == [b"1"]
    mine.close()


class Around:
    """What SQLAlchemy and Django put around a connection."""

    def __init__(self, **parts: Any) -> None:
        self.__dict__.update(parts)


def test_what_is_put_around_a_connection_is_taken_off() -> None:
    raw = sqlite3.connect(":memory:")
    pooled = Around(connection=Around(driver_connection=raw))  # SQLAlchemy's Connection
    for each in (raw, Around(connection=raw), pooled, Around(connection=lambda: pooled)):
        assert foreign.unwrap(each) is raw
    raw.close()


@pytest.mark.parametrize("wrong", [None, "board.db", Around(connection=None), object()])
def test_what_holds_no_connection_is_refused(store: SqliteStore, wrong: object) -> None:
    with pytest.raises(ConfigError, match="takes an open sqlite3 connection"):
        store.tell_on(wrong, Unit())


def test_a_thing_that_is_its_own_connection_is_refused() -> None:
    loop = Around()
    loop.connection = loop  # type: ignore[attr-defined]
    with pytest.raises(ConfigError):
        foreign.unwrap(loop)


@pytest.mark.parametrize("mended", [True, False])
def test_a_sqlite_with_the_wal_reset_bug_is_warned_of_once(
    store: SqliteStore, box: int, monkeypatch: pytest.MonkeyPatch, *, mended: bool
) -> None:
    monkeypatch.setattr(foreign, "_warned", False)
    monkeypatch.setattr(foreign, "mended", lambda: mended)
    mine = sqlite3.connect(store.path, isolation_level=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            store.tell_on(mine, Unit(tells=[message(box)]))
    said = [str(each.message) for each in caught]
    assert len(said) == (0 if mended else 1)
    assert all("3.51.3 is mended" in each for each in said)
    mine.close()
