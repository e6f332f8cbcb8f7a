"""W5: future calls: scheduled, due at one moment, and how late they are on an idle machine."""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime, timedelta
from time import perf_counter, time
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, WrongResultError, expect
from .harness import percentiles
from .ours import PATIENCE, Small, Tally, acknowledged, open_board, small
from .peers import timers

if TYPE_CHECKING:
    from pathlib import Path

_DAY = 86_400
_A_SECOND, _COUNT, _FEW = 20, 200, 60


def scheduled(folder: Path, size: int) -> dict[str, float]:
    """Schedule in transactions of a thousand, each with a due time of its own."""
    rt = open_board(folder)
    ref = rt.mailbox("small", Tally(size))
    messages, dice = small(size), random.Random(5)
    delays = [dice.uniform(3600, _DAY) for _ in messages]
    rt.tell(ref, Small(-1), after=_DAY)
    began = perf_counter()
    for start in range(0, size, 1000):
        with rt.transaction() as tx:
            for number in range(start, min(start + 1000, size)):
                tx.tell(ref, messages[number], after=delays[number])
    took = perf_counter() - began
    expect("later", rt.mailboxes()[0].later, size + 1)
    return {"per s": size / took}


def fired(folder: Path, size: int) -> dict[str, float]:
    """Have all come due at one moment; from then until the last is acknowledged."""
    rt, tally, messages = open_board(folder), Tally(size), small(size)
    rt.mailbox("small", tally)
    with rt:
        due = datetime.now(UTC) + timedelta(seconds=1.0 + size / 50_000)
        for start in range(0, size, 1000):
            rt.tell_many("small", messages[start : start + 1000], at=due)
        left = (due - datetime.now(UTC)).total_seconds()
        if left <= 0:
            raise WrongResultError("some were due before all were scheduled")
        threading.Event().wait(left)
        began = perf_counter()
        tally.done.wait(PATIENCE)
        took = acknowledged(rt, "small", began)
    tally.check()
    return {"per s": size / took}


def lateness(folder: Path, size: int) -> dict[str, float]:
    """Spread them, twenty a second, and do nothing else; how late does each begin?"""
    rt, done = open_board(folder), threading.Event()
    late: list[float] = []
    began = time() + 1.0
    dues = [began + number / _A_SECOND for number in range(size)]

    def note(message: Small) -> None:
        late.append(time() - dues[message.n])
        if len(late) == size:
            done.set()

    rt.mailbox("small", note)
    with rt:
        for number, due in enumerate(dues):
            rt.tell("small", Small(number), at=datetime.fromtimestamp(due, UTC))
        done.wait(size / _A_SECOND + 10)
    expect("fired", len(late), size)
    return {**percentiles(late), "earliest ms": min(late) * 1e3}


def one_by_one(folder: Path, size: int) -> dict[str, float]:
    """Do as the peers must: schedule one by one."""
    rt, tally = open_board(folder), Tally(size)
    rt.mailbox("small", tally)
    due = datetime.now(UTC) + timedelta(seconds=2.0 + size / 250)
    with rt:
        began = perf_counter()
        for message in small(size):
            rt.tell("small", message, at=due)
        posted = perf_counter() - began
        threading.Event().wait((due - datetime.now(UTC)).total_seconds())
        began = perf_counter()
        tally.done.wait(PATIENCE)
        took = acknowledged(rt, "small", began)
    tally.check()
    return {"schedule per s": size / posted, "fire per s": size / took}


CASES = [
    Case("W5-schedule", "100,000 future calls scheduled, random due times, in thousands",
         100_000, 30_000, {OURS: scheduled, BARE: bare.bulk}, (Target("per s", 100_000),)),
    Case("W5-fire", "the same due at one moment, until acknowledged", 100_000, 30_000,
         {OURS: fired, BARE: bare.life}, (Target("per s", 100_000),)),
    Case("W5-late", "lateness of 200 over 10 s, idle", _COUNT, _FEW, {OURS: lateness},
         (Target("p50 ms", 0.5, most=True), Target("p99 ms", 2.0, most=True),
          Target("earliest ms", 0.0)), pairs=3),
    Case("W5-peers", "one by one: scheduled, and due at one moment", 500, None,
         {OURS: one_by_one, **timers("huey", "apscheduler", "dbos")}, pairs=3,
         slow={"dbos": 200}),
]  # fmt: skip
