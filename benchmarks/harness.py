"""How a figure comes about.

Each side of a case runs in a process of its own, in an empty folder, and the sides take turns, so
that what is compared was measured within the same minute. Before and after each round a probe asks
the disk how long an fsync takes; a round in which it doubled is thrown away and run again. What is
compared is the ratio within a round; what is shown is the median of these ratios.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, TypeVar

from .case import OURS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .case import Case, Target

T = TypeVar("T")

ROOT = Path(__file__).parent.parent
#: Appends and fsyncs of one probe, and rounds that are tried beyond those wanted.
_SYNCS, _SPARE = 200, 6
_PATIENCE = 600.0
#: Byte code is kept, as it is in an installation: no start compiles the package again.
_ENVIRONMENT = {name: value for name, value in os.environ.items()
                if name != "PYTHONDONTWRITEBYTECODE"}  # fmt: skip


@dataclass
class Result:
    """What the rounds of one case gave."""

    case: Case
    rounds: list[dict[str, dict[str, float]]] = field(default_factory=list)
    discarded: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    probes: list[float] = field(default_factory=list)

    def figure(self, side: str, name: str) -> float | None:
        """Return the median of a side's figure."""
        values = [r[side][name] for r in self.rounds if side in r and name in r[side]]
        return median(values) if values else None

    def ratio(self, name: str, over: str, below: str | None = None) -> float | None:
        """Return the median of callboard's figure over another side's, round by round."""
        values = [
            r[OURS][name] / r[over][below or name]
            for r in self.rounds
            if OURS in r and over in r and (below or name) in r[over]
        ]
        return median(values) if values else None

    def reached(self, target: Target) -> float | None:
        """Return what a target compares."""
        if target.over is None:
            return self.figure(OURS, target.figure)
        return self.ratio(target.figure, target.over, target.below)


def measure(
    case: Case, *, quick: bool, scratch: Path, sides: set[str], pairs: int | None = None
) -> Result:
    """Run the rounds of one case: as many as it wants, three in the short run."""
    result = Result(case)
    wanted = pairs or (min(3, case.pairs) if quick else case.pairs)
    names = [name for name in case.sides if name in sides]
    tries = 0
    while len(result.rounds) < wanted and tries < wanted + _SPARE:
        before = probe(scratch)
        found: dict[str, dict[str, float]] = {}
        for name in names if tries % 2 == 0 else reversed(names):
            if name in result.failed:
                continue
            try:
                found[name] = _apart(case, name, case.sized(name, quick=quick), scratch)
            except RuntimeError as error:
                result.failed[name] = str(error)
        after = probe(scratch)
        result.probes += [before, after]
        tries += 1
        if after > 2 * before or before > 2 * after:
            result.discarded += 1
        else:
            result.rounds.append(found)
    return result


def probe(folder: Path) -> float:
    """Return the median of an append with its fsync, in milliseconds."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = perf_counter()
            os.write(file.fileno(), bytes(4096))
            os.fsync(file.fileno())
            took.append(perf_counter() - began)
    return median(took) * 1e3


def _apart(case: Case, side: str, size: int, scratch: Path) -> dict[str, float]:
    """Run one side in a process of its own, and return its figures."""
    folder = Path(tempfile.mkdtemp(dir=scratch))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--side", case.name, side, str(size), str(folder)],
            cwd=ROOT, env=_ENVIRONMENT, capture_output=True, text=True, timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def percentiles(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99, in milliseconds."""
    ordered = sorted(seconds)
    return {
        "p50 ms": ordered[len(ordered) // 2] * 1e3,
        "p99 ms": ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1e3,
    }


def thousands(values: list[T]) -> Iterator[list[T]]:
    """Cut into pieces of a thousand."""
    for start in range(0, len(values), 1000):
        yield values[start : start + 1000]
