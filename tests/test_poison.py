"""What a foreign connection writes into the store: it ends as a dead letter, or waits; no more."""

from __future__ import annotations

import contextlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import ConfigError, MessageError, Reject, RetryPolicy, Runtime, WorkerActor
from callboard.clock import ManualClock
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEAST, MOST = -(2**63), 2**63 - 1
NUMBERS = (LEAST, -(2**62), -1, 0, 7, 2**53, 2**62, MOST)
TEXTS = (None, "", "a\nb\0'\";--%s", "\U0001f600" * 3, b"\xff\xfe", b"a\0b", "x" * 10_000)
BODIES = (
    b"", b"{", b"null", b'"x"', b"[1,2", b"\xff", b"\0", b"1e999", b"9" * 5000, b"[" * 100_000,
    b'{"n":"\\ud800"}', b"NaN", b"1 1", b'["\xff"]', b'{"n":3}', b'{"n":13}',
)  # fmt: skip
FIELDS: dict[str, tuple[Any, ...]] = {
    "number": (LEAST, -5, 0, 2**53, MOST), "mailbox": (0, -1, 99, MOST), "version": NUMBERS,
    "due": NUMBERS, "told_at": NUMBERS, "cause": NUMBERS, "retain": NUMBERS, "priority": NUMBERS,
    "expires_at": NUMBERS, "retry_at": (LEAST, 0, 253_402_300_800_000_000, MOST),
    "attempt": NUMBERS, "deliveries": NUMBERS, "kind": TEXTS[1:], "key": TEXTS, "name": TEXTS,
    "sender": TEXTS, "headers": TEXTS, "error": TEXTS, "body": BODIES,
}  # fmt: skip


@dataclass
class Item:
    n: int

    def __post_init__(self) -> None:
        if self.n == 13:
            raise KeyError(self.n)


class Town:
    """A runtime with a mailbox of each sort, whose handlers note what they get."""

    def __init__(self, path: Path) -> None:
        """Declare; start it with ``with town.board:``."""
        self.path = path
        self.board = Board(Runtime(path, clock=ManualClock()))
        self.rt = self.board.rt
        self.got: list[tuple[str, int]] = []
        got = self.got

        class Cart(WorkerActor):
            state: list[int]

            def on_receive(self, message: int) -> None:
                self.state.append(message)
                got.append(("cart", message))

        def plain(n: int) -> None:
            got.append(("plain", n))
            if n < 100:
                raise ValueError(n)

        def item(each: Item) -> None:
            got.append(("item", each.n))

        self.rt.mailbox("plain", plain, capacity=10_000, retry=RetryPolicy(attempts=3))
        self.rt.mailbox("item", item, retain="7d", retry=RetryPolicy(order="block"))
        self.rt.mailbox("cart", Cart, keyed=True, retain="7d")

        @self.rt.cron("0 * * * *")
        def ticks() -> None:
            got.append(("ticks", 0))

    def insert(self, to: str, /, *, counted: bool = True, **fields: Any) -> None:
        """Write a message as a foreign connection would."""
        row: dict[str, Any] = {
            "kind": "Item" if to == "item" else "json", "version": 1, "told_at": 0,
            "body": b'{"n":3}' if to == "item" else b"3",
            "key": "k" if to == "cart" else None, "priority": 0, "attempt": 0,
            "deliveries": 0,
        }  # fmt: skip
        with closing(sqlite3.connect(self.path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN IMMEDIATE")
            row["mailbox"] = foreign.execute(
                "SELECT id FROM callboard_mailbox WHERE name = ?", (to,)
            ).fetchone()[0]
            last = foreign.execute("SELECT last FROM callboard_counter").fetchone()[0]
            row["number"] = last + 1
            if counted:
                foreign.execute("UPDATE callboard_counter SET last = last + 1")
            row |= fields
            # Bytes are the only way to have SQLite keep what is no text.
            marks = [
                "CAST(? AS TEXT)" if isinstance(value, bytes) and name != "body" else "?"
                for name, value in row.items()
            ]
            names, values = ", ".join(row), ", ".join(marks)
            sql = f"INSERT INTO callboard_message ({names}) VALUES ({values})"  # noqa: S608  (ours)
            foreign.execute(sql, list(row.values()))
            foreign.execute("COMMIT")

    def change(self, sql: str, *params: Any) -> None:
        """Change something as a foreign connection would."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as foreign:
            foreign.execute(sql, params)
            foreign.execute("UPDATE callboard_counter SET changes = changes + 1")

    def goes_on(self) -> None:
        """Fail unless every mailbox, the timers, the schedules and every look do their work."""
        self.got.clear()
        self.rt.tell("plain", 100)
        self.rt.tell("item", Item(100))
        self.rt.tell("cart", 100, key="other")
        self.rt.tell("plain", 101, after=60)
        self.board.settle()
        self.board.advance("1h")
        assert {("plain", 100), ("item", 100), ("cart", 100), ("plain", 101)} <= set(self.got)
        assert ("ticks", 0) in self.got
        self.look()

    def look(self) -> None:
        """Look at everything."""
        rt = self.rt
        looks: list[Callable[[], Any]] = [rt.mailboxes, rt.timers, rt.schedules, rt.tree, rt.stats]
        for each in (*looks, rt.dead):
            each()
        for name in ("plain", "item", "cart"):
            rt.peek(name)
        for number in range(1, 12):
            rt.find(number)
        with contextlib.suppress(LookupError, MessageError, ConfigError):
            rt.state("cart", "other", at=self.board.now)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path / "board.db")


@pytest.mark.slow
@pytest.mark.parametrize("field", FIELDS)
def test_whatever_stands_in_a_message_stops_no_mailbox(town: Town, field: str) -> None:
    def write(values: tuple[Any, ...]) -> None:
        for to in ("plain", "item", "cart"):
            for value in values:
                with contextlib.suppress(sqlite3.IntegrityError):  # the schema lets it not in
                    town.insert(to, **{field: value})

    values = FIELDS[field]
    with town.board:
        # One beyond the counter is not heard of before its page is read.
        write(tuple(each for each in values if field != "number" or each < 1))
        town.rt.wake()
        town.goes_on()
        write(values)
        town.board.crash()  # what waits is read from the store now
        town.goes_on()
        for letter in town.rt.dead():
            town.rt.requeue(letter.id)
        town.goes_on()


@pytest.mark.parametrize("body", BODIES[:-2])
def test_a_body_that_breaks_its_kind_is_a_dead_letter_at_once(town: Town, body: bytes) -> None:
    with town.board:
        town.insert("item", body=body)
        town.rt.wake()
        town.board.settle()
        (letter,) = town.rt.dead("item")
        assert letter.attempts == 1
        assert letter.error.startswith("Broken: mailbox 'item' does not accept this message")


def test_a_type_whose_own_checks_raise_anything_refuses_its_message_alone(town: Town) -> None:
    with town.board:
        town.insert("item", body=b'{"n":13}')
        town.insert("item", body=b'{"n":14}')
        town.rt.wake()
        town.board.settle()
        assert town.got == [("item", 14)]
        assert len(town.rt.dead("item")) == 1


def test_plain_data_for_a_worker_that_takes_none_waits(town: Town) -> None:
    """So it is too when the code has changed from plain data to a type of its own."""
    with town.board:
        for _ in range(30):
            town.insert("item", kind="json")
        town.rt.wake()
        town.goes_on()
        town.board.crash()
        town.goes_on()
        assert town.rt.dead("item") == []
        assert {each.state for each in town.rt.peek("item", 30)} == {"waiting"}


@pytest.mark.parametrize("attempt", [LEAST, -1, MOST])
def test_impossible_attempts_are_counted_as_possible_ones(town: Town, attempt: int) -> None:
    with town.board:
        town.insert("plain", attempt=attempt)
        town.rt.wake()
        town.board.settle()
        town.board.advance("2h")
        (letter,) = town.rt.dead("plain")
        assert 3 <= letter.attempts <= 2**31 + 1
        assert len(town.got) <= 3 + 3  # ticks


def test_a_number_that_was_not_taken_from_the_counter_holds_nobody_up(town: Town) -> None:
    with town.board:
        town.rt.pause("plain")
        town.insert("plain", counted=False)
        town.insert("plain", counted=False, number=40)
        for n in range(100, 150):
            town.rt.tell("plain", n)
            town.rt.tell("plain", n, id=f"{n}", if_exists="raise")
        town.rt.resume("plain")
        town.board.settle()
        assert [n for name, n in town.got if n >= 100] == [n for n in range(100, 150) for _ in "ab"]


def test_a_dead_letter_that_is_there_already_makes_room(town: Town) -> None:
    with town.board:
        town.insert("item", body=b"{")
        town.change(
            "INSERT INTO callboard_dead (number, mailbox, kind, version, body, told_at, priority, "
            "deliveries, error, traceback, attempts, failed_at) SELECT number, mailbox, kind, "
            "version, body, told_at, priority, deliveries, 'foreign', '', 0, 0 "
            "FROM callboard_message"
        )
        town.rt.wake()
        town.goes_on()
        assert "Broken" in town.rt.dead("item")[0].error


def test_a_retry_beyond_all_time_does_not_block_its_mailbox(town: Town) -> None:
    with town.board:
        town.insert("item", retry_at=MOST)
    town.board.start()
    town.board.settle()
    assert town.got == [("item", 3)]
    town.board.stop()


def test_a_number_below_one_waits_and_is_never_run(town: Town) -> None:
    with town.board:
        for number in (0, -1, LEAST):
            town.insert("plain", number=number)
            town.insert("plain", number=number + 1 if number == LEAST else number - 5, due=1)
    town.board.start()
    town.goes_on()
    assert not [n for name, n in town.got if name == "plain" and n < 100]
    town.board.stop()


# Fewer values: each costs a start.
_NUMBERS, _TEXTS, _BODIES = (LEAST, -1, MOST), ("", "a\nb\0'\";--%s", b"\xff\xfe"), BODIES[:6:2]
TABLES: dict[str, tuple[Any, ...]] = {
    "callboard_mailbox.declaration": (*_TEXTS, "{", "null", '{"name":3}'),
    "callboard_state.body": _BODIES,
    "callboard_state.kind": _TEXTS,
    "callboard_state.version": _NUMBERS,
    "callboard_schedule.next_at": (None, 0, *_NUMBERS),
    "callboard_schedule.last_at": (None, 0, *_NUMBERS),
    "callboard_schedule.last_number": _NUMBERS,
    "callboard_schedule.expression": _TEXTS,
    "callboard_schedule.tz": _TEXTS,
    "callboard_schedule.options": _TEXTS,
    "callboard_schedule.zone": _TEXTS,
    "callboard_schedule.mailbox": _TEXTS,
    "callboard_dead.body": _BODIES,
    "callboard_dead.error": _TEXTS,
    "callboard_dead.key": _TEXTS,
    "callboard_dead.failed_at": _NUMBERS,
    "callboard_dead.priority": _NUMBERS,
    "callboard_done.result": _BODIES,
    "callboard_done.handled_at": _NUMBERS,
    "callboard_done.took": _NUMBERS,
    "callboard_done.name": _TEXTS,
    "callboard_past.at": _NUMBERS,
    "callboard_past.upto": _NUMBERS,
    "callboard_past.by": _TEXTS,
    "callboard_past.message": _NUMBERS,
    "callboard_past.kind": _TEXTS,
    "callboard_past.version": _NUMBERS,
    "callboard_past.body": _BODIES,
    "callboard_past.until": _NUMBERS,
    "callboard_told.until": _NUMBERS,
}


@pytest.mark.slow
@pytest.mark.parametrize("field", TABLES)
def test_whatever_stands_in_the_other_tables_stops_no_mailbox(town: Town, field: str) -> None:
    table, column = field.split(".")
    binary = column in ("body", "result")
    town.board.start()
    for value in TABLES[field]:
        town.rt.tell("item", Item(1), id="told", dedupe="30d")
        town.rt.tell("cart", 1, key="k")
        town.insert("item", body=b"{")
        town.rt.wake()
        town.board.settle()
        where = "key = 'k'" if table == "callboard_state" else "1"
        mark = "CAST(? AS TEXT)" if isinstance(value, bytes) and not binary else "?"
        sql = f"UPDATE {table} SET {column} = {mark} WHERE {where}"  # noqa: S608  (ours)
        town.change(sql, value)
        town.board.crash()
        town.goes_on()
        if table == "callboard_state":
            town.rt.reset_state("cart", key="k")
    for letter in town.rt.dead():
        town.rt.requeue(letter.id)
    town.goes_on()
    town.board.stop()


def test_a_users_own_query_is_not_put_right(town: Town) -> None:
    with town.board:
        town.change("CREATE TABLE mine (t)")
        town.change("INSERT INTO mine VALUES (CAST(? AS TEXT))", b"\xff")

        @town.rt.mailbox("reads", retry=RetryPolicy(attempts=1))
        def reads(_n: int, context: Any) -> None:
            context.query("SELECT t FROM mine", ())
            raise Reject("it could be read")

    with town.board:
        town.rt.tell("reads", 1)
        town.board.settle()
        assert "UTF-8" in town.rt.dead("reads")[0].error
