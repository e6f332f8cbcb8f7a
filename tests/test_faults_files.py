"""Faults of the file: deleted, replaced or read-only while it is in use."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callboard import Runtime, StoreError, StoreGone
from callboard.events import Event

from .processes import Child
from .small_disk import mounting, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 10.0

OWNER = """
from callboard import Runtime
rt = Runtime("board.db")
@rt.mailbox("work")
def work(n: int) -> None:
    print(f"got {n}", flush=True)
rt.events.subscribe(lambda e: print("lost", e.fields["error"], flush=True), "owner.lost")
rt.events.subscribe(lambda e: print("is owner", flush=True), "owner.taken")
rt.events.subscribe(lambda e: print("as", e.fields["role"], flush=True), "runtime.started")
rt.tell("work", 0)
rt.run()
"""


def delete_database(folder: Path) -> None:
    (folder / "board.db").unlink()


def replace_database(folder: Path) -> None:
    """As a restore from a backup does: another file of this name."""
    shutil.copy(folder / "board.db", folder / "copy")
    (folder / "copy").rename(folder / "board.db")


def delete_log(folder: Path) -> None:
    (folder / "board.db-wal").unlink()


def delete_locks(folder: Path) -> None:
    shutil.rmtree(folder / "board.db.callboard")


def delete_owner_lock(folder: Path) -> None:
    (folder / "board.db.callboard" / "owner").unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "names"),
    [
        (delete_database, "board.db was deleted"),
        (replace_database, "board.db was replaced"),
        (delete_log, "board.db-wal was deleted"),
        (delete_locks, "board.db.callboard/gate was deleted"),
        (delete_owner_lock, "board.db.callboard/owner was deleted"),
    ],
)
def test_an_owner_whose_files_go_says_which_and_ends_with_1(
    tmp_path: Path, fault: Callable[[Path], None], names: str
) -> None:
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("got 0")
        fault(tmp_path)
        assert names in owner.wait_for("lost")
        assert owner.end() == 1
        said = [line for line in owner.lines if line.startswith("callboard:")]
        assert len(said) == 1
        assert names in said[0]
        assert "start" in said[0], "it says what to do next"


@pytest.mark.slow
def test_a_deleted_log_loses_nothing(tmp_path: Path) -> None:
    """The owner has it open still: at its end all goes into the database."""
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("got 0")
        rt = Runtime(tmp_path / "board.db")
        rt.tell("work", 1)
        rt.stop()
        owner.wait_for("got 1")
        delete_log(tmp_path)
        owner.wait_for("lost")
        owner.end()
    with sqlite3.connect(tmp_path / "board.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT last FROM callboard_counter").fetchone()[0] >= 2
    connection.close()


@pytest.mark.slow
def test_a_standby_takes_over_when_the_locks_were_deleted(tmp_path: Path) -> None:
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("got 0")  # its own: it is the owner
        with Child(OWNER, cwd=tmp_path) as standby:
            owner.wait_for("got 0")  # the standby's
            standby.wait_for("as standby")
            delete_locks(tmp_path)
            assert owner.end() == 1
            standby.wait_for("is owner")
            rt = Runtime(tmp_path / "board.db")
            rt.tell("work", 7)
            rt.stop()
            standby.wait_for("got 7")


# --- in one process ------------------------------------------------------------------------------


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Runtime]:
    rt = Runtime(tmp_path / "board.db")

    @rt.mailbox("work")
    def work(n: int) -> None:
        """Handle it."""

    yield rt
    rt.stop()


def descriptors() -> int:
    """Count what this process has open; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def lost(rt: Runtime) -> tuple[threading.Event, list[Event]]:
    heard, seen = threading.Event(), list[Event]()

    def note(event: Event) -> None:
        seen.append(event)
        heard.set()

    rt.events.subscribe(note, "owner.lost")
    return heard, seen


def test_an_owner_in_a_host_stops_and_writes_into_nothing(owner: Runtime, tmp_path: Path) -> None:
    """The host lives; what it tells afterwards is refused, for an empty store would hide it."""
    heard, seen = lost(owner)
    owner.start()
    owner.tell("work", 1)
    delete_database(tmp_path)
    assert heard.wait(PATIENCE)
    owner._host.ended.wait(PATIENCE)
    assert owner.role == "client"
    assert isinstance(owner._host.failure, StoreGone)
    with pytest.raises(StoreGone, match="deleted"):
        owner.tell("work", 2)
    assert not (tmp_path / "board.db").exists()
    assert len(seen) == 1


def test_a_client_says_it_once_and_goes_on_with_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.persistence.presence.EVERY", -1.0)
    path = tmp_path / "board.db"
    (tmp_path / "other").mkdir()
    other = Runtime(tmp_path / "other" / "board.db")
    other.mailbox("first", print)  # so that the same name has another number there
    other.mailbox("work", print)
    other.tell("first", "x")
    other.tell("work", "x")
    other.stop()
    client = Runtime(path)
    client.mailbox("work", print)
    client.tell("work", "old")
    delete_database(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreGone, match=r"board\.db was deleted"):
            client.tell("work", "into nothing")
    assert not path.exists()
    delete_log(tmp_path)  # as whoever puts another file there must
    shutil.copy(tmp_path / "other" / "board.db", path)
    client.tell("work", "new")
    assert [row.message for row in client.peek("work")] == ["x", "new"]
    shutil.copy(tmp_path / "other" / "board.db", tmp_path / "copy")
    (tmp_path / "copy").rename(path)
    with pytest.raises(StoreGone, match="replaced"):
        client.tell("work", "into nothing")
    client.tell("work", "newer")
    assert [row.message for row in client.peek("work")] == ["x", "newer"], "the old log is not its"
    assert len(list(tmp_path.glob("board.db-wal.*"))) == 1, "but it is kept"
    client.stop()


def test_an_owner_that_cannot_start_lets_go_of_everything(
    owner: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_more(*_: object) -> None:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr("callboard.runtime.bell._listen", no_more)
        before = descriptors()
        for _ in range(3):
            with pytest.raises(StoreError, match="Too many open files"):
                owner.start()
            assert owner.role == "client"
    if before:
        owner.stop()
        assert descriptors() <= before
    owner.start(standby=False)
    assert owner.role == "owner"


# --- read-only -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_system_that_becomes_read_only_refuses_in_one_line(tmp_path: Path) -> None:
    """The kernel does so itself after an I/O error; our turns are kept until it is mended."""
    with small_disk(tmp_path) as mount:
        rt = Runtime(mount / "board.db")
        ran: list[int] = []
        inside, go, last = (threading.Event() for _ in range(3))

        @rt.mailbox("work")
        def work(n: int) -> None:
            ran.append(n)
            inside.set()
            go.wait(PATIENCE)
            if n == 3:
                last.set()

        rt.start()
        rt.tell("work", 1)
        assert inside.wait(PATIENCE)
        complaint = mounting("-o", "remount,ro", mount)
        if complaint is None:
            with pytest.raises(StoreError) as caught:
                rt.tell("work", 2)
            assert "\n" not in str(caught.value)
            assert mounting("-o", "remount,rw", mount) is None
        else:
            assert "busy" in complaint, "open for writing, so the kernel refuses it"
        go.set()
        rt.tell("work", 3)
        assert last.wait(PATIENCE)
        rt.stop()
        assert ran == [1, 3]
        assert mounting("-o", "remount,ro", mount) is None
        with pytest.raises(StoreError, match="read-only"):
            Runtime(mount / "board.db").start()
        assert mounting("-o", "remount,rw", mount) is None
