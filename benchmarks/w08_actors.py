"""W8: actors: pykka's own API, asks, activations, and memory."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

import pykka

from callboard.actors.cell import Cell
from callboard.actors.driver import ThreadDriver
from callboard.clock import SystemClock

from .case import OURS, Case, Target, expect
from .memory import megabytes
from .ours import PATIENCE, Counter, Tally, open_board, small

if TYPE_CHECKING:
    from pathlib import Path

PYKKA = "pykka"


class Ours(Cell):
    """Counts, as an actor of callboard's."""

    #: Run on a thread of the pool, as pykka's runs on its own: not by who tells.
    system = False
    seen = 0

    def on_receive(self, message: Any) -> int:
        """Count one."""
        self.seen += 1
        return self.seen


class Theirs(pykka.ThreadingActor):
    """Counts, as an actor of pykka's."""

    seen = 0

    def on_receive(self, message: Any) -> int:
        """Count one."""
        self.seen += 1
        return self.seen


def _tells(ref: pykka.ActorRef[Any], size: int) -> dict[str, float]:
    tell = ref.tell
    began = perf_counter()
    for number in range(size):
        tell(number)
    seen = ref.ask(None, timeout=PATIENCE)
    took = perf_counter() - began
    expect("seen", seen, size + 1)
    return {"per s": size / took}


def tells(folder: Path, size: int) -> dict[str, float]:
    """Tell an actor of ours through pykka's API."""
    driver = ThreadDriver(SystemClock(), 4)
    driver.start()
    figures = _tells(Ours.start(driver, "counter"), size)
    driver.stop(PATIENCE)
    return figures


def pykka_tells(folder: Path, size: int) -> dict[str, float]:
    """Tell an actor of pykka's."""
    ref = Theirs.start()
    figures = _tells(ref, size)
    ref.stop()
    return figures


def asks(folder: Path, size: int) -> dict[str, float]:
    """Ask a handler that changes nothing."""
    rt = open_board(folder)
    ref = rt.mailbox("echo", lambda message: message)
    took: list[float] = []
    with rt:
        for number in range(size):
            began = perf_counter()
            got = rt.ask(ref, number)
            took.append(perf_counter() - began)
            expect("answer", got, number)
    return {"per s": 1 / median(took), "p50 us": median(took) * 1e6}


def pykka_asks(folder: Path, size: int) -> dict[str, float]:
    """Ask an actor of pykka's."""
    ref = Theirs.start()
    took: list[float] = []
    for number in range(size):
        began = perf_counter()
        got = ref.ask(number)
        took.append(perf_counter() - began)
        expect("answer", got, number + 1)
    ref.stop()
    return {"per s": 1 / median(took), "p50 us": median(took) * 1e6}


def activations(folder: Path, size: int) -> dict[str, float]:
    """Touch so many keys once: the first time, and again by a runtime that has none in memory."""
    figures: dict[str, float] = {}
    for name in ("first per s", "again per s"):
        rt, Counter.tally, messages = open_board(folder), Tally(size), small(size)
        ref = rt.mailbox("counter", Counter, keyed=lambda message: str(message.n))
        with rt:
            before = megabytes()
            began = perf_counter()
            for start in range(0, size, 1000):
                rt.tell_many(ref, messages[start : start + 1000])
            Counter.tally.done.wait(PATIENCE)
            figures[name] = size / (perf_counter() - began)
            figures.setdefault("MB", megabytes() - before)
        Counter.tally.check()
        expect("state", rt.state("counter", size - 1).handled, len(figures) - 1)
    return figures


CASES = [
    Case("W8-tell", "`ref.tell` through pykka's API", 200_000, 50_000,
         {OURS: tells, PYKKA: pykka_tells}, (Target("per s", 4, over=PYKKA),)),
    Case("W8-ask", "ask round trip of a handler that changes nothing", 5000, 2000,
         {OURS: asks, PYKKA: pykka_asks}, (Target("per s", 0.9, over=PYKKA),)),
    Case("W8-keys", "100,000 keyed actors touched once, and again after they were put away",
         100_000, 20_000, {OURS: activations},
         (Target("first per s", 30_000), Target("again per s", 30_000),
          Target("MB", 100, most=True)), pairs=3),
]  # fmt: skip
