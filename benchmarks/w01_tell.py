"""W1: one thread, one tell a call, each on disk when it returns."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, expect
from .ours import Small, Tally, open_board, small
from .peers import post

if TYPE_CHECKING:
    from pathlib import Path


def tells(folder: Path, size: int) -> dict[str, float]:
    """Tell from a client: nobody handles beside it, as nobody does beside the bare commits."""
    rt = open_board(folder)
    rt.mailbox("small", Tally(size))
    messages = small(size)
    rt.tell("small", Small(-1))  # opens the store
    began = perf_counter()
    for message in messages:
        rt.tell("small", message)
    took = perf_counter() - began
    expect("waiting", rt.mailboxes()[0].waiting, size + 1)
    rt.stop()
    return {"per s": size / took}


CASES = [
    Case(
        "W1", "one thread, one `tell` a call", 4000, 1000,
        {OURS: tells, BARE: bare.commits, **post("huey", "persist-queue", "litequeue",
                                                 "apscheduler", "dbos")},
        (
            Target("per s", 0.85, over=BARE),
            Target("per s", 1.0, over="huey"),
            Target("per s", 1.0, over="persist-queue"),
        ),
        pairs=7, slow={"apscheduler": 500, "dbos": 300},
    ),
]  # fmt: skip
