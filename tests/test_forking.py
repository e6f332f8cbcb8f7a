"""A forked child has a store of its own, and cannot harm that of its parent."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from callboard.persistence import forking, sqlite
from callboard.persistence.sqlite import SqliteStore

from .processes import Child

BEGIN = """
import os, sys, threading
from pathlib import Path
from callboard.errors import StoreError
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Message, Unit

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())  # whole lines: two write them

def tell(store, body):
    unit = Unit(tells=[Message(box, "json", body)])
    store.write([unit], epoch=None, seen=None)
    return unit.results[0]

# Without waiting for the disk, which may be busy with other things.
store = SqliteStore(Path("board.db"), durability="normal")
box = store.declare([Declaration("jobs")])[0].id
tell(store, b"before")
"""

OUTLIVES = """
from_parent, to_child = os.pipe()
from_child, to_parent = os.pipe()
if os.fork() == 0:
    tell(store, b"child")
    os.write(to_parent, b".")
    os.read(from_parent, 1)
    tell(store, b"after")
    say("count", store.depths(0)[0][1].waiting)
    store.close()
    os._exit(0)
os.read(from_child, 1)
store.close()
say("parent closed", os.path.exists("board.db-wal"))
os.write(to_child, b".")
os.wait()
"""


@pytest.mark.slow
def test_what_a_child_commits_survives_that_its_parent_closes(tmp_path: Path) -> None:
    """With the parent's connections left open it had no lock, and its commits were lost."""
    with Child(BEGIN + OUTLIVES, cwd=tmp_path) as child:
        assert child.wait_for("parent closed") == "parent closed True"
        assert child.wait_for("count") == "count 3"
        assert child.end() == 0
    with sqlite3.connect(tmp_path / "board.db") as connection:
        assert connection.execute("SELECT count(*) FROM callboard_message").fetchone() == (3,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


BOTH = """
go = threading.Event()
def keep_busy():
    while not go.is_set():
        tell(store, b"busy")
        store.waiting(box, after=None, limit=5)
threads = [threading.Thread(target=keep_busy) for _ in range(3)]
for thread in threads:
    thread.start()
children, codes = [], []
for _ in range(20):
    if len(children) == 4:
        codes.append(os.waitpid(children.pop(0), 0)[1])
    child = os.fork()
    if child == 0:
        try:
            numbers = [tell(store, b"child") for _ in range(5)]
            assert store.present(numbers) == set(numbers)
            store.close()
        except BaseException as error:
            say("failed", repr(error))
            os._exit(1)
        os._exit(0)
    children.append(child)
codes += [os.waitpid(child, 0)[1] for child in children]
go.set()
for thread in threads:
    thread.join()
found = [m.body for m in store.waiting(box, after=None, limit=1_000_000)]
store.close()
say("codes", set(codes), found.count(b"child"))
"""


@pytest.mark.slow
def test_a_fork_beside_busy_threads_tears_nothing(tmp_path: Path) -> None:
    with Child(BEGIN + BOTH, cwd=tmp_path) as child:
        assert child.wait_for("codes") == "codes {0} 100", "\n".join(child.lines)
        assert child.end() == 0
    with sqlite3.connect(tmp_path / "board.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


DIES = """
child = os.fork()
if child == 0:
    say("forked")
    sys.stdin.readline()
    os._exit(0)
store._gate.__enter__()
say("inside")
os.kill(os.getpid(), 9)
"""


def test_a_child_does_not_keep_the_gate_when_its_parent_dies_inside(tmp_path: Path) -> None:
    with Child(BEGIN + DIES, cwd=tmp_path) as child:
        child.wait_for("forked")
        child.process.wait(20)
        store = SqliteStore(tmp_path / "board.db")
        assert len(store.mailboxes()) == 1
        store.pause(1, paused=True)
        store.close()
        child.say("end")


TORN = """
inside = threading.Event()
forever = threading.Event()
def stay():
    inside.set()
    forever.wait()
connection = store._take()
connection.create_function("stay", 0, stay)
store._give_back(connection)
threading.Thread(target=lambda: store.query("SELECT stay()", ()), daemon=True).start()
inside.wait()
from callboard.persistence import sqlite, sqlite_read
sqlite.PATIENCE = sqlite_read.PATIENCE = 0.01
if os.fork() == 0:
    try:
        tell(store, b"child")
    except StoreError as error:
        say("refused", error)
    os._exit(0)
os.wait()
tell(store, b"parent")
say("parent goes on")
os._exit(0)
"""


def test_a_child_that_was_forked_amid_a_long_query_refuses_to_open(tmp_path: Path) -> None:
    """It may neither close what it inherited nor open anything beside it."""
    with Child(BEGIN + TORN, cwd=tmp_path) as child:
        assert "start processes before the runtime, or with spawn" in child.wait_for("refused")
        child.wait_for("parent goes on")


def test_the_parent_goes_on_after_a_fork(tmp_path: Path) -> None:
    """As in a fork, but without one: every lock is taken, and let go of again."""
    store = SqliteStore(tmp_path / "board.db")
    for _ in range(2):
        forking._before()
        assert store._held
        forking._in_parent()
        assert store.mailboxes() == []
        store.pause(1, paused=False)
    store.close()
    forking._before()
    forking._in_parent()
    assert store.mailboxes() == []
    store.close()


def test_an_open_store_is_closed_in_the_child_and_opens_again(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "board.db")
    store.open()
    inherited = store._connection
    assert inherited is not None
    forking._before()
    forking._in_child()
    store.forked()  # the runtime says it too
    with pytest.raises(sqlite3.ProgrammingError):
        inherited.execute("SELECT 1")
    assert sqlite._torn == []
    assert store.mailboxes() == []
    store.close()
