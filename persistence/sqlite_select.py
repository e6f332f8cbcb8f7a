"""A question in SQL that somebody types: it reads only, and ends in time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import monotonic
from ..errors import MessageError
from ._sqlite3 import sqlite3
from .sqlite_open import connect, refusal

if TYPE_CHECKING:
    from pathlib import Path

# Steps of SQLite's machine between two looks at the time.
_STEPS = 10_000
#: What only reads. A schema's own reads (json_each, recursive queries) count as reads.
_READS = {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
}  # fmt: skip


class SelectTimeout(MessageError, TimeoutError):
    """The statement did not end in its time."""


def select(path: Path, sql: str, limit: int, seconds: float) -> tuple[list[str], list[Any], bool]:
    """Run one reading statement.

    Returns:
        the names of its columns, at most ``limit`` rows, and whether there are more.

    Raises:
        MessageError: it does not only read, or it is wrong.
        SelectTimeout: it did not end in so many seconds.
        KeyboardInterrupt: Ctrl-C came.
        StoreError: the store refuses.

    """
    connection = connect(path, durability="full", readonly=True)
    until = monotonic() + seconds
    try:
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(lambda: monotonic() > until, _STEPS)
        cursor = connection.execute(sql)
        names = [each[0] for each in cursor.description or ()]
        rows = cursor.fetchmany(limit + 1)
        return names, rows[:limit], len(rows) > limit
    except (sqlite3.Error, sqlite3.Warning) as error:
        interrupted = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT
        if interrupted and monotonic() <= until:
            raise KeyboardInterrupt from error  # it struck in a look at the time, and is lost there
        raise _said(error, path, seconds) from error
    finally:
        connection.close()


def _said(error: Exception, path: Path, seconds: float) -> Exception:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_INTERRUPT:
        return SelectTimeout(f"the statement did not end in {seconds:g} s: ask for less")
    refused = refusal(error, path)
    if refused is not None:
        return refused
    if code == sqlite3.SQLITE_AUTH or "not authorized" in str(error):  # a function: a plain error
        return MessageError("only a SELECT may be asked here: nothing is written, set or attached")
    return MessageError(f"the statement cannot run: {error}")


def _authorize(action: int, _first: str | None, second: str | None, *_: str | None) -> int:
    loads = action == sqlite3.SQLITE_FUNCTION and second == "load_extension"
    return sqlite3.SQLITE_OK if action in _READS and not loads else sqlite3.SQLITE_DENY
