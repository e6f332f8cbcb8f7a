"""Measure: ``python -m benchmarks [--quick | --long] [--no-peers] [W1 W4-keyed ...]``."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from .case import OURS
from .chart import draw
from .harness import measure
from .peers import PEERS, load
from .report import FOLDER, keep, lines, write
from .workloads import CASES, chosen


def main() -> None:
    """Measure what is asked for and write the report; or, in a child, run one side."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", help="W1, W4-keyed, ...; none: all")
    parser.add_argument("--quick", action="store_true", help="small, three pairs, no peers")
    parser.add_argument("--long", action="store_true", help="with what takes many minutes")
    parser.add_argument("--no-peers", action="store_true", help="callboard and the limits only")
    parser.add_argument("--pairs", type=int, help="so many rounds, for a look while working")
    parser.add_argument("--scratch", type=Path, help="where the stores go; the disk matters")
    parser.add_argument("--side", nargs=4, metavar=("CASE", "SIDE", "SIZE", "FOLDER"),
                        help="run one side once (the harness does)")  # fmt: skip
    options = parser.parse_args()
    if options.side:
        _side(*options.side)
        return
    with tempfile.TemporaryDirectory(dir=options.scratch or Path.cwd()) as scratch:
        _measure(options, Path(scratch))


def _side(name: str, side: str, size: str, folder: str) -> None:
    if name == "pragmas":
        peer = load(side)(Path(folder), print)
        found = peer.pragmas()
        peer.close()
        print(json.dumps(found))
        return
    case = next(case for case in CASES if case.name == name)
    print(json.dumps(case.sides[side](Path(folder), int(size))))


def _measure(options: argparse.Namespace, scratch: Path) -> None:
    peerless = options.quick or options.no_peers
    for case in chosen(options.cases):
        if (case.long and not options.long) or (options.quick and case.quick is None):
            continue
        sides = {name for name in case.sides if not (peerless and name in PEERS)}
        began = perf_counter()
        result = measure(case, quick=options.quick, scratch=scratch, sides=sides,
                         pairs=options.pairs)  # fmt: skip
        for line in lines(result):
            print(line, flush=True)
        print(f"  ({perf_counter() - began:.0f} s)", flush=True)
        if OURS in result.failed:
            print(f"{case.name}: callboard FAILED: {result.failed[OURS]}", file=sys.stderr)
        if not (options.quick or options.pairs):  # each at once: a run takes long, and may be ended
            keep(result)
            write()
            draw(FOLDER / "results.json", FOLDER / "results.svg")


if __name__ == "__main__":
    main()
