"""A small file system for tests, where the machine lets this user mount one."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount three megabytes of memory; skip where that is not allowed.

    It goes away at the end, however that comes, and whoever still has something open there: what
    is left would make pytest fail when it clears its folders, and hide which test it was.
    """
    if shutil.which("mount") is None:
        pytest.skip("no file system can be mounted here: there is no mount command")
    point = folder / "mnt"
    point.mkdir()
    if (said := mounting("-t", "tmpfs", "-o", "size=3m", "none", point)) is not None:
        pytest.skip(f"no file system can be mounted here: {said}")
    try:
        yield point
    finally:
        # Lazily: it leaves the tree at once, and the machine when its last file is closed.
        subprocess.run(["umount", "-l", str(point)], check=True)


def mounting(*arguments: object) -> str | None:
    """Call mount; returns what it complains about."""
    done = subprocess.run(
        ["mount", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return None if done.returncode == 0 else done.stderr.strip()
