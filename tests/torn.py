"""Torn logs: copies of a busy run's write-ahead log, cut and spoilt at every place that can matter.

The run moves money between keyed accounts; each handled message also leaves a row of the caller's
own. So whatever prefix of the commits a copy shows can be checked by itself: no money made or lost,
and every number that was given is either waiting or has its one row.

``python -m tests.torn`` cuts runs of some thousand messages by other seeds; the suite a short one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sqlite3
import struct
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from callboard import Runtime, WorkerActor
from callboard.clock import monotonic

from .simulate import say

ACCOUNTS = 7
PATIENCE = 60.0
_HEADER, _FRAME = 32, 24


@dataclass
class Balance:
    """What one account has, and how many messages it has handled."""

    money: int = 0
    handled: int = 0


@dataclass
class Move:
    """Money for this account; with ``to`` it goes on to another one."""

    account: int
    amount: int
    to: int | None = None


class Account(WorkerActor):
    """Takes money, or gives it to another account in the same turn."""

    state: Balance

    def on_receive(self, move: Move) -> None:
        """Handle one move, with a row of one's own for it."""
        self.state.handled += 1
        self.context.execute("INSERT INTO effect VALUES (?)", (self.context.message_id,))
        if move.to is None:
            self.state.money += move.amount
        else:
            self.state.money -= move.amount
            _runtimes[-1].tell("account", Move(move.to, move.amount))


#: Told by the accounts: the one that runs now.
_runtimes: list[Runtime] = []


@dataclass
class Copy:
    """A database and its log, as a crash of the machine may leave them."""

    database: bytes
    log: bytes
    page: int

    @property
    def frames(self) -> int:
        """How many whole pages the log holds."""
        return (len(self.log) - _HEADER) // (_FRAME + self.page)

    def end(self, frame: int) -> int:
        """Return where a frame ends; 0: the header."""
        return _HEADER + frame * (_FRAME + self.page)


def busy_run(folder: Path, moves: int, seed: int = 1) -> Copy:
    """Run, and copy database and log before anything is folded back into the database."""
    draw = random.Random(seed)
    path = folder / "board.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE effect (number INTEGER PRIMARY KEY)")
    rt = Runtime(path)
    rt.mailbox("account", Account, workers=3, keyed=lambda move: move.account)
    _runtimes[:] = [rt]
    done = threading.Semaphore(0)
    rt.events.subscribe(lambda _: done.release(), "message.handled")
    rt.tell("account", Move(0, 0))
    rt.stop()  # the tables are in the database, and the log begins anew
    # Nothing is folded back while a reader stands at the beginning.
    reader = sqlite3.connect(path, isolation_level=None)
    try:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM effect").fetchone()
        with rt:
            for _ in range(moves):
                here, there = draw.sample(range(ACCOUNTS), 2)
                rt.tell("account", Move(here, draw.randrange(1, 100), there))
            for _ in range(2 * moves + 1):
                assert done.acquire(timeout=PATIENCE), "a move was not handled"
            page = reader.execute("PRAGMA page_size").fetchone()[0]
            return Copy(path.read_bytes(), (folder / "board.db-wal").read_bytes(), page)
    finally:
        reader.close()
        rt.stop()


def check(folder: Path, database: bytes, log: bytes) -> int:
    """Open such a copy and check it; returns how many numbers had been given in it."""
    path = folder / "copy.db"
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    path.write_bytes(database)
    path.with_name(path.name + "-wal").write_bytes(log)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        ask = connection.execute
        ask("PRAGMA synchronous = OFF")  # these copies need not last
        assert ask("PRAGMA integrity_check").fetchone() == ("ok",)
        last = ask("SELECT last FROM callboard_counter").fetchone()[0]
        effects = [row[0] for row in ask("SELECT number FROM effect")]
        waiting = dict(ask("SELECT number, body FROM callboard_message").fetchall())
        states = [json.loads(row[0]) for row in ask("SELECT body FROM callboard_state")]
        assert not ask("SELECT count(*) FROM callboard_dead").fetchone()[0]
    assert sorted([*effects, *waiting]) == list(range(1, last + 1)), "lost or doubled"
    assert sum(state["handled"] for state in states) == len(effects), "a state without its effect"
    moves = [json.loads(body) for body in waiting.values()]
    on_the_way = sum(move["amount"] for move in moves if move.get("to") is None)
    assert sum(state["money"] for state in states) + on_the_way == 0, "money was made or lost"
    return int(last) + len(effects)


def commits(copy: Copy) -> list[int]:
    """Return the frames that end a commit: those that say how large the database is then."""
    sizes = [
        struct.unpack_from(">I", copy.log, copy.end(frame - 1) + 4)[0]
        for frame in range(1, copy.frames + 1)
    ]
    return [number for number, size in enumerate(sizes, 1) if size]


def tear(copy: Copy, folder: Path, *, every: int = 1, seed: int = 1) -> tuple[int, int]:
    """Cut at every page, within pages, and flip bytes; returns (copies, commits) that were seen.

    Args:
        copy: of a busy run.
        folder: for one copy at a time.
        every: cut within and flip in each so-manieth page.
        seed: of the places within pages.

    """
    draw = random.Random(seed)
    seen: list[int] = []
    copies = 0
    for frame in range(copy.frames + 1):
        whole = copy.end(frame)
        seen.append(check(folder, copy.database, copy.log[:whole]))
        copies += 1
        if frame < copy.frames and frame % every == 0:
            cut = whole + draw.randrange(1, _FRAME + copy.page)
            spoilt = bytearray(copy.log)
            spoilt[cut] ^= 1 << draw.randrange(8)
            for log in (copy.log[:cut], bytes(spoilt)):
                assert check(folder, copy.database, log) == seen[-1], f"frame {frame}, at {cut}"
                copies += 1
    assert seen == sorted(seen), "a longer log shows less"
    ends = commits(copy)
    for number in range(1, copy.frames + 1):
        if number not in ends:
            assert seen[number] == seen[number - 1], "half a commit was seen"
    return copies, len(ends)


def main() -> None:
    """Cut the logs of some longer runs, and say what was seen in each."""
    parser = argparse.ArgumentParser(prog="python -m tests.torn")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--moves", type=int, default=600, help="of money in each run")
    parser.add_argument("--seed", type=int, default=None, help="of the first run; then the next")
    options = parser.parse_args()
    first = random.randrange(1_000_000) if options.seed is None else options.seed
    for seed in range(first, first + options.runs):
        begun = monotonic()
        with tempfile.TemporaryDirectory(prefix="callboard-torn-") as name:
            copy = busy_run(Path(name), options.moves, seed)
            copies, ends = tear(copy, Path(name), seed=seed)
        say(
            f"torn: seed {seed}: {copies} copies of a log of {copy.frames} pages and {ends} "
            f"commits, all good, in {monotonic() - begun:.0f} s"
        )


if __name__ == "__main__":
    main()
