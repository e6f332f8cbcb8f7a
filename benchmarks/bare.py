"""The bare limit: sqlite3 with the inevitable statements and nothing else.

Same page size, WAL, synchronous=FULL as a store of callboard's, on a table that has just what a
queue cannot do without.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from queue import SimpleQueue
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from .case import expect
from .harness import percentiles, thousands

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TABLE = "CREATE TABLE m (id INTEGER PRIMARY KEY, mailbox INT, body TEXT, due INT)"
_ONE = "INSERT INTO m (mailbox, body, due) VALUES (1, ?, 0)"
_DELETE = "DELETE FROM m WHERE id = ?"


@contextmanager
def connect(folder: Path, *, fresh: bool = True) -> Iterator[sqlite3.Connection]:
    """Open the file of a folder with callboard's settings, for a while."""
    db = sqlite3.connect(folder / "bare.db", isolation_level=None, check_same_thread=False)
    with closing(db):
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if fresh:
            db.execute(_TABLE)
        yield db


def body(number: int) -> str:
    """Return a message as callboard encodes it."""
    return f'{{"n":{number}}}'


def _check(db: sqlite3.Connection, wanted: int) -> None:
    expect("rows", db.execute("SELECT count(*) FROM m").fetchone()[0], wanted)


def _insert(db: sqlite3.Connection, rows: list[tuple[str]]) -> None:
    for part in thousands(rows):
        db.execute("BEGIN IMMEDIATE")
        db.executemany(_ONE, part)
        db.execute("COMMIT")


def commits(folder: Path, size: int) -> dict[str, float]:
    """Commit rows one by one."""
    with connect(folder) as db:
        began = perf_counter()
        for number in range(size):
            db.execute(_ONE, (body(number),))
        took = perf_counter() - began
        _check(db, size)
    return {"per s": size / took}


def bulk(folder: Path, size: int) -> dict[str, float]:
    """Insert in thousands, with executemany."""
    with connect(folder) as db:
        rows = [(body(number),) for number in range(size)]
        began = perf_counter()
        _insert(db, rows)
        took = perf_counter() - began
        _check(db, size)
    return {"per s": size / took}


def bulk_on_our_table(folder: Path, size: int) -> dict[str, float]:
    """Insert in thousands, with executemany, into the table of a callboard store."""
    from callboard import Runtime

    with Runtime(folder / "board.db") as rt:
        rt.mailbox("small", lambda _: None)
    with closing(sqlite3.connect(folder / "board.db", isolation_level=None)) as db:
        db.execute("PRAGMA synchronous = FULL")
        rows = [(number + 1, 1, "plain", 1, body(number).encode(), 0) for number in range(size)]
        began = perf_counter()
        for start in range(0, size, 1000):
            db.execute("BEGIN IMMEDIATE")
            db.executemany(
                "INSERT INTO callboard_message (number, mailbox, kind, version, body, told_at)"
                " VALUES (?, ?, ?, ?, ?, ?)",
                rows[start : start + 1000],
            )
            db.execute("COMMIT")
        took = perf_counter() - began
        expect("rows", db.execute("SELECT count(*) FROM callboard_message").fetchone()[0], size)
    return {"per s": size / took}


def life(folder: Path, size: int) -> dict[str, float]:
    """Insert and delete in thousands: the life of a row."""
    with connect(folder) as db:
        rows = [(body(number),) for number in range(size)]
        began = perf_counter()
        _insert(db, rows)
        for part in thousands(list(range(1, size + 1))):
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_DELETE, [(number,) for number in part])
            db.execute("COMMIT")
        took = perf_counter() - began
        _check(db, 0)
    return {"per s": size / took}


def hand_off(folder: Path, size: int) -> dict[str, float]:
    """Commit a row and hand it to a waiting thread, on an idle process."""
    queue = SimpleQueue[float]()
    with connect(folder) as db:
        took: list[float] = []
        heard = threading.Event()

        def wait() -> None:
            for _ in range(size):
                began = queue.get()
                took.append(perf_counter() - began)
                heard.set()

        thread = threading.Thread(target=wait)
        thread.start()
        for number in range(size):
            sleep(0.005 + number % 4 * 0.005)
            heard.clear()
            began = perf_counter()
            db.execute(_ONE, (body(number),))
            queue.put(began)
            heard.wait()
        thread.join()
        _check(db, size)
    return percentiles(took)


def start(folder: Path, size: int) -> dict[str, float]:
    """Start a Python that does nothing."""
    import subprocess
    import sys

    began = perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return {"start ms": (perf_counter() - began) * 1e3}
