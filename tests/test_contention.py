"""Neighbours on one file: clients in loops, a foreign connection, and handlers that compute."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .contention import LIMIT, beside
from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ["client", "client", "crowd", "standby", "plain", "django", "sqlalchemy"]


@pytest.mark.alone
@pytest.mark.slow
def test_clients_and_a_foreign_connection_beside_a_saturated_owner(tmp_path: Path) -> None:
    """Nobody waits over a second, and nobody sees "database is locked".

    A disk that stands still for half a second is not ours: one round of three must do.
    """
    pytest.importorskip("sqlalchemy", reason="make install")
    rounds = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        parties = beside(folder, KINDS, 3.0)
        for each in parties:
            assert each.errors == [], each
        rounds.append({each.kind: (each.count, each.worst) for each in parties})
        good = all(each.count > 20 and each.worst < LIMIT for each in parties)
        if good:
            break
    assert good, f"commits and longest waits (ms) of three rounds: {rounds}"


COMPUTE = """
import os, signal, sqlite3, threading
from callboard import Runtime
from callboard.clock import monotonic
rt = Runtime("board.db")
stop = threading.Event()
@rt.mailbox("compute", workers=4)
def compute(n: int) -> None:
    while not stop.is_set():
        for _ in range(1000):
            n = (n * 31 + 7) % 1000003
rt.mailbox("quick", lambda n: None)
bare = sqlite3.connect("bare.db", isolation_level=None, check_same_thread=False)
bare.execute("PRAGMA journal_mode = WAL")
bare.execute("PRAGMA synchronous = FULL")
bare.execute("CREATE TABLE m (n INTEGER)")

def p99(call):
    waits = []
    for n in range(150):
        begun = monotonic()
        call(n)
        waits.append(monotonic() - begun)
    return sorted(waits)[int(len(waits) * 0.99)] * 1000

def measure():
    rt.tell_many("compute", range(4))
    threading.Event().wait(0.2)
    for _ in range(4):
        ours = p99(lambda n: rt.tell("quick", n))
        limit = p99(lambda n: bare.execute("INSERT INTO m VALUES (?)", (n,)))
        if ours <= 30 or ours <= 2 * limit:
            break
    stop.set()
    print("p99", round(ours, 2), "bare", round(limit, 2), flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

rt.events.subscribe(lambda e: threading.Thread(target=measure).start(), "owner.taken")
rt.run()
"""


@pytest.mark.alone
def test_a_tell_beside_four_computing_handlers_returns_soon(tmp_path: Path) -> None:
    """In 30 ms; where other processes keep the cores, within twice a bare commit's time."""
    with Child(COMPUTE, cwd=tmp_path) as child:
        _, ours, _, bare = child.wait_for("p99", timeout=60).split()
        child.end()
    assert float(ours) <= 30 or float(ours) <= 2 * float(bare), f"p99 {ours} ms, bare {bare} ms"
