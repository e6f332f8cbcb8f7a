"""persist-queue with its SQLite ack queue and one consuming thread."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import persistqueue

from .peer import Peer, pragmas_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class PersistQueue(Peer):
    """persist-queue: put, get and ack are a commit each."""

    name, package = "persist-queue", "persist-queue"

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Open the queue, for more than one thread."""
        super().__init__(folder, handler)
        self._queue: Any = persistqueue.SQLiteAckQueue(str(folder), multithreading=True)
        self._ended = False
        self._thread: threading.Thread | None = None

    def pragmas(self) -> tuple[str, int]:
        """See Peer."""
        return pragmas_of(self._queue._putter.execute)  # noqa: SLF001  (it shows it nowhere else)

    def post(self, number: int) -> None:
        """See Peer."""
        self._queue.put(number)

    def start(self) -> None:
        """See Peer."""
        self._thread = threading.Thread(target=self._consume)
        self._thread.start()

    def _consume(self) -> None:
        while not self._ended:
            try:
                number = self._queue.get(timeout=0.5)
            except persistqueue.exceptions.Empty:
                continue
            self.handler(number)
            self._queue.ack(number)

    def left(self) -> int:
        """See Peer."""
        return int(self._queue.active_size())

    def close(self) -> None:
        """See Peer."""
        self._ended = True
        if self._thread is not None:
            self._thread.join()
