"""A store of a small shop for the tests of the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from callboard import ManualClock, Reject, Runtime, WorkerActor
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from pathlib import Path


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


def declare(rt: Runtime) -> None:
    rt.mailbox("mail", lambda _: None, topics=("news",))
    rt.mailbox("shop", Shop, keyed=True)
    rt.cron("0 9 * * *", name="report", to="mail", tz="Europe/Paris")

    @rt.mailbox("broken")
    def broken(text: str) -> None:
        raise Reject(text)


def make(path: Path) -> Path:
    """Make a store that nobody owns: two waiting, one for later, one dead, one actor's state."""
    board = Board(Runtime(path, clock=ManualClock()))
    declare(board.rt)
    board.start()
    board.rt.tell("broken", "no such thing")
    board.rt.tell("shop", Order("nut", 3), key="paris")
    board.settle()
    board.stop()
    rt = Runtime(path)
    rt.tell_many("mail", ["one", "two"])
    rt.tell("mail", "later", after="1h", id="reminder")
    rt.stop()
    return path
