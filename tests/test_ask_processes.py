"""Asks from clients and standbys to the owner in another process, over its socket."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    ActorStopped,
    AskTimeout,
    MailboxNotFound,
    MessageError,
    NotStarted,
    RemoteError,
    Runtime,
    message,
)
from callboard.clock import monotonic

from .processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 20.0
OWNER = """
import os, sys, threading
from dataclasses import dataclass, field
from callboard import MailboxNotFound, Reject, Runtime, WorkerActor, message
rt = Runtime("board.db")
@dataclass
class Total:
    n: int = 0
@message("test.bill")
@dataclass
class Bill:
    total: int
class Odd(Exception):
    pass
class Adder(WorkerActor):
    state: Total
    def on_receive(self, n: int) -> int:
        self.state.n += n
        return self.state.n
rt.mailbox("adder", Adder, keyed=True)
@rt.mailbox("bills")
def bills(n: int) -> Bill:
    return Bill(n)
@rt.mailbox("raises")
def raises(kind: str) -> None:
    if kind == "odd":
        raise Odd("very", 3)
    if kind == "exit":
        raise SystemExit(3)
    if kind == "reject":
        raise Reject("no")
    if kind == "system":
        raise FileNotFoundError(2, "No such file", "x.txt")
    raise KeyError(kind)
@rt.mailbox("slow")
def slow(n: int) -> int:
    os.write(1, b"begun %d\\n" % n)
    threading.Event().wait(n / 1000)
    return n
@rt.mailbox("big")
def big(n: int) -> str:
    return "x" * n
rt.events.subscribe(lambda e: os.write(1, b"is owner\\n"), "owner.taken")
rt.events.subscribe(lambda e: os.write(1, b"is %s\\n" % e["role"].encode()), "runtime.st")
rt.run()
os.write(1, b"ended\\n")
"""


@message("test.bill")
@dataclass
class Bill:
    total: int


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Child]:
    with Child(OWNER, cwd=tmp_path) as child:
        child.wait_for("is owner")
        yield child


@pytest.fixture(params=["client", "standby"])
def rt(request: pytest.FixtureRequest, owner: Child, tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    if request.param == "standby":
        made.start()
    assert made.role == request.param
    yield made
    made.stop(timeout=1.0)


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def test_the_owner_answers(rt: Runtime) -> None:
    assert rt.ask("adder", 4, key="a") == 4
    assert rt.ref("adder", "a").ask(1) == 5
    assert rt.state("adder", "a") == {"n": 5}

    @rt.mailbox("bills")
    def bills(n: int) -> Bill:
        raise AssertionError(n)

    assert rt.ask(bills, 3) == Bill(3)
    assert rt.ask("big", 5_000_000) == "x" * 5_000_000


def test_what_was_told_before_goes_before(rt: Runtime) -> None:
    """Also when the owner has not looked yet, and nobody has rung its bell."""
    rt._host._ringer.ring = lambda: None  # type: ignore[method-assign]
    for n in range(1, 60):
        rt.tell("adder", 1, key="a")
        assert rt.ask("adder", 0, key="a") == n


def test_many_tasks_and_threads_share_the_line(rt: Runtime) -> None:
    async def main() -> list[Any]:
        return await asyncio.gather(
            *(rt.ask_async("adder", 1, key=n % 7, timeout=PATIENCE) for n in range(100))
        )

    threads = [in_thread(lambda n=n: rt.ask("adder", 1, key=n % 7)) for n in range(20)]
    assert len(asyncio.run(main())) == 100
    for thread, found in threads:
        thread.join(PATIENCE)
        assert isinstance(found[0], int)
    assert sum(rt.state("adder", key)["n"] for key in range(7)) == 120


def test_its_error_comes_over_where_it_can_be_rebuilt(rt: Runtime) -> None:
    with pytest.raises(KeyError) as caught:
        rt.ask("raises", "it")
    assert caught.value.args == ("it",)
    assert "in raises" in caught.value.__notes__[0]
    with pytest.raises(FileNotFoundError, match=r"x\.txt"):
        rt.ask("raises", "system")
    from callboard import Reject

    with pytest.raises(Reject, match="no"):
        rt.ask("raises", "reject")
    with pytest.raises(RemoteError, match=r"__main__\.Odd: \('very', 3\)") as wrapped:
        rt.ask("raises", "odd")
    assert wrapped.value.kind == "__main__.Odd"
    assert "raise Odd" in wrapped.value.trace or "in raises" in wrapped.value.trace
    with pytest.raises(RemoteError, match="SystemExit: 3"):
        rt.ask("raises", "exit")


def test_what_the_owner_does_not_know_is_refused(rt: Runtime) -> None:
    with pytest.raises(MailboxNotFound):
        rt.ask("nobody", 1)
    rt.mailbox("mine", lambda n: n)
    with pytest.raises(MailboxNotFound, match="mine"):  # it would wait for ever
        rt.ask("mine", 1)
    with pytest.raises(MessageError, match="keyed"):
        rt.ask("adder", 1)
    with pytest.raises(MessageError, match="accept"):
        rt.ask("adder", "no number", key="a")


def test_a_timeout_takes_it_back(rt: Runtime, owner: Child) -> None:
    thread, found = in_thread(lambda: rt.ask("slow", 400))
    owner.wait_for("begun")
    with pytest.raises(AskTimeout):
        rt.ask("slow", 1, timeout=0.05)
    thread.join(PATIENCE)
    assert found == [400]
    assert rt.ask("slow", 2) == 2
    owner.wait_for("begun 2")
    assert "begun 1" not in owner.lines


def test_the_owners_death_answers_at_once(rt: Runtime, owner: Child) -> None:
    calls = [in_thread(lambda: rt.ask("slow", 60_000, timeout=60)) for _ in range(3)]
    owner.wait_for("begun")
    begun = monotonic()
    owner.kill()
    for thread, found in calls:
        thread.join(PATIENCE)
        assert isinstance(found[0], ActorStopped)
    assert monotonic() - begun < 5


def test_the_owners_stop_answers_too(rt: Runtime, owner: Child) -> None:
    running = in_thread(lambda: rt.ask("slow", 700))
    owner.wait_for("begun")
    waiting = in_thread(lambda: rt.ask("slow", 1, timeout=PATIENCE))
    assert rt.ask("adder", 1, key="a") == 1  # by now it is there
    owner.process.send_signal(signal.SIGTERM)
    running[0].join(PATIENCE)
    waiting[0].join(PATIENCE)
    assert running[1] == [700]  # a handler that ends in time is answered
    assert isinstance(waiting[1][0], ActorStopped)
    owner.wait_for("ended")


def test_nobody_owns_the_store(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "board.db")
    rt.mailbox("adder", lambda n: n)
    begun = monotonic()
    with pytest.raises(NotStarted, match=r"nobody owns .*board\.db"):
        rt.ask("adder", 1)

    async def main() -> None:
        with pytest.raises(NotStarted):
            await rt.ask_async("adder", 1)

    asyncio.run(main())
    assert monotonic() - begun < 2
    rt.stop()


def test_a_standby_that_has_taken_over_answers_itself(owner: Child, tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "board.db")
    rt.mailbox("adder", lambda n: -n, keyed=True)
    taken = threading.Event()
    rt.events.subscribe(lambda _: taken.set(), "owner.taken")
    rt.start()
    assert rt.ask("adder", 5, key="a") == 5
    owner.kill()
    assert taken.wait(PATIENCE)
    until = monotonic() + PATIENCE
    while rt.role != "owner":
        assert monotonic() < until
    assert rt.ask("adder", 5, key="a") == -5
    rt.stop()


def test_a_client_finds_the_next_owner(owner: Child, tmp_path: Path) -> None:
    client = Runtime(tmp_path / "board.db")
    assert client.ask("adder", 1, key="a") == 1
    with Child(OWNER, cwd=tmp_path) as second:
        second.wait_for("is standby")
        owner.kill()
        second.wait_for("is owner")
        assert client.ask("adder", 1, key="a") == 2
    client.stop()


def test_a_forked_child_asks_on_a_line_of_its_own(owner: Child, tmp_path: Path) -> None:
    app = """
    import os
    from callboard import Runtime
    rt = Runtime("board.db")
    os.write(1, b"parent %d\\n" % rt.ask("adder", 1, key="f"))
    pid = os.fork()
    if pid == 0:
        os.write(1, b"child %d\\n" % rt.ask("adder", 1, key="f"))
        os._exit(0)
    os.waitpid(pid, 0)
    os.write(1, b"again %d\\n" % rt.ask("adder", 1, key="f"))
    rt.stop()
    """
    with Child(app, cwd=tmp_path) as child:
        assert child.wait_for("parent") == "parent 1"
        assert child.wait_for("child") == "child 2"
        assert child.wait_for("again") == "again 3"
        assert child.end() == 0
