"""The one choice of SQLite driver, the same as sqlite-utils makes (a test holds them together).

Two copies of SQLite in one process on one file break each other's POSIX locks
(sqlite.org/howtocorrupt.html, 2.2.1), so nothing else in callboard imports ``sqlite3``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3
else:
    try:
        import pysqlite3 as sqlite3
    except ImportError:
        import sqlite3

__all__ = ["sqlite3"]
