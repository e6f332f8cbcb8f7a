"""Several real processes on one store: owner, standby, clients, forks, signals and SIGKILL."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from callboard import Runtime, StoreBusy, StoreOwned
from callboard.clock import monotonic

from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

APP = """
import os, sys
from callboard import Runtime
rt = Runtime("board.db")
@rt.mailbox("work")
def work(n: int) -> None:
    os.write(1, b"got %d\\n" % n)
"""
OWNER = (
    APP + "rt.events.subscribe(lambda e: print('is owner', flush=True), 'owner.taken')\nrt.run()\n"
)


def test_what_was_told_survives_sigkill_and_is_handled_once(tmp_path: Path) -> None:
    app = """
    import sys
    from dataclasses import dataclass, field
    from callboard import Runtime, WorkerActor
    rt = Runtime("board.db")
    @dataclass
    class Sums:
        total: int = 0
        count: int = 0
    class Adder(WorkerActor):
        state: Sums
        def on_receive(self, n: int) -> None:
            self.state.total += n
            self.state.count += 1
    rt.mailbox("adder", Adder, keyed=lambda n: n % 3)
    handled = [0]
    def note(event):
        handled[0] += 1
        if handled[0] % 50 == 0:
            print("half", flush=True)
    # Told after the commit: a handler that had itself killed three times would be a dead letter.
    rt.events.subscribe(note, "message.handled")
    @rt.mailbox("numbers", workers=4)
    def numbers(n: int) -> None:
        rt.tell("adder", n)
    if sys.argv[1] == "tell":
        rt.tell_many("numbers", range(600))
    rt.run()
    """
    with Child(app, "tell", cwd=tmp_path) as child:
        child.wait_for("half")
    for _ in range(4):
        with Child(app, "go", cwd=tmp_path) as child:
            try:
                child.wait_for("half", timeout=0.4)
            except AssertionError:
                break
    rt = Runtime(tmp_path / "board.db")
    with Child(app, "go", cwd=tmp_path):
        until = monotonic() + 20
        while any(m.waiting for m in rt.mailboxes()):
            assert monotonic() < until
            threading.Event().wait(0.01)
    states = [rt.state("adder", key) for key in range(3)]
    rt.stop()
    assert sum(state["count"] for state in states) == 600
    assert sum(state["total"] for state in states) == sum(range(600))


@pytest.mark.alone
def test_a_client_tells_and_the_owner_handles_it_at_once(tmp_path: Path) -> None:
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("is owner")
        client = Runtime(tmp_path / "board.db")
        assert client.role == "client"
        client.tell("work", 0)
        owner.wait_for("got 0")
        waits = []
        for n in range(1, 40):
            begun = monotonic()
            client.tell("work", n)
            owner.wait_for(f"got {n}")
            waits.append(monotonic() - begun)
        client.stop()
        waits.sort()
        assert waits[len(waits) // 2] < 0.05  # 250 ms without the bell


@pytest.mark.alone
def test_a_standby_takes_over_within_a_second_of_the_owners_death(tmp_path: Path) -> None:
    tells_role = "rt.events.subscribe(lambda e: print('is', e['role'], flush=True), 'runtime.st')"
    standby = OWNER.replace("rt.run()", f"{tells_role}\nrt.run()")
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("is owner")
        with Child(standby, cwd=tmp_path) as second:
            second.wait_for("is standby")
            owner.kill()
            begun = monotonic()
            second.wait_for("is owner")
            assert monotonic() - begun < 1.0
            client = Runtime(tmp_path / "board.db")
            client.tell("work", 7)
            second.wait_for("got 7")
            client.stop()


def test_start_without_standby_on_an_owned_store_says_who_owns_it(tmp_path: Path) -> None:
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("is owner")
        rt = Runtime(tmp_path / "board.db")
        with pytest.raises(StoreOwned, match=str(owner.process.pid)):
            rt.start(standby=False)
        rt.start()
        assert rt.role == "standby"
        rt.tell("work", 3)  # a client meanwhile
        owner.wait_for("got 3")
        rt.stop()


def test_two_paths_to_one_file_cannot_both_own_it(tmp_path: Path) -> None:
    """The lock files differ; the epoch in the store stops the first owner."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = Runtime(tmp_path / "a" / "board.db")
    one.mailbox("work", lambda _n: None)
    one.start()
    os.link(tmp_path / "a" / "board.db", tmp_path / "b" / "board.db")
    for end in ("-wal", "-shm"):
        os.link(tmp_path / "a" / f"board.db{end}", tmp_path / "b" / f"board.db{end}")
    lost = threading.Event()
    one.events.subscribe(lambda _: lost.set(), "owner.lost")
    two = Runtime(tmp_path / "b" / "board.db")
    two.mailbox("work", lambda _n: None)
    two.start(standby=False)
    assert lost.wait(5)
    assert two.role == "owner"
    two.stop()
    one.stop()


def test_run_drains_on_sigterm(tmp_path: Path) -> None:
    app = (
        APP
        + """
import threading
@rt.mailbox("slow")
def slow(n: int) -> None:
    print("begun", flush=True)
    threading.Event().wait(0.5)
    print("ended", flush=True)
rt.tell("slow", 1)
rt.run()
print("left", rt.mailboxes()[0].waiting, flush=True)
"""
    )
    with Child(app, cwd=tmp_path) as child:
        child.wait_for("begun")
        child.process.send_signal(signal.SIGTERM)
        child.wait_for("ended")
        assert child.wait_for("left") == "left 0"
        assert child.end() == 0


def test_a_second_signal_ends_run_at_once(tmp_path: Path) -> None:
    app = (
        APP
        + """
import threading
@rt.mailbox("stuck")
def stuck(n: int) -> None:
    print("begun", flush=True)
    threading.Event().wait(60)
rt.tell("stuck", 1)
rt.events.subscribe(lambda e: None)
rt.run()
"""
    )
    with Child(app, cwd=tmp_path) as child:
        child.wait_for("begun")
        begun = monotonic()
        child.process.send_signal(signal.SIGINT)
        threading.Event().wait(0.3)
        child.process.send_signal(signal.SIGINT)
        assert child.end() == 130
        assert monotonic() - begun < 5


def test_a_message_that_kills_its_process_three_times_is_a_dead_letter(tmp_path: Path) -> None:
    app = """
    import os
    from callboard import Runtime
    rt = Runtime("board.db")
    @rt.mailbox("work")
    def work(n: int) -> None:
        if n == 13:
            os.kill(os.getpid(), 9)
        print("got", n, flush=True)
    rt.run()
    """
    rt = Runtime(tmp_path / "board.db")
    rt.mailbox("work", lambda _n: None)
    unlucky = rt.tell("work", 13)
    rt.tell("work", 14)
    for _ in range(3):
        with Child(app, cwd=tmp_path) as child:
            assert child.end() == -signal.SIGKILL
    with Child(app, cwd=tmp_path) as child:
        child.wait_for("got 14")
    (letter,) = rt.dead()
    assert letter.id == unlucky
    assert "died 3 times" in letter.error
    rt.stop()


def test_a_forked_child_is_a_client_and_the_owner_goes_on(tmp_path: Path) -> None:
    app = (
        APP
        + """
rt.start()
rt.tell("work", 1)
pid = os.fork()
if pid == 0:
    assert rt.role == "client", rt.role
    rt.tell("work", 2)
    os._exit(0)
_, status = os.waitpid(pid, 0)
os.write(1, b"child %d\\n" % status)
rt.tell("work", 3)
import threading
threading.Event().wait(2)
rt.stop()
print("stopped", flush=True)
"""
    )
    with Child(app, cwd=tmp_path) as child:
        assert child.wait_for("child") == "child 0"
        child.wait_for("stopped")
        assert sorted(line for line in child.lines if line.startswith("got")) == [
            "got 1",
            "got 2",
            "got 3",
        ]


def test_the_lock_is_free_when_the_owner_ends_while_a_forked_child_lives(tmp_path: Path) -> None:
    app = (
        APP
        + """
rt.start()
pid = os.fork()
if pid == 0:
    os.write(1, b"child up\\n")
    os.read(0, 1)
    os._exit(0)
import threading
threading.Event().wait(60)
"""
    )
    with Child(app, cwd=tmp_path) as child:
        child.wait_for("child up")
        child.process.send_signal(signal.SIGKILL)
        child.process.wait(10)
        rt = Runtime(tmp_path / "board.db")
        rt.start(standby=False)
        assert rt.role == "owner"
        rt.stop()
        child.say("the forked child may end now")


def test_a_stopped_owner_keeps_no_client_waiting_for_ever(tmp_path: Path) -> None:
    """The gate is free between its transactions; stopped inside one, clients get StoreBusy."""
    with Child(OWNER, cwd=tmp_path) as owner:
        owner.wait_for("is owner")
        client = Runtime(tmp_path / "board.db")
        client.tell("work", 1)
        owner.wait_for("got 1")
        until = monotonic() + 10
        while client.mailboxes()[0].waiting and monotonic() < until:
            threading.Event().wait(0.01)
        owner.process.send_signal(signal.SIGSTOP)
        begun = monotonic()
        try:
            number = client.tell("work", 2)
        except StoreBusy:
            number = 0
        assert monotonic() - begun < 7
        owner.process.send_signal(signal.SIGCONT)
        if number:
            owner.wait_for("got 2")
        client.stop()
