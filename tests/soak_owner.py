"""The owner of the soak, in a process of its own: ``python -m tests.soak_owner FOLDER EVERY``.

It prints ``up``, a ``sample {…}`` every so many seconds, and, when its standard input says so,
stops the load, waits until nothing waits, and prints ``end {…}`` with what was told and handled.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from pathlib import Path

from callboard.clock import monotonic

from .soak_board import Board, Load
from .soak_meter import Meter, until_told

#: Seconds that what is left may take at the end.
PATIENCE = 60.0


class Listener:
    """Listens to the news until the runtime ends."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.heard = 0
        self.feed = board.rt.listen("news")
        self.thread = threading.Thread(target=self._run, name="listener")

    def _run(self) -> None:
        with self.feed as feed:
            for _ in feed:
                self.heard += 1


def main(folder: Path, every: float) -> None:
    """Own the store until told to stop."""
    database = sqlite3.connect(folder / "board.db")
    database.execute("CREATE TABLE orders (n INTEGER)")
    database.execute("INSERT INTO orders VALUES (0)")
    database.commit()
    database.close()
    board = Board(folder)
    stop, said = threading.Event(), until_told()
    load = Load(board, stop)
    with board.rt:
        listener = Listener(board)
        listener.thread.start()
        load.thread.start()
        say("up")
        meter = Meter(folder / "board.db", tell=board.tell, handle=board.handle, ask=board.ask)
        due = monotonic() + every
        while not said.wait(max(0.0, due - monotonic())):
            say("sample", meter.sample())
            due += every
        stop.set()
        load.thread.join()
        settled = settle(board)
        listener.feed.close()
        listener.thread.join()
    say("end", json.dumps(report(board, folder) | {"settled": settled, "heard": listener.heard}))


def settle(board: Board) -> bool:
    """Wait until nothing waits; False when that took too long."""
    until = monotonic() + PATIENCE
    while any(each.waiting or each.later for each in board.rt.mailboxes() if each.name != "second"):
        if monotonic() > until:
            return False
        threading.Event().wait(0.05)
    return True


def report(board: Board, folder: Path) -> dict[str, object]:
    """Return what was told and handled here, and what the store holds of it."""
    database = sqlite3.connect(folder / "board.db")
    orders = database.execute("SELECT n FROM orders").fetchone()[0]
    check = database.execute("PRAGMA integrity_check").fetchone()[0]
    database.close()
    return {
        "told": board.told,
        "handled": board.handled,
        "errors": board.errors[:20],
        "orders": orders,
        "check": check,
    }


def say(*words: str) -> None:
    """Print one line at once."""
    print(*words, flush=True)  # noqa: T201  (a program of its own)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
