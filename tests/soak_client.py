"""A client of the soak: ``python -m tests.soak_client FOLDER EVERY [guest]``.

It tells, asks, publishes and listens until its standard input says so, and then prints ``end {…}``.
A guest tells only what nobody counts: it may be killed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from pathlib import Path

from callboard import Runtime
from callboard.clock import monotonic

from .soak_board import BEAT, KEYS
from .soak_meter import Latency, Meter, until_told
from .soak_owner import say


class Client:
    """Does what a web process does, a bit at each beat."""

    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        self.told: Counter[str] = Counter()
        self.errors: list[str] = []
        self.tell, self.ask = Latency(), Latency()
        self.heard = 0

    def listen(self) -> None:
        with self._rt.listen("news") as feed:
            for _ in feed:
                self.heard += 1

    def beat(self, n: int) -> None:
        """Send each kind of message in its turn."""
        rt = self._rt
        begun = monotonic()
        rt.tell("quick", begun)
        self.tell.note(monotonic() - begun)
        self.told["quick"] += 1
        match n % 5:
            case 0:
                rt.tell_many("bulk", range(20))
                self.told["bulk"] += 20
            case 1:
                rt.tell("later", n, after=0.2, id=f"client {n % 20}")
            case 2:
                begun = monotonic()
                rt.ask("carts", 1, key=f"key {n % KEYS}")
                self.ask.note(monotonic() - begun)
                self.told["carts"] += 1
            case 3:
                rt.publish("news", n)
                self.told["news"] += 2
            case _:
                rt.cancel("later", f"client {(n - 3) % 20}")


def main(folder: Path, every: float) -> None:
    """Be a client until told to stop."""
    rt = Runtime(folder / "board.db")
    client, said = Client(rt), until_told()
    threading.Thread(target=client.listen, daemon=True).start()
    meter = Meter(folder / "board.db", tell=client.tell, ask=client.ask)
    say("up")
    n, due, look = 0, monotonic(), monotonic() + every
    while not said.wait(max(0.0, due - monotonic())):
        try:
            client.beat(n)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
            client.errors.append(repr(error))
        n, due = n + 1, max(due + BEAT, monotonic())
        if monotonic() >= look:
            say("sample", meter.sample())
            look += every
    say(
        "end",
        json.dumps({"told": client.told, "errors": client.errors[:20], "heard": client.heard}),
    )
    rt.stop()


def visit(folder: Path) -> None:
    """Tell and ask as one who comes and goes, until killed or told to go."""
    rt = Runtime(folder / "board.db")
    said = until_told()
    with rt.listen("news"):
        say("up")
        n = 0
        while not said.wait(BEAT):
            rt.tell("guests", n)
            rt.ask("sum", n)
            n += 1
    rt.stop()


if __name__ == "__main__":
    if sys.argv[3:] == ["guest"]:
        visit(Path(sys.argv[1]))
    else:
        main(Path(sys.argv[1]), float(sys.argv[2]))
