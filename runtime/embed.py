"""Web servers start several processes, and only those that serve may run a runtime.

A reloader's parent, a preloading master, ``migrate`` and ``shell`` import the application too. So
importing starts nothing, and an :class:`Embedding` starts the runtime

- at once where the application is loaded by a process that serves: a gunicorn worker, or a
  development server (its reloader's child, where it has one: the host's helper knows that);
- else with the first request, so also in a worker forked from a master that had preloaded.

ASGI servers need none of this: they have a lifespan.

However many of them start, one owns the store and the others stand by.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

    from .host import Host

# What loads the application in a gunicorn worker; a preloading master loads it without them.
_LOADERS = "gunicorn.workers."


class Embedding:
    """Starts a runtime in each process that serves, and stops it when that process ends.

    Args:
        host: of the runtime.
        timeout: seconds that running handlers may take at the end.

    """

    def __init__(self, host: Host, timeout: float) -> None:
        """Start nothing."""
        self._host = host
        self._timeout = timeout
        self._started: dict[int, object] = {}

    def start(self) -> None:
        """Own the store or stand by; again in the same process is nothing.

        Raises:
            StoreError: the store cannot be opened; the next call tries again.

        """
        pid, mine = os.getpid(), object()
        # No lock: a forked child might find it taken by a thread that it does not have.
        if self._started.setdefault(pid, mine) is not mine:
            return
        try:
            self._host.start(standby=True)
        except BaseException:
            del self._started[pid]
            raise
        threading.Thread(target=self._stop_at_exit, name="callboard-exit").start()

    @property
    def started(self) -> bool:
        """It was started in this process, and not in the one that it was forked from."""
        return os.getpid() in self._started

    def _stop_at_exit(self) -> None:
        """Stop once the main thread has ended: the interpreter waits for this thread.

        An ``atexit`` function comes too late: from Python 3.12 on no thread can be started then.
        """
        threading.main_thread().join()
        self._host.stop(self._timeout)


def loaded_by_server() -> bool:
    """Whether the application is being loaded by a process that will serve it."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001  (no server tells it otherwise)
    while frame is not None:
        if str(frame.f_globals.get("__name__")).startswith(_LOADERS):
            return True
        frame = frame.f_back
    return False
