"""Simulated turns: what they show, and that the store is the same afterwards, whatever they do."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    CallboardError,
    ConfigError,
    Context,
    MessageError,
    Reject,
    RetryLater,
    Runtime,
    WorkerActor,
)
from callboard.repl import cli

from .imports import at_hand

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Stock:
    items: dict[str, int] = field(default_factory=dict)


class Shop(WorkerActor):
    state: Stock

    def on_receive(self, message: dict[str, int]) -> int:
        for name, count in message.items():
            if count < 0:
                raise ValueError(name)
            self.state.items[name] = self.state.items.get(name, 0) + count
        return len(self.state.items)


def declare(rt: Runtime) -> None:
    rt.mailbox("shop", Shop, keyed=True, retain="7d")
    rt.mailbox("mail", lambda _: None, topics=("news",))

    @rt.mailbox("busy")
    def busy(n: int, context: Context) -> str:
        rt.tell("mail", n, after=60, id="reminder")
        rt.cancel("mail", "other")
        rt.publish("news", n)
        context.execute("INSERT INTO mine VALUES (?)", (n,), expect=1)
        context.progress(0.5, "half")
        return "done"


@contextlib.contextmanager
def living(path: Path) -> Iterator[Runtime]:
    """Run an owner that has these mailboxes, a table of its user's, and one cart."""
    made = Runtime(path)
    declare(made)
    made.start()
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE mine (n)")
    made.ask("shop", {"nut": 1}, key="paris")
    yield made
    made.stop(timeout=1.0)


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Runtime]:
    with living(tmp_path / "board.db") as made:
        yield made


@pytest.fixture
def rt(owner: Runtime) -> Iterator[Runtime]:
    """Make a Runtime with the same code, which is never started."""
    made = Runtime(owner._config.path)
    declare(made)
    yield made
    made.stop()


def content(rt: Runtime) -> str:
    """Return a hash of all that the store holds."""
    connection = sqlite3.connect(rt._config.path)
    try:
        return hashlib.sha256("\n".join(connection.iterdump()).encode()).hexdigest()
    finally:
        connection.close()


def test_a_simulated_turn_shows_the_state_before_and_after_and_stores_nothing(rt: Runtime) -> None:
    before = content(rt)
    found = rt.simulate("shop", {"bolt": 2}, key="paris")
    assert found.outcome == "handled"
    assert (found.before, found.after) == (
        {"items": {"nut": 1}}, {"items": {"nut": 1, "bolt": 2}},
    )  # fmt: skip
    assert found.result == 2
    assert content(rt) == before
    assert rt.state("shop", "paris").items == {"nut": 1}


def test_it_shows_what_would_have_been_told_cancelled_published_and_executed(rt: Runtime) -> None:
    before = content(rt)
    found = rt.simulate("busy", 7)
    assert found.outcome == "handled", found.traceback
    assert [(each.does, each.to) for each in found.effects] == [
        ("tell", "mail"), ("cancel", "mail"), ("tell", "mail"), ("publish", "news"),
        ("execute", None),
    ]  # fmt: skip
    told = found.effects[0]
    assert (told.what, told.id) == (7, "reminder")
    assert told.due is not None
    assert found.effects[-1].what == {"sql": "INSERT INTO mine VALUES (?)", "params": [7]}
    assert found.result == "done"
    assert content(rt) == before


@pytest.mark.parametrize(("error", "outcome"), [
    (ValueError("no"), "failed: ValueError: no"), (Reject("bad"), "dead: Reject: bad"),
    (RetryLater(after=5), "later: RetryLater"), (SystemExit(3), "failed: SystemExit: 3"),
])  # fmt: skip
def test_a_handler_that_raises_changes_nothing_and_is_shown(
    owner: Runtime, error: BaseException, outcome: str
) -> None:
    rt = Runtime(owner._config.path)
    declare(rt)

    def fail(_: int) -> None:
        rt.tell("mail", 1)
        raise error

    owner.mailbox("fail", lambda _: None)
    rt.mailbox("fail", fail)
    before = content(rt)
    found = rt.simulate("fail", 1)
    assert found.outcome.startswith(outcome)
    assert "in fail" in str(found.traceback)
    assert found.effects == ()
    assert content(rt) == before
    rt.stop()


def test_what_does_not_join_a_turn_is_refused(owner: Runtime) -> None:
    rt = Runtime(owner._config.path)
    declare(rt)
    errors: list[str] = []

    def act(_: int) -> None:
        calls: list[Any] = [
            lambda: rt.pause("mail"), lambda: rt.ask("shop", {}, key="a"),
            lambda: rt.restart("mail"), lambda: rt.discard(1), lambda: rt.audit("x"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(CallboardError) as caught:
                call()
            errors.append(str(caught.value))

    owner.mailbox("act", lambda _: None)
    rt.mailbox("act", act)
    before = content(rt)
    assert rt.simulate("act", 1).outcome == "handled"
    assert len(errors) == 5
    assert content(rt) == before
    rt.tell("mail", 1)  # and whoever calls may write
    rt.stop()


def test_a_handler_that_does_not_end_is_left_and_can_do_nothing_more(owner: Runtime) -> None:
    go, over = threading.Event(), threading.Event()
    rt = Runtime(owner._config.path)
    declare(rt)
    errors: list[BaseException] = []

    def slow(_: int) -> None:
        assert go.wait(20)
        try:
            rt.tell("mail", 1)
        except CallboardError as error:
            errors.append(error)
        over.set()

    owner.mailbox("slow", lambda _: None)
    rt.mailbox("slow", slow)
    before = content(rt)
    found = rt.simulate("slow", 1, timeout=0.05)
    assert "did not end in 0.05 s" in found.outcome
    go.set()
    assert over.wait(20)
    assert len(errors) == 1
    assert content(rt) == before
    rt.stop()


def test_a_coroutine_is_simulated_too(owner: Runtime) -> None:
    rt = Runtime(owner._config.path)
    declare(rt)

    async def later(n: int) -> int:
        await rt.tell_async("mail", n)
        return n

    owner.mailbox("later", lambda _: None)
    rt.mailbox("later", later)
    before = content(rt)
    found = rt.simulate("later", 3)
    assert (found.outcome, found.result) == ("handled", 3)
    assert [each.what for each in found.effects] == [3]
    assert content(rt) == before
    rt.stop()


def test_replay_runs_a_kept_message_and_a_dead_letter_again(owner: Runtime, rt: Runtime) -> None:
    done = threading.Event()
    owner.events.subscribe(lambda _: done.set(), "message.handled")
    number = owner.tell("shop", {"nut": 5}, key="rome")
    assert done.wait(20)
    before = content(rt)
    found = rt.replay(number)
    assert (found.key, found.message) == ("rome", {"nut": 5})
    assert (found.before, found.after) == ({"items": {"nut": 5}}, {"items": {"nut": 10}})
    assert content(rt) == before
    with pytest.raises(LookupError, match="nothing to replay"):
        rt.replay(99_999)


def test_what_cannot_be_simulated_is_refused_in_one_line(owner: Runtime, rt: Runtime) -> None:
    with pytest.raises(MessageError, match="is keyed"):
        rt.simulate("shop", {})
    for timeout in (0, -1, 1e9, float("nan"), "5"):
        with pytest.raises(ConfigError, match="timeout must be"):
            rt.simulate("mail", 1, timeout=timeout)  # type: ignore[arg-type]
    owner.stop()
    bare = Runtime(rt._config.path)
    with pytest.raises(LookupError, match="no code of mailbox 'mail' is here, and no owner"):
        bare.simulate("mail", 1)
    bare.stop()


def test_a_handler_simulates_nothing(owner: Runtime) -> None:
    rt = Runtime(owner._config.path)
    declare(rt)

    def act(_: int) -> None:
        rt.simulate("mail", 1)

    owner.mailbox("act", lambda _: None)
    rt.mailbox("act", act)
    assert "outside the handlers" in rt.simulate("act", 1).outcome
    rt.stop()


APP = """
import threading
from callboard import Runtime, WorkerActor
from tests.test_rehearsal import declare
rt = Runtime("board.db")
declare(rt)

@rt.mailbox("aside")
def aside(_):
    thread = threading.Thread(target=tell)  # by hand: it carries neither turn nor context
    thread.start()
    thread.join()

def tell():
    try:
        rt.tell("mail", 1)
    except Exception as error:
        print(error)
"""


def test_the_command_asks_first_and_shows_a_diff(
    owner: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    at_hand(monkeypatch, tmp_path, "app_to_simulate", APP)
    before = content(owner)
    line = ["-a", "app_to_simulate:rt", "simulate", "shop", "bolt=2", "--key", "paris"]
    assert cli.main(line) == cli.USAGE
    assert "does happen" in capsys.readouterr().err
    assert cli.main([*line, "--yes"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert '+    "bolt": 2' in found["diff"]
    assert cli.main([*line, "--yes", "--format", "table"]) == cli.OK
    assert '+    "bolt": 2' in capsys.readouterr().out
    assert content(owner) == before


def test_in_a_process_for_it_alone_no_thread_writes_whatever_started_it(
    owner: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    at_hand(monkeypatch, tmp_path, "app_with_threads", APP)
    owner.mailbox("aside", lambda _: None)
    before = content(owner)
    assert cli.main(["-a", "app_with_threads:rt", "simulate", "aside", "1", "--yes"]) == cli.OK
    assert "a simulated turn writes nothing" in capsys.readouterr().out
    assert content(owner) == before
