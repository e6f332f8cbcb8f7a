"""Read a store for a check-up, and change nothing: no file is made, nothing migrated or written.

A store that nobody has open has no log beside it, and a reader of a WAL database would make one
(sqlite.org/wal.html#read_only_databases). So it is read as a file that does not change
(``immutable``), and whoever reads asks afterwards whether it did. Beside a log it is read through
it, as any reader does; SQLite then writes in the log's index (``-shm``), which holds no content.

Rows come in pages, each of its own moment: beside a living owner no long read holds up its log, and
a million messages take no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..errors import StoreError
from ._sqlite3 import sqlite3
from .gate import PATIENCE
from .migrations import schema_of
from .sqlite_open import quoted
from .sqlite_read import mailbox_row
from .sqlite_schedule import SCHEDULES, schedule_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .store import MailboxRow, ScheduleRow

#: Rows that are read in one go.
PAGE = 2000
#: So many of the database's own complaints are listed.
COMPLAINTS = 10
#: What SQLite raises when it cannot read on.
Unreadable = sqlite3.Error

_MESSAGES = """
SELECT number, mailbox, kind, version, key, body, due IS NOT NULL AND attempt = 0, told_at
FROM callboard_message WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"""
_DEAD = """
SELECT number, mailbox, kind, version, key, body, 0, failed_at
FROM callboard_dead WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"""
_STATES = """
SELECT mailbox, key, kind, version, body
FROM callboard_state WHERE (mailbox, key) > (?, ?) ORDER BY mailbox, key LIMIT ?"""
_MAILBOXES = "SELECT id, name, paused, declaration FROM callboard_mailbox ORDER BY name"
_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'callboard@_%' ESCAPE '@'"
)
_NUMBERS = """
SELECT c.last, max(ifnull((SELECT max(number) FROM callboard_message), 0),
  ifnull((SELECT max(number) FROM callboard_dead), 0))
FROM callboard_counter c"""
_HELD = """
SELECT b.id, (SELECT count(*) FROM callboard_message m WHERE m.mailbox = b.id),
  (SELECT count(*) FROM callboard_state s WHERE s.mailbox = b.id),
  (SELECT count(*) FROM callboard_dead d WHERE d.mailbox = b.id)
FROM callboard_mailbox b"""
_LEVELS = """
SELECT mailbox, held, there FROM (
  SELECT l.mailbox, l.held, (SELECT count(*) FROM callboard_message m
    WHERE m.mailbox = l.mailbox AND (m.due IS NULL OR m.attempt > 0)) AS there
  FROM callboard_level l)
WHERE held != there"""
# The name of a table cannot be a parameter; these are our own.
_ORPHANS = """
SELECT mailbox, count(*) FROM callboard_{}
WHERE mailbox NOT IN (SELECT id FROM callboard_mailbox) GROUP BY mailbox ORDER BY mailbox"""
_OF_MAILBOXES = ("message", "dead", "state", "done", "past", "told", "level", "rate")


class Reading:
    """One connection to a store that changes nothing; to be used by one thread, in ``with``.

    Args:
        path: the file.
        still: read it as a file that does not change, if it has no log beside it.

    Raises:
        StoreError: it cannot be opened.

    """

    def __init__(self, path: Path, *, still: bool = True) -> None:
        """Open the file that is there."""
        real = path.resolve()
        self._path = real
        self._logs = [real.with_name(real.name + end) for end in ("-wal", "-journal")]
        try:
            self._was = self._marks()
            self.still = still and not any(each.exists() for each in self._logs)
            how = "mode=ro&immutable=1" if self.still else "mode=ro"
            self._connection = sqlite3.connect(
                f"file:{quoted(real)}?{how}", uri=True, timeout=PATIENCE, isolation_level=None
            )
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"cannot open {path} to read it: {error}") from error
        self._run = self._connection.execute
        self._run("PRAGMA query_only = ON")

    def __enter__(self) -> Self:
        """Read."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self._connection.close()

    @property
    def disturbed(self) -> bool:
        """It was read as a file that does not change, and it has changed: all that is doubtful."""
        return self.still and self._marks() != self._was

    def _marks(self) -> tuple[object, ...]:
        status = self._path.stat()
        return (status.st_ino, status.st_size, status.st_mtime_ns,
                *(each.exists() for each in self._logs))  # fmt: skip

    # --- the database ------------------------------------------------------------------------

    def schema(self) -> tuple[int, int] | None:
        """Return (schema, oldest client); None where there is no store in this database."""
        return schema_of(self._connection)

    def complaints(self) -> list[str]:
        """Return what SQLite finds broken in the file, the first few."""
        rows = self._run(f"PRAGMA integrity_check({COMPLAINTS})").fetchall()
        return [text for (text,) in rows if text != "ok"]

    def dangling(self) -> tuple[int, list[str]]:
        """Count the rows whose foreign key leads nowhere; name the tables of the first few."""
        count, first = 0, list[str]()
        for table, row, parent, _ in self._run("PRAGMA foreign_key_check"):
            count += 1
            if len(first) < COMPLAINTS:
                first.append(f"{table} row {row} names no row of {parent}")
        return count, first

    def tables(self) -> set[str]:
        """Return our tables that are there: a store of an older schema lacks some."""
        return {name for (name,) in self._run(_TABLES)}

    def numbers(self) -> tuple[int, int]:
        """Return the newest number that was given, and the highest that is in use."""
        last, highest = self._run(_NUMBERS).fetchone() or (-1, 0)
        return last, highest

    def orphans(self) -> list[tuple[str, int, int]]:
        """Return (table, mailbox, rows) for rows of mailboxes that have no row themselves."""
        there = self.tables()
        return [
            (f"callboard_{name}", mailbox, count)
            for name in _OF_MAILBOXES if f"callboard_{name}" in there
            for mailbox, count in self._run(_ORPHANS.format(name))
        ]  # fmt: skip

    def levels(self) -> list[tuple[int, int, int]]:
        """Return (mailbox, counted, there) where a counter of waiting messages is wrong."""
        return self._run(_LEVELS).fetchall() if "callboard_level" in self.tables() else []

    # --- rows --------------------------------------------------------------------------------

    def mailboxes(self) -> list[MailboxRow]:
        """Return every mailbox ever declared, by name."""
        return [mailbox_row(row) for row in self._run(_MAILBOXES)]

    def held(self) -> dict[int, tuple[int, int, int]]:
        """Return how many (messages, states, dead letters) each mailbox holds."""
        return {box: (told, states, dead) for box, told, states, dead in self._run(_HELD)}

    def schedules(self) -> list[ScheduleRow]:
        """Return every schedule ever declared, by name."""
        if "callboard_schedule" not in self.tables():
            return []
        return [schedule_row(row) for row in self._run(SCHEDULES)]

    def messages(self, page: int = PAGE) -> Iterator[tuple[Any, ...]]:
        """Return (number, mailbox, kind, version, key, body, is a future call, told at) of each."""
        return self._numbered(_MESSAGES, page)

    def dead(self, page: int = PAGE) -> Iterator[tuple[Any, ...]]:
        """Return the same of each dead letter, with the instant when it was given up."""
        return self._numbered(_DEAD, page)

    def states(self, page: int = PAGE) -> Iterator[tuple[Any, ...]]:
        """Return (mailbox, key, kind, version, body) of each actor's state."""
        after, count = (-1, ""), page
        while count == page:
            count = 0
            for row in self._run(_STATES, (*after, page)):
                after, count = (row[0], row[1]), count + 1
                yield row

    def _numbered(self, sql: str, page: int) -> Iterator[tuple[Any, ...]]:
        # What is told from now on is none of ours: beside a busy owner it would never end.
        last, highest = self.numbers()
        upto, after, count = max(last, highest), -1, page
        while count == page:
            count = 0
            for row in self._run(sql, (after, upto, page)):
                after, count = row[0], count + 1
                yield row
