"""dbos on SQLite: workflows that are enqueued."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from time import sleep, time
from typing import TYPE_CHECKING, Any, TypeVar

from dbos import DBOS

from .peer import Timed

if TYPE_CHECKING:
    from pathlib import Path

_Flow = TypeVar("_Flow", bound=Callable[..., None])

#: Their decorator carries no types that ours could check.
_workflow: Callable[[_Flow], _Flow] = DBOS.workflow()
_running: list[Callable[[int], None]] = []


@_workflow
def flow(number: int) -> None:
    """Handle one: a workflow is found again by its name."""
    _running[-1](number)


@_workflow
def later(number: int, at: float) -> None:
    """Handle one at its instant, which is on disk."""
    DBOS.sleep(max(0.0, at - time()))
    _running[-1](number)


class Dbos(Timed):
    """dbos: status and result of each workflow are kept; it looks at its queue once a second."""

    name, package = "dbos", "dbos"
    remark = "it looks at the queue from the first post on"

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Launch it."""
        super().__init__(folder, handler)
        _running.append(handler)
        url = f"sqlite:///{folder / 'dbos.db'}"
        self._dbos: Any = DBOS(config={"name": "bench", "system_database_url": url})
        logging.getLogger("dbos").setLevel(logging.ERROR)
        DBOS.launch()
        self._queue = DBOS.register_queue("small")

    def pragmas(self) -> tuple[str, int]:
        """See Peer."""
        with self._dbos._sys_db.engine.connect() as db:  # noqa: SLF001  (it shows it nowhere else)
            journal = db.exec_driver_sql("PRAGMA journal_mode").scalar()
            return str(journal), int(db.exec_driver_sql("PRAGMA synchronous").scalar())

    def post(self, number: int) -> None:
        """See Peer."""
        self._queue.enqueue(flow, number)

    def post_at(self, number: int, at: float) -> None:
        """See Timed."""
        self._queue.enqueue(later, number, at)

    def start(self) -> None:
        """See Peer; it has looked at its queue since it was launched."""

    def left(self) -> int:
        """See Peer."""
        db = sqlite3.connect(self.folder / "dbos.db")
        count = "SELECT count(*) FROM workflow_status WHERE status != 'SUCCESS'"
        left = int(db.execute(count).fetchone()[0])
        db.close()
        return left

    def close(self) -> None:
        """See Peer."""
        while self.left():
            sleep(0.1)
        DBOS.destroy()
