"""The worst moments, again and again: ``python -m tests.moments --times 10``, ``make moments``.

Kills in a start, a take-over, a backup and after a SIGSTOP come from the crash harness, which is
told to do nothing else; the others are the cases of test_crash_cases.py.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callboard.clock import monotonic

from . import test_crash_cases as cases
from .attack import attack
from .load_app import STORE, make_tables
from .simulate import say

if TYPE_CHECKING:
    from collections.abc import Callable

    #: Does it so many times, in that folder, by that seed; returns what it met.
    Moment = Callable[[Path, int, int], str]


def struck(strike: str, kills: int, folder: Path, times: int, seed: int) -> str:
    """Have the crash harness strike in one way alone; ``kills``: of one such strike."""
    report = attack(folder, kills=kills * times, seed=seed, strikes=(strike,))
    assert not report.violations, f"seed {seed}: {report}"
    met = ", ".join(f"{what} {count}" for what, count in sorted(report.moments.items()))
    return f"{report.kills} kills; {report.messages:,} messages, 0 lost, 0 doubled; met: {met}"


def made(case: Callable[[Path], object], folder: Path, times: int, seed: int) -> str:
    """Make one case so many times, each in a folder of its own."""
    del seed  # nothing of it is drawn
    for number in range(times):
        work = folder / str(number)
        work.mkdir()
        make_tables(work / STORE)
        case(work)
    return "all invariants hold after each"


def gate(then: signal.Signals, folder: Path) -> None:
    """Stop a client in the write gate, and let it go on or kill it."""
    with pytest.MonkeyPatch.context() as patch:
        cases.test_a_client_stopped_in_the_write_gate_keeps_nobody_for_ever(folder, patch, then)


MOMENTS: dict[str, Moment] = {
    "killed in a start": partial(struck, "starting", 2),
    "killed in a take-over": partial(struck, "taking over", 2),
    "killed in a backup": partial(struck, "backing up", 1),
    "SIGSTOP, then SIGCONT or SIGKILL": partial(struck, "stopped", 1),
    "killed in a migration": partial(
        made, cases.test_a_kill_in_a_migration_leaves_the_old_schema_and_the_next_start_does_it
    ),
    "killed in a checkpoint": partial(made, cases.test_a_kill_in_a_checkpoint_loses_nothing),
    "stopped for longer than any timeout": partial(
        made, cases.test_an_owner_stopped_longer_than_any_timeout_goes_on_as_the_owner
    ),
    "a client stopped in the gate, SIGCONT": partial(made, partial(gate, signal.SIGCONT)),
    "a client stopped in the gate, SIGKILL": partial(made, partial(gate, signal.SIGKILL)),
}


def main() -> int:
    """Go through them and say what each has met, in one line."""
    parser = argparse.ArgumentParser(prog="python -m tests.moments")
    parser.add_argument("--times", type=int, default=10, help="each of them")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--only", default="", help="those with this text in their name")
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    failed = 0
    for name, moment in MOMENTS.items():
        if options.only not in name:
            continue
        begun = monotonic()
        with tempfile.TemporaryDirectory(prefix="callboard-moments-") as folder:
            try:
                met = moment(Path(folder), options.times, seed)
            except Exception:  # noqa: BLE001  (all of them are to be seen)
                failed += 1
                met = f"FAILED, seed {seed}\n{traceback.format_exc()}"
        say(f"moments: {name}, {options.times} times in {monotonic() - begun:.0f} s: {met}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
