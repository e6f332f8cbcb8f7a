"""W7: from the start of a process to its first message handled, and the memory it takes."""

from __future__ import annotations

import subprocess
import sys
from statistics import median
from time import perf_counter, sleep, time
from typing import TYPE_CHECKING

from callboard import Runtime

from .case import OURS, Case, Target, WrongResultError
from .memory import megabytes
from .ours import Small, fill

if TYPE_CHECKING:
    from pathlib import Path

_TIMES, _SETTLED = 9, 0.5
_DAY = 86_400_000_000
#: The handler stays in its first message, so that the backlog stays what it is.
_SERVICE = """
import os, sys
from dataclasses import dataclass
from callboard import Runtime
@dataclass
class Small:
    n: int
rt = Runtime(sys.argv[1])
@rt.mailbox("small")
def handle(message: Small) -> None:
    os.write(1, b"!")
    sys.stdin.read()
if len(sys.argv) > 2:
    rt.tell(handle, Small(1))
rt.run()
"""


def starts(folder: Path, size: int) -> dict[str, float]:
    """Start on a fresh store, on a full one, and a Python that does nothing, nine times in turn."""
    full = folder / "full.db"
    with Runtime(full) as rt:
        rt.mailbox("small", _never)
        rt.tell("small", Small(0), after="365d")
    fill(full, "small", size)
    _start([str(folder / "first.db"), "tell"])  # the first may have to compile the package
    now = int(time() * 1e6)
    fill(full, "small", size, (now + _DAY, now + 365 * _DAY))
    took: dict[str, list[float]] = {"nothing": [], "fresh": [], "full": []}
    memory: dict[str, list[float]] = {"fresh": [], "full": []}
    for number in range(_TIMES):
        began = perf_counter()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        took["nothing"].append(perf_counter() - began)
        for name, arguments in (
            ("fresh", [folder / f"fresh{number}.db", "tell"]), ("full", [full]),
        ):  # fmt: skip
            seconds, megabyte = _start([str(each) for each in arguments])
            took[name].append(seconds)
            memory[name].append(megabyte)
    nothing = median(took["nothing"])
    return {
        "python ms": nothing * 1e3,
        "fresh ms": median(took["fresh"]) * 1e3,
        "full ms": median(took["full"]) * 1e3,
        "fresh / python": median(
            a / b for a, b in zip(took["fresh"], took["nothing"], strict=True)
        ),
        "full / python": median(a / b for a, b in zip(took["full"], took["nothing"], strict=True)),
        "fresh MB": median(memory["fresh"]),
        "full MB": median(memory["full"]),
        "apart MB": abs(median(memory["full"]) - median(memory["fresh"])),
    }


def _start(arguments: list[str]) -> tuple[float, float]:
    """Return the seconds to the first message, and the memory a moment later."""
    began = perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVICE, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        if process.stdout.read(1) != b"!":
            raise WrongResultError("no message was handled")
        took = perf_counter() - began
        sleep(_SETTLED)
        return took, megabytes(process.pid)
    finally:
        process.kill()
        process.communicate()


def _never(message: Small) -> None:
    """Handle nothing: the store is only being filled."""


CASES = [
    Case("W7", "process start to first message: fresh store; 10^6 messages and 10^6 timers",
         1_000_000, 100_000, {OURS: starts},
         (Target("fresh / python", 5, most=True), Target("full / python", 8, most=True),
          Target("apart MB", 30, most=True), Target("full MB", 60, most=True)), pairs=1),
]  # fmt: skip
