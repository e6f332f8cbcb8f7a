"""Schedules over several real processes: declared in each of them, every instant ticks once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from callboard.clock import monotonic

from .processes import PATIENCE, Child

if TYPE_CHECKING:
    from pathlib import Path

# The count of ticks is kept in the turn's transaction: a handler that is run again counts once.
APP = """
from callboard import Context, Runtime, Tick
rt = Runtime("board.db")
@rt.cron("* * * * * *", missed="all", overlap="allow")
def count(tick: Tick, context: Context) -> None:
    context.execute("INSERT INTO ticks (at, message) VALUES (?, ?)",
                    (tick.at.isoformat(), context.message_id))
rt.events.subscribe(lambda e: print("owns", flush=True), "owner.taken")
rt.events.subscribe(lambda e: print("ticked", flush=True), "schedule.ticked")
rt.events.subscribe(lambda e: print("stands by", flush=True), "runtime.started")
rt.run()
"""


@pytest.mark.slow
def test_declared_in_each_process_it_ticks_once_whoever_is_killed(tmp_path: Path) -> None:
    store = sqlite3.connect(tmp_path / "board.db")
    store.execute("CREATE TABLE ticks (at TEXT, message INTEGER)")
    store.commit()
    store.close()
    with ExitStack() as stack:
        owner = stack.enter_context(Child(APP, cwd=tmp_path))
        owner.wait_for("ticked")
        others = [stack.enter_context(Child(APP, cwd=tmp_path)) for _ in range(2)]
        for each in others:
            each.wait_for("stands by")
        owner.kill()
        heir = _first(others)
        heir.wait_for("ticked")
        heir.kill()
        (last,) = [each for each in others if each is not heir]
        last.wait_for("ticked")
        last.wait_for("ticked")
    store = sqlite3.connect(tmp_path / "board.db")
    rows = [row[0] for row in store.execute("SELECT at FROM ticks ORDER BY at")]
    store.close()
    instants = [int(datetime.fromisoformat(each).timestamp()) for each in rows]
    assert instants == [*range(instants[0], instants[0] + len(instants))]
    assert len(instants) >= 3


def _first(children: list[Child]) -> Child:
    """Return the one that takes over."""
    until = monotonic() + PATIENCE
    while True:
        for child in children:
            if "owns" in child.lines:
                return child
        assert monotonic() < until
        threading.Event().wait(0.01)


@pytest.mark.slow
def test_a_runtime_without_schedules_imports_no_croniter(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from callboard import Runtime\n"
        "rt = Runtime('board.db')\n"
        "rt.mailbox('work', print)\n"
        "with rt:\n"
        "    rt.tell('work', 1)\n"
        "    rt.schedules()\n"
        "print({'croniter', 'zoneinfo'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
