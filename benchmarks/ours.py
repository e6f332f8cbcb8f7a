"""callboard's side: what the workloads share of it. All settings are a user's defaults."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from callboard import Runtime, WorkerActor

from .case import expect

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 300.0


@dataclass
class Small:
    """The small typed message of the workloads."""

    n: int


class Tally:
    """A handler that counts, and sets an event at the last message."""

    def __init__(self, wanted: int) -> None:
        """Wait for so many."""
        self._wanted, self.done = wanted, threading.Event()
        self._count = itertools.count(1)  # its steps are atomic: any number of workers may count

    def __call__(self, message: Small) -> None:
        """Count one."""
        if next(self._count) == self._wanted:
            self.done.set()

    def check(self) -> None:
        """Refuse a run that handled another number of messages."""
        expect("handled", next(self._count) - 1, self._wanted)


@dataclass
class Count:
    """The state of one key."""

    handled: int = 0


class Counter(WorkerActor):
    """Counts the messages of its key, durably."""

    state: Count
    tally: Tally

    def on_receive(self, message: Small) -> None:
        """Count one."""
        self.state.handled += 1
        self.tally(message)


def open_board(folder: Path) -> Runtime:
    """Return a runtime on a fresh store."""
    return Runtime(folder / "board.db")


def small(count: int) -> list[Small]:
    """Return so many messages."""
    return [Small(n) for n in range(count)]


def acknowledged(rt: Runtime, mailbox: str, began: float) -> float:
    """Wait until no other message is left on disk; returns the seconds since ``began``."""
    until = perf_counter() + PATIENCE
    while perf_counter() < until:
        row = next(m for m in rt.mailboxes() if m.name == mailbox)
        if (row.waiting, row.later, row.dead) == (0, 0, 0):
            return perf_counter() - began
    raise TimeoutError(f"{mailbox}: {row}")


def fill(path: Path, mailbox: str, count: int, due: tuple[int, int] | None = None) -> None:
    """Put many messages into a store that nobody has open, quickly: they are not what is measured.

    Args:
        path: the store; its mailbox must have been declared once.
        mailbox: for whom.
        count: how many.
        due: between which instants they are due, scattered; None: at once.

    """
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -1000000")
    db.execute("BEGIN IMMEDIATE")
    (last,) = db.execute("SELECT last FROM callboard_counter").fetchone()
    (row,) = db.execute("SELECT id FROM callboard_mailbox WHERE name = ?", (mailbox,)).fetchone()
    begin, end = due or (0, 0)
    db.execute(_FILL, {"count": count, "last": last, "mailbox": row, "scattered": due is not None,
                       "begin": begin, "span": max(1, end - begin)})  # fmt: skip
    db.execute("UPDATE callboard_counter SET last = last + ?", (count,))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    with path.open("rb+") as file:  # or the first checkpoint of what is measured would wait for it
        os.fsync(file.fileno())


_FILL = """
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :count)
INSERT INTO callboard_message (number, mailbox, kind, version, body, due, told_at)
SELECT :last + i, :mailbox, 'Small', 1, CAST('{"n":' || i || '}' AS BLOB),
  CASE WHEN :scattered THEN :begin + abs(random()) % :span END, 0 FROM n"""
