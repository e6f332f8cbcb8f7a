"""Run seeds of the simulation: ``python -m tests.simulate --seeds 10000``, or one: ``--seed 7``."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from collections import Counter
from pathlib import Path

from callboard.clock import monotonic

from .simulated import simulate

SHM = Path("/dev/shm")  # noqa: S108  (in memory: fsync costs nothing there)


def say(line: str) -> None:
    """Print a line."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def one(seed: int) -> tuple[str, dict[str, int]]:
    """Run one seed in a folder of its own; returns its trace and what has happened.

    Raises:
        Violated: a promise was broken.

    """
    with tempfile.TemporaryDirectory(dir=SHM if SHM.is_dir() else None) as folder:
        simulation = simulate(Path(folder) / "board.db", seed).simulation
        return simulation.trace, simulation.counts


def many(first: int, count: int) -> int:
    """Run so many seeds and say what has happened; returns how many have failed."""
    total: Counter[str] = Counter()
    failed, begun = 0, monotonic()
    for seed in range(first, first + count):
        try:
            total.update(one(seed)[1])
        except Exception as error:  # noqa: BLE001  (all of them are to be seen)
            failed += 1
            say(f"seed {seed}: {type(error).__name__}: {error}")
            say(f"  again: python -m tests.simulate --seed {seed}")
    seconds = monotonic() - begun
    said = ", ".join(f"{number} {what}" for what, number in total.items())
    say(f"simulate: {count} seeds, {failed} failed; {said}; {count / seconds:.1f} seeds/s")
    return failed


def main() -> int:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulate")
    parser.add_argument("--seed", type=int, help="this one alone, with its traceback")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=10_000)
    chosen = parser.parse_args()
    logging.disable()  # what is logged of planted failures
    if chosen.seed is not None:
        trace, counts = one(chosen.seed)
        say(f"simulate: seed {chosen.seed} passes; trace {trace}; {counts}")
        return 0
    return 1 if many(chosen.first, chosen.seeds) else 0


if __name__ == "__main__":
    sys.exit(main())
