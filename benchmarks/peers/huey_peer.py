"""huey with its SqliteHuey and one worker thread."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from huey import SqliteHuey

from .peer import Timed, pragmas_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Huey(Timed):
    """huey: a task is taken off the file before it runs, so a crash loses it."""

    name, package = "huey", "huey"
    remark = "the row is deleted before the task runs: at most once"

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Declare the task."""
        super().__init__(folder, handler)
        self._huey = SqliteHuey(filename=str(folder / "huey.db"))

        def handle(number: int) -> None:
            handler(number)

        self._task = self._huey.task()(handle)
        self._consumer: Any = None

    def pragmas(self) -> tuple[str, int]:
        """See Peer."""
        return pragmas_of(self._huey.storage.conn.execute)

    def post(self, number: int) -> None:
        """See Peer."""
        self._task(number)

    def post_at(self, number: int, at: float) -> None:
        """See Timed."""
        self._task.schedule(args=(number,), eta=datetime.fromtimestamp(at, UTC))

    def start(self) -> None:
        """See Peer."""
        self._consumer = self._huey.create_consumer(workers=1)
        self._consumer.start()

    def left(self) -> int:
        """See Peer."""
        db = sqlite3.connect(self.folder / "huey.db")
        count = "SELECT (SELECT count(*) FROM task) + (SELECT count(*) FROM schedule)"
        left = int(db.execute(count).fetchone()[0])
        db.close()
        return left

    def close(self) -> None:
        """See Peer."""
        if self._consumer is not None:
            self._consumer.stop(graceful=True)
