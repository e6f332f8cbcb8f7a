"""Text that is no UTF-8: a foreign connection can store it, and the driver refuses to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._sqlite3 import sqlite3

if TYPE_CHECKING:
    from .store import Params

_REFUSED = "Could not decode to UTF-8"


def fetch(connection: sqlite3.Connection, sql: str, params: Params = ()) -> list[Any]:
    """Return the rows of a reading statement; U+FFFD stands for what is no UTF-8.

    One such row would keep its whole page from being read, and with it a mailbox from its work.
    """
    try:
        return connection.execute(sql, params).fetchall()
    except sqlite3.OperationalError as error:
        if not str(error).startswith(_REFUSED):
            raise
    connection.text_factory = _lenient
    try:
        return connection.execute(sql, params).fetchall()
    finally:
        connection.text_factory = str


def _lenient(text: bytes) -> str:
    return text.decode("utf-8", "replace")
