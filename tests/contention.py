"""Neighbours beside a saturated owner, for minutes: ``python -m tests.contention MINUTES``.

A wait beyond a second counts as ours where the disk and the processors stood by: on a machine that
is busy with other things look at the owner's own worst wait too.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .modules import Module
from .soak_meter import size

#: Who is there in each round.
ROUNDS = {
    "one of each": ["client", "client", "crowd", "standby", "plain", "django", "sqlalchemy"],
    "twenty clients": [*["client"] * 20, "plain", "django", "sqlalchemy"],
}
#: Milliseconds that nobody waits longer than.
LIMIT = 1000.0
#: Seconds that somebody holds the write lock.
WRITE = 3.0


@dataclass(frozen=True)
class Party:
    """How one kind of neighbour has fared, all its processes together; milliseconds."""

    kind: str
    processes: int
    count: int
    p50: float
    p99: float
    worst: float
    errors: list[str]

    def complaint(self) -> str | None:
        """Say what is wrong, if anything is."""
        if self.errors:
            return f"{self.kind}: {self.errors[0]} and {len(self.errors) - 1} more errors"
        if self.worst > LIMIT:
            return f"{self.kind} waited {self.worst:.0f} ms"
        return None


def beside(folder: Path, kinds: list[str], seconds: float) -> list[Party]:
    """Run them beside a saturated owner for so many seconds."""
    _own_table(folder)
    with contextlib.ExitStack() as stack:

        def start(kind: str, seconds: float) -> tuple[str, Module]:
            child = Module("tests.neighbour", kind, folder, seconds)
            stack.enter_context(child).wait_for("up")
            return kind, child

        owner = start("owner", seconds + 1.0)
        children = [owner, *(start(kind, seconds) for kind in kinds)]
        for _, child in children:
            child.say("go")
        found: dict[str, list[dict[str, Any]]] = {}
        for kind, child in children:
            found.setdefault(kind, []).append(_answer(child, "done", seconds))
        found["owner"][0]["errors"] += _answer(owner[1], "refused", seconds)
    return [_party(kind, all_of) for kind, all_of in found.items()]


def held(folder: Path, seconds: float) -> list[str]:
    """Hold a reading and a writing transaction beside a saturated owner; returns what was seen."""
    _own_table(folder)
    board, wal = folder / "board.db", folder / "board.db-wal"
    rest = threading.Event()
    with (
        Module("tests.neighbour", "owner", folder, seconds + WRITE + 4.0) as owner,
        contextlib.closing(sqlite3.connect(board, isolation_level=None)) as host,
    ):
        owner.wait_for("up")
        owner.say("go")
        rest.wait(1.0)
        sizes = [size(wal)]
        host.execute("BEGIN")
        host.execute("SELECT count(*) FROM mine").fetchone()
        rest.wait(seconds)
        sizes.append(size(wal))
        host.execute("COMMIT")
        rest.wait(1.0)
        sizes.append(size(wal))
        host.execute("BEGIN IMMEDIATE")
        rest.wait(WRITE)
        host.execute("COMMIT")
        done, refused = _answer(owner, "done", seconds), _answer(owner, "refused", seconds)
    before, during, after = (f"{each / 1e6:.1f} MB" for each in sizes)
    read = f"the WAL was {before} before, {during} at its end, {after} a second later"
    write = f"the longest of {done['count']:,} tells took {done['worst']:.0f} ms"
    failed = f"{len(done['errors'])} failed, store.refused came {len(refused)} times"
    return [f"a read of {seconds:.0f} s: {read}", f"a write of {WRITE:.0f} s: {write}, {failed}"]


def _own_table(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "board.db")) as database:
        database.execute("CREATE TABLE mine (id INTEGER PRIMARY KEY, n INTEGER)")


def _answer(child: Module, start: str, seconds: float) -> Any:
    return json.loads(child.wait_for(start, seconds + 60).partition(" ")[2])


def _party(kind: str, found: list[dict[str, Any]]) -> Party:
    worst = {name: max(float(each[name]) for each in found) for name in ("p50", "p99", "worst")}
    errors = [error for each in found for error in each["errors"]]
    return Party(
        kind, len(found), sum(int(each["count"]) for each in found), errors=errors, **worst
    )


def main() -> None:
    """Run each round for its part of the minutes, and print what became of whom."""
    seconds = float(sys.argv[1]) * 60 / len(ROUNDS)
    complaints = []
    for name, kinds in ROUNDS.items():
        with tempfile.TemporaryDirectory(prefix="callboard-") as folder:
            parties = beside(Path(folder), kinds, seconds)
        print(f"\n{name}, {seconds:.0f} s (ms; of several processes the slowest one's)")  # noqa: T201
        print(f"{'who':12}{'processes':>10}{'writes':>10}{'p50':>9}{'p99':>9}{'worst':>9}")  # noqa: T201
        for each in parties:
            print(  # noqa: T201
                f"{each.kind:12}{each.processes:10}{each.count:10,}"
                f"{each.p50:9.1f}{each.p99:9.1f}{each.worst:9.1f}",
                flush=True,
            )
        complaints += [found for each in parties if (found := each.complaint())]
    with tempfile.TemporaryDirectory(prefix="callboard-") as folder:
        print("", *held(Path(folder), min(20.0, seconds)), sep="\n", flush=True)  # noqa: T201
    sys.exit("\n".join(complaints) or 0)


if __name__ == "__main__":
    main()
