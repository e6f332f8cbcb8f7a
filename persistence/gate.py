"""The write gate: a turnstile of two lock files that every callboard transaction passes.

SQLite's busy handler sleeps and never wins against a busy writer: beside an owner that commits back
to back a client got one commit in five seconds. With a turnstile (lock ``next``, lock ``gate``,
unlock ``next``, transact, unlock ``gate``) whoever waits holds ``next``, which the owner needs for
its next transaction, and so gets in between two groups.

Checkpoints happen inside the gate too, so no commit of ours ever meets a checkpoint of ours: before
SQLite 3.51.3 that could corrupt the file (sqlite.org/wal.html#walresetbug).

The kernel frees both locks when a process ends, however it ends. Waiting polls, because a blocking
``flock`` has no timeout and a stopped process (SIGSTOP) may hold the lock for ever.
"""

from __future__ import annotations

import fcntl
import os
import threading
from typing import TYPE_CHECKING, Self

from ..clock import monotonic, sleep
from ..errors import StoreBusy

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0
_FIRST_NAP = 0.00005
_LONGEST_NAP = 0.001


class Gate:
    """A lock over all threads of all processes that write to one store.

    Use as a context manager; not re-entrant.

    Args:
        directory: the store's companion folder; its lock files are made there, mode 0600.
        patience: seconds to wait before StoreBusy.

    """

    def __init__(self, directory: Path, patience: float = PATIENCE) -> None:
        """Open the two lock files; nothing is locked yet."""
        self._threads = threading.Lock()
        self._directory = directory
        self._patience = patience
        self._next = _open(directory / "next")
        self._gate = _open(directory / "gate")

    def __enter__(self) -> Self:
        """Pass the turnstile; StoreBusy after :attr:`patience` seconds."""
        if not self._threads.acquire(timeout=self._patience):
            raise StoreBusy(self._complaint("another thread of this process"))
        try:
            _lock(self._next, self._patience) or self._give_up("waiting in line")
            try:
                _lock(self._gate, self._patience) or self._give_up("writing")
            finally:
                fcntl.flock(self._next, fcntl.LOCK_UN)
        except BaseException:
            self._threads.release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Let the next one in."""
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._threads.release()

    def close(self) -> None:
        """Close the lock files."""
        os.close(self._next)
        os.close(self._gate)

    def _give_up(self, doing: str) -> None:
        raise StoreBusy(self._complaint(f"another process that is {doing}"))

    def _complaint(self, who: str) -> str:
        return (
            f"the store's write gate was held for {self._patience:g} s by {who} "
            f"({self._directory}): a process that is stopped (SIGSTOP, a debugger) keeps it; "
            "let it go on or end it"
        )


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


def _lock(fd: int, patience: float) -> bool:
    """Take one lock file, at most ``patience`` seconds."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pass
    else:
        return True
    until = monotonic() + patience
    nap = _FIRST_NAP
    while monotonic() < until:
        sleep(nap)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            nap = min(_LONGEST_NAP, nap * 1.5)
        else:
            return True
    return False
