"""Bad input gets one clear line that says what to do, and loses nothing and stops nobody."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    AlreadyTold,
    ConfigError,
    Context,
    MailboxNotFound,
    MessageError,
    RetryLater,
    RetryPolicy,
    Runtime,
    SchemaTooNew,
    WorkerActor,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.runtime.testing import Board


@pytest.fixture
def rt(board: Board) -> Runtime:
    def greet(name: str) -> None:
        assert name

    board.rt.mailbox("greetings", greet)
    board.rt.mailbox("keyed", greet, keyed=True)
    board.rt.mailbox("by_length", greet, keyed=lambda name: {1: "one"}[len(name)])
    return board.rt


def as_any(value: Any) -> Any:
    """Keep a mistake from the type checker."""
    return value


def three(_a: int, _b: int, _c: int) -> None:
    """Take too much for a worker."""


SOON = datetime(2030, 1, 1, tzinfo=UTC)
BAD: list[tuple[str, Callable[[Runtime], Any], type[Exception], str]] = [
    ("nearest name", lambda rt: rt.tell("greeting", "x"), MailboxNotFound, "'greetings'"),
    ("a stranger", lambda rt: rt.tell(print, "x"), MailboxNotFound, "declare it"),
    ("wrong type", lambda rt: rt.tell("greetings", 3), MessageError, "Expected `str`"),
    ("no JSON", lambda rt: rt.tell("greetings", object()), MessageError, "object"),
    ("no key", lambda rt: rt.tell("keyed", "x"), MessageError, "key="),
    ("odd key", lambda rt: rt.tell("keyed", "x", key=as_any(1.5)), MessageError, "whole number"),
    ("empty key", lambda rt: rt.tell("keyed", "x", key=""), MessageError, "key"),
    ("key has no place", lambda rt: rt.tell("greetings", "x", key="a"), MessageError, "not keyed"),
    ("key function", lambda rt: rt.tell("by_length", "xyz"), MessageError, "KeyError"),
    ("surrogate id", lambda rt: rt.tell("greetings", "x", id="\ud800"), MessageError, "UTF-8"),
    ("surrogate body", lambda rt: rt.tell("greetings", "\ud800"), MessageError, "greetings"),
    ("too large", lambda rt: rt.tell("greetings", "x" * 17_000_000), MessageError, "16 MiB"),
    ("after", lambda rt: rt.tell("greetings", "x", after="soon"), MessageError, "30m"),
    ("negative", lambda rt: rt.tell("greetings", "x", after=-1), MessageError, "negative"),
    ("naive at", lambda rt: rt.tell("greetings", "x", at=datetime(2030, 1, 1)), MessageError,  # noqa: DTZ001  (the mistake)
     "time zone"),
    ("beyond", lambda rt: rt.tell("greetings", "x", after="99999999d"), MessageError, "9999"),
    ("long id", lambda rt: rt.tell("greetings", "x", id="i" * 1001), MessageError, "1000"),
    ("if_exists", lambda rt: rt.tell("greetings", "x", id="i", if_exists=as_any("sometimes")),
     ConfigError, '"keep"'),
    ("after and at", lambda rt: rt.tell("greetings", "x", after=1, at=SOON),
     ConfigError, "not both"),
    ("cancel", lambda rt: rt.cancel("greetings", as_any(1.5)), MessageError, "number"),
    ("actor", lambda rt: rt.actor("by_length", "\ud800"), MessageError, "UTF-8"),
    ("requeue", lambda rt: rt.requeue(77), LookupError, "rt.dead()"),
    ("twice", lambda rt: rt.mailbox("greetings", print), ConfigError, "another name"),
    ("no name", lambda rt: rt.mailbox("", print), ConfigError, "name"),
    ("newline", lambda rt: rt.mailbox("a\nb", lambda: None), ConfigError, "printable"),
    ("arguments", lambda rt: rt.mailbox("x", as_any(three)), ConfigError, "takes"),
    ("workers", lambda rt: rt.mailbox("x", lambda: None, workers=0), ConfigError, "workers"),
    ("timeout", lambda rt: rt.mailbox("x", lambda: None, timeout=0), ConfigError, "positive"),
    ("retry", lambda _: RetryPolicy(attempts=0), ConfigError, "attempts"),
    ("jitter", lambda _: RetryPolicy(jitter=2), ConfigError, "0 to 1"),
    ("threads", lambda _: Runtime("x.db", threads=0), ConfigError, "threads"),
    ("durability", lambda _: Runtime("x.db", durability="maybe"), ConfigError, "durability"),
    ("memory", lambda _: Runtime(":memory:"), ConfigError, "survives"),
    ("postgres", lambda _: Runtime("postgresql://x"), ConfigError, "sqlite:///"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "says"), [b[1:] for b in BAD], ids=[b[0] for b in BAD])
def test_bad_input_gets_one_line_that_says_what_to_do(
    rt: Runtime, call: Callable[[Runtime], Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind) as caught:
        call(rt)
    text = str(caught.value)
    assert says in text
    assert "\n" not in text


def test_state_with_several_workers_is_refused(rt: Runtime) -> None:
    class Counter(WorkerActor):
        state: dict[str, int]

        def on_receive(self, message: int) -> None: ...

    with pytest.raises(ConfigError, match="keyed=True"):
        rt.mailbox("counter", Counter, workers=2)


def test_an_id_that_waits_can_be_replaced_kept_or_raised(board: Board, rt: Runtime) -> None:
    with board:
        first = rt.tell("greetings", "a", after=60, id="x")
        assert rt.tell("greetings", "b", after=60, id="x", if_exists="keep") == 0
        with pytest.raises(AlreadyTold, match=str(first)):
            rt.tell("greetings", "c", after=60, id="x", if_exists="raise")
        found = rt.find("x")
        assert found is not None
        assert found.message == "a"
        second = rt.tell("greetings", "d", after=120, id="x")
        assert second > first
        assert [(t.id, t.name) for t in rt.timers()] == [(second, "x")]


@pytest.mark.parametrize(
    ("mailbox", "many", "part"),
    [
        ("greetings", ["a", 3, "b"], "Expected `str`"),
        ("greetings", [1, 2, 3], "Expected `str`"),
        ("greetings", ["a", "b", as_any(object())], "object"),
        ("by_length", ["a", "b", "xyz"], "KeyError"),
        ("keyed", ["a", "b"], "key="),
    ],
)
def test_one_that_is_refused_among_many_has_none_of_them_told(
    board: Board, rt: Runtime, mailbox: str, many: list[Any], part: str
) -> None:
    with board:
        with pytest.raises(MessageError, match=part):
            rt.tell_many(mailbox, many)
        assert sum(row.waiting + row.later for row in rt.mailboxes()) == 0


def test_each_of_many_has_its_key_and_is_the_senders_no_more(board: Board) -> None:
    got: list[tuple[str | None, list[int]]] = []

    def work(message: list[int], context: Context) -> None:
        got.append((context.key, message))

    board.rt.mailbox("work", work, keyed=lambda message: str(len(message)))
    told = [[1], [2, 3]]
    with board:
        board.rt.tell_many("work", told)
        told[0].append(9)
        board.settle()
        board.rt.tell_many("work", [[4], [5, 6]], key="given")
        board.settle()
    assert sorted(got[:2], key=str) == [("1", [1]), ("2", [2, 3])]
    assert got[2:] == [("given", [4]), ("given", [5, 6])]


def test_retry_later_that_is_not_understood_is_a_failure_like_any_other(board: Board) -> None:
    def work(_n: int) -> None:
        raise RetryLater(after="soon")

    board.rt.mailbox("work", work, retry=RetryPolicy(attempts=1))
    with board:
        board.rt.tell("work", 1)
        board.settle()
        assert "30m" in board.rt.dead()[0].error


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RecursionError


@pytest.mark.parametrize("error", [ValueError("\ud800"), Mute()])
def test_an_error_whose_text_cannot_be_stored_is_a_dead_letter_all_the_same(
    board: Board, error: Exception
) -> None:
    def work(_n: int) -> None:
        raise error

    board.rt.mailbox("work", work, retry=RetryPolicy(attempts=1))
    with board:
        board.rt.tell("work", 1)
        board.settle()
        (letter,) = board.rt.dead("work")
        assert type(error).__name__ in letter.error


def test_a_newer_store_may_have_older_clients_but_no_older_owner(tmp_path: Path) -> None:
    path = tmp_path / "board.db"
    rt = Runtime(path)
    rt.mailbox("a", lambda _n: None)
    rt.tell("a", 1)
    rt.stop()
    newer = sqlite3.connect(path)
    newer.execute("UPDATE callboard_meta SET value = '9' WHERE name = 'schema'")
    newer.commit()
    assert rt.tell("a", 2) > 0
    with pytest.raises(SchemaTooNew, match="upgrade"):
        rt.start()
    newer.execute("UPDATE callboard_meta SET value = '9' WHERE name = 'min_client'")
    newer.commit()
    rt.stop()
    with pytest.raises(SchemaTooNew, match="upgrade"):
        rt.tell("a", 3)
    newer.close()


@pytest.mark.filterwarnings("ignore:SQLite .* can corrupt:RuntimeWarning")
def test_a_message_told_through_the_callers_connection_waits_for_its_commit(board: Board) -> None:
    rt = board.rt
    got: list[int] = []
    rt.mailbox("work", got.append)
    with board:
        mine = sqlite3.connect(rt._config.path)
        mine.execute("CREATE TABLE orders (n INTEGER)")
        mine.execute("INSERT INTO orders VALUES (1)")
        rt.tell("work", 1, connection=mine)
        board.settle()
        assert got == []
        mine.rollback()
        rt.wake()
        board.settle()
        assert got == []
        mine.execute("INSERT INTO orders VALUES (2)")
        rt.tell("work", 2, connection=mine)
        mine.commit()
        rt.wake()
        board.settle()
        assert got == [2]
        mine.close()
