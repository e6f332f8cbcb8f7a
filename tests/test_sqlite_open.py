"""What a store is refused for: each with one clear line, and nothing left behind."""

from __future__ import annotations

import errno
import os
import sqlite3
from pathlib import Path

import pytest

from callboard.errors import ConfigError, StoreBusy, StoreError, StoreFull
from callboard.persistence import _sqlite3, foreign, sqlite_open
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.sqlite_open import file_system, of_os, refusal

from .processes import Child
from .store_tools import bodies, tell


def opening(path: Path, *, network_ok: bool = False) -> str:
    """Return what opening it says; the line must name the path."""
    store = SqliteStore(path, network_ok=network_ok)
    with pytest.raises(StoreError) as caught:
        store.open()
    line = str(caught.value)
    assert "\n" not in line
    assert path.name in line
    return line


# --- what is there -------------------------------------------------------------------------------


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    assert "is a directory: give a file in it" in opening(tmp_path / "dir")


@pytest.mark.parametrize("content", [b"xy", b"not a database, but a text\n" * 100])
def test_what_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    assert "is no SQLite database: give another path" in opening(path)
    assert path.read_bytes() == content


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in opening(tmp_path / "pipe")


def test_a_missing_folder_is_refused_and_not_made(tmp_path: Path) -> None:
    assert "is no folder: make it" in opening(tmp_path / "none" / "board.db")
    assert not (tmp_path / "none").exists()


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "board.db").touch()
    store = SqliteStore(tmp_path / "board.db")
    assert store.mailboxes() == []
    store.close()


@pytest.mark.parametrize("name", ["a b.db", "a?b#c%d.db", "ä€.db"])
def test_any_name_will_do(tmp_path: Path, name: str) -> None:
    store = SqliteStore(tmp_path / name)
    store.open()
    store.close()
    assert (tmp_path / name).stat().st_size > 0
    assert {each.name for each in tmp_path.iterdir()} == {name, name + ".callboard"}


def test_two_names_of_one_file_share_their_locks(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "board.db")
    assert SqliteStore(tmp_path / "link.db").companion.folder == tmp_path / "board.db.callboard"


# --- read-only: tests may run as root, whom no mode stops -----------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch, name: str, where: Path, number: int) -> None:
    """Have a call of ``os`` fail on one path, as on a read-only mount or a full disk."""
    real = getattr(os, name)

    def call(path: object, *args: object, **options: object) -> object:
        if Path(str(path)) == where:
            raise OSError(number, os.strerror(number), str(where))
        return real(path, *args, **options)

    monkeypatch.setattr(os, name, call)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_file_or_folder_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "board.db"
    path.touch()
    where = path if what == "file" else tmp_path
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda at, mode: real(at, mode) and not (at == where and mode & os.W_OK)
    )
    assert "is read-only for this user: make it and its folder writable" in opening(path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_file_that_cannot_be_made_is_refused_as_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    refuse(monkeypatch, "open", tmp_path / "board.db", number)
    assert "is read-only for this user" in opening(tmp_path / "board.db")


@pytest.mark.parametrize("call", ["mkdir", "open"])
def test_lock_files_that_cannot_be_made_are_refused_as_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    folder = tmp_path / "board.db.callboard"
    refuse(monkeypatch, call, folder if call == "mkdir" else folder / "gate", errno.EROFS)
    assert "is read-only for this user" in opening(tmp_path / "board.db")


def test_no_room_to_make_it_is_a_full_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, "open", tmp_path / "board.db", errno.ENOSPC)
    with pytest.raises(StoreFull, match="free some disk space"):
        SqliteStore(tmp_path / "board.db").open()


def test_another_fault_of_the_system_is_said_as_it_is(tmp_path: Path) -> None:
    error = of_os(OSError(errno.EMFILE, "Too many open files"), tmp_path)
    assert str(error) == f"cannot open {tmp_path}: Too many open files"


def test_the_file_is_not_opened_beside_the_hosts_own_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing any descriptor drops the locks that SQLite holds in this process."""
    path = tmp_path / "board.db"
    path.touch()
    refuse(monkeypatch, "open", path, errno.EIO)
    store = SqliteStore(path)
    store.open()
    store.close()


# --- network file systems ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs", "virtiofs"])
def test_a_network_file_system_is_refused_unless_one_insists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(sqlite_open, "file_system", lambda _: kind)
    path = tmp_path / "board.db"
    line = opening(path)
    assert f"network file system ({kind})" in line
    assert "network_ok=True" in line
    assert not path.exists()
    store = SqliteStore(path, network_ok=True)
    store.open()
    store.close()


def test_a_link_to_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "near.db").symlink_to(tmp_path / "far" / "board.db")
    monkeypatch.setattr(
        sqlite_open, "file_system", lambda at: "nfs" if at.name == "far" else "ext4"
    )
    assert "(nfs)" in opening(tmp_path / "near.db")


MOUNTS = r"""
/dev/a / ext4 rw 0 0
srv:/x /mnt nfs4 rw 0 0
/dev/b /mnt/disk xfs rw 0 0
//srv/y /my\040share cifs rw 0 0
tmpfs /tab\011here tmpfs rw 0 0
/dev/c /over ext4 rw 0 0
srv:/z /over nfs rw 0 0
""".strip()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home", "ext4"), ("/mnt", "nfs4"), ("/mnt/a", "nfs4"), ("/mnt/disk/a", "xfs"),
        ("/mntb", "ext4"), ("/my share/a", "cifs"), ("/tab\there", "tmpfs"), ("/over", "nfs"),
    ],
)  # fmt: skip
def test_the_type_is_that_of_the_innermost_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str, kind: str
) -> None:
    (tmp_path / "mounts").write_text(MOUNTS)
    monkeypatch.setattr(sqlite_open, "MOUNTS", tmp_path / "mounts")
    assert file_system(Path(folder)) == kind


def test_where_the_kernel_does_not_say_nothing_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_open, "MOUNTS", tmp_path / "none")
    assert file_system(tmp_path) == ""


# --- the platform and the driver -----------------------------------------------------------------


def test_a_sqlite_that_is_too_old_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(ConfigError, match=r"too old, callboard needs 3\.38"):
        SqliteStore(tmp_path / "board.db").open()


def test_another_platform_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_open.os, "name", "nt")  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match="WSL"):
        sqlite_open.prepare_file(tmp_path / "board.db", network_ok=True)


@pytest.mark.parametrize(
    ("version", "mended"),
    [
        ((3, 51, 3), True), ((3, 51, 2), False), ((3, 52, 0), True), ((4, 0, 0), True),
        ((3, 50, 7), True), ((3, 50, 6), False), ((3, 44, 6), True), ((3, 44, 5), False),
        ((3, 45, 9), False), ((3, 40, 1), False),
    ],
)  # fmt: skip
def test_which_sqlite_is_free_of_the_wal_reset_bug(
    version: tuple[int, int, int], *, mended: bool
) -> None:
    assert foreign.mended(version) is mended


def test_the_driver_is_the_one_that_sqlite_utils_chooses() -> None:
    """Two copies of SQLite in one process break each other's locks."""
    from sqlite_utils import utils

    assert vars(utils)["sqlite3"] is _sqlite3.sqlite3


# --- refusals of SQLite --------------------------------------------------------------------------


def test_what_is_the_statements_own_fault_is_no_refusal(tmp_path: Path) -> None:
    connection = sqlite3.connect(":memory:")
    with pytest.raises(sqlite3.Error) as caught:
        connection.execute("SELEKT 1")
    connection.close()
    assert refusal(caught.value, tmp_path) is None
    assert refusal(ValueError(), tmp_path) is None


@pytest.mark.parametrize(
    ("code", "kind"),
    [(13, StoreFull), (5, StoreBusy), (261, StoreBusy), (10, StoreError), (2570, StoreError)],
)
def test_a_refusal_is_known_by_its_code_extended_ones_too(
    tmp_path: Path, code: int, kind: type[StoreError]
) -> None:
    error = sqlite3.OperationalError("said by SQLite")
    error.sqlite_errorcode = code
    assert type(refusal(error, tmp_path)) is kind


FULL = """
import resource, sys
from pathlib import Path
from callboard.errors import StoreError
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Message, Unit
store = SqliteStore(Path("board.db"))
box = store.declare([Declaration("jobs")])[0].id
told = 0
for limit in (256 * 1024, resource.RLIM_INFINITY):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        for _ in range(100):
            unit = Unit(tells=[Message(box, "json", b"x" * 10_000)])
            store.write([unit], epoch=None, seen=None)
            told += 1
    except StoreError as error:
        print("refused", unit.outcome, unit.tells[0].number, flush=True)
print("told", told, store.depths(0)[0][1].waiting, flush=True)
store.close()
"""


@pytest.mark.slow
def test_when_the_file_cannot_grow_nothing_is_half_written_and_work_goes_on(tmp_path: Path) -> None:
    with Child(FULL, cwd=tmp_path) as child:
        assert child.wait_for("refused") == "refused None 0"
        _, told, waiting = child.wait_for("told").split()
        assert child.end() == 0
    assert told == waiting
    assert int(told) > 100
    with sqlite3.connect(tmp_path / "board.db") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


def test_a_store_that_was_closed_opens_again(tmp_path: Path) -> None:
    from callboard.persistence.store import Declaration

    store = SqliteStore(tmp_path / "board.db")
    box = store.declare([Declaration("jobs")])[0].id
    store.close()
    tell(store, box, b"1")
    store.close()
    assert bodies(store, box) == [b"1"]
    store.close()
