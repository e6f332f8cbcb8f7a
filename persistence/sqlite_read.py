"""Reading a SQLite store: paging rows into memory, and looking at what is there.

Each call takes a read-only connection from a small pool, so reading never waits for a commit.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import MessageError
from . import sqlite_kept
from ._sqlite3 import sqlite3
from .gate import PATIENCE
from .sqlite_open import connect, refusal
from .sqlite_repair import NOTES
from .sqlite_schedule import SCHEDULES, schedule_row
from .sqlite_text import fetch
from .sqlite_unit import ROOM
from .store import (
    DeadRow,
    Declaration,
    Depth,
    DoneRow,
    MailboxRow,
    Message,
    Params,
    Place,
    Progress,
    State,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from .store import Kept, ScheduleRow

COLUMNS = (
    "mailbox, kind, body, key, due, name, version, told_at, cause, sender, headers, retain, "
    "priority, expires_at, retry_at, attempt, deliveries, error, number"
)
_DEAD_COLUMNS = (
    "number, mailbox, key, kind, version, body, error, traceback, attempts, told_at, failed_at"
)

# No number below 1 is ever given; in memory those of asks are. A foreign row with such a one waits.
#
# Two steps instead of one row value: only so is the index on (mailbox, priority DESC, number) used
# both to find the place and to keep the order.
_SAME = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NULL AND priority = :priority AND number > :number{{skip}}
ORDER BY number LIMIT :limit"""
_LOWER = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NULL AND priority < :priority AND number > 0{{skip}}
ORDER BY priority DESC, number LIMIT :limit"""
_SKIP = " AND (key IS NULL OR key NOT IN (SELECT value FROM json_each(:skip)))"
_KEY = " AND key = :key"
_DUE = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NOT NULL AND due <= :upto
  AND (due, number) > (:due, :number) AND number > 0{{skip}}
ORDER BY due, number LIMIT :limit"""
_TIMERS = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = :mailbox AND due IS NOT NULL AND (due, number) > (:due, :number) AND number > 0
ORDER BY due, number LIMIT :limit"""
_PRESENT = """
SELECT number FROM callboard_message WHERE number IN (SELECT value FROM json_each(?))"""
# No row where it is there: then its first step ends the statement, and with it the read.
_ABSENT = "SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM callboard_message WHERE number = ?)"
_EXPIRED = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE mailbox = ? AND expires_at IS NOT NULL AND expires_at <= ? ORDER BY expires_at LIMIT ?"""
_NEXT_EXPIRY = """
SELECT min(expires_at) FROM callboard_message
WHERE mailbox = ? AND expires_at IS NOT NULL AND expires_at > ?"""
_DONE_COLUMNS = (
    "number, mailbox, name, key, kind, body, told_at, attempts, handled_at, took, result"
)
_DONE = f"SELECT {_DONE_COLUMNS} FROM callboard_done WHERE number = ?"
_DONE_NAMED = f"""
SELECT {_DONE_COLUMNS} FROM callboard_done WHERE name = ? ORDER BY number DESC LIMIT 1"""
_PROGRESS = "SELECT number, fraction, note, at FROM callboard_progress WHERE number = ?"
_STATE = "SELECT kind, version, body FROM callboard_state WHERE mailbox = ? AND key = ?"
_MAILBOXES = "SELECT id, name, paused, declaration FROM callboard_mailbox ORDER BY name"
# One statement, so one snapshot: a message that goes from one mailbox to another is in one of them.
# count and min together, which keeps min(number) on the index that holds nothing but the waiting.
_DEPTHS = """
WITH waiting AS (
  SELECT mailbox, count(*) AS count, min(number) AS first
  FROM callboard_message WHERE due IS NULL GROUP BY mailbox)
SELECT b.id, b.name, b.paused, b.declaration,
  (SELECT count(*) FROM callboard_message
    WHERE mailbox = b.id AND due IS NOT NULL AND due <= :now),
  (SELECT count(*) FROM callboard_message
    WHERE mailbox = b.id AND due IS NOT NULL AND due > :now),
  (SELECT count(*) FROM callboard_dead WHERE mailbox = b.id),
  (SELECT due FROM callboard_message WHERE mailbox = b.id AND due IS NOT NULL AND due <= :now
    ORDER BY due, number LIMIT 1),
  ifnull(w.count, 0), (SELECT told_at FROM callboard_message WHERE number = w.first)
FROM callboard_mailbox b LEFT JOIN waiting w ON w.mailbox = b.id ORDER BY b.name"""
_FIND = f"SELECT {COLUMNS} FROM callboard_message WHERE number = ?"
_FIND_IN = f"SELECT {COLUMNS} FROM callboard_message WHERE number = ? AND mailbox = ?"
_FIND_NAME_IN = f"SELECT {COLUMNS} FROM callboard_message WHERE name = ? AND mailbox = ?"
# By way of the mailboxes: the index of names begins with the mailbox.
_FIND_NAME = f"""
SELECT {COLUMNS} FROM callboard_message
WHERE name = ? AND mailbox IN (SELECT id FROM callboard_mailbox) ORDER BY number LIMIT 1"""
_DEAD = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead ORDER BY number LIMIT ?"
_DEAD_OF = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead WHERE mailbox = ? ORDER BY number LIMIT ?"
_DEAD_ONE = f"SELECT {_DEAD_COLUMNS} FROM callboard_dead WHERE number = ?"
_HEARTBEAT = "SELECT last, epoch, changes FROM callboard_counter"

_FIRST = (-(1 << 63), -1)
_HIGHEST = (1 << 63) - 1
_KEEP = 4


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
        # Readers that are inside SQLite; nobody closes or forks before they are out.
        self._reading = 0
        self._quiet = threading.Condition(self._lock)
        # Somebody waits for that; else nobody is told of it.
        self._awaited = 0
        self._guard: sqlite3.Connection | None = None
        self._denied: list[str] = []
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
            return set() if self._rows(_ABSENT, numbers) else set(numbers)
        return {row[0] for row in self._rows(_PRESENT, (_json(list(numbers)),))}

    def state(self, mailbox: int, key: str) -> State | None:
        """See Store."""
        rows = self._rows(_STATE, (mailbox, key))
        return State(mailbox, key, *rows[0]) if rows else None

    def state_at(self, mailbox: int, key: str, at: int) -> Kept | None:
        """See Store."""
        return sqlite_kept.state_at(self.query, mailbox, key, at)

    def kept_after(self, mailbox: int, key: str, at: int) -> int | None:
        """See Store."""
        return sqlite_kept.kept_after(self.query, mailbox, key, at)

    def notes(self) -> list[tuple[str, str]]:
        """See Store."""
        return self._rows(NOTES, ())

    # --- looking -----------------------------------------------------------------------------

    def mailboxes(self) -> list[MailboxRow]:
        """See Store."""
        return [mailbox_row(row) for row in self._rows(_MAILBOXES, ())]

    def schedules(self) -> list[ScheduleRow]:
        """See Store."""
        return [schedule_row(row) for row in self._rows(SCHEDULES, ())]

    def depths(self, now: int) -> list[tuple[MailboxRow, Depth]]:
        """See Store."""
        found = []
        for row in self._rows(_DEPTHS, {"now": now}):
            due, later, dead, due_at, waiting, told_at = row[4:]
            oldest = min((at for at in (told_at, due_at) if at is not None), default=None)
            found.append((mailbox_row(row[:4]), Depth(waiting + due, later, dead, oldest)))
        return found

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

    def done(self, target: str | int) -> DoneRow | None:
        """See Store."""
        sql = _DONE_NAMED if isinstance(target, str) else _DONE
        rows = self._rows(sql, (target,))
        return DoneRow(*rows[0]) if rows else None

    def progress(self, number: int) -> Progress | None:
        """See Store."""
        rows = self._rows(_PROGRESS, (number,))
        return Progress(*rows[0]) if rows else None

    def room(self, mailbox: int, capacity: int, now: int) -> int:
        """See Store."""
        asked = {"mailbox": mailbox, "capacity": capacity, "now": now}
        return int(self._rows(ROOM, asked)[0][0])

    def reserved(self, mailbox: int) -> list[tuple[int, int]]:
        """See Store."""
        return self._rows(
            "SELECT at, count FROM callboard_rate WHERE mailbox = ? ORDER BY at", (mailbox,)
        )

    def expired(self, mailbox: int, now: int, limit: int) -> list[Message]:
        """See Store."""
        return self._messages(_EXPIRED, (mailbox, now, limit))

    def next_expiry(self, mailbox: int, now: int) -> int | None:
        """See Store."""
        found: int | None = self._rows(_NEXT_EXPIRY, (mailbox, now))[0][0]
        return found

    def heartbeat(self) -> tuple[int, int, int]:
        """See Store."""
        last, epoch, changes = self._rows(_HEARTBEAT, ())[0]
        return last, epoch, changes

    def query(self, sql: str, params: Params) -> list[Any]:
        """See Store."""
        return self._rows(sql, params, _strict)

    def check(self, sql: str, params: Params) -> None:
        """Compile a user's statement on a connection whose authorizer refuses what may not be."""
        if sql in self._checked:
            return
        self._ensure()
        with self._lock:
            if self._guard is None:
                self._guard = self._open()
                self._guard.set_authorizer(self._authorize)
            self._denied.clear()
            try:
                self._guard.execute(f"EXPLAIN {sql}", params).fetchall()
            except (sqlite3.Error, sqlite3.Warning, UnicodeEncodeError) as error:
                # 3.11 warns of a second statement
                refused = refusal(error, self._path)
                if refused is not None:
                    raise refused from error
                reason = (
                    "; ".join(self._denied)
                    or f"execute() takes one statement that can run: {error}"
                )
                raise MessageError(reason) from error
            if len(self._checked) > 1000:  # noqa: PLR2004  (statements built from values)
                self._checked.clear()
            self._checked.add(sql)

    def close(self) -> None:
        """Close every connection, when those who are reading have ended."""
        with self._quiet:
            self._wait_for_quiet()
            # One that is still being read is closed by its reader, who finds it gone from the list.
            unused = [*self._idle, *([self._guard] if self._guard else [])]
            self._all, self._idle, self._guard = [], [], None
        for connection in unused:
            connection.close()

    # --- inside ------------------------------------------------------------------------------

    def _hold_readers(self) -> bool:
        """Take the lock with nobody reading; False when one did not end within our patience."""
        self._lock.acquire()
        if self._wait_for_quiet():
            return True
        self._lock.release()
        return False

    def _wait_for_quiet(self) -> bool:
        """Wait, with the lock, until nobody is reading; False when our patience was over before."""
        self._awaited += 1
        try:
            return self._quiet.wait_for(lambda: self._reading == 0, PATIENCE)
        finally:
            self._awaited -= 1

    def _forget_readers(self) -> None:
        """Start with fresh locks and no connections, in a forked child."""
        self._lock = threading.Lock()
        self._quiet = threading.Condition(self._lock)
        self._reading = self._awaited = 0
        self._all, self._idle, self._guard = [], [], None

    def _messages(self, sql: str, params: Params) -> list[Message]:
        return [Message(*row) for row in self._rows(sql, params)]

    def _rows(
        self,
        sql: str,
        params: Params,
        read: Callable[[sqlite3.Connection, str, Params], list[Any]] = fetch,
    ) -> list[Any]:
        connection = self._take()
        try:
            return read(connection, sql, params)
        except sqlite3.Error as error:
            refused = refusal(error, self._path)
            if refused is None:
                raise  # the statement's own fault: no such table, a syntax error
            raise refused from error
        finally:
            self._give_back(connection)

    def _ensure(self) -> None:
        """Make sure that there is a file to read."""

    def _take(self) -> sqlite3.Connection:
        self._ensure()
        with self._lock:
            connection = self._idle.pop() if self._idle else self._open()
            self._reading += 1
            return connection

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:  # the user's query was a BEGIN: later ones would see the past
            connection.rollback()
        with self._lock:
            self._reading -= 1
            here = connection in self._all
            if here and len(self._idle) < _KEEP:
                self._idle.append(connection)
            else:
                if here:
                    self._all.remove(connection)
                connection.close()
            if self._awaited and not self._reading:
                self._quiet.notify_all()

    def _open(self) -> sqlite3.Connection:
        connection = connect(self._path, durability=self._durability, readonly=True)
        self._all.append(connection)
        return connection

    def _authorize(
        self, action: int, first: str | None, second: str | None, _db: str | None, _t: str | None
    ) -> int:
        if action in _FORBIDDEN:
            self._denied.append(
                f"{_FORBIDDEN[action]} may not be used in execute(): the turn is one transaction "
                "already, and ends it itself"
            )
            return sqlite3.SQLITE_DENY
        if action in _CHANGES:
            # ALTER TABLE gives (database, table), an index or a trigger (its name, table).
            names = (first or "", second or "") if action in _SECOND else (first or "",)
            ours = next((name for name in names if name.lower().startswith("callboard_")), None)
            if ours is not None:
                self._denied.append(
                    f"execute() may not write to {ours}: use tell, cancel and state for what is "
                    "callboard's own"
                )
                return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def mailbox_row(row: Sequence[Any]) -> MailboxRow:
    """Decode a row of callboard_mailbox."""
    number, name, paused, text = row
    try:
        declaration = msgspec.json.decode(text, type=Declaration)
    except msgspec.DecodeError:  # not written by us; its owner writes it anew when it starts
        declaration = Declaration(name)
    return MailboxRow(number, name, bool(paused), declaration)


def _strict(connection: sqlite3.Connection, sql: str, params: Params) -> list[Any]:
    """Read what is the user's own: nothing in it is put right."""
    return connection.execute(sql, params).fetchall()


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
_SECOND = {
    sqlite3.SQLITE_ALTER_TABLE, sqlite3.SQLITE_CREATE_INDEX, sqlite3.SQLITE_DROP_INDEX,
    sqlite3.SQLITE_CREATE_TRIGGER, sqlite3.SQLITE_DROP_TRIGGER, sqlite3.SQLITE_CREATE_TEMP_TRIGGER,
}  # fmt: skip
_CHANGES = _SECOND | {
    sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE,
    sqlite3.SQLITE_CREATE_TABLE, sqlite3.SQLITE_DROP_TABLE,
}  # fmt: skip
