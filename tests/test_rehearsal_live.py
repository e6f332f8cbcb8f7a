"""Simulated turns in a living owner: everything else goes on, and nothing of them is stored."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    CallboardError,
    MailboxNotFound,
    MessageError,
    NotStarted,
    RemoteError,
    Runtime,
    StoreError,
    WorkerActor,
)
from callboard.repl import cli
from callboard.runtime import desk, stage

from .consoles import Call
from .test_rehearsal import content, living
from .wire_tools import answer, dial, frame, hung_up

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PATIENCE = 20.0


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Runtime]:
    with living(tmp_path / "board.db") as made:
        yield made


@pytest.fixture
def client(owner: Runtime) -> Iterator[Runtime]:
    """Make a Runtime without any code, as the console's is."""
    made = Runtime(owner._config.path)
    yield made
    made.stop()


def untouched_by(rt: Runtime, mailbox: str) -> str:
    """Return a hash of all that the store holds but for what one mailbox does."""
    with contextlib.closing(sqlite3.connect(rt._config.path)) as connection:
        (number,) = connection.execute(
            "SELECT id FROM callboard_mailbox WHERE name = ?", (mailbox,)
        ).fetchone()
        for table in ("message", "dead", "done", "told", "state"):
            connection.execute(f"DELETE FROM callboard_{table} WHERE mailbox = ?", (number,))  # noqa: S608
        connection.execute("DELETE FROM callboard_counter")
        lines = "\n".join(connection.iterdump())
        connection.rollback()
    return hashlib.sha256(lines.encode()).hexdigest()


@pytest.mark.parametrize("who", ["client", "owner"])
def test_the_owners_code_shows_what_a_message_would_do_and_nothing_is_stored(
    owner: Runtime, client: Runtime, who: str
) -> None:
    before = content(owner)
    client = owner if who == "owner" else client
    found = client.simulate("shop", {"bolt": 2}, key="paris")
    assert (found.outcome, found.result) == ("handled", 2)
    assert found.before == {"items": {"nut": 1}}
    assert found.after == {"items": {"nut": 1, "bolt": 2}}
    effects = client.simulate("busy", 7).effects
    assert [(each.does, each.to) for each in effects] == [
        ("tell", "mail"), ("cancel", "mail"), ("tell", "mail"), ("publish", "news"),
        ("execute", None),
    ]  # fmt: skip
    failed = client.simulate("shop", {"bolt": -1}, key="paris")
    assert failed.outcome == "failed: ValueError: bolt"
    assert "in on_receive" in str(failed.traceback)
    assert content(owner) == before
    assert owner.ask("shop", {"nut": 1}, key="paris") == 1  # its own object is as it was
    assert owner.state("shop", "paris").items == {"nut": 2}


@pytest.mark.parametrize("outcome", ["handled", "failed: ValueError"])
def test_its_object_is_another_one_that_is_started_and_stopped(
    owner: Runtime, client: Runtime, outcome: str
) -> None:
    life: list[str] = []

    class Desk(WorkerActor):
        def on_start(self) -> None:
            life.append("start")
            with pytest.raises(StoreError, match="writes nothing"):
                owner.restart("mail")  # by the living parts themselves, were it let

        def on_receive(self, message: int) -> None:
            life.append("runs")
            if outcome != "handled":
                raise ValueError(message)

        def on_stop(self) -> None:
            life.append("stop")
            owner.tell("mail", "bye")  # belongs to no turn: refused, and logged

    owner.mailbox("desk", Desk)
    before = content(owner)
    found = client.simulate("desk", 1)
    assert found.outcome.startswith(outcome)
    assert life == ["start", "runs", "stop"]
    assert found.effects == ()
    assert content(owner) == before


def test_while_others_are_handled_and_commit_a_simulated_turn_leaves_no_trace(
    owner: Runtime, client: Runtime
) -> None:
    stop, over, told = threading.Event(), threading.Event(), [1]
    passed = threading.Semaphore(0)

    @owner.mailbox("traffic", retain="1h")
    def traffic(n: int) -> None:
        passed.release()
        if stop.is_set():
            over.set()
        else:
            told[0] += 1
            owner.tell("traffic", n + 1)

    before = untouched_by(owner, "traffic")
    last = owner.stats().told
    owner.tell("traffic", 0)
    for turn in range(20):
        assert passed.acquire(timeout=PATIENCE)  # it goes on
        assert client.simulate("busy", turn).outcome == "handled"
        assert client.simulate("shop", {"nut": turn}, key="paris").outcome == "handled"
    stop.set()
    assert over.wait(PATIENCE)
    owner.ask("traffic", -1)  # answered when the last of them has committed
    assert owner.stats().handled >= told[0] >= 20
    assert untouched_by(owner, "traffic") == before
    assert owner.stats().told == last + told[0]  # no number was used for anything else


def _calls(owner: Runtime) -> list[Callable[[], Any]]:
    """Return what a handler may try that joins no turn, or joins one that has ended."""

    def transaction() -> None:
        with owner.transaction() as tx:
            tx.tell("mail", 1)

    return [
        lambda: owner.tell("mail", 1), transaction, lambda: owner.publish("news", 1),
        lambda: owner.ask("shop", {}, key="rome"), lambda: owner.pause("mail"),
        lambda: owner.restart("mail"), lambda: owner.reset_state("shop", "paris"),
        lambda: owner.audit("x"), lambda: owner.discard(1), owner.stop,
        lambda: asyncio.run(owner.tell_async("mail", 1)),
        lambda: asyncio.run(owner.ask_async("shop", {}, key="rome")),
        lambda: owner.mailbox("fresh", lambda _: None),
    ]  # fmt: skip


def _refused(calls: list[Callable[[], Any]]) -> int:
    count = 0
    for call in calls:
        try:
            call()
        except CallboardError:
            count += 1
    return count


def test_what_joins_no_turn_is_refused_in_its_thread_its_tasks_and_its_callers(
    owner: Runtime, client: Runtime
) -> None:
    refused: list[int] = []
    calls = _calls(owner)[3:10]

    @owner.mailbox("act")
    async def act(_: int) -> None:
        refused.append(await asyncio.to_thread(_refused, calls))

    @owner.mailbox("sync")
    def sync(_: int) -> None:
        refused.append(_refused(calls))

    before = content(owner)
    assert client.simulate("act", 1).outcome == "handled"
    assert client.simulate("sync", 1).outcome == "handled"
    assert refused == [len(calls)] * 2
    assert owner.role == "owner"
    assert content(owner) == before


def test_what_it_would_write_rides_along_with_nobody_elses_commit(
    owner: Runtime, client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, hold, held = owner._store.write, threading.Event(), threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        held.set()
        assert hold.wait(PATIENCE)
        return write(*args, **kwargs)

    @owner.mailbox("act")
    def act(_: int) -> None:
        with pytest.raises(StoreError, match="writes nothing"):
            owner.audit("x")

    monkeypatch.setattr(owner._store, "write", slow)
    leader = threading.Thread(target=lambda: owner.tell("mail", 1))
    leader.start()
    assert held.wait(PATIENCE)
    found = client.simulate("act", 1, timeout=5)  # at once, while the commit goes on
    hold.set()
    leader.join(PATIENCE)
    assert found.outcome == "handled"
    assert owner.audits() == []


def test_a_handler_that_hangs_is_left_after_its_time_and_everything_it_then_tries_is_refused(
    owner: Runtime, client: Runtime
) -> None:
    go, over = threading.Event(), threading.Event()
    refused: list[int] = []
    calls = _calls(owner)

    @owner.mailbox("slow")
    def slow(_: int) -> None:
        assert go.wait(PATIENCE)
        refused.append(_refused(calls))
        over.set()

    before = content(owner)
    found = client.simulate("slow", 1, timeout=0.05)
    assert found.outcome == "failed: TimeoutError: the handler did not end in 0.05 s"
    assert owner.ask("mail", 1) is None  # who is asked meanwhile answers
    go.set()
    assert over.wait(PATIENCE)
    assert refused == [len(calls)]
    assert owner.role == "owner"
    assert content(owner) == before


def test_a_coroutine_runs_on_the_loop_of_the_handlers_and_its_tasks_write_nothing(
    owner: Runtime, client: Runtime
) -> None:
    loops: list[object] = []
    go, over = threading.Event(), threading.Event()
    errors: list[BaseException] = []

    async def afterwards() -> None:
        await asyncio.to_thread(go.wait, PATIENCE)
        try:
            await owner.tell_async("mail", 2)
        except CallboardError as error:
            errors.append(error)
        over.set()

    @owner.mailbox("later")
    async def later(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        if n == 3:
            await owner.tell_async("mail", n)
            loops.append(asyncio.create_task(afterwards()))
        return n

    owner.ask("later", 1)
    before = content(owner)
    found = client.simulate("later", 3)
    assert (found.outcome, found.result) == ("handled", 3)
    assert [each.what for each in found.effects] == [3]
    assert loops[0] is loops[1]
    go.set()
    assert over.wait(PATIENCE)
    assert len(errors) == 1
    assert content(owner) == before


def test_a_coroutine_that_hangs_is_cancelled(owner: Runtime, client: Runtime) -> None:
    cancelled = threading.Event()

    @owner.mailbox("never")
    async def never(_: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    assert client.simulate("never", 1, timeout=0.05).outcome.startswith("failed: ")
    assert cancelled.wait(PATIENCE)


def test_replay_runs_a_message_of_the_store_in_the_owner(owner: Runtime, client: Runtime) -> None:
    owner.pause("mail")
    number = owner.tell("mail", "x")
    before = content(owner)
    found = client.replay(number)
    assert (found.mailbox, found.message, found.outcome) == ("mail", "x", "handled")
    assert content(owner) == before
    with pytest.raises(LookupError, match="nothing to replay"):
        client.replay(99_999)


def test_the_commands_ask_first_and_show_what_the_owner_has_found(
    owner: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    call = Call(owner._config.path, capsys)
    line = "simulate", "shop", '{"bolt": 2}', "--key", "paris"
    said = call(*line)
    assert said.code == cli.USAGE
    assert "does happen; say --yes" in said.err
    before = content(owner)
    shown = call(*line, "--yes", "--format", "table").out
    assert shown.startswith("handled; it took 0.0")
    assert '+    "bolt": 2' in shown
    assert content(owner) == before
    owner.pause("mail")
    number = owner.tell("mail", "x")
    before = content(owner)
    assert call("replay", str(number), "--yes").line["outcome"] == "handled"
    assert content(owner) == before


def test_the_owner_refuses_what_it_cannot_play(
    owner: Runtime, client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MessageError, match="is keyed"):
        client.simulate("shop", {})
    with pytest.raises(MailboxNotFound):
        client.simulate("nobody", 1)
    monkeypatch.setattr(desk, "LARGEST_MESSAGE", 100)
    with pytest.raises(MessageError, match="no frame can carry that"):
        client.simulate("mail", "x" * 100)
    owner.stop()
    with pytest.raises(LookupError, match="no owner runs that has it"):
        client.simulate("mail", 1)


def test_so_many_run_at_once_and_who_does_not_end_is_among_them(
    owner: Runtime, client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "MOST", 1)
    go = threading.Event()
    owner.mailbox("slow", lambda _: go.wait(PATIENCE) and None)
    ended = threading.Event()
    begun = stage.Stage._ended

    def told(self: stage.Stage) -> None:
        begun(self)
        ended.set()

    monkeypatch.setattr(stage.Stage, "_ended", told)
    client.simulate("slow", 1, timeout=0.02)
    with pytest.raises((CallboardError, RemoteError), match="1 simulated turns still run"):
        client.simulate("mail", 1)
    go.set()
    assert ended.wait(PATIENCE)
    assert client.simulate("mail", 1).outcome == "handled"


def test_an_owner_that_ends_meanwhile_is_said(owner: Runtime, client: Runtime) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        begun.set()
        go.wait(PATIENCE)

    owner.mailbox("slow", slow)

    def end() -> None:
        assert begun.wait(PATIENCE)
        owner.stop(timeout=0.1)

    ending = threading.Thread(target=end)
    ending.start()
    with pytest.raises(NotStarted, match="it has ended"):
        client.simulate("slow", 1)
    ending.join(PATIENCE)
    go.set()


@pytest.mark.parametrize("seconds", [0, -1, 1e300])
def test_a_frame_with_a_time_that_makes_no_sense_is_refused_and_the_connection_stays(
    owner: Runtime, seconds: float
) -> None:
    with dial(owner) as peer:
        said = {"verb": "rehearse", "mailbox": "mail", "kind": "json", "version": 1, "body": 1}
        peer.sendall(frame(**said, id=1, seconds=seconds))
        assert answer(peer)["verb"] == "failure"
        peer.sendall(frame(**said, id=2, seconds=5))
        assert answer(peer)["body"]["outcome"] == "handled"
        peer.sendall(frame(**said, id=3, seconds="x"))
        assert hung_up(peer)
