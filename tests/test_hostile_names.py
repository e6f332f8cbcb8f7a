"""Names of all sorts work from end to end, or are refused with one line; none becomes SQL."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from callboard import CallboardError, MessageError, Reject, Runtime, WorkerActor
from callboard.clock import ManualClock
from callboard.persistence import _sqlite3
from callboard.repl.cli import main
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STRANGE = [
    "a\nb", "a\0b", "'\"`", "100%s %d %", "x;--", "'; DROP TABLE callboard_message;--", "\u202e",
    "\U0001f600", "\u2028\x85", "\x1b[31m", " ", "-x", "--help", "5", "e\u0301", "*", "a*b",
    "\ufeff", "x" * 1000,
]  # fmt: skip
IMPOSSIBLE: list[Any] = ["", "\ud800", "a\udfffb", "x" * 1001, "x" * 10_000, b"bytes", 1.5]


def declare(rt: Runtime) -> None:
    """Declare a mailbox without keys, and one with keys and state, that reject 13."""

    def work(n: int) -> None:
        if n == 13:
            raise Reject("no")

    class Count(WorkerActor):
        state: list[int]

        def on_receive(self, message: int) -> None:
            work(message)
            self.state.append(message)

    rt.mailbox("work", work)
    rt.mailbox("count", Count, keyed=True)


@pytest.fixture
def town(board: Board) -> Board:
    declare(board.rt)
    return board


def said(board: Board, capsys: pytest.CaptureFixture[str], *command: str) -> list[Any]:
    """Return what the command line says of a store: one line of JSON each."""
    assert main(["-s", str(board.rt._config.path), *command, "--format", "jsonl"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.split("\n")[:-1]]


@pytest.mark.parametrize("name", STRANGE, ids=[ascii(each)[:20] for each in STRANGE])
def test_a_strange_id_key_or_topic_works_from_end_to_end_and_takes_one_line(
    town: Board, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rt = town.rt
    with town:
        number = rt.tell("work", 1, id=name, after="36500d")
        found = rt.find(name)
        assert found is not None
        assert (found.id, found.name) == (number, name)
        assert [each["name"] for each in said(town, capsys, "timers")] == [name]
        assert rt.cancel("work", name)
        assert rt.find(name) is None
        rt.tell("count", 1, key=name)
        rt.tell("count", 13, key=name)
        town.settle()
        assert rt.state("count", name) == [1]
        assert [each["key"] for each in said(town, capsys, "dead")] == [name]
        rt.restart("count", name)
        (letter,) = rt.dead("count")
        rt.requeue(letter.id)
        town.settle()
        rt.reset_state("count", name)
        town.settle()
        assert rt.state("count", name) == []
        with rt.listen(name) as feed:
            rt.publish(name, "heard")
            assert next(feed) == "heard"


@pytest.mark.parametrize("name", IMPOSSIBLE, ids=[ascii(each)[:20] for each in IMPOSSIBLE])
def test_an_impossible_name_is_refused_in_one_line_and_nothing_is_done(
    town: Board, name: Any
) -> None:
    rt = town.rt
    calls: list[Callable[[], Any]] = [
        lambda: rt.tell("work", 1, id=name),
        lambda: rt.tell("count", 1, key=name),
        lambda: rt.publish(name, 1),
        lambda: rt.listen(name),
        lambda: rt.mailbox(name, lambda: None),
        lambda: rt.supervisor(name),
        lambda: rt.cron("* * * * *", tz=name, name="zone")(lambda: None),
    ]
    with town:
        for call in calls:
            with pytest.raises((CallboardError, ValueError)) as caught:
                call()
            text = str(caught.value)
            assert len(text) < 300
            assert "\n" not in text
            text.encode()
        assert rt.stats().told == 0


@pytest.mark.parametrize("name", ["\ud800", "x" * 1001])
def test_a_key_that_no_actor_can_have_is_refused_and_its_mailbox_goes_on(
    town: Board, name: str
) -> None:
    rt = town.rt
    with town:
        for call in (rt.restart, rt.reset_state, rt.state):
            with pytest.raises(MessageError, match="key"):
                call("count", name)
        with pytest.raises(MessageError, match="key"):
            rt.set_state("count", [1], name)
        rt.tell("count", 7, key="k")
        town.settle()
        assert rt.state("count", "k") == [7]


@pytest.mark.parametrize("name", ["\ud800", 2**63, -(2**63), True, None])
def test_what_names_no_message_is_refused_in_one_line(town: Board, name: Any) -> None:
    rt = town.rt
    calls: list[Callable[[], Any]] = [
        lambda: rt.find(name), lambda: rt.cancel("work", name), lambda: rt.requeue(name),
        lambda: rt.discard(name), lambda: rt.why(name), lambda: rt.fire(name),
        lambda: rt.reschedule(name, after=5),
    ]  # fmt: skip
    with town:
        for call in calls:
            with pytest.raises(MessageError, match=r"number|UTF-8") as caught:
                call()
            assert "\n" not in str(caught.value)


def test_a_statement_that_no_store_can_hold_is_refused(town: Board) -> None:
    with (
        town,
        town.rt.transaction() as tx,
        pytest.raises(MessageError, match="one statement that can run"),
    ):
        tx.execute("SELECT '\ud800'")


# --- no SQL is built from input ----------------------------------------------------------------

MARK = "zq9x"


class Seen(sqlite3.Cursor):
    """A cursor that notes the text of each statement as it is prepared: before its values."""

    texts: ClassVar[set[str]] = set()

    def execute(self, sql: str, *params: Any) -> Any:
        self.texts.add(sql)
        return super().execute(sql, *params)

    def executemany(self, sql: str, *params: Any) -> Any:
        self.texts.add(sql)
        return super().executemany(sql, *params)

    def executescript(self, sql: str) -> Any:
        self.texts.add(sql)
        return super().executescript(sql)


class Watched(sqlite3.Connection):
    """A connection that does the same; its cursors are :class:`Seen`."""

    def cursor(self, factory: Any = Seen) -> Any:
        return super().cursor(factory)

    def execute(self, sql: str, *params: Any) -> Any:
        Seen.texts.add(sql)
        return super().execute(sql, *params)

    def executemany(self, sql: str, *params: Any) -> Any:
        Seen.texts.add(sql)
        return super().executemany(sql, *params)

    def executescript(self, sql: str) -> Any:
        Seen.texts.add(sql)
        return super().executescript(sql)


@pytest.mark.filterwarnings("ignore:SQLite .* can corrupt:RuntimeWarning")
def test_no_statement_contains_what_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = partial(sqlite3.connect, factory=Watched)
    monkeypatch.setattr(_sqlite3.sqlite3, "connect", connect)
    Seen.texts.clear()
    board = Board(Runtime(tmp_path / "board.db", clock=ManualClock()))
    rt, names = board.rt, [f"{MARK}{each}" for each in STRANGE[:8]]
    declare(rt)
    printable = [each for each in names if each.isprintable()]
    for each in printable:
        rt.mailbox(each, lambda n: n, capacity=5, retain="1d", topics=f"{MARK}*")
        rt.cron("* * * * *", name=f"{each} cron")(lambda: None)
    with board:
        for each in names:
            rt.tell("work", 1, id=each, dedupe="1d", after=60)
            rt.tell("work", 1, id=each, if_exists="keep")
            rt.tell_many("count", [1, 2, 13], key=each)
            rt.publish(each, MARK)
            board.settle()
            rt.find(each)
            rt.cancel("work", each)
            rt.state("count", each)
            rt.set_state("count", [3], each)
            rt.reset_state("count", each)
            with rt.transaction() as tx:
                tx.tell("work", 1, id=each)
                tx.cancel("work", each)
            with closing(sqlite3.connect(rt._config.path, factory=Watched)) as own, own:
                rt.tell("work", 1, id=each, connection=own)
        for each in printable:
            rt.pause(each)
            for look in (rt.peek, rt.timers, rt.dead):
                look(each)
            rt.resume(each)
            rt.next_runs(f"{each} cron")
        board.advance("2m")
        for letter in rt.dead():
            rt.requeue(letter.id)
        board.settle()
        for letter in rt.dead():
            rt.discard(letter.id)
    board.crash()
    board.settle()
    board.stop()
    assert len(Seen.texts) > 50
    assert [text for text in Seen.texts if MARK in text] == []
