"""The write gate: a turnstile of two lock files that every callboard transaction passes.

SQLite's busy handler sleeps and never wins against a busy writer: beside an owner that commits back
to back a client got one commit in five seconds. With a turnstile (lock ``next``, lock ``gate``,
unlock ``next``, transact, unlock ``gate``) whoever waits holds ``next``, which the owner needs for
its next transaction, and so gets in between two groups.

Checkpoints happen inside the gate too, so no commit of ours ever meets a checkpoint of ours: before
SQLite 3.51.3 that could corrupt the file (sqlite.org/wal.html#walresetbug).

The kernel frees both locks when a process ends, however it ends. Waiting polls, because a blocking
``flock`` has no timeout and a stopped process (SIGSTOP) may hold the lock for ever.

Passages are counted, in a word of the file ``gate`` that each process maps: so whoever remembers
what :meth:`Gate.others` said learns for a tenth of a microsecond that no other process has written
since.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import threading
from typing import TYPE_CHECKING, Self

from ..clock import monotonic, sleep
from ..errors import StoreBusy, StoreError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 5.0
#: What the gate's file holds: when the last pause ended (monotonic seconds), and `used`.
_PAUSE = struct.Struct("=d?")
#: Behind it, in a word of its own, how many passages there have been.
_COUNT, _SIZE = 2, 24
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
        # Passed before the lock proper: who is about to fork shuts it, and overtakes whoever comes.
        self._door = threading.Lock()
        self._threads = threading.Lock()
        self._directory = directory
        self._patience = patience
        self._closed = False
        #: Whether a foreign connection has used the last pause, as far as we have looked.
        self.used = False
        # The mapped file in words; None where the disk has had no room for it.
        self._words: memoryview[int] | None = None
        # The count as our last passage left it, and the last passage that was not ours.
        self._left, self._other = -1, 0
        self._disowned = False
        self._next = _open(directory / "next")
        try:
            self._gate = _open(directory / "gate")
        except BaseException:
            os.close(self._next)
            raise

    def __enter__(self) -> Self:
        """Pass the turnstile.

        Raises:
            StoreBusy: it took longer than our patience.
            StoreError: the gate was closed, or its passages cannot be counted.

        """
        until = monotonic() + self._patience
        with self._door:
            pass
        threads = self._threads
        if not threads.acquire(blocking=False) and not threads.acquire(timeout=self._patience):
            raise StoreBusy(self._complaint("another thread of this process"))
        try:
            if self._closed:
                msg = f"the store was closed meanwhile ({self._directory})"
                raise StoreError(msg)
            if not _try(self._next):
                self._wait(self._next, until, "waiting in line")
            try:
                if not _try(self._gate):
                    self._wait(self._gate, until, "writing")
            finally:
                fcntl.flock(self._next, fcntl.LOCK_UN)
            if self._words is None:
                self._map()
        except BaseException:
            if not self._closed:
                fcntl.flock(self._gate, fcntl.LOCK_UN)
            self._threads.release()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        """Count the passage, and let the next one in."""
        words = self._words
        if words is not None:
            count = words[_COUNT]
            if count != self._left:
                self._other = count
            if self._disowned:
                words[_COUNT] = count + 1
            else:  # others may read it now: what they compare it with goes first
                self._left = words[_COUNT] = count + 1
        self._disowned = False
        fcntl.flock(self._gate, fcntl.LOCK_UN)
        self._threads.release()

    def others(self) -> int | None:
        """Return which passage was the last that was not ours; None: that is not known.

        May be called from any thread, inside the gate and outside. A passage is counted after its
        transaction and before whoever made it goes on. So while this stays the same, nothing that
        another process has been told to be done was done in between. A process that is killed
        between the two has told nobody, and its passage is not counted.
        """
        words = self._words
        if words is None:
            return None
        count = words[_COUNT]
        return self._other if count <= self._left else count

    def disown(self) -> None:
        """Have :meth:`others` count this passage as another process's. Call it inside the gate."""
        self._disowned = True

    # --- a pause for others, inside the gate ---------------------------------------------------

    def paused(self, seconds: float) -> bool:
        """Say whether a process of ours has paused within so many seconds; reads ``used`` too."""
        noted = os.pread(self._gate, _PAUSE.size, 0)
        if len(noted) < _PAUSE.size:
            return False
        at: float
        at, self.used = _PAUSE.unpack(noted)
        # What was noted before the machine was started anew may lie ahead.
        return 0.0 <= monotonic() - at < seconds

    def note_pause(self, *, used: bool) -> None:
        """Note that a pause ends now, and whether a foreign connection has used it."""
        self.used = used
        with contextlib.suppress(OSError):  # on a full disk the next pause may come too soon
            os.pwrite(self._gate, _PAUSE.pack(monotonic(), used), 0)

    def close(self) -> None:
        """Close the lock files; whoever comes later is told. Again is nothing."""
        with self._threads:
            self._close()

    # --- around a fork -----------------------------------------------------------------------

    def hold(self) -> bool:
        """Keep this process's threads out; False when one did not come out within our patience."""
        self._door.acquire()
        if self._threads.acquire(timeout=self._patience):
            return True
        self._door.release()
        return False

    def let_go(self) -> None:
        """Let this process's threads in again."""
        self._threads.release()
        self._door.release()

    def forked(self) -> None:
        """Close the lock files that a forked child has inherited.

        A lock belongs to all copies of a descriptor: with one left here, the parent's death in the
        middle of a transaction would leave the store locked for as long as this child lives.
        """
        self._close()

    # --- inside ------------------------------------------------------------------------------

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._words = None  # unmapped when the last who reads it has done so
            os.close(self._next)
            os.close(self._gate)

    def _map(self) -> None:
        """Map the count, where the disk has room for it; the caller holds both locks.

        Who cannot map it does not count, and does not pass where others do: there it raises.
        """
        try:
            size = os.fstat(self._gate).st_size
            if size < _SIZE and os.pwrite(self._gate, bytes(_SIZE - size), size) < _SIZE - size:
                return
        except OSError:  # no room: nobody counts, and the next passage tries again
            return
        # A lock belongs to all copies of a descriptor, and a mapping keeps one: not of the lock's.
        path = self._directory / "gate"
        try:
            fd = _open(path)
            try:
                self._words = memoryview(mmap.mmap(fd, _SIZE)).cast("q")
            finally:
                os.close(fd)
        except OSError as error:
            msg = f"cannot map {path}: {error.strerror}; free some memory or descriptors"
            raise StoreError(msg) from error

    def _wait(self, fd: int, until: float, doing: str) -> None:
        """Take one lock file that somebody holds, until then."""
        nap = _FIRST_NAP
        while monotonic() < until:
            sleep(nap)
            nap = min(_LONGEST_NAP, nap * 1.5)
            if _try(fd):
                return
        raise StoreBusy(self._complaint(f"another process that is {doing}"))

    def _complaint(self, who: str) -> str:
        return (
            f"the store's write gate was held for {self._patience:g} s by {who} "
            f"({self._directory}): a process that is stopped (SIGSTOP, a debugger) keeps it; "
            "let it go on or end it"
        )


def _open(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)


_AT_ONCE = fcntl.LOCK_EX | fcntl.LOCK_NB


def _try(fd: int) -> bool:
    try:
        fcntl.flock(fd, _AT_ONCE)
    except BlockingIOError:
        return False
    return True
