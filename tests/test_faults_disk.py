"""Faults of the disk: full, failing, and a log that is torn after a crash of the machine."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callboard import Runtime, StoreError

from .processes import Child
from .small_disk import small_disk
from .torn import busy_run, commits, tear

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 20.0

# Handlers write a row of their own with each turn: `effect` shows what was handled, and how often.
# They are let go one by one, so some are always running while the disk is full.
FULL = """
import os, resource, sqlite3, sys, threading
from pathlib import Path
from callboard import Context, Runtime, StoreError, StoreFull
sqlite3.connect("board.db").execute("CREATE TABLE effect (number INTEGER)").connection.close()
rt = Runtime("board.db")
go, runs = threading.Event(), []
def work(text: str, context: Context) -> None:
    runs.append(context.message_id)
    go.wait()
    context.execute("INSERT INTO effect VALUES (?)", (context.message_id,))
    rt.tell("later", text)
rt.mailbox("work", work, workers=4)
rt.mailbox("later", lambda text: None)
heard = threading.Event()
rt.events.subscribe(lambda e: print("refused", e.fields["error"], flush=True), "store.refused")
rt.events.subscribe(lambda _: heard.set(), "store.refused")
rt.events.subscribe(lambda e: print("recovered", flush=True), "store.recovered")
rt.start()
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
def fill():
    if sys.argv[1] == "limit":
        limit(400 * 1024)
    else:
        with open("filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass
told, errors = [], []
for n in range(10):
    told.append(rt.tell("work", "x" * 3000))
fill()
for n in range(200):
    try:
        told.append(rt.tell("work", "x" * 3000))
    except StoreError as error:
        errors.append(error)
        if len(errors) == 3:
            break
heard.wait()
print("told", len(told), "lines", {str(e).count(chr(10)) for e in errors},
      {type(e).__name__ for e in errors}, len(errors), flush=True)
go.set()
sys.stdin.readline()
if sys.argv[1] == "limit":
    limit(resource.RLIM_INFINITY)
else:
    os.unlink("filler")
while rt.stats().waiting:
    threading.Event().wait(0.01)
rt.tell("later", "room again")
rt.stop()
rows = [r[0] for r in sqlite3.connect("board.db").execute("SELECT number FROM effect ORDER BY 1")]
print("handled", rows == sorted(told), "runs", len(runs) == len(told), flush=True)
"""


def full(folder: Path, how: str) -> str:
    with Child(FULL, how, cwd=folder) as child:
        child.wait_for("refused")
        told = child.wait_for("told")
        child.say("room")
        # Each exactly once; and no handler ran again because of the full disk.
        assert child.wait_for("handled") == "handled True runs True"
        # Maybe sooner than there was room: a short commit can find some.
        assert "recovered" in child.lines
        assert child.end() == 0
    with closing(sqlite3.connect(folder / "board.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return told


@pytest.mark.slow
def test_a_file_that_cannot_grow_stops_nothing_for_good(tmp_path: Path) -> None:
    assert "lines {0}" in full(tmp_path, "limit")


@pytest.mark.slow
def test_a_full_disk_is_said_in_a_line_and_work_goes_on_with_room(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        assert "lines {0} {'StoreFull'} 3" in full(disk, "disk")


# --- descriptors that fail -----------------------------------------------------------------------


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    with closing(sqlite3.connect(tmp_path / "board.db")) as connection:
        connection.execute("CREATE TABLE effect (number INTEGER)")
    rt = Runtime(tmp_path / "board.db")
    yield rt
    rt.stop()


def logs(folder: Path) -> list[int]:
    """Return the descriptors of the log that this process has."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        try:
            if each.readlink() == folder / "board.db-wal":
                found.append(int(each.name))
        except OSError:  # the one that lists them
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="descriptors are found in /proc")
@pytest.mark.parametrize("fault", ["no writing", "no room"])
def test_a_log_that_cannot_be_written_loses_and_doubles_nothing(
    tmp_path: Path, rt: Runtime, fault: str
) -> None:
    """The descriptor under SQLite is exchanged: it gets real errors of the system."""
    inside, go, refused, recovered = (threading.Event() for _ in range(4))
    handled = threading.Semaphore(0)
    ran: list[int] = []

    @rt.mailbox("work", workers=2)
    def work(n: int) -> None:
        ran.append(n)
        inside.set()
        assert go.wait(PATIENCE)
        with rt.transaction() as tx:
            tx.execute("INSERT INTO effect VALUES (?)", (n,))

    rt.events.subscribe(lambda _: refused.set(), "store.refused")
    rt.events.subscribe(lambda _: recovered.set(), "store.recovered")
    rt.events.subscribe(lambda _: handled.release(), "message.handled")
    rt.start()
    rt.tell("work", 1)
    assert inside.wait(PATIENCE)
    good = logs(tmp_path)
    assert good
    kept = {fd: os.dup(fd) for fd in good}
    bad = os.open(tmp_path / "board.db-wal", os.O_RDONLY) if fault == "no writing" else os.open(
        "/dev/full", os.O_RDWR)  # fmt: skip
    for fd in good:
        os.dup2(bad, fd)
    try:
        with pytest.raises(StoreError) as caught:
            rt.tell("work", 2)
        assert "\n" not in str(caught.value)
        assert "board.db" in str(caught.value)
        assert refused.wait(PATIENCE)
        go.set()  # the first ends now: its turn is kept
    finally:
        for fd, was in kept.items():
            os.dup2(was, fd, inheritable=False)
            os.close(was)
        os.close(bad)
    assert recovered.wait(PATIENCE)
    rt.tell("work", 3)
    for _ in range(2):
        assert handled.acquire(timeout=PATIENCE)
    rt.stop()
    assert sorted(ran) == [1, 3], "no handler ran again for it"
    with closing(sqlite3.connect(tmp_path / "board.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT number FROM effect ORDER BY 1").fetchall() == [(1,), (3,)]


# --- torn logs -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_log_cut_anywhere_shows_a_prefix_of_what_was_committed(tmp_path: Path) -> None:
    copy = busy_run(tmp_path, 25)
    copies, ends = tear(copy, tmp_path, every=3)
    assert copies > copy.frames > ends > 10
    assert commits(copy)[-1] == copy.frames
