"""Reading a SQLite store: paging rows into memory, and looking at what is there.

Each call takes a read-only connection from a small pool, so reading never waits for a commit.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import MessageError
from ._sqlite3 import sqlite3
from .sqlite_open import connect, fail
from .store import DeadRow, Declaration, Depth, MailboxRow, Message, Params, Place, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

COLUMNS = (
    "mailbox, kind, body, key, due, name, version, told_at, cause, sender, headers, retain, "
    "priority, expires_at, retry_at, attempt, deliveries, error, number"
)
_DEAD_COLUMNS = (
    "number, mailbox, key, kind, version, body, error, traceback, attempts, told_at, failed_at"
)

# Two steps instead of one row value: only so is the index on (mailbox, priority DESC, number) used
# both to find the place and to keep the order.
_SAME = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NULL AND priority = :priority AND number > :number{{skip}}
ORDER BY number LIMIT :limit"""
_LOWER = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NULL AND priority < :priority{{skip}}
ORDER BY priority DESC, number LIMIT :limit"""
_SKIP = " AND key NOT IN (SELECT value FROM json_each(:skip))"
_KEY = " AND key = :key"
_DUE = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NOT NULL AND due <= :upto
  AND (due, number) > (:due, :number){{skip}}
ORDER BY due, number LIMIT :limit"""
_TIMERS = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NOT NULL AND (due, number) > (:due, :number)
ORDER BY due, number LIMIT :limit"""
_PRESENT = """
SELECT number FROM callboard_message WHERE number IN (SELECT value FROM json_each(?))"""
_STATE = "SELECT kind, version, body FROM callboard_state WHERE mailbox = ? AND key = ?"
_MAILBOXES = "SELECT id, name, paused, declaration FROM callboard_mailbox ORDER BY name"
_DEPTH = """
SELECT
  (SELECT count(*) FROM callboard_message WHERE mailbox = :m AND due IS NULL),
  (SELECT count(*) FROM callboard_message
    WHERE mailbox = :m AND due IS NOT NULL AND due <= :now),
  (SELECT count(*) FROM callboard_message WHERE mailbox = :m AND due IS NOT NULL AND due > :now),
  (SELECT count(*) FROM callboard_dead WHERE mailbox = :m),
  (SELECT told_at FROM callboard_message WHERE mailbox = :m AND due IS NULL
    ORDER BY priority DESC, number LIMIT 1),
  (SELECT due FROM callboard_message WHERE mailbox = :m AND due IS NOT NULL AND due <= :now
    ORDER BY due, number LIMIT 1)"""
_FIND = f"SELECT {COLUMNS} FROM callboard_message WHERE number = ?"
_FIND_IN = f"SELECT {COLUMNS} FROM callboard_message WHERE number = ? AND mailbox = ?"
_FIND_NAME = f"SELECT {COLUMNS} FROM callboard_message WHERE name = ? ORDER BY number LIMIT 1"
_FIND_NAME_IN = f"SELECT {COLUMNS} FROM callboard_message WHERE name = ? AND mailbox = ?"
_DEAD = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead ORDER BY number LIMIT ?"
_DEAD_OF = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead WHERE mailbox = ? ORDER BY number LIMIT ?"
_DEAD_ONE = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead WHERE number = ?"
_HEARTBEAT = "SELECT last, epoch, changes FROM callboard_counter"

_FIRST = (-(1 << 62), -1)
_HIGHEST = 1 << 62
_KEEP = 4
# Connections that a forked child must neither use nor close: closing drops the parent's locks.
_inherited: list[Any] = []


class SqliteReader:
    """The reading half of a SQLite store.

    Args:
        path: the database file, which exists.
        durability: as the writer's; it does not matter for reading.

    """

    def __init__(self, path: Path, durability: str) -> None:
        """Open nothing yet."""
        self._path = path
        self._durability = durability
        self._idle: list[sqlite3.Connection] = []
        self._all: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._guard: sqlite3.Connection | None = None
        self._denied: str | None = None
        self._checked: set[str] = set()

    # --- paging ------------------------------------------------------------------------------

    def waiting(
        self, mailbox: int, *, after: Place | None, limit: int, skip: Iterable[str] = (),
        key: str | None = None,
    ) -> list[Message]:  # fmt: skip
        """See Store."""
        minus, number = after or (-_HIGHEST, 0)
        extra, params = _narrow(skip, key)
        params |= {"mailbox": mailbox, "priority": -minus, "number": number, "limit": limit}
        found = self._messages(_SAME.format(skip=extra), params) if after else []
        if len(found) < limit:
            params["limit"] = limit - len(found)
            found += self._messages(_LOWER.format(skip=extra), params)
        return found

    def due(
        self, mailbox: int, *, upto: int, after: Place | None, limit: int,
        skip: Iterable[str] = (), key: str | None = None,
    ) -> list[Message]:  # fmt: skip
        """See Store."""
        due, number = after or _FIRST
        extra, params = _narrow(skip, key)
        params |= {"mailbox": mailbox, "upto": upto, "due": due, "number": number, "limit": limit}
        return self._messages(_DUE.format(skip=extra), params)

    def timers(self, mailbox: int, *, after: Place | None, limit: int) -> list[Message]:
        """See Store."""
        due, number = after or _FIRST
        return self._messages(
            _TIMERS, {"mailbox": mailbox, "due": due, "number": number, "limit": limit}
        )

    def present(self, numbers: Sequence[int]) -> set[int]:
        """See Store."""
        if len(numbers) == 1:
            found = self._rows("SELECT number FROM callboard_message WHERE number = ?", numbers)
        else:
            found = self._rows(_PRESENT, (_json(list(numbers)),))
        return {row[0] for row in found}

    def state(self, mailbox: int, key: str) -> State | None:
        """See Store."""
        rows = self._rows(_STATE, (mailbox, key))
        return State(mailbox, key, *rows[0]) if rows else None

    # --- looking -----------------------------------------------------------------------------

    def mailboxes(self) -> list[MailboxRow]:
        """See Store."""
        return [mailbox_row(row) for row in self._rows(_MAILBOXES, ())]

    def depth(self, mailbox: int, now: int) -> Depth:
        """See Store."""
        row = self._rows(_DEPTH, {"m": mailbox, "now": now})[0]
        waiting, due, later, dead, told_at, due_at = row
        oldest = min((at for at in (told_at, due_at) if at is not None), default=None)
        return Depth(waiting + due, later, dead, oldest)

    def later(self, mailbox: int | None, now: int, limit: int) -> list[Message]:
        """See Store."""
        ids = [row.id for row in self.mailboxes()] if mailbox is None else [mailbox]
        beyond = (now, _HIGHEST)
        found = [m for each in ids for m in self.timers(each, after=beyond, limit=limit)]
        return sorted(found, key=lambda m: m.due_sort)[:limit]

    def peek(self, mailbox: int, now: int, limit: int) -> list[Message]:
        """See Store."""
        due = self.due(mailbox, upto=now, after=None, limit=limit)
        if len(due) >= limit:
            return due
        return due + self.waiting(mailbox, after=None, limit=limit - len(due))

    def find(self, mailbox: int | None, target: str | int) -> Message | None:
        """See Store."""
        if isinstance(target, str):
            one, both = _FIND_NAME, _FIND_NAME_IN
        else:
            one, both = _FIND, _FIND_IN
        found = (
            self._messages(one, (target,))
            if mailbox is None
            else self._messages(both, (target, mailbox))
        )
        return found[0] if found else None

    def dead(self, mailbox: int | None, limit: int) -> list[DeadRow]:
        """See Store."""
        if mailbox is None:
            return [DeadRow(*row) for row in self._rows(_DEAD, (limit,))]
        return [DeadRow(*row) for row in self._rows(_DEAD_OF, (mailbox, limit))]

    def dead_letter(self, number: int) -> DeadRow | None:
        """See Store."""
        rows = self._rows(_DEAD_ONE, (number,))
        return DeadRow(*rows[0]) if rows else None

    def heartbeat(self) -> tuple[int, int, int]:
        """See Store."""
        last, epoch, changes = self._rows(_HEARTBEAT, ())[0]
        return last, epoch, changes

    def query(self, sql: str, params: Params) -> list[Any]:
        """See Store."""
        return self._rows(sql, params)

    def check(self, sql: str, params: Params) -> None:
        """Compile a user's statement on a connection whose authorizer refuses what may not be."""
        if sql in self._checked:
            return
        with self._lock:
            if self._guard is None:
                self._guard = self._open()
                self._guard.set_authorizer(self._authorize)
            self._denied = None
            try:
                self._guard.execute(f"EXPLAIN {sql}", params).fetchall()
            except sqlite3.ProgrammingError as error:
                raise MessageError(f"execute() takes one statement: {error}") from error
            except sqlite3.Error as error:
                if self._denied:
                    raise MessageError(self._denied) from error
                raise
            if len(self._checked) > 1000:  # noqa: PLR2004  (statements built from values)
                self._checked.clear()
            self._checked.add(sql)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            self._closed = True
            connections, self._all, self._idle, self._guard = self._all, [], [], None
        for connection in connections:
            connection.close()

    def forked(self) -> None:
        """Leave the parent's connections alone."""
        for connection in self._all:
            inherit(connection)
        self._lock = threading.Lock()
        self._all, self._idle, self._guard = [], [], None

    # --- inside ------------------------------------------------------------------------------

    def _messages(self, sql: str, params: Params) -> list[Message]:
        return [Message(*row) for row in self._rows(sql, params)]

    def _rows(self, sql: str, params: Params) -> list[Any]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._open()
        try:
            return connection.execute(sql, params).fetchall()
        except sqlite3.OperationalError as error:
            if (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF == 1:
                raise  # the statement's own fault: no such table, a syntax error
            fail(error, self._path)
        finally:
            with self._lock:
                keep = len(self._idle) < _KEEP and connection in self._all
                if keep:
                    self._idle.append(connection)
                elif connection in self._all:
                    self._all.remove(connection)
            if not keep:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, durability=self._durability, readonly=True)
        self._all.append(connection)
        return connection

    def _authorize(
        self, action: int, first: str | None, second: str | None, _db: str | None, _t: str | None
    ) -> int:
        if action in _FORBIDDEN:
            self._denied = (
                f"{_FORBIDDEN[action]} may not be used in execute(): the turn is one transaction "
                "already, and ends it itself"
            )
            return sqlite3.SQLITE_DENY
        name = first or ""
        if action in _CHANGES and name.startswith("callboard_"):
            self._denied = (
                f"execute() may not write to {name}: use tell, cancel and state for what is "
                "callboard's own"
            )
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def inherit(connection: Any) -> None:
    """Keep a parent's connection alive and unused in a forked child."""
    if connection is not None:
        _inherited.append(connection)


def mailbox_row(row: Sequence[Any]) -> MailboxRow:
    """Decode a row of callboard_mailbox."""
    number, name, paused, declaration = row
    return MailboxRow(
        number, name, bool(paused), msgspec.json.decode(declaration, type=Declaration)
    )


def _narrow(skip: Iterable[str], key: str | None) -> tuple[str, dict[str, Any]]:
    """Return the condition on keys, and its parameters."""
    if key is not None:
        return _KEY, {"key": key}
    skipped = list(skip)
    return (_SKIP, {"skip": _json(skipped)}) if skipped else ("", {})


def _json(values: Sequence[Any]) -> str:
    return msgspec.json.encode(values).decode()


_FORBIDDEN = {
    sqlite3.SQLITE_TRANSACTION: "BEGIN, COMMIT and ROLLBACK",
    sqlite3.SQLITE_SAVEPOINT: "SAVEPOINT and RELEASE",
    sqlite3.SQLITE_ATTACH: "ATTACH",
    sqlite3.SQLITE_DETACH: "DETACH",
    sqlite3.SQLITE_PRAGMA: "PRAGMA",
}
_CHANGES = {
    sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_DROP_TABLE, sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_CREATE_TABLE,
    sqlite3.SQLITE_DROP_INDEX, sqlite3.SQLITE_DROP_TRIGGER,
}  # fmt: skip
