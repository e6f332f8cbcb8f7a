"""A store copied while it is used, and a store's file made small."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..errors import StoreError
from ._sqlite3 import sqlite3
from .sqlite_open import connect, fail, of_os

if TYPE_CHECKING:
    from pathlib import Path


def back_up(source: Path, target: Path) -> int:
    """Copy a store as of one moment, beside whoever writes; returns the copy's bytes.

    The copy appears under its name when it is whole, checked and on disk, with mode 0600.

    Raises:
        StoreError: there is a file of that name, no room for it, or the copy is damaged.

    """
    if target.exists():
        msg = f"{target} is there already: give the copy another name, or move that file away"
        raise StoreError(msg)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        _copy(source, part)
        _sync(part)
        os.link(part, target)  # unlike a rename it replaces nothing
        _sync(target.parent)
        return target.stat().st_size
    except FileExistsError as error:
        msg = f"{target} is there already: give the copy another name, or move that file away"
        raise StoreError(msg) from error
    except OSError as error:
        raise of_os(error, target) from error
    finally:
        for each in (part, part.with_name(f"{part.name}-wal"), part.with_name(f"{part.name}-shm")):
            with contextlib.suppress(FileNotFoundError):
                each.unlink()


def _copy(source: Path, target: Path) -> None:
    try:
        reader = connect(source, durability="full", readonly=True)
        try:
            writer = sqlite3.connect(target, isolation_level=None)
            try:
                reader.backup(writer)  # all pages in one step: one snapshot, begun once
                found = writer.execute("PRAGMA quick_check").fetchone()[0]
                writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            finally:
                writer.close()
        finally:
            reader.close()
    except sqlite3.Error as error:
        fail(error, target)
    if found != "ok":
        msg = f"the copy is damaged, so it is not kept: {found}; check {source} with doctor"
        raise StoreError(msg)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
