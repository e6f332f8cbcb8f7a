"""W2: 64 threads, each telling one by one; and 64 tasks with tell_async."""

from __future__ import annotations

import asyncio
import threading
from time import perf_counter
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, expect
from .ours import Small, Tally, open_board
from .peers import post_from_threads

if TYPE_CHECKING:
    from pathlib import Path

FLEET = 64


def threads(folder: Path, size: int) -> dict[str, float]:
    """Tell from 64 threads of a client."""
    rt = open_board(folder)
    rt.mailbox("small", Tally(size))
    rt.tell("small", Small(-1))

    def tell(first: int) -> None:
        for number in range(first, size, FLEET):
            rt.tell("small", Small(number))

    fleet = [threading.Thread(target=tell, args=(first,)) for first in range(FLEET)]
    began = perf_counter()
    for thread in fleet:
        thread.start()
    for thread in fleet:
        thread.join()
    took = perf_counter() - began
    expect("waiting", rt.mailboxes()[0].waiting, size + 1)
    return {"per s": size / took}


def tasks(folder: Path, size: int) -> dict[str, float]:
    """Tell from 64 tasks of a client."""
    rt = open_board(folder)
    rt.mailbox("small", Tally(size))
    rt.tell("small", Small(-1))

    async def tell(first: int) -> None:
        for number in range(first, size, FLEET):
            await rt.tell_async("small", Small(number))

    async def all_of_them() -> float:
        began = perf_counter()
        await asyncio.gather(*(tell(first) for first in range(FLEET)))
        return perf_counter() - began

    took = asyncio.run(all_of_them())
    expect("waiting", rt.mailboxes()[0].waiting, size + 1)
    return {"per s": size / took}


CASES = [
    Case("W2-threads", "64 threads, each telling one by one", 20_000, 6000,
         {OURS: threads, BARE: bare.commits,
          **post_from_threads("huey", "persist-queue", "litequeue", "apscheduler", "dbos")},
         (Target("per s", 3.5, over=BARE),),
         slow={BARE: 4000, "huey": 3000, "persist-queue": 3000, "litequeue": 3000,
               "apscheduler": 500, "dbos": 300}),
    Case("W2-tasks", "64 tasks with `tell_async`", 40_000, 20_000,
         {OURS: tasks, BARE: bare.commits}, (Target("per s", 10, over=BARE),),
         pairs=15, slow={BARE: 4000}),
]  # fmt: skip
