"""Checks of what a store lies on and is read with: SQLite, file system, space, modes, the log.

Each is given what it judges and returns what it finds. Only :func:`look` asks the system; it opens
no file of the database: closing a descriptor of one would drop this process's locks on it
(sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..persistence._sqlite3 import sqlite3
from ..persistence.foreign import mended
from ..persistence.sqlite_open import NETWORK, OLDEST_SQLITE, WAL_KEPT, file_system
from .records import Finding

if TYPE_CHECKING:
    from ..persistence.companion import Companion

_MIB = 1024 * 1024
#: Bytes below which commits may soon fail, and below which one should look.
LEAST, LITTLE = 32 * _MIB, 256 * _MIB
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Place:
    """Where a store lies.

    Attributes:
        path: the file.
        system: type of its file system; "" where the kernel does not say.
        free: bytes that this user may still write there.
        size: bytes of the file.
        log: bytes of its write-ahead log.
        modes: mode and owner of each file and folder of the store.
        writable: this user may write the file and its folder.

    """

    path: Path
    system: str
    free: int
    size: int
    log: int
    modes: dict[str, tuple[int, int]]
    writable: bool


def look(path: Path, companion: Companion) -> Place:
    """Look at a store that is there, without opening it."""
    real = path.resolve()
    beside = [real.with_name(real.name + end) for end in ("-wal", "-shm")]
    folder = companion.folder
    inside = sorted(folder.iterdir()) if folder.is_dir() else []
    modes, sizes = dict[str, tuple[int, int]](), dict[Path, int]()
    for each in [real, *beside, folder, *inside]:
        try:
            status = each.lstat()
        except FileNotFoundError:
            continue  # it comes and goes with the processes that have the store open
        modes[str(each.relative_to(real.parent))] = (stat.S_IMODE(status.st_mode), status.st_uid)
        sizes[each] = status.st_size
    return Place(
        path, file_system(real.parent), shutil.disk_usage(real.parent).free,
        sizes.get(real, 0), sizes.get(beside[0], 0), modes,
        os.access(real, os.R_OK | os.W_OK) and os.access(real.parent, os.W_OK),
    )  # fmt: skip


def check_sqlite(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> Finding:
    """Judge the SQLite that runs here, whatever this package was tested with."""
    name = "SQLite " + ".".join(map(str, version[:3]))
    if version < OLDEST_SQLITE:
        return Finding(
            "error", "sqlite", f"{name} is too old: callboard needs 3.38",
            "pip install 'callboard[sqlite]' brings a newer one",
        )  # fmt: skip
    if not mended(version):
        return Finding(
            "warning", "sqlite",
            f"{name} can corrupt a database when a commit meets a checkpoint of another connection "
            "(sqlite.org/wal.html#walresetbug); callboard's own never meet, yours may",
            "if other programs write to this file, use SQLite 3.51.3 (or 3.50.7, 3.44.6) in all",
        )  # fmt: skip
    return Finding("ok", "sqlite", f"{name}, free of the WAL-reset bug")


def check_file_system(place: Place, *, network_ok: bool) -> Finding:
    """Judge whether locks can be trusted where the store lies."""
    if place.system in NETWORK:
        return Finding(
            "warning" if network_ok else "error", "file system",
            f"{place.path} lies on a network file system ({place.system}), where SQLite's locks "
            "cannot be trusted" + (": network_ok=True insists on it" if network_ok else ""),
            "use a local disk",
        )  # fmt: skip
    if not place.system:
        return Finding("note", "file system", "the kernel does not say which file system it is",
                       "make sure that it is a local disk")  # fmt: skip
    return Finding("ok", "file system", f"{place.system}, local")


def check_space(place: Place) -> Finding:
    """Judge whether commits will find room."""
    free = f"{_size(place.free)} are free, the store has {_size(place.size + place.log)}"
    if place.free < LEAST:
        return Finding("error", "space", f"{free}: commits will be refused",
                       "free some disk space")  # fmt: skip
    if place.free < max(LITTLE, place.size):
        return Finding("warning", "space", f"{free}: a backup or a VACUUM needs as much again",
                       "free some disk space")  # fmt: skip
    return Finding("ok", "space", free)


def check_modes(place: Place, user: int) -> list[Finding]:
    """Judge who may read and write the files of the store."""
    found = []
    if not place.writable:
        found.append(Finding(
            "error", "modes", f"{place.path} is read-only for this user",
            "make the file and its folder writable, or look as the service's own user",
        ))  # fmt: skip
    others = [name for name, (_, owner) in place.modes.items() if owner != user]
    if others:
        found.append(Finding(
            "warning", "modes", f"not of this user: {_names(others)}",
            "run every process of a store as one user: only its owner's user gets into the socket",
            count=len(others),
        ))  # fmt: skip
    wide = [f"{name} ({mode:04o})" for name, (mode, _) in place.modes.items() if mode & 0o077]
    if wide:
        found.append(Finding(
            "warning", "modes", f"open to other users: {_names(wide)}",
            "chmod go-rwx, unless that is meant: who can write them can stop the service, or lie",
            count=len(wide),
        ))  # fmt: skip
    return found or [Finding("ok", "modes", f"{len(place.modes)} files, for this user alone")]


def check_log(place: Place) -> Finding:
    """Judge the size of the write-ahead log."""
    if place.log > WAL_KEPT:
        return Finding(
            "warning", "log",
            f"the write-ahead log has {_size(place.log)}: a connection reads for long, or the last "
            "owner was killed in the middle of much",
            "look for a backup or a forgotten shell; it is cut when its last reader has ended",
        )  # fmt: skip
    return Finding("ok", "log", f"the write-ahead log has {_size(place.log)}")


def _names(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _size(count: int) -> str:
    return f"{count / _MIB:,.1f} MiB"
