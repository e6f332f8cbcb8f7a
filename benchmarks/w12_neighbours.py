"""W12: two client processes and a foreign connection beside a saturated owner."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep

from .case import OURS, Case, Target, expect
from .harness import ROOT
from .ours import Small, acknowledged, open_board, small

_KINDS = ("client", "client", "foreign")
#: Seconds between two writes of the foreign connection.
_PAUSE = 0.01


def beside(folder: Path, size: int, kinds: tuple[str, ...] = _KINDS) -> dict[str, float]:
    """Tell and handle thousands back to back for so many seconds, beside these neighbours."""
    rt, handled = open_board(folder), _Counted()
    rt.mailbox("small", handled)
    rt.mailbox("others", handled.other)
    messages, told = small(1000), 0
    with rt:
        neighbours = [
            subprocess.Popen(
                [sys.executable, "-m", "benchmarks.w12_neighbours", kind, str(folder), str(size)],
                cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            for kind in kinds
        ]  # fmt: skip
        for each in neighbours:
            expect("neighbour", each.stdout and each.stdout.readline(), "up\n")
        for each in neighbours:
            if each.stdin is not None:
                each.stdin.write("go\n")
                each.stdin.flush()
        began = perf_counter()
        while perf_counter() - began < size:
            rt.tell_many("small", messages)
            told += 1000
        rate = handled.ours / (perf_counter() - began)
        reports = [json.loads(each.communicate()[0]) for each in neighbours]
        acknowledged(rt, "small", began)
        acknowledged(rt, "others", began)
    expect("handled", handled.ours, told)
    expect("theirs", handled.others, sum(r["count"] for r in reports if r["kind"] == "client"))
    expect("errors", [error for report in reports for error in report["errors"]], [])
    figures = {"per s": rate}
    if reports:
        figures["longest wait ms"] = max(report["worst"] for report in reports) * 1e3
        figures["their writes per s"] = sum(report["count"] for report in reports) / size
    return figures


def alone(folder: Path, size: int) -> dict[str, float]:
    """Do the same without neighbours."""
    return beside(folder, size, ())


class _Counted:
    """Counts what its one worker each handled."""

    def __init__(self) -> None:
        self.ours = self.others = 0

    def __call__(self, message: Small) -> None:
        self.ours += 1

    def other(self, message: int) -> None:
        self.others += 1


def neighbour(kind: str, folder: Path, seconds: float) -> None:
    """Write for so long, one by one, and report."""
    if kind == "client":
        rt = open_board(folder)

        def act(number: int) -> object:
            return rt.tell("others", number)
    else:
        db = sqlite3.connect(folder / "board.db", isolation_level=None)
        db.execute("CREATE TABLE IF NOT EXISTS theirs (n INTEGER)")

        def act(number: int) -> object:
            return db.execute("INSERT INTO theirs VALUES (?)", (number,))

    print("up", flush=True)
    sys.stdin.readline()
    worst, errors, count, until = 0.0, [], 0, perf_counter() + seconds
    while perf_counter() < until:
        began = perf_counter()
        try:
            act(count)
            count += 1
        except Exception as error:
            errors.append(repr(error))
        worst = max(worst, perf_counter() - began)
        if kind != "client":
            sleep(_PAUSE)
    print(json.dumps({"kind": kind, "count": count, "worst": worst, "errors": errors}))


CASES = [
    Case("W12", "two clients and a foreign connection beside a saturated owner", 10, 2,
         {OURS: beside, "alone": alone},
         (Target("longest wait ms", 1000, most=True), Target("per s", 0.6, over="alone")),
         pairs=3),
]  # fmt: skip

if __name__ == "__main__":
    neighbour(sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
