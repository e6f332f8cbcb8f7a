"""W9: growth: the rate over the number of messages, and firing beside many timers."""

from __future__ import annotations

import sqlite3
import threading
from datetime import UTC, datetime, timedelta
from functools import partial
from time import perf_counter, time
from typing import TYPE_CHECKING

from callboard import Runtime

from .case import OURS, Case, Target, expect
from .ours import PATIENCE, Tally, fill, open_board, small
from .w04_handle import handled

if TYPE_CHECKING:
    from pathlib import Path

_FIRED = 20_000
_DAY = 86_400_000_000
_LEFT = "SELECT 1 FROM callboard_message WHERE number BETWEEN ? AND ? LIMIT 1"


def _of(count: int, folder: Path, size: int) -> dict[str, float]:
    return handled(folder, count)


def firing(folder: Path, size: int) -> dict[str, float]:
    """Fire 20,000 at one moment while so many far ones wait."""
    with Runtime(folder / "board.db") as rt:
        rt.mailbox("small", Tally(1))
    if size:
        now = int(time() * 1e6)
        fill(folder / "board.db", "small", size, (now + _DAY, now + 365 * _DAY))
    rt, tally, messages = open_board(folder), Tally(_FIRED), small(1000)
    rt.mailbox("small", tally)
    with rt:
        due = datetime.now(UTC) + timedelta(seconds=3.0)
        told = [number for _ in range(0, _FIRED, 1000)
                for number in rt.tell_many("small", messages, at=due)]  # fmt: skip
        threading.Event().wait((due - datetime.now(UTC)).total_seconds())
        began = perf_counter()
        tally.done.wait(PATIENCE)
        db = sqlite3.connect(folder / "board.db")
        while db.execute(_LEFT, (told[0], told[-1])).fetchone():  # mailboxes() would count them all
            pass
        took = perf_counter() - began
        db.close()
    tally.check()
    expect("far ones", rt.mailboxes()[0].later, size)
    return {"per s": _FIRED / took}


def _firing_alone(folder: Path, size: int) -> dict[str, float]:
    return firing(folder, 0)


CASES = [
    Case("W9", "W4 at 3x10^6 against 10^6, 10^5 and 10^4", 3_000_000, None,
         {OURS: handled, "at 10^6": partial(_of, 1_000_000), "at 10^5": partial(_of, 100_000),
          "at 10^4": partial(_of, 10_000)},
         (Target("per s", 0.85, over="at 10^5"),), pairs=3),
    Case("W9-timers", "20,000 fired beside 10^6 that wait, against none", 1_000_000, None,
         {OURS: firing, "none waiting": _firing_alone},
         (Target("per s", 0.85, over="none waiting"),), pairs=3),
    Case("W9-timers-long", "20,000 fired beside 10^7 that wait, against none", 10_000_000, None,
         {OURS: firing, "none waiting": _firing_alone},
         (Target("per s", 0.85, over="none waiting"),), pairs=3, long=True),
]  # fmt: skip
