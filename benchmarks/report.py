"""The report: ``results.json`` keeps what was measured last of each case, RESULTS.md shows it."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from .case import OURS
from .harness import ROOT
from .peers import PEERS, load

if TYPE_CHECKING:
    from .harness import Result

FOLDER = Path(__file__).parent
#: What the table says of a peer whose call returns before its message is on disk.
NOT_DURABLE = "**no**"
_KEPT, _PAGE = FOLDER / "results.json", FOLDER / "RESULTS.md"


def lines(result: Result) -> list[str]:
    """Return what a terminal shows of one case."""
    return [f"{result.case.name}: {result.case.what}", *(
        f"  {row['side']:20} {row['figure']:22} {number(row['value']):>12}"
        f"  {ratio(row['ratio']):>8}" for row in _figures(result)
    ), *(
        f"  {'met' if row['met'] else 'MISSED':6} {row['target']}: {number(row['value'])}"
        for row in _targets(result)
    ), *(f"  {side}: failed: {error}" for side, error in result.failed.items())]  # fmt: skip


def keep(result: Result) -> None:
    """Put a result beside what is known of the other cases."""
    known = json.loads(_KEPT.read_text()) if _KEPT.exists() else {"cases": {}}
    known["machine"] = machine()
    known["peers"] = _peers()
    known["cases"][result.case.name] = {
        "what": result.case.what,
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        "sizes": {side: result.case.sized(side, quick=False) for side in result.case.sides},
        "pairs": len(result.rounds),
        "discarded": result.discarded,
        "fsync ms": median(result.probes),
        "figures": _figures(result),
        "targets": _targets(result),
        "failed": result.failed,
    }
    _KEPT.write_text(json.dumps(known, indent=1) + "\n")


def write() -> None:
    """Write RESULTS.md from what is kept."""
    from .workloads import CASES

    known = json.loads(_KEPT.read_text())
    order = [case.name for case in CASES if case.name in known["cases"]]
    rows = [row for name in order for row in known["cases"][name]["targets"]]
    met = sum(row["met"] for row in rows)
    page = [_HEAD.format(met=met, targets=len(rows)), "## Targets", "",
            "| workload | target | measured | |", "|---|---|---|---|"]  # fmt: skip
    for name in order:
        page += [
            f"| {name} | {row['target']} | {number(row['value'])} | "
            f"{'met' if row['met'] else '**not met**'} |"
            for row in known["cases"][name]["targets"]
        ]
    page += ["", "## Machine", ""]
    page += [f"- {what}: {value}" for what, value in known["machine"].items()]
    page += ["", "## Peers", ""]
    page += ["| peer | version | journal, synchronous | on disk when the call returns | remark |"]
    page += ["|---|---|---|---|---|"]
    page += [
        f"| {peer['name']} | {peer['version']} | {peer['setting']} | {peer['durable']} | "
        f"{peer['remark']} |"
        for peer in known["peers"]
    ]
    for name in order:
        page += ["", *_table(name, known["cases"][name])]
    _PAGE.write_text("\n".join(page) + "\n")


def _table(name: str, case: dict[str, Any]) -> list[str]:
    dropped = f", {case['discarded']} discarded" if case["discarded"] else ""
    return [
        f"## {name}: {case['what']}",
        "",
        f"{case['when']} UTC, {case['pairs']} rounds{dropped}, fsync {case['fsync ms']:.2f} ms.",
        "",
        "| side | size | figure | median | callboard / it |",
        "|---|---|---|---|---|",
        *(
            f"| {row['side']} | {case['sizes'][row['side']]:,} | {row['figure']} | "
            f"{number(row['value'])} | {ratio(row['ratio'])} |"
            for row in case["figures"]
        ),
        *(f"| {side} | | failed: {error} | | |" for side, error in case["failed"].items()),
    ]


def _figures(result: Result) -> list[dict[str, Any]]:
    names: dict[tuple[str, str], None] = {}
    for found in result.rounds:
        for side in result.case.sides:
            names |= {(side, name): None for name in found.get(side, ())}
    return [
        {
            "side": side,
            "figure": name,
            "value": result.figure(side, name),
            "ratio": None if side == OURS else result.ratio(name, side),
        }
        for side, name in names
    ]


def _targets(result: Result) -> list[dict[str, Any]]:
    rows = []
    for target in result.case.targets:
        if target.over is not None and not any(target.over in found for found in result.rounds):
            continue
        value = result.reached(target)
        met = value is not None and target.met(value)
        rows.append({"target": target.text(), "value": value, "met": met})
    return rows


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
         if line.startswith("model name")), platform.processor(),
    )  # fmt: skip
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "processor": f"{os.cpu_count()} cores, {cpu}",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "SQLite": sqlite3.sqlite_version,
    }


@cache
def _peers() -> list[dict[str, str]]:
    return [_peer(name) for name in PEERS]


def _peer(name: str) -> dict[str, str]:
    """Ask a peer, in a process of its own, what its connection is set to."""
    try:
        peer = load(name)
        version = peer.version()
    except (ImportError, PackageNotFoundError) as error:
        return {"name": name, "version": "not installed", "setting": str(error), "durable": "",
                "remark": ""}  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks", "--side", "pragmas", name, "0", folder],
            cwd=ROOT, capture_output=True, text=True, check=True,
        )  # fmt: skip
    journal, synchronous = json.loads(done.stdout.splitlines()[-1])
    # In WAL only FULL (2) syncs at each commit; with a rollback journal NORMAL (1) does too.
    durable = synchronous >= (2 if journal == "wal" else 1)
    return {
        "name": name, "version": version, "setting": f"{journal}, {synchronous}",
        "durable": "yes" if durable else NOT_DURABLE, "remark": peer.remark,
    }  # fmt: skip


def number(value: float | None) -> str:
    """Return a figure with three digits that mean something."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def ratio(value: float | None) -> str:
    """Return a ratio."""
    return "" if value is None else f"{number(value)}x"


_HEAD = """# Results

Generated by `make bench`; do not edit. {met} of {targets} targets are met.

Each side runs in a process of its own on a fresh store, the sides in turn; what is compared is the
ratio within a round, and the median of these ratios is shown. Absolute figures are this machine's:
its disk syncs in a fraction of a millisecond, where a usual SSD takes one to five. What is called
bare is sqlite3 with the inevitable statements alone (`bare.py`). All run with the defaults that a
user gets, but where a remark says so; the package's byte code is kept, as an installation keeps it.
Why a target is not met, and what was tried, is told in `docs/performance.md`.
"""
