"""Killed or stopped at the worst moment: in the gate, in a migration, in a checkpoint."""

from __future__ import annotations

import json
import signal
import sqlite3
import struct
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from callboard import StoreBusy
from callboard.clock import monotonic
from callboard.persistence import migrations
from callboard.persistence.gate import PATIENCE, Gate
from callboard.persistence.store import MIN_CLIENT, SCHEMA

from .invariants import Reign, check, check_reigns
from .load import APP, Owner, Visitor, until
from .load_app import STORE, Item, Ledger, build, make_tables
from .load_reading import read_ledgers, read_store, waiting
from .processes import PATIENCE as CHILD_PATIENCE
from .processes import Child

if TYPE_CHECKING:
    from callboard import Runtime

_LOAD = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(APP.parent)!r})
from load_app import *
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_tables(tmp_path / STORE)
    return tmp_path


def drained(folder: Path, owner: Owner) -> list[str]:
    """Wait until all is handled, end the owner, and return every violation."""
    until("all is handled", lambda: not waiting(folder))
    assert owner.stop() == 0
    return check(read_ledgers(folder), read_store(folder))


def tell(rt: Runtime, ledger: Ledger, tag: str) -> None:
    """Tell one message, and write it down."""
    ledger.write("told", "plain", tag, number=rt.tell("plain", Item(tag)))


@pytest.mark.slow
def test_an_owner_stopped_longer_than_any_timeout_goes_on_as_the_owner(folder: Path) -> None:
    """It keeps its lock, so the standby waits; clients tell on, or get StoreBusy."""
    with (
        Owner(folder) as owner,
        Visitor(folder, "v1", seed=1) as one,
        Visitor(folder, "v2", seed=2) as two,
    ):
        owner.wait_for("work")
        with Owner(folder) as standby:
            standby.wait_for("standby")
            owner.process.send_signal(signal.SIGSTOP)
            until_then = monotonic() + PATIENCE + 1.0
            before = len(read_ledgers(folder))
            while monotonic() < until_then:
                threading.Event().wait(0.05)
            assert standby.said("owner") is None
            assert len(read_ledgers(folder)) > before  # they were answered, one way or the other
            owner.process.send_signal(signal.SIGCONT)
            one.stop()
            two.stop()
            ended = monotonic()
            assert drained(folder, owner) == []
            assert owner.said("lost") is None
            standby.wait_for("owner")
            since = standby.said("owner") or 0.0
            reigns = [Reign("it", owner.said("owner") or 0.0, ended), Reign("next", since)]
            assert check_reigns(reigns) == []
            assert standby.stop() == 0


_FROZEN = (
    _LOAD
    + """
from callboard.persistence.gate import Gate
rt = build(Path("board.db"))
ledger = Ledger(Path("ledger/frozen"))
rt.tell("plain", Item("frozen-0"))
enter = Gate.__enter__
def stop(self):
    enter(self)
    os.write(1, b"in the gate\\n")
    os.kill(os.getpid(), signal.SIGSTOP)
    return self
Gate.__enter__ = stop
number = rt.tell("plain", Item("frozen-1"))
Gate.__enter__ = enter
ledger.write("told", "plain", "frozen-1", number=number)
say("told")
rt.stop()
"""
)


@pytest.mark.slow
@pytest.mark.parametrize("then", [signal.SIGCONT, signal.SIGKILL])
def test_a_client_stopped_in_the_write_gate_keeps_nobody_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch, then: signal.Signals
) -> None:
    """Others get StoreBusy; when it goes on, or ends, all that was told is handled."""
    monkeypatch.setattr(Gate.__init__, "__defaults__", (0.5,))
    rt, ledger = build(folder / STORE), Ledger(folder / "ledger" / "here")
    tell(rt, ledger, "here-0")
    with Owner(folder) as owner, ExitStack() as stack:
        owner.wait_for("work")
        client = stack.enter_context(Child(_FROZEN, cwd=folder))
        client.wait_for("in the gate")
        begun = monotonic()
        with pytest.raises(StoreBusy, match="a process that is stopped"):
            rt.tell("plain", Item("here-1"))
        ledger.write("refused", "plain", "here-1")
        assert 0.4 < monotonic() - begun < 2.0
        assert rt.peek("plain") is not None  # reading passes no gate
        client.process.send_signal(then)
        if then == signal.SIGCONT:
            client.wait_for("told")
            assert client.end() == 0
        else:
            client.kill()
        tell(rt, ledger, "here-2")
        rt.stop()
        assert drained(folder, owner) == []


_MIGRATING = (
    _LOAD
    + """
from callboard.persistence import migrations
real, count = migrations._statements, int(sys.argv[1])
def dying(script):
    for n, statement in enumerate(real(script)):
        if n == count:
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement
migrations._statements = dying
note = migrations._note
def last(*args):
    note(*args)
    os.kill(os.getpid(), signal.SIGKILL)  # all is written, and nothing is committed
migrations._note = last
own(Path("."), 0.0, True)
"""
)


def make_schema_1(path: Path, count: int) -> None:
    """Make the store that callboard's first schema left, with messages that wait."""
    old = sqlite3.connect(path, isolation_level=None)
    old.execute("PRAGMA journal_mode = WAL")
    migrations._run(old, "schema.sql")
    migrations._note(old, 1, 1)
    old.execute("INSERT INTO callboard_mailbox (id, name, declaration) VALUES (1, 'plain', '{}')")
    for number in range(1, count + 1):
        body = json.dumps({"tag": f"old-{number}", "key": "", "fails": 0}).encode()
        old.execute(
            "INSERT INTO callboard_message (number, mailbox, kind, version, body, told_at) "
            "VALUES (?, 1, 'Item', 1, ?, 0)",
            (number, body),
        )
    old.execute("UPDATE callboard_counter SET last = ?", (count,))
    old.close()


@pytest.mark.slow
def test_a_kill_in_a_migration_leaves_the_old_schema_and_the_next_start_does_it(
    folder: Path,
) -> None:
    make_schema_1(folder / STORE, 20)
    ledger = Ledger(folder / "ledger" / "old")
    for number in range(1, 21):
        ledger.write("told", "plain", f"old-{number}", number=number)
    script = Path(migrations.__file__).parent.joinpath("sql", "schema_2.sql").read_text()
    steps = len(migrations._statements(script))
    for step in (0, 1, steps // 2, steps - 1, steps):
        with Child(_MIGRATING, step, cwd=folder) as child:
            assert child.end() == -signal.SIGKILL, child.lines
        connection = sqlite3.connect(folder / STORE)
        assert migrations.schema_of(connection) == (1, 1)
        assert connection.execute("SELECT count(*) FROM callboard_message").fetchone() == (20,)
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()
    with Owner(folder) as owner:
        owner.wait_for("work")
        assert drained(folder, owner) == []
    connection = sqlite3.connect(folder / STORE)
    assert migrations.schema_of(connection) == (SCHEMA, MIN_CLIENT)
    connection.close()


_HEAVY = (
    _LOAD
    + """
rt, ledger = build(Path("board.db")), Ledger(Path("ledger", sys.argv[1]))
stop = threading.Event()
threading.Thread(target=lambda: (os.read(0, 1), stop.set()), daemon=True).start()
n = 0
while not stop.is_set():
    n += 1
    tag = sys.argv[1] + "-" + str(n)
    number = rt.tell("plain", Item(tag, key="x" * 200_000))
    ledger.write("told", "plain", tag, number=number)
rt.stop()
say("stopped")
"""
)


def interrupted(store: Path) -> bool:
    """Say whether a checkpoint has begun and not ended: it has copied some frames and not all."""
    raw = store.with_name(f"{store.name}-shm").read_bytes()
    (last,) = struct.unpack_from("=I", raw, 16)  # sqlite.org/walformat.html#walindex_header
    (copied,) = struct.unpack_from("=I", raw, 96)
    (tried,) = struct.unpack_from("=I", raw, 128)
    return bool(copied < min(last, tried))


@pytest.mark.slow
def test_a_kill_in_a_checkpoint_loses_nothing(folder: Path) -> None:
    """Only a checkpoint writes to the main file: whoever writes there is killed at once."""
    caught = 0
    with Child(_HEAVY, "heavy", cwd=folder) as client:
        for tries in range(25):
            if caught and tries > 1:
                break
            with Owner(folder) as owner:
                owner.wait_for("work")
                before = (folder / STORE).stat().st_mtime_ns
                end = monotonic() + 2 * CHILD_PATIENCE
                while (folder / STORE).stat().st_mtime_ns == before:
                    assert monotonic() < end, "no checkpoint"
                owner.kill()
            caught += interrupted(folder / STORE)
            connection = sqlite3.connect(f"file:{folder / STORE}?mode=ro", uri=True)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            connection.close()
        client.say("enough")
        client.wait_for("stopped")
        client.end()
    with Owner(folder) as owner:
        owner.wait_for("work")
        assert drained(folder, owner) == []
    assert caught, "no kill met a checkpoint that was under way"
