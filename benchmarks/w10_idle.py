"""W10: what an idle runtime costs."""

from __future__ import annotations

import threading
from time import process_time, sleep, time
from typing import TYPE_CHECKING

from callboard import Runtime

from .case import OURS, Case, Target, expect
from .ours import Small, Tally, fill, open_board

if TYPE_CHECKING:
    from pathlib import Path

_MANY, _FAR = 1000, 1_000_000
_DAY = 86_400_000_000


def idle(folder: Path, size: int) -> dict[str, float]:
    """Wait so many seconds with 1,000 mailboxes, 1,000 schedules and 10^6 far timers."""
    with Runtime(folder / "board.db") as rt:
        rt.mailbox("box0", Tally(1))
    now = int(time() * 1e6)
    fill(folder / "board.db", "box0", _FAR, (now + _DAY, now + 365 * _DAY))
    rt = open_board(folder)
    for number in range(_MANY):
        rt.mailbox(f"box{number}", Tally(1))
        rt.cron(f"{number % 60} 3 1 1 *", name=f"tick{number}", to=f"box{number}",
                message=Small(number))  # fmt: skip
    with rt:
        sleep(3.0)
        began = process_time()
        sleep(size)
        used = process_time() - began
        threads = threading.active_count()
        expect("mailboxes", len(rt.mailboxes()), _MANY)
        expect("schedules", len(rt.schedules()), _MANY)
    return {"% of a core": 100 * used / size, "threads": threads}


CASES = [
    Case("W10", "idle: 1,000 mailboxes, 1,000 schedules, 10^6 far timers", 60, 5, {OURS: idle},
         (Target("% of a core", 0.5, most=True), Target("threads", 10, most=True)), pairs=1),
]  # fmt: skip
