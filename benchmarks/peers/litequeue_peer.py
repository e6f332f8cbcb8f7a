"""litequeue and one consuming thread."""

from __future__ import annotations

import sqlite3
import threading
from time import sleep
from typing import TYPE_CHECKING

from litequeue import LiteQueue

from .peer import Peer, pragmas_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_NAP = 0.0005


class Lite(Peer):
    """litequeue: it has no way to wait for a message, so its consumer looks twice a millisecond."""

    name, package = "litequeue", "litequeue"

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Open the queue."""
        super().__init__(folder, handler)
        self._queue = LiteQueue(folder / "lite.db")
        self._lock = threading.Lock()  # its connection is shared by all threads
        self._ended = False
        self._thread: threading.Thread | None = None

    def pragmas(self) -> tuple[str, int]:
        """See Peer."""
        return pragmas_of(lambda sql: sqlite3.Cursor(self._queue.conn).execute(sql))

    def post(self, number: int) -> None:
        """See Peer."""
        with self._lock:
            self._queue.put(str(number))

    def start(self) -> None:
        """See Peer."""
        self._thread = threading.Thread(target=self._consume)
        self._thread.start()

    def _consume(self) -> None:
        while not self._ended:
            with self._lock:
                message = self._queue.pop()
            if message is None:
                sleep(_NAP)
                continue
            self.handler(int(message.data))
            with self._lock:
                self._queue.done(message.message_id)

    def left(self) -> int:
        """See Peer."""
        with self._lock:
            rows = self._queue.conn.execute("SELECT count(*) FROM Queue WHERE status != 2")
            return int(rows.fetchone()[0])

    def close(self) -> None:
        """See Peer."""
        self._ended = True
        if self._thread is not None:
            self._thread.join()
