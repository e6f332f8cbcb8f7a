"""Open a SQLite file, or say in one line why not and what to do."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path
from typing import NoReturn

from ..errors import ConfigError, SchemaTooNew, StoreBusy, StoreError, StoreFull
from ._sqlite3 import sqlite3
from .gate import PATIENCE
from .store import SCHEMA

#: Where the kernel lists what is mounted; blanks in it are written as \040.
MOUNTS = Path("/proc/self/mounts")
_OCTAL = re.compile(r"\\([0-7]{3})")
#: JSON operators and RETURNING: what our statements need.
OLDEST_SQLITE = (3, 38, 0)
#: Bytes that the WAL keeps on disk when it starts anew. A long read of somebody's (a backup, a
#: forgotten shell) lets it grow without bound; without a limit it would stay as large for ever.
WAL_KEPT = 64 * 1024 * 1024
#: File systems over a network, where locks cannot be trusted.
NETWORK = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "virtiofs", "afs", "ceph",
            "fuse.glusterfs", "lustre"}  # fmt: skip

# What the store as a whole refuses, whatever the statement: nobody's turn is to blame for it.
_FULL, _BUSY = {13}, {5, 6, 15}
_SAID = {
    8: "{path} is read-only for this user: make it and its folder writable, or give another store",
    26: "{path} is no SQLite database: give another path, or move that file away",
}
_REFUSALS = _FULL | _BUSY | set(_SAID) | {3, 7, 9, 10, 11, 14}


def refusal(error: BaseException, path: Path) -> StoreError | None:
    """Return what a driver's error means for the store as a whole; None: the statement's fault."""
    if not isinstance(error, sqlite3.Error):
        return None
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code not in _REFUSALS:
        return None
    if code in _FULL:
        return StoreFull(
            errno.ENOSPC, f"no room for {path}: free some disk space; nothing is lost, work goes on"
        )
    if code in _BUSY:
        return StoreBusy(
            f"{path}: another connection holds the write lock; if it is this request's own, pass "
            "connection="
        )
    if code in _SAID:
        return StoreError(_SAID[code].format(path=path))
    return StoreError(f"{path}: {error}")


def is_full(error: BaseException) -> bool:
    """Say whether a driver's error is that of a full disk."""
    return ((getattr(error, "sqlite_errorcode", None) or 0) & 0xFF) in _FULL


def connect(path: Path, *, durability: str, readonly: bool = False) -> sqlite3.Connection:
    """Open one connection with our settings; nothing is created."""
    try:
        connection = sqlite3.connect(
            f"file:{quoted(path)}?mode=rw",
            uri=True,
            timeout=PATIENCE,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
    except sqlite3.Error as error:
        raise StoreError(f"cannot open {path}: {error}") from error
    try:
        synchronous = "FULL" if durability == "full" else "NORMAL"
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA wal_autocheckpoint = 1000")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
        # Readers count and page: a large cache would only grow with the backlog.
        connection.execute(f"PRAGMA cache_size = {-2000 if readonly else -8000}")
        if readonly:
            connection.execute("PRAGMA query_only = ON")
    except sqlite3.Error as error:
        connection.close()
        fail(error, path)
    return connection


def prepare_file(path: Path, *, network_ok: bool) -> None:
    """Check that the path can hold a store; make an empty file, mode 0600, where there is none.

    Raises:
        ConfigError: the platform or the SQLite library is too old.
        StoreError: a directory, no database, read-only, no such folder, a network file system.

    """
    if os.name != "posix":
        msg = "callboard needs POSIX file locks; on Windows run it inside WSL"
        raise ConfigError(msg)
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        msg = (
            f"SQLite {sqlite3.sqlite_version} is too old, callboard needs 3.38: "
            "pip install 'callboard[sqlite]' brings a newer one"
        )
        raise ConfigError(msg)
    folder = path.parent
    if not folder.is_dir():
        msg = f"{folder} is no folder: make it, or give another store than {path}"
        raise StoreError(msg)
    if not network_ok:
        _refuse_network(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        _make(path)
        return
    if stat.S_ISDIR(mode):
        msg = f"{path} is a directory: give a file in it, such as {path / 'callboard.db'}"
        raise StoreError(msg)
    if not stat.S_ISREG(mode):
        msg = f"{path} is no regular file: give the path of a database"
        raise StoreError(msg)
    _check_writable(path)


def fail(error: BaseException, path: Path, *, unclear: bool = False) -> NoReturn:
    """Raise the store's error for a driver's."""
    refused = refusal(error, path) or StoreError(f"{path}: {error}")
    refused.unclear = unclear
    raise refused from error


def check_owner(found: int, path: Path) -> None:
    """Refuse to own a store whose schema is newer: what it promises, this code does not keep."""
    if found > SCHEMA:
        msg = (
            f"{path} has schema {found}, this callboard knows {SCHEMA}: it may send as a client, "
            "but a newer one has to own the store; upgrade it"
        )
        raise SchemaTooNew(msg)


def check_schema(found: int, min_client: int, path: Path) -> None:
    """Refuse a store that this code is too old for."""
    if min_client > SCHEMA:
        msg = (
            f"{path} was written by a newer callboard (schema {found}, this one knows {SCHEMA}): "
            "upgrade this process"
        )
        raise SchemaTooNew(msg)


def _make(path: Path) -> None:
    # Exclusively: closing a descriptor of a file that this process has open already would drop
    # SQLite's locks on it (howtocorrupt.html, 2.2).
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return  # another process or thread was quicker
    except OSError as error:
        raise of_os(error, path) from error


def _check_writable(path: Path) -> None:
    """Ask without opening it: the host may hold connections to it, and with them POSIX locks."""
    if not (os.access(path, os.R_OK | os.W_OK) and os.access(path.resolve().parent, os.W_OK)):
        raise StoreError(_SAID[8].format(path=path))


def of_os(error: OSError, path: Path) -> StoreError:
    """Return what the system's refusal to make or open a file of the store's means."""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return StoreError(_SAID[8].format(path=path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(error.errno, f"no room to make {path}: free some disk space")
    return StoreError(f"cannot open {path}: {error.strerror}")


def _refuse_network(path: Path) -> None:
    kind = file_system(path.resolve().parent)
    if kind in NETWORK:
        msg = (
            f"{path} lies on a network file system ({kind}), where SQLite's locks cannot be "
            "trusted: use a local disk, or insist with network_ok=True"
        )
        raise StoreError(msg)


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds a folder; "" where the kernel does not say."""
    try:
        mounts = MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return ""
    real = str(folder.resolve())
    best, kind = "", ""
    for line in mounts:
        _, where, what, *_ = line.split(" ")
        point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), where)
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, what
    return kind


def quoted(path: Path) -> str:
    """Return a path as it stands in a ``file:`` address."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
