"""W11: telling while four handlers compute in pure Python."""

from __future__ import annotations

import os
import signal
import threading
from time import perf_counter, sleep
from typing import TYPE_CHECKING

from .case import OURS, Case, Target, expect
from .harness import percentiles
from .ours import PATIENCE, Tally, open_board, small

if TYPE_CHECKING:
    from pathlib import Path

    from callboard import Runtime

_HANDLERS, _TELLS, _PAUSE = 4, 300, 0.003


def service(folder: Path, size: int) -> dict[str, float]:
    """Tell from a thread of a process that rt.run() owns."""
    rt, stop = open_board(folder), threading.Event()
    figures: dict[str, float] = {}
    problems: list[BaseException] = []

    def tell() -> None:
        try:
            figures.update(_tell(rt, size, stop))
        except BaseException as error:
            problems.append(error)
        finally:
            stop.set()
            os.kill(os.getpid(), signal.SIGTERM)

    _declare(rt, stop)
    teller = threading.Thread(target=tell)
    teller.start()
    try:
        rt.run()
    except SystemExit as end:
        expect("exit code", end.code or 0, 0)
    teller.join()
    if problems:
        raise problems[0]
    return figures


def embedded(folder: Path, size: int) -> dict[str, float]:
    """Tell in a process of a host's, whose settings the runtime leaves alone."""
    rt, stop = open_board(folder), threading.Event()
    _declare(rt, stop)
    with rt:
        return _tell(rt, size, stop)


def _declare(rt: Runtime, stop: threading.Event) -> None:
    def compute(message: int) -> None:
        _begun.release()
        while not stop.is_set():
            for _ in range(1000):
                message += 1

    rt.mailbox("compute", compute, workers=_HANDLERS)
    rt.mailbox("small", Tally(1))


_begun = threading.Semaphore(0)


def _tell(rt: Runtime, size: int, stop: threading.Event) -> dict[str, float]:
    for number in range(_HANDLERS):
        rt.tell("compute", number)
    for _ in range(_HANDLERS):
        if not _begun.acquire(timeout=PATIENCE):
            raise TimeoutError("no handler began")
    rt.pause("small")  # its messages stay where they are told: counted at the end
    sleep(1.5)
    took: list[float] = []
    for message in small(_TELLS):
        sleep(_PAUSE)
        began = perf_counter()
        rt.tell("small", message)
        took.append(perf_counter() - began)
    messages = small(1000)
    began = perf_counter()
    for _ in range(0, size, 1000):
        rt.tell_many("small", messages)
    rate = size / (perf_counter() - began)
    stop.set()
    waiting = next(row.waiting for row in rt.mailboxes() if row.name == "small")
    expect("told", waiting, size + _TELLS)
    return {**percentiles(took), "bulk per s": rate}


CASES = [
    Case("W11", "`tell` and `tell_many` beside four computing handlers, under rt.run()", 50_000,
         20_000, {OURS: service},
         (Target("p99 ms", 30, most=True), Target("bulk per s", 30_000)), pairs=3),
    Case("W11-host", "the same in a host's process (no settings of Python's are touched)", 50_000,
         None, {OURS: embedded}, pairs=1),
]  # fmt: skip
