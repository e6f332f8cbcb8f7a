"""W6: from tell to handler on an idle runtime, in the same process and from another one."""

from __future__ import annotations

import subprocess
import sys
import threading
from time import monotonic, sleep
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, expect
from .harness import ROOT, percentiles
from .ours import PATIENCE, Small, open_board
from .peers import reaction

if TYPE_CHECKING:
    from pathlib import Path


def nap(number: int) -> None:
    """Let the machine idle for 5 to 20 ms, so that caches and clocks are cold."""
    sleep(0.005 + number % 4 * 0.005)


def same_process(folder: Path, size: int) -> dict[str, float]:
    """Tell one, wait until it is handled, idle, and again."""
    rt, heard = open_board(folder), threading.Event()
    took: list[float] = []
    began = 0.0

    def note(message: Small) -> None:
        took.append(monotonic() - began)
        heard.set()

    rt.mailbox("small", note)
    with rt:
        for number in range(size):
            nap(number)
            heard.clear()
            began = monotonic()
            rt.tell("small", Small(number))
            heard.wait(PATIENCE)
    expect("handled", len(took), size)
    return percentiles(took)


def other_process(folder: Path, size: int) -> dict[str, float]:
    """Have a client in another process tell; both read the same monotonic clock."""
    rt, done = open_board(folder), threading.Event()
    took: list[float] = []

    def note(began: float) -> None:
        took.append(monotonic() - began)
        if len(took) == size:
            done.set()

    rt.mailbox("stamps", note)
    with rt:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.w06_reaction", str(folder / "board.db"), str(size)],
            cwd=ROOT, check=True, timeout=PATIENCE,
        )  # fmt: skip
        done.wait(PATIENCE)
    expect("handled", len(took), size)
    return percentiles(took)


def client(path: str, size: int) -> None:
    """Tell the time, now and then."""
    from callboard import Runtime

    rt = Runtime(path)
    for number in range(size):
        nap(number)
        rt.tell("stamps", monotonic())


CASES = [
    Case("W6", "tell to handler, idle, same process", 200, 60,
         {OURS: same_process, BARE: bare.hand_off,
          **reaction("huey", "persist-queue", "litequeue", "apscheduler", "dbos")},
         (Target("p50 ms", 1.6, most=True, over=BARE), Target("p99 ms", 3.0, most=True)),
         slow={"dbos": 10}),
    Case("W6-other", "the same, told from another process", 200, 60, {OURS: other_process},
         (Target("p99 ms", 4.0, most=True),)),
]  # fmt: skip

if __name__ == "__main__":
    client(sys.argv[1], int(sys.argv[2]))
