"""APScheduler 3 with its SQLAlchemy job store on SQLite."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler

from .peer import Timed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_running: list[Callable[[int], None]] = []


def job(number: int) -> None:
    """Handle one: a stored job is a function that can be imported."""
    _running[-1](number)


class APScheduler(Timed):
    """APScheduler: a message is a job that is due now."""

    name, package = "apscheduler", "apscheduler"
    remark = (
        "not its defaults: `misfire_grace_time=None`, because it forgets by default what is a "
        "second late, and here nearly all is"
    )

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Open the store, paused."""
        super().__init__(folder, handler)
        _running.append(handler)
        self._store: Any = SQLAlchemyJobStore(url=f"sqlite:///{folder / 'aps.db'}")
        self._scheduler = BackgroundScheduler(
            jobstores={"default": self._store}, job_defaults={"misfire_grace_time": None}
        )
        self._scheduler.start(paused=True)

    def pragmas(self) -> tuple[str, int]:
        """See Peer."""
        with self._store.engine.connect() as db:
            journal = db.exec_driver_sql("PRAGMA journal_mode").scalar()
            return str(journal), int(db.exec_driver_sql("PRAGMA synchronous").scalar())

    def post(self, number: int) -> None:
        """See Peer."""
        self._scheduler.add_job(job, args=(number,))

    def post_at(self, number: int, at: float) -> None:
        """See Timed."""
        self._scheduler.add_job(
            job, "date", args=(number,), run_date=datetime.fromtimestamp(at, UTC)
        )

    def start(self) -> None:
        """See Peer."""
        self._scheduler.resume()

    def left(self) -> int:
        """See Peer."""
        db = sqlite3.connect(self.folder / "aps.db")
        left = int(db.execute("SELECT count(*) FROM apscheduler_jobs").fetchone()[0])
        db.close()
        return left

    def close(self) -> None:
        """See Peer."""
        self._scheduler.shutdown()
