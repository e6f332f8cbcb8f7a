"""Bringing a store to a schema: once, all of it or nothing, and never backwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard import Runtime
from callboard.errors import SchemaTooNew
from callboard.persistence import migrations
from callboard.persistence.migrations import Step, migrate, schema_of
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import MIN_CLIENT, SCHEMA, Declaration

from .processes import Child

PATIENCE = 10.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "board.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(path, isolation_level=None)
    yield connection
    connection.close()


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}


def table(name: str) -> Any:
    def change(database: Any) -> None:
        database[name].create({"n": int})

    return change


TWO, THREE = (
    Step(SCHEMA + 1, MIN_CLIENT, table("two")),
    Step(SCHEMA + 2, MIN_CLIENT, table("three")),
)


def test_a_new_store_is_made_with_the_current_schema(
    connection: sqlite3.Connection, path: Path
) -> None:
    assert schema_of(connection) is None
    assert migrate(connection, path) == SCHEMA
    assert schema_of(connection) == (SCHEMA, MIN_CLIENT)
    assert {"callboard_message", "callboard_counter", "callboard_state"} <= tables(connection)
    assert not connection.in_transaction


def test_a_current_store_is_left_alone(connection: sqlite3.Connection, path: Path) -> None:
    migrate(connection, path)
    changes = connection.total_changes
    assert migrate(connection, path) == SCHEMA
    assert connection.total_changes == changes


def test_the_steps_that_a_store_lacks_run_in_order(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate(connection, path)
    assert migrate(connection, path, [TWO], SCHEMA + 1) == SCHEMA + 1
    assert "two" in tables(connection)
    # The second would fail if it were run again.
    assert migrate(connection, path, [TWO, THREE], SCHEMA + 2) == SCHEMA + 2
    assert {"two", "three"} <= tables(connection)
    assert schema_of(connection) == (SCHEMA + 2, MIN_CLIENT)


def test_no_step_goes_beyond_the_target(connection: sqlite3.Connection, path: Path) -> None:
    assert migrate(connection, path, [TWO, THREE], SCHEMA + 1) == SCHEMA + 1
    assert "three" not in tables(connection)


@pytest.mark.parametrize("new", [True, False])
def test_a_step_that_fails_leaves_the_store_as_it_was(
    connection: sqlite3.Connection, path: Path, *, new: bool
) -> None:
    def fail(database: Any) -> None:
        database["half"].create({"n": int})
        raise ZeroDivisionError

    if not new:
        migrate(connection, path)
    before = tables(connection)
    with pytest.raises(ZeroDivisionError):
        migrate(connection, path, [TWO, Step(SCHEMA + 2, MIN_CLIENT, fail)], SCHEMA + 2)
    assert tables(connection) == before
    assert not connection.in_transaction
    assert migrate(connection, path, [TWO], SCHEMA + 1) == SCHEMA + 1


def note(connection: sqlite3.Connection, schema: int, min_client: int) -> None:
    connection.execute("UPDATE callboard_meta SET value = ? WHERE name = 'schema'", (schema,))
    connection.execute(
        "UPDATE callboard_meta SET value = ? WHERE name = 'min_client'", (min_client,)
    )


def test_a_newer_store_is_used_while_its_oldest_client_is_no_newer(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate(connection, path)
    note(connection, SCHEMA + 5, SCHEMA)
    store = SqliteStore(path)
    assert store.declare([Declaration("jobs")])[0].name == "jobs"
    assert store.schema == SCHEMA + 5
    store.close()


def test_beyond_that_it_is_refused_and_says_to_upgrade(
    connection: sqlite3.Connection, path: Path
) -> None:
    migrate(connection, path)
    note(connection, SCHEMA + 5, SCHEMA + 1)
    with pytest.raises(SchemaTooNew, match="upgrade this process"):
        SqliteStore(path).open()


def test_a_store_that_has_become_newer_is_not_taken_over(tmp_path: Path) -> None:
    """A standby has opened it long before; its code would not keep what the newer one promises."""
    path = tmp_path / "s.db"
    owner, standby = Runtime(path), Runtime(path)
    owner.start()
    standby.start()
    newer = sqlite3.connect(path, isolation_level=None)
    note(newer, SCHEMA + 1, MIN_CLIENT)
    epoch = "SELECT epoch FROM callboard_counter"
    before = newer.execute(epoch).fetchone()
    owner.stop()
    assert standby._host.ended.wait(PATIENCE)
    assert isinstance(standby._host.failure, SchemaTooNew)
    assert standby.stats().role == "client"
    assert newer.execute(epoch).fetchone() == before
    newer.close()
    standby.stop()


def test_a_store_that_became_too_new_while_we_waited_is_refused(
    connection: sqlite3.Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first look is made before the lock is taken."""
    migrate(connection, path)
    looks = [(SCHEMA - 1, MIN_CLIENT), (SCHEMA + 5, SCHEMA + 1)]
    monkeypatch.setattr(migrations, "schema_of", lambda _: looks.pop(0))
    with pytest.raises(SchemaTooNew):
        migrate(connection, path, [TWO])
    assert not connection.in_transaction
    assert looks == []


OPEN = """
import sys
from pathlib import Path
from callboard.persistence import migrations, sqlite
from callboard.persistence.migrations import Step, migrate
def two(database):
    database["two"].create({"n": int})
steps = [Step(sqlite_target, 1, two)]
sqlite.migrate = lambda connection, path: migrate(connection, path, steps, sqlite_target)
store = sqlite.SqliteStore(Path("board.db"))
print("up", flush=True)
sys.stdin.readline()
store.open()
print("schema", store.schema, flush=True)
store.close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("new", [True, False])
def test_two_processes_at_once_do_it_once(path: Path, *, new: bool) -> None:
    if not new:
        store = SqliteStore(path)
        store.open()
        store.close()
    source = OPEN.replace("sqlite_target", str(SCHEMA + 1))
    with Child(source, cwd=path.parent) as one, Child(source, cwd=path.parent) as two:
        for child in (one, two):
            child.wait_for("up")
        for child in (one, two):
            child.say("go")
        for child in (one, two):
            assert child.wait_for("schema") == f"schema {SCHEMA + 1}"


def test_a_current_start_does_not_import_sqlite_utils(tmp_path: Path) -> None:
    """It costs 98 ms."""
    source = """
    import sys
    from pathlib import Path
    from callboard.persistence.sqlite import SqliteStore
    SqliteStore(Path("board.db")).open()
    print("loaded", "sqlite_utils" in sys.modules, flush=True)
    """
    with Child(source, cwd=tmp_path) as child:
        assert child.wait_for("loaded") == "loaded False"


def test_a_store_of_schema_1_gets_what_a_new_one_has(tmp_path: Path) -> None:
    old = sqlite3.connect(tmp_path / "old.db", isolation_level=None)
    migrations._run(old, "schema.sql")
    migrations._note(old, 1, 1)
    assert migrate(old, tmp_path / "old.db") == SCHEMA
    new = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    migrate(new, tmp_path / "new.db")
    assert tables(old) == tables(new)
    for connection in (old, new):
        connection.close()
