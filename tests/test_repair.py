"""Repairs: actors started anew, and state written by hand, by the owner and by clients."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    CallboardError,
    ConfigError,
    MailboxNotFound,
    MessageError,
    Runtime,
    WorkerActor,
)
from callboard.actors.mail import Blocked
from callboard.actors.worker_cell import WorkerCell
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 10.0


@dataclass
class Total:
    n: int = 0


class Adder(WorkerActor):
    state: Total

    def on_receive(self, n: int) -> int:
        self.state.n += n
        return self.state.n


@pytest.fixture
def adders(board: Board) -> Board:
    board.rt.mailbox("adder", Adder, keyed=True)
    board.start()
    return board


@pytest.fixture
def client(adders: Board) -> Iterator[Runtime]:
    made = Runtime(adders.rt._config.path)
    made.mailbox("adder", Adder, keyed=True)
    yield made
    made.stop()


def spoil(board: Board, *keys: str) -> None:
    """Have the state of keys (k) be what no code can load, and their actors faulted."""
    keys = keys or ("k",)
    for key in keys:
        board.rt.tell("adder", 1, key=key)
    board.settle()
    connection: Any = board.rt._store._connection
    connection.execute("UPDATE callboard_state SET body = CAST('{' AS BLOB)")
    board.crash()
    for key in keys:
        board.rt.tell("adder", 5, key=key)
    board.settle()
    assert states(board.rt) == dict.fromkeys(keys, "faulted")


def states(rt: Runtime) -> dict[str, str]:
    """Return the state of each keyed actor that the tree shows."""
    (adder,) = (m for m in rt.tree().children[-1].children if m.name == "adder")
    return {each.name: each.state for each in adder.children if each.kind == "actor"}


def looks(board: Board) -> None:
    """Have the owner look at what clients have written, as it does four times a second."""
    engine = board.rt._host.engine
    assert engine is not None
    engine.pulse()
    board.settle()


@pytest.mark.parametrize("state", [Total(10), {"n": 10}])
def test_a_faulted_actor_goes_on_with_a_new_state(adders: Board, state: Any) -> None:
    spoil(adders)
    adders.rt.set_state("adder", state, key="k")
    adders.settle()
    assert adders.rt.state("adder", "k") == Total(15)
    assert states(adders.rt) == {}


def test_a_faulted_actor_goes_on_without_its_state(adders: Board) -> None:
    spoil(adders)
    adders.rt.reset_state("adder", "k")
    adders.settle()
    assert adders.rt.state("adder", "k") == Total(5)


def test_a_restart_of_a_state_that_is_still_broken_faults_it_again(adders: Board) -> None:
    spoil(adders)
    adders.rt.restart("adder", "k")
    adders.settle()
    assert states(adders.rt) == {"k": "faulted"}
    connection: Any = adders.rt._store._connection
    connection.execute("""UPDATE callboard_state SET body = CAST('{"n": 2}' AS BLOB)""")
    adders.rt.restart("adder", "k")
    adders.settle()
    assert adders.rt.state("adder", "k") == Total(7)


def test_a_living_actor_takes_up_the_state_that_was_written(adders: Board) -> None:
    adders.rt.tell("adder", 1, key="k")
    adders.settle()
    adders.rt.set_state("adder", Total(100), "k")
    adders.rt.tell("adder", 1, key="k")
    adders.settle()
    assert adders.rt.state("adder", "k") == Total(101)


def test_a_turn_that_ran_on_the_old_state_runs_again_on_the_new_one(board: Board) -> None:
    entered, go = threading.Event(), threading.Event()
    runs: list[int] = []

    class Slow(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> None:
            runs.append(self.state.n)
            entered.set()
            assert go.wait(PATIENCE)
            self.state.n += n

    rt = board.rt
    rt.mailbox("slow", Slow)
    with board:
        rt.tell("slow", 1)
        rt.tell("slow", 2)
        assert entered.wait(PATIENCE)
        rt.set_state("slow", Total(100))
        assert rt.state("slow") == Total(100)
        go.set()
        board.settle()
        assert rt.state("slow") == Total(103)
    assert runs == [0, 100, 101]


def test_an_actor_is_not_loaded_while_its_state_is_written(adders: Board) -> None:
    rt = adders.rt
    engine = rt._host.engine
    assert engine is not None
    mailbox: Any = engine.mailbox("adder")
    with mailbox.recovery.editing("k"):
        rt.tell("adder", 1, key="k")
        rt.tell("adder", 1, key="l")
        adders.settle()
        assert rt.state("adder", "l") == Total(1)
        assert rt.mailboxes()[0].waiting == 1
    adders.settle()
    assert rt.state("adder", "k") == Total(1)


def test_what_was_taken_before_the_state_is_written_loads_nothing_until_then(
    adders: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go = threading.Event(), threading.Event()
    find = WorkerCell._activation

    def slowly(cell: WorkerCell, message: Any) -> Any:
        entered.set()
        assert go.wait(PATIENCE)
        return find(cell, message)

    monkeypatch.setattr(WorkerCell, "_activation", slowly)
    rt = adders.rt
    rt.tell("adder", 1, key="k")
    assert entered.wait(PATIENCE)
    engine = rt._host.engine
    assert engine is not None
    mailbox: Any = engine.mailbox("adder")
    with mailbox.recovery.editing("k"):
        go.set()
        mailbox.post(Blocked("k", None))  # as a retry of that key does whose turn was void
        adders.settle()
        assert mailbox.window.is_blocked("k")
        assert rt.mailboxes()[0].waiting == 1
    adders.settle()
    assert rt.state("adder", "k") == Total(1)


def test_two_broken_states_are_two_faulted_actors_and_no_failed_supervisor(adders: Board) -> None:
    failed: list[Any] = []
    adders.rt.events.subscribe(failed.append, "supervisor.failed")
    spoil(adders, "k", "l")
    adders.advance("1m")
    assert states(adders.rt) == {"k": "faulted", "l": "faulted"}
    assert failed == []


def test_a_client_s_repair_is_done_by_the_owner(adders: Board, client: Runtime) -> None:
    spoil(adders)
    client.set_state("adder", Total(10), "k")
    assert states(adders.rt) == {"k": "faulted"}
    looks(adders)
    assert client.state("adder", "k") == Total(15)
    adders.rt.tell("adder", 1, key="k")
    adders.settle()
    looks(adders)  # done once
    assert client.state("adder", "k") == Total(16)
    client.reset_state("adder", "k")
    looks(adders)
    assert client.state("adder", "k") == Total(0)
    assert adders.rt._store.notes() == []


def test_the_owner_sees_a_client_s_note_by_itself(adders: Board, client: Runtime) -> None:
    repaired = threading.Event()
    adders.rt.events.subscribe(lambda _: repaired.set(), "actor.repaired")
    client.set_state("adder", Total(10), "k")
    assert repaired.wait(PATIENCE)
    assert client.state("adder", "k") == Total(10)


def test_a_client_s_restart_is_done_by_the_owner(adders: Board, client: Runtime) -> None:
    spoil(adders)
    connection: Any = adders.rt._store._connection
    connection.execute("""UPDATE callboard_state SET body = CAST('{"n": 2}' AS BLOB)""")
    client.restart("adder", "k")
    looks(adders)
    assert client.state("adder", "k") == Total(7)


def test_notes_of_before_the_start_are_done_before_any_turn(adders: Board, client: Runtime) -> None:
    rt = adders.rt
    rt.tell("adder", 1, key="k")
    adders.settle()
    rt.stop()
    client.set_state("adder", Total(10), "k")
    client.set_state("adder", Total(20), "k")
    client.restart("adder")
    client.tell("adder", 1, key="k")
    adders.start()
    adders.settle()
    looks(adders)
    assert rt.state("adder", "k") == Total(21)
    assert rt._store.notes() == []


def test_a_note_of_another_version_is_dropped_with_a_warning(
    adders: Board, client: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    from callboard.persistence.store import Note, Unit

    client._host.committer.commit(Unit(ops=[Note('{"verb": "dance"}')]))
    looks(adders)
    assert "dance" in caplog.text
    assert adders.rt._store.notes() == []


def test_a_restart_of_a_mailbox_renews_every_actor(board: Board) -> None:
    lines: list[str] = []

    class Worker(WorkerActor):
        def on_start(self) -> None:
            lines.append("starts")

        def on_receive(self, message: str) -> None:
            lines.append(message)

        def on_stop(self) -> None:
            lines.append("stops")

    rt = board.rt
    group = rt.supervisor("group")
    rt.mailbox("jobs", Worker, supervisor=group)
    with board:
        rt.tell("jobs", "1")
        board.settle()
        rt.restart("jobs")
        board.settle()
        assert lines == ["starts", "1", "stops"]
        rt.tell("jobs", "2")
        board.settle()
        assert lines == ["starts", "1", "stops", "starts", "2"]
        rt.restart(group)
        board.settle()
        rt.tell("jobs", "3")
        board.settle()
        assert lines[5:] == ["stops", "starts", "3"]


def test_a_mailbox_whose_handlers_never_ended_goes_on_after_a_restart(board: Board) -> None:
    go = threading.Event()
    seen: list[str] = []

    def work(message: str) -> None:
        if message == "stuck":
            go.wait(PATIENCE)
        seen.append(message)

    rt = board.rt
    faulted = threading.Event()
    rt.events.subscribe(lambda _: faulted.set(), "mailbox.faulted")
    rt.mailbox("jobs", work, timeout=0.05)
    with board:
        rt.tell("jobs", "stuck")
        assert faulted.wait(PATIENCE)
        rt.tell("jobs", "next")
        board.settle()
        assert seen == []
        rt.restart("jobs")
        board.settle()
        assert seen == ["next"]
        go.set()


def test_what_cannot_be_repaired_is_refused(adders: Board, client: Runtime) -> None:
    rt = adders.rt
    group = rt.supervisor("group")
    rt.mailbox("plain", print)
    for each in (rt, client):
        with pytest.raises(MessageError, match="is keyed"):
            each.set_state("adder", Total(1))
        with pytest.raises(MessageError, match="adder"):
            each.set_state("adder", {"n": "many"}, "k")
        with pytest.raises(MailboxNotFound):
            each.reset_state("nobody")
        with pytest.raises(MailboxNotFound):
            each.restart("nobody")
    with pytest.raises(MessageError, match="not keyed"):
        rt.restart("plain", "k")
    with pytest.raises(MessageError, match="no state"):
        rt.set_state("plain", 1)
    with pytest.raises(ConfigError, match="no keys"):
        rt.restart(group, "k")


def test_a_repair_inside_a_handler_is_refused(board: Board) -> None:
    errors: list[str] = []

    def work(_: str) -> None:
        try:
            board.rt.restart("jobs")
        except CallboardError as error:
            errors.append(str(error))

    board.rt.mailbox("jobs", work)
    with board:
        board.rt.tell("jobs", "1")
        board.settle()
    assert len(errors) == 1
    assert "inside a handler" in errors[0]
