"""The caller's own connection, as ``connection=`` takes it.

A sqlite3 connection, or what SQLAlchemy and Django put around one: nothing of them is imported.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, StoreError
from ._sqlite3 import sqlite3

if TYPE_CHECKING:
    from pathlib import Path

_DEPTH = 6
# 3.51.3 mends the WAL-reset bug; so do 3.50.7 and 3.44.6 (sqlite.org/wal.html#walresetbug).
_MENDED = (3, 51, 3)
_MENDED_BRANCHES = {(3, 50): 7, (3, 44): 6}
_warned = False


def unwrap(connection: Any) -> sqlite3.Connection:
    """Return the sqlite3 connection inside; ConfigError where there is none."""
    each = connection
    for _ in range(_DEPTH):
        if isinstance(each, sqlite3.Connection):
            return each
        inner = getattr(each, "driver_connection", None) or getattr(each, "connection", None)
        # SQLAlchemy's Session.connection(); a sqlite3 connection can be called too.
        if callable(inner) and not isinstance(inner, sqlite3.Connection):
            inner = inner()
        if inner is None:
            break
        each = inner
    kind = type(connection)
    msg = (
        f"connection= takes an open sqlite3 connection, or SQLAlchemy's or Django's around one, "
        f"got {kind.__module__}.{kind.__qualname__}"
    )
    raise ConfigError(msg)


def same_file(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a connection to another database; warn once where SQLite itself is at risk."""
    cursor = connection.cursor()
    cursor.row_factory = None
    # The first is always "main"; its path is bytes where the caller's text_factory says so.
    main = os.fsdecode(cursor.execute("PRAGMA database_list").fetchall()[0][2])
    if not main or not path.samefile(main):
        msg = (
            f"connection= is of {main or 'an in-memory database'!r}, the store is {str(path)!r}: "
            "one transaction needs one file"
        )
        raise StoreError(msg)
    _warn_once()


def mended(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> bool:
    """Say whether this SQLite is free of the WAL-reset bug."""
    patch = _MENDED_BRANCHES.get((version[0], version[1]))
    return version >= _MENDED or (patch is not None and version[2] >= patch)


def _warn_once() -> None:
    global _warned  # noqa: PLW0603  (once a process is what is wanted)
    if _warned or mended():
        return
    _warned = True
    warnings.warn(
        f"SQLite {sqlite3.sqlite_version} can corrupt a database when a commit on your own "
        "connection meets a checkpoint (sqlite.org/wal.html#walresetbug); 3.51.3 is mended: "
        "pip install 'callboard[sqlite]' and open your connections with pysqlite3 too",
        RuntimeWarning,
        stacklevel=4,
    )
