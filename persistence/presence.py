"""Is the store that is open still the one that its path names?

A file that is deleted or replaced under an open connection takes every commit and keeps none: the
kernel writes on into what has no name any more. SQLite does not look, so we do: the owner with its
pulse, four times a second, a client before its commits, at most as often. It costs a few ``stat``.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import StoreGone

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

#: Seconds between two looks of a client.
EVERY = 0.25

_DATABASE = (
    "put the right file back (without the -wal of another one), then start again; what was "
    "committed in the last quarter of a second went with the old one"
)
_LOG = "start again, and never delete it: it holds commits that are not yet in the database"
_LOCKS = "start again, it is made anew; it may be deleted only while no process has the store open"


class Presence:
    """Which files were opened, by device and inode.

    Args:
        path: the database; its log and shared memory are watched too, where they are.
        locks: the lock files beside it.

    """

    def __init__(self, path: Path, locks: Iterable[Path]) -> None:
        """Note what is there now."""
        real = path.resolve()
        log = [real.with_name(real.name + end) for end in ("-wal", "-shm")]
        files = [(path, _DATABASE), *((each, _LOG) for each in log),
                 *((each, _LOCKS) for each in locks)]  # fmt: skip
        self._files = [(each, what, found) for each, what in files if (found := _identity(each))]
        self._looked = monotonic()
        self._database = path
        #: The database has a second path; who comes by that has lock files of its own.
        self.linked = False
        self._look_for_links()

    @property
    def due(self) -> bool:
        """The last look is longer ago than a client may go without one."""
        return monotonic() - self._looked > EVERY

    def look(self) -> StoreGone | None:
        """Return what is wrong; None when every file is where it was."""
        self._looked = monotonic()
        self._look_for_links()
        for path, what, identity in self._files:
            found = _identity(path)
            if found != identity:
                if found and what is _DATABASE:
                    self._set_logs_aside()
                return gone(path, "replaced" if found else "deleted", what)
        return None

    def _look_for_links(self) -> None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.linked = self._database.stat().st_nlink > 1

    def _set_logs_aside(self) -> None:
        """Rename the log of the file that was there: SQLite would play it into the new one."""
        for path, what, identity in self._files:
            if what is _LOG and _identity(path) == identity:
                with contextlib.suppress(OSError):  # read-only, say: the error says it all the same
                    path.rename(path.with_name(f"{path.name}.{identity[1]}"))


def gone(path: Path, how: str, what: str = _LOCKS) -> StoreGone:
    """Return the error for one file."""
    return StoreGone(f"{path} was {how} while in use, so nothing more is written: {what}")


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode; None when there is no such file."""
    try:
        status = os.stat(path)  # noqa: PTH116  (half the cost of Path.stat, four times a second)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_dev, status.st_ino
