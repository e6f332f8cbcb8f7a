"""W4: told and handled, from the first tell to the last acknowledgement on disk."""

from __future__ import annotations

from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, expect
from .ours import PATIENCE, Counter, Tally, acknowledged, open_board, small
from .peers import handle

if TYPE_CHECKING:
    from pathlib import Path

KEYS = 1000


def handled(folder: Path, size: int, workers: int = 1) -> dict[str, float]:
    """Tell in thousands while workers handle them."""
    rt, tally, messages = open_board(folder), Tally(size), small(1000)
    rt.mailbox("small", tally, workers=workers)
    with rt:
        began = perf_counter()
        for _ in range(0, size, 1000):
            rt.tell_many("small", messages)
        tally.done.wait(PATIENCE)
        took = acknowledged(rt, "small", began)
    tally.check()
    return {"per s": size / took}


def drained(folder: Path, size: int) -> dict[str, float]:
    """Handle what is there already: from the start of the runtime on."""
    rt, tally, messages = open_board(folder), Tally(size), small(size)
    rt.mailbox("small", tally)
    for start in range(0, size, 1000):
        rt.tell_many("small", messages[start : start + 1000])
    began = perf_counter()
    with rt:
        tally.done.wait(PATIENCE)
        took = acknowledged(rt, "small", began)
    tally.check()
    return {"per s": size / took}


def one_by_one(folder: Path, size: int) -> dict[str, float]:
    """Tell one by one while a worker handles them."""
    rt, tally, messages = open_board(folder), Tally(size), small(size)
    rt.mailbox("small", tally)
    with rt:
        began = perf_counter()
        for message in messages:
            rt.tell("small", message)
        tally.done.wait(PATIENCE)
        took = acknowledged(rt, "small", began)
    tally.check()
    return {"per s": size / took}


def keyed(folder: Path, size: int) -> dict[str, float]:
    """Tell in thousands to a thousand actors, each of which counts in its state."""
    rt, Counter.tally, messages = open_board(folder), Tally(size), small(size)
    ref = rt.mailbox("counter", Counter, keyed=lambda message: str(message.n % KEYS))
    with rt:
        began = perf_counter()
        for start in range(0, size, 1000):
            rt.tell_many(ref, messages[start : start + 1000])
        Counter.tally.done.wait(PATIENCE)
        took = acknowledged(rt, "counter", began)
        total = sum(rt.state("counter", key).handled for key in range(KEYS))
    expect("counted", total, size)
    return {"per s": size / took}


_PEERS = ("huey", "persist-queue", "litequeue", "apscheduler", "dbos")
_FEW = {"huey": 1500, "persist-queue": 1500, "litequeue": 1500, "apscheduler": 300, "dbos": 300}

CASES = [
    Case(
        "W4", "told in thousands, one worker, acknowledged", 100_000, 30_000,
        {OURS: handled, BARE: bare.life, **handle(*_PEERS)},
        (
            Target("per s", 100_000),
            Target("per s", 0.35, over=BARE),
            *(Target("per s", 50, over=peer) for peer in _PEERS),
        ),
        slow=_FEW,
    ),
    Case("W4-drain", "the same, told before the start", 100_000, None,
         {OURS: drained, BARE: bare.life}),
    Case("W4-4", "the same with 4 workers", 100_000, None,
         {OURS: partial(handled, workers=4), BARE: bare.life}),
    Case("W4-16", "the same with 16 workers", 100_000, None,
         {OURS: partial(handled, workers=16), BARE: bare.life}),
    Case("W4-keyed", "keyed over 1,000 keys, with state", 100_000, 30_000,
         {OURS: keyed, BARE: bare.life}, (Target("per s", 50_000),)),
    Case("W4-one", "told one by one, one worker, acknowledged", 4000, 1500,
         {OURS: one_by_one, BARE: bare.commits}, (Target("per s", 0.6, over=BARE),), pairs=7),
]  # fmt: skip
