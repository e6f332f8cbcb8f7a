"""Who owns a store: an OS lock that the kernel frees however its holder ends."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING

from ..clock import monotonic, sleep

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger("callboard")

#: Seconds between two tries of a process that stands by.
TRY_EVERY = 0.05
# Who looks holds the lock, shared, for an instant: that is no owner, so we try again.
_PATIENCE, _NAP = 1.0, 0.0005


class Ownership:
    """The owner's lock of one store, as one process sees it.

    Args:
        path: the lock file; made, mode 0600, if it is not there.

    """

    def __init__(self, path: Path) -> None:
        """Hold nothing."""
        self._path = path
        self._fd: int | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def held(self) -> bool:
        """This process owns the store."""
        return self._fd is not None

    @property
    def waiting(self) -> bool:
        """This process waits for the owner to end, or takes over just now."""
        thread = self._thread
        return thread is not None and thread.is_alive()

    def take(self) -> bool:
        """Take the lock if it is free."""
        until = monotonic() + _PATIENCE
        while True:
            fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                if self.owner() is not None or monotonic() > until:
                    return False
                sleep(_NAP)
                continue
            try:
                os.ftruncate(fd, 0)
                os.write(fd, str(os.getpid()).encode())
            except OSError:
                os.close(fd)
                raise
            self._fd = fd
            return True

    def owner(self) -> int | None:
        """Return the process id of the one that owns the store; None when nobody does."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.read(fd, 32)
            return int(text) if text.isdigit() else 0
        else:
            return None
        finally:
            os.close(fd)

    def intact(self) -> bool:
        """Say whether the lock that is held is still the one that others would try."""
        fd = self._fd
        if fd is None:
            return True
        try:
            return os.path.samestat(os.fstat(fd), self._path.stat())
        except OSError:
            return False

    def stand_by(self, taken: Callable[[], None]) -> None:
        """Call ``taken`` on a thread of its own as soon as the owner has ended and we own it."""
        self._stop.clear()
        self._thread = threading.Thread(
            target=self._wait, args=(taken,), name="callboard-standby", daemon=True
        )
        self._thread.start()

    def release(self) -> None:
        """Give the lock back, or stop waiting for it."""
        self._stop.set()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def forked(self) -> None:
        """Close a forked child's descriptor: it would keep the lock when the owner has ended."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = self._thread = None
        self._stop = threading.Event()

    def _wait(self, taken: Callable[[], None]) -> None:
        said = False
        while not self._stop.wait(TRY_EVERY):
            try:
                mine = self.take()
            except OSError as error:  # no descriptor left, no room, the folder is gone: go on
                if not said:
                    logger.warning("standing by, but %s cannot be tried: %s", self._path, error)
                said = True
                with contextlib.suppress(OSError):
                    self._path.parent.mkdir(mode=0o700, exist_ok=True)
                continue
            if mine:
                taken()
                return
