"""The living owner seen from other runtimes: its tree, its events, its turns as they end."""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import NotStarted, Runtime
from callboard.repl import cli
from callboard.runtime import desk, line

from .consoles import Call

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard import ActorInfo

PATIENCE = 20.0


class Gate:
    """A handler that says when it runs, and goes on when it may."""

    def __init__(self) -> None:
        self.runs, self.go = threading.Event(), threading.Event()

    def __call__(self, _: int) -> None:
        self.runs.set()
        assert self.go.wait(PATIENCE)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def rt(tmp_path: Path, gate: Gate) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    made.mailbox("gate", gate)
    made.mailbox("mail", lambda _: None)

    @made.mailbox("relay")
    def relay(n: int) -> None:
        if n < 0:
            raise ValueError("below zero")
        for _ in range(n):
            made.tell("mail", n)

    made.start()
    yield made
    gate.go.set()
    made.stop(timeout=1.0)


@pytest.fixture
def client(rt: Runtime) -> Iterator[Runtime]:
    made = Runtime(rt._config.path)
    yield made
    made.stop()


def named(actor: ActorInfo, name: str) -> ActorInfo:
    found = [actor] if actor.name == name else []
    for each in actor.children:
        found += [below for below in (named_or_none(each, name),) if below is not None]
    assert found, name
    return found[0]


def named_or_none(actor: ActorInfo, name: str) -> ActorInfo | None:
    try:
        return named(actor, name)
    except AssertionError:
        return None


def test_a_client_sees_what_a_blocked_worker_runs_and_since_when(
    rt: Runtime, client: Runtime, gate: Gate
) -> None:
    number = client.tell("gate", 1)
    assert gate.runs.wait(PATIENCE)
    (worker,) = named(client.tree(), "gate").children
    assert (worker.state, worker.message) == ("running", number)
    assert worker.since is not None
    assert worker.since.tzinfo is not None
    assert client.tree() == rt.tree()


def test_where_nobody_owns_the_store_the_tree_is_what_is_declared(
    rt: Runtime, client: Runtime, gate: Gate
) -> None:
    gate.go.set()
    rt.stop()
    assert named(client.tree(), "mail").state == "declared"


def test_an_owner_that_does_not_answer_is_not_waited_for(
    client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.Desk, "_look", lambda *_: None)
    monkeypatch.setattr("callboard.runtime.host._GLANCE", 0.05)
    assert named(client.tree(), "mail").state == "declared"


def test_an_owner_that_ends_answers_who_looks(
    rt: Runtime, client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()
    monkeypatch.setattr(desk.Desk, "_look", lambda *_: asked.set())
    found: list[bytes | None] = []
    thread = threading.Thread(target=lambda: found.append(client._host.line.look(PATIENCE)))
    thread.start()
    assert asked.wait(PATIENCE)
    rt.stop()
    thread.join(PATIENCE)
    assert found == [None]
    assert not client._host.line._shows
    assert isinstance(client._host.line, line.Line)


def test_a_client_hears_the_owners_events_by_prefix(client: Runtime) -> None:
    with client.watch("message.") as feed:
        number = client.tell("relay", 1)
        names = []
        for event in feed:
            names.append(event.name)
            if event.name == "message.handled" and event["mailbox"] == "mail":
                break
        assert names[0] == "message.told"
        assert number < event["id"]
        assert all(name.startswith("message.") for name in names)


def test_the_owner_hears_its_own_events(rt: Runtime) -> None:
    with rt.watch("mailbox.paused") as feed:
        rt.pause("mail")
        assert next(feed).name == "mailbox.paused"


def test_nobody_watches_where_nobody_owns_the_store(rt: Runtime, client: Runtime) -> None:
    rt.stop()
    with pytest.raises(NotStarted), client.watch():
        pass


def test_events_that_come_too_fast_are_left_out_and_counted(
    rt: Runtime, client: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_EVENTS", 10)
    now = [0.0]
    monkeypatch.setattr(desk, "monotonic", lambda: now[0])
    now[0] = 5.0
    with client.watch("message.told") as feed:
        rt.tell_many("mail", [0] * 30)
        found = [next(feed)["id"] for _ in range(10)]
        assert rt.events.flush(PATIENCE)
        now[0] = 6.0
        rt.tell("mail", 0)
        assert next(feed)["id"] == found[0] + 30
        assert feed.dropped == 20


def test_nothing_is_emitted_for_who_watches_no_more(rt: Runtime, client: Runtime) -> None:
    with client.watch("message.told"):
        assert rt.events.flow
    with client.watch("owner."):  # frames are served in order: the other is over
        assert not rt.events.flow


def run(client: Runtime, capsys: pytest.CaptureFixture[str], *words: str) -> list[Any]:
    said = Call(client._config.path, capsys)(*words)
    assert said.code == cli.OK, said.err
    return said.lines


class Later:
    """Acts as soon as the owner is watched."""

    def __init__(self, rt: Runtime, *tells: tuple[str, int]) -> None:
        self.rt, self.tells = rt, tells
        self.begun = rt._host.hub.watch

    def __call__(self, prefix: str, sink: Any) -> Any:
        off = self.begun(prefix, sink)
        for mailbox, n in self.tells:
            self.rt.tell(mailbox, n)
        return off


def test_trace_shows_turns_as_they_end(
    rt: Runtime, client: Runtime, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rt._host.hub, "watch", Later(rt, ("relay", 2), ("mail", 0), ("relay", -1)))
    first, second = run(client, capsys, "trace", "relay", "--max", "2")
    assert (first["outcome"], len(first["told"]), first["error"]) == ("handled", 2, None)
    assert (second["outcome"], second["told"]) == ("failed", [])
    assert "below zero" in second["error"]
    assert first["took"] >= 0


def test_tail_follows_one_mailbox_and_errors_alone(
    rt: Runtime, client: Runtime, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rt._host.hub, "watch", Later(rt, ("mail", 1), ("relay", -1)))
    (event,) = run(client, capsys, "tail", "--errors", "-f", "--max", "1")
    assert (event["event"], event["mailbox"]) == ("message.failed", "relay")
    events = run(client, capsys, "tail", "mail", "-f", "--max", "2")
    assert {each["mailbox"] for each in events} == {"mail"}


def test_tree_on_the_command_line_shows_depth_and_what_runs(
    client: Runtime, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    number = client.tell("gate", 1)
    client.tell("gate", 2)
    assert gate.runs.wait(PATIENCE)
    lines = run(client, capsys, "tree")
    (box,) = [each for each in lines if each["actor"].strip() == "gate"]
    assert (box["depth"], box["state"]) == (2, "running")
    assert number in [each["runs"] for each in lines]


def test_show_says_what_an_actor_runs_and_since_when(
    client: Runtime, gate: Gate, capsys: pytest.CaptureFixture[str]
) -> None:
    number = client.tell("gate", 1)
    client.tell("gate", 2)
    assert gate.runs.wait(PATIENCE)
    (box,) = run(client, capsys, "show", "gate")
    assert (box["state"], box["waiting"], box["runs"]) == ("running", 2, [number])
    assert box["since"].endswith("Z")


def test_status_counts_what_the_owner_has_handled_whoever_asks(
    rt: Runtime, client: Runtime, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rt.ask("mail", 1) is None
    before = rt.stats().handled
    with client.watch("message.handled") as feed:
        client.tell("mail", 2)
        next(feed)
    (status,) = run(client, capsys, "status")
    assert status["handled"] == before + 1
    assert status["failed"] == 0
    assert "role" not in status


def test_for_people_each_event_is_a_line_with_milliseconds_and_nothing_empty(
    rt: Runtime, client: Runtime, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(rt._host.hub, "watch", Later(rt, ("mail", 1)))
    words = "tail", "mail", "-f", "--max", "2", "--format", "table"
    told, handled = Call(client._config.path, capsys)(*words).out.splitlines()
    at = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}Z"
    assert re.fullmatch(rf"message\.told  {at}  mailbox=mail  id=\d+  kind=json", told)
    assert re.search(r"id=\d+  took=\d\.\d{3}$", handled)


def test_top_counts_what_is_handled_and_fails_between_two_looks(
    client: Runtime, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def happens(event: str, mailbox: str, n: int) -> None:
        with client.watch(event) as feed:
            client.tell(mailbox, n)
            next(feed)

    def meanwhile(_: float) -> None:
        happens("message.failed", "relay", -1)
        happens("message.handled", "mail", 1)

    now = iter((0.0, 2.0))
    happens("message.handled", "mail", 1)  # before the first look: not counted
    monkeypatch.setattr("callboard.repl.commands_looking.sleep", meanwhile)
    monkeypatch.setattr("callboard.repl.commands_looking.monotonic", lambda: next(now))
    found = {each["name"]: each for each in run(client, capsys, "top", "--by", "errors")}
    assert next(iter(found)) == "relay"
    assert found["relay"]["errors"] >= 0.5  # its retry may have failed too
    assert (found["mail"]["rate"], found["mail"]["errors"]) == (0.5, 0)


def test_an_owner_that_does_not_answer_has_no_rates(
    client: Runtime, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk.Desk, "_look", lambda *_: None)
    monkeypatch.setattr("callboard.runtime.host._GLANCE", 0.05)
    assert cli.main(["-s", str(client._config.path), "top", "--by", "rate"]) != cli.OK
    assert "does not answer" in capsys.readouterr().err
