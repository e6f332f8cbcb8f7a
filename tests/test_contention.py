"""Neighbours on one file: clients in loops, a foreign connection, and handlers that compute."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

from callboard import Runtime
from callboard.clock import monotonic

from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

CLIENT = """
import sys
from callboard import Runtime
from callboard.clock import monotonic
rt = Runtime("board.db")
print("up", flush=True)
until = monotonic() + float(sys.argv[1])
worst, count, errors = 0.0, 0, 0
while monotonic() < until:
    begun = monotonic()
    try:
        rt.tell("work", count)
        count += 1
    except Exception as error:
        errors += 1
        print("error", repr(error), flush=True)
    worst = max(worst, monotonic() - begun)
print("done", count, errors, round(worst, 3), flush=True)
"""


def test_clients_and_a_foreign_connection_beside_a_saturated_owner(tmp_path: Path) -> None:
    """Nobody waits over a second, and nobody sees "database is locked".

    A disk that stands still for half a second is not ours: one round of three must do.
    """
    waits = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        waits.append(_longest_wait(folder))
        if waits[-1] < 1.0:
            break
    assert min(waits) < 1.0, f"the longest waits of three rounds, in seconds: {waits}"


def _longest_wait(folder: Path, seconds: float = 3.0) -> float:
    rt = Runtime(folder / "board.db")
    rt.mailbox("work", lambda _n: None, workers=2)
    stop = threading.Event()
    told = [0]

    def saturate() -> None:
        while not stop.is_set():
            rt.tell_many("work", range(500))
            told[0] += 500

    with rt:
        teller = threading.Thread(target=saturate)
        with (
            Child(CLIENT, seconds, cwd=folder) as one,
            Child(CLIENT, seconds, cwd=folder) as two,
        ):
            one.wait_for("up")
            two.wait_for("up")
            teller.start()
            host = sqlite3.connect(folder / "board.db", timeout=5.0, isolation_level=None)
            worst, until = 0.0, monotonic() + seconds
            begun = monotonic()
            host.execute("CREATE TABLE IF NOT EXISTS mine (n INTEGER)")
            first = monotonic() - begun
            while monotonic() < until:
                begun = monotonic()
                host.execute("INSERT INTO mine VALUES (1)")
                worst = max(worst, monotonic() - begun)
                stop.wait(0.01)
            results = [child.wait_for("done").split() for child in (one, two)]
            stop.set()
            teller.join(10)
            host.close()
    for _, count, errors, _longest in results:
        assert int(errors) == 0
        assert int(count) > 20
    assert told[0] > 5000
    return max(worst, first, *(float(longest) for *_, longest in results))


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


def test_a_tell_beside_four_computing_handlers_returns_soon(tmp_path: Path) -> None:
    """In 30 ms; where other processes keep the cores, within twice a bare commit's time."""
    with Child(COMPUTE, cwd=tmp_path) as child:
        _, ours, _, bare = child.wait_for("p99", timeout=60).split()
        child.end()
    assert float(ours) <= 30 or float(ours) <= 2 * float(bare), f"p99 {ours} ms, bare {bare} ms"
