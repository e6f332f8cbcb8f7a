"""W3: tell_many, a thousand at a time."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from . import bare
from .case import BARE, OURS, Case, Target, expect
from .ours import Tally, open_board, small

if TYPE_CHECKING:
    from pathlib import Path


def bulk(folder: Path, size: int) -> dict[str, float]:
    """Tell thousands from a client."""
    rt = open_board(folder)
    rt.mailbox("small", Tally(size))
    messages = small(size)
    rt.tell("small", messages[0])
    began = perf_counter()
    for start in range(0, size, 1000):
        rt.tell_many("small", messages[start : start + 1000])
    took = perf_counter() - began
    expect("waiting", rt.mailboxes()[0].waiting, size + 1)
    rt.stop()
    return {"per s": size / took}


CASES = [
    Case(
        "W3", "`tell_many` in thousands", 200_000, 50_000,
        {OURS: bulk, BARE: bare.bulk, "bare on our table": bare.bulk_on_our_table},
        (
            Target("per s", 0.35, over=BARE),
            Target("per s", 0.6, over="bare on our table"),
        ),
    ),
]  # fmt: skip
