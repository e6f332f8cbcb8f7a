"""A store to be examined, and short words for what its doctor has found."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callboard import ManualClock, Reject, Runtime, WorkerActor, message
from callboard.persistence._sqlite3 import sqlite3
from callboard.persistence.companion import Companion
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from pathlib import Path

    from callboard import Finding


@message("doctor.order", version=2)
@dataclass
class Order:
    item: str
    count: int = 1


@dataclass
class Stock:
    items: int = 0


class Shop(WorkerActor):
    state: Stock

    def on_receive(self, message: Order) -> None:
        self.state.items += message.count


def declared(path: Path) -> Runtime:
    """Return a runtime that declares what is in the store, at the store's own time."""
    rt = Runtime(path, clock=ManualClock())
    rt.mailbox("shop", Shop, keyed=True)
    rt.mailbox("mail", lambda _: None, capacity=100)

    @rt.mailbox("broken")
    def broken(text: str) -> None:
        raise Reject(text)

    rt.cron("0 9 * * *", name="daily", to="mail", tz="Europe/Paris")
    return rt


def make(path: Path) -> Path:
    """Make a store that nobody owns: two wait, one is for later, one is dead, one has state."""
    with Board(declared(path)) as board:
        board.rt.tell("broken", "no such thing")
        board.rt.tell("shop", Order("nut", 3), key="paris")
        board.settle()
    rt = declared(path)
    rt.tell("mail", "one")
    rt.tell("shop", Order("bolt"), key="paris")
    rt.tell("shop", Order("gear"), key="rome", after="1h")
    rt.stop()
    return path


def copy(made: Path, folder: Path) -> Path:
    """Return a copy, as a service would leave it: with its folder of locks."""
    path = folder / made.name
    shutil.copy(made, path)
    shutil.copytree(Companion(made).folder, Companion(path).folder)
    return path


def alter(path: Path, *statements: str) -> None:
    """Change a store by hand, as nobody should."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for each in statements:
            connection.execute(each)


def change(path: Path, table: str, what: str, where: str = "1") -> None:
    """Set columns of one of our tables by hand."""
    alter(path, f"UPDATE callboard_{table} SET {what} WHERE {where}")  # noqa: S608  (our own words)


def wrong(found: list[Finding]) -> list[Finding]:
    """Return what is more than a note; not the SQLite of this machine, whatever that is."""
    return [f for f in found if f.severity in ("error", "warning") and f.check != "sqlite"]


def only(found: list[Finding], check: str) -> Finding:
    """Return the one finding that is wrong, and of that check."""
    (one,) = wrong(found)
    assert one.check == check, one
    assert "\n" not in one.text + one.advice
    return one


def content(path: Path) -> list[Any]:
    """Return every row of every table, in order."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return bytes and time of change of each file; not of a log's index, which holds nothing."""
    return {
        str(each.relative_to(folder)): (each.read_bytes(), each.stat().st_mtime_ns)
        for each in sorted(folder.rglob("*"))
        if each.is_file() and not each.name.endswith("-shm")
    }
