"""A store of a small shop for the tests of the console, and a command line that is called."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from callboard import ManualClock, Reject, Runtime, WorkerActor
from callboard.repl import cli
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Said(NamedTuple):
    """What a command has said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """Return its records."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def line(self) -> Any:
        """Return its only record."""
        (found,) = self.lines
        return found


class Call:
    """Runs commands of the command line in this process.

    Args:
        store: named with -s; None: none is.
        capsys: takes what they say.

    """

    def __init__(self, store: Path | None, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = store
        self._capsys = capsys

    def __call__(self, *arguments: str, **of: Path | None) -> Said:
        """Run one; ``of`` is another store, or None."""
        store = of.get("of", self.store)
        code = cli.main([*([] if store is None else ["-s", str(store)]), *arguments])
        return Said(code, *self._capsys.readouterr())


@dataclass
class Order:
    item: str
    count: int = 1


@dataclass
class Stock:
    items: int = 0


class Shop(WorkerActor):
    state: Stock

    def on_receive(self, message: Order) -> int:
        self.state.items += message.count
        return self.state.items


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
