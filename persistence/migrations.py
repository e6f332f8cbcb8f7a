"""Bring a store to this schema. Steps only ever add: an older process goes on as a client.

A new store is made from the scripts in ``sql/`` in one go. A store of an older schema runs the
steps it lacks, in one immediate transaction, so that two processes that start at once do it once.
sqlite-utils costs 98 ms to import; a start with a current schema does not import it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .sqlite_open import check_schema
from .store import MIN_CLIENT, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ._sqlite3 import sqlite3

# Not importlib.resources: that takes 8 ms of a first start.
_SQL = Path(__file__).parent / "sql"


@dataclass(frozen=True, slots=True)
class Step:
    """One change of the schema.

    Attributes:
        to: the schema it brings the store to.
        min_client: the oldest code that may be a client afterwards.
        change: does it, with a ``sqlite_utils.Database`` inside an open transaction.

    """

    to: int
    min_client: int
    change: Callable[[Any], None]


def _run_script(name: str) -> Callable[[Any], None]:
    return lambda database: _run(database.conn, name)


#: Every change since schema 1, in order. Append only; those that are a script make new stores too.
STEPS: tuple[Step, ...] = (
    Step(2, 1, _run_script("schema_2.sql")),
    Step(3, 1, _run_script("schema_3.sql")),
    Step(4, 1, _run_script("schema_4.sql")),
)
_SCRIPTS = ("schema.sql", "schema_2.sql", "schema_3.sql", "schema_4.sql")


def migrate(
    connection: sqlite3.Connection, path: Path, steps: Sequence[Step] = STEPS, target: int = SCHEMA
) -> int:
    """Make or bring the store to ``target``; returns the schema it has now.

    The caller holds the write gate.

    Raises:
        SchemaTooNew: a newer callboard wrote it, and this one may not even be a client.

    """
    found = schema_of(connection)
    if found is not None:
        check_schema(*found, path)
        if found[0] >= target:
            return found[0]
    connection.execute("BEGIN IMMEDIATE")
    try:
        found = schema_of(connection)
        if found is not None:  # another process may have been here while we waited
            check_schema(*found, path)
        reached = found[0] if found is not None else _create(connection)
        reached = _apply(connection, [s for s in steps if reached < s.to <= target], reached)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return reached


def schema_of(connection: sqlite3.Connection) -> tuple[int, int] | None:
    """Return (schema, oldest client), or None where there is no store yet."""
    here = connection.execute(
        "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'callboard_meta'"
    ).fetchone()
    if here is None:
        return None
    meta = dict(connection.execute("SELECT name, value FROM callboard_meta").fetchall())
    return int(meta["schema"]), int(meta["min_client"])


def _create(connection: sqlite3.Connection) -> int:
    for name in _SCRIPTS:
        _run(connection, name)
    _note(connection, SCHEMA, MIN_CLIENT)
    return SCHEMA


def _run(connection: sqlite3.Connection, name: str) -> None:
    script = (_SQL / name).read_text()
    for statement in _statements(script):
        connection.execute(statement)


def _apply(connection: sqlite3.Connection, steps: Sequence[Step], reached: int) -> int:
    if not steps:
        return reached
    import sqlite_utils  # 98 ms, and seldom needed

    database = sqlite_utils.Database(connection, execute_plugins=False)
    for step in steps:
        step.change(database)
        _note(connection, step.to, step.min_client)
        reached = step.to
    return reached


def _note(connection: sqlite3.Connection, schema: int, min_client: int) -> None:
    connection.executemany(
        "INSERT OR REPLACE INTO callboard_meta (name, value) VALUES (?, ?)",
        [("schema", str(schema)), ("min_client", str(min_client))],
    )


def _statements(script: str) -> list[str]:
    """Cut a script of plain statements; executescript would commit the open transaction."""
    lines = [line for line in script.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]
