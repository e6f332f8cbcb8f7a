"""Long transactions of connections that are not ours: the WAL and the owner beside them."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from callboard import Event, Runtime
from callboard.persistence import sqlite_open
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration

from .processes import PATIENCE
from .soak_meter import size
from .store_tools import tell

KEPT = 256 * 1024


def test_the_wal_is_small_again_after_a_long_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It grows as long as somebody reads what was; then it starts anew, and is cut."""
    monkeypatch.setattr(sqlite_open, "WAL_KEPT", KEPT)
    board, wal = tmp_path / "board.db", tmp_path / "board.db-wal"
    store = SqliteStore(board)
    (row,) = store.declare([Declaration("box")])
    with closing(sqlite3.connect(board, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM callboard_message").fetchone() == (0,)
        for _ in range(8):
            tell(store, row.id, bytes(1_000_000))
        grown = size(wal)
        assert grown > 8_000_000, "nothing of it could go into the file"
        assert reader.execute("SELECT count(*) FROM callboard_message").fetchone() == (0,)
        reader.execute("COMMIT")
        tell(store, row.id, b"1")  # puts all of it into the file
        tell(store, row.id, b"2")  # starts the WAL anew
    assert size(wal) <= KEPT
    store.close()


def test_a_writer_that_takes_its_time_makes_the_owner_wait_and_nothing_fail(
    tmp_path: Path,
) -> None:
    rt = Runtime(tmp_path / "board.db")
    handled: Counter[int] = Counter()
    begun, go, enough = threading.Event(), threading.Event(), threading.Event()
    events: list[Event] = []
    rt.events.subscribe(events.append, "store.")
    told, last = threading.Event(), threading.Event()

    @rt.mailbox("work")
    def work(n: int) -> None:
        begun.set()
        assert go.wait(PATIENCE)
        handled[n] += 1
        if n == 499:
            enough.set()
        elif n == 500:
            last.set()

    rt.tell_many(work, range(500))
    with rt, closing(sqlite3.connect(tmp_path / "board.db", isolation_level=None)) as host:
        assert begun.wait(PATIENCE)
        host.execute("BEGIN IMMEDIATE")
        go.set()
        assert enough.wait(PATIENCE), "handlers go on, up to what may be staged"

        def send() -> None:
            rt.tell(work, 500)
            told.set()

        sender = threading.Thread(target=send)
        sender.start()
        (before,) = host.execute("SELECT count(*) FROM callboard_message").fetchone()
        assert before == 500, "nothing of it is acknowledged while the lock is held"
        assert not told.wait(0.5), "a tell returns when it is on disk, not before"
        host.execute("COMMIT")
        assert told.wait(PATIENCE)
        sender.join(PATIENCE)
        assert last.wait(PATIENCE)
    assert handled == Counter(range(501))
    assert [each.name for each in events] == []
