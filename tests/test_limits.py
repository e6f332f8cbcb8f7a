"""Capacity, expiry, priority, dedupe and what is kept: what a mailbox takes, and for how long."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import ConfigError, Context, MailboxFull, MessageError, RetryPolicy, Runtime

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.runtime.testing import Board

PATIENCE = 10.0


def names(board: Board) -> list[str]:
    """Collect the names of all events from now on."""
    seen: list[str] = []
    board.rt.events.subscribe(lambda event: seen.append(event.name))
    return seen


# --- priority, expiry, dedupe ----------------------------------------------------------------


def test_higher_priorities_come_first_and_equal_ones_in_order(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    board.rt.tell("jobs", "a")
    board.rt.tell("jobs", "low", priority=-5)
    board.rt.tell_many("jobs", ["high 1", "high 2"], priority=7)
    board.rt.tell("jobs", "b")
    with board:
        board.settle()
    assert seen == ["high 1", "high 2", "a", "b", "low"]


def test_a_message_that_has_expired_is_not_handled_and_is_no_dead_letter(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    events = names(board)
    with board:
        board.rt.pause("jobs")
        board.rt.tell("jobs", "in time", expires="2h")
        number = board.rt.tell("jobs", "too late", expires="30m")
        board.advance("1h")
        board.rt.resume("jobs")
        board.settle()
        assert seen == ["in time"]
        assert board.rt.find(number) is None
        assert board.rt.dead() == []
        assert events.count("message.expired") == 1


def test_what_nobody_comes_to_expires_in_its_time(board: Board) -> None:
    """A paused mailbox, a blocked key, a backlog in the store."""
    seen: list[tuple[str, float]] = []
    begun = board.clock.now()
    board.rt.events.subscribe(
        lambda e: seen.append((e.fields["mailbox"], (board.clock.now() - begun) / 3.6e9)),
        "message.expired",
    )

    def fails(number: int) -> None:
        if number < 0:
            raise ArithmeticError

    board.rt.mailbox("paused", lambda _: None, capacity=1000)
    board.rt.mailbox(
        "keyed", fails, keyed=lambda _: "one", retry=RetryPolicy(delay=36_000, limit=36_000)
    )
    with board:
        board.rt.pause("paused")
        board.rt.tell_many("paused", range(600), expires="1h")
        board.rt.tell("paused", 1, after="1h", expires="1h")
        board.rt.tell("keyed", -1)
        board.settle()
        board.rt.tell("keyed", 1, expires="3h")
        board.crash()
        board.advance("59m")
        assert seen == []
        board.advance("1m")
        assert seen == [("paused", 1.0)] * 600
        assert board.rt.mailboxes()[1].waiting == 1
        board.rt.tell_many("paused", range(1000 - 1), expires="30m")
        board.advance("2h")
        assert seen[600:] == [*[("paused", 1.5)] * 999, ("paused", 2.0), ("keyed", 3.0)]


def test_a_future_call_expires_after_it_was_due(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        board.rt.tell("jobs", "kept", after="2h", expires="1h")
        board.advance("3h")
        board.rt.tell("jobs", "lost", after="2h", expires="1h")
        board.stop()
        board.clock.shift("4h")
        board.start()
        board.settle()
    assert seen == ["kept"]


def test_dedupe_tells_an_id_once_within_its_time_handled_or_not(board: Board) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    with board:
        assert board.rt.tell("jobs", 1, id="order-7", dedupe="24h") > 0
        board.settle()
        assert board.rt.tell("jobs", 2, id="order-7", dedupe="24h") == 0
        assert board.rt.tell("jobs", 3, id="order-8", dedupe="24h") > 0
        board.settle()
        board.crash()
        board.advance("23h")
        assert board.rt.tell("jobs", 4, id="order-7", dedupe="24h") == 0
        board.advance("2h")
        assert board.rt.tell("jobs", 5, id="order-7", dedupe="24h") > 0
        board.settle()
        assert seen == [1, 3, 5]


def test_names_that_may_be_told_again_are_swept(board: Board) -> None:
    board.rt.mailbox("jobs", lambda _: None)
    with board:
        board.rt.tell("jobs", 1, id="a", dedupe="1h")
        store = board.rt._store
        board.advance("30m")
        assert store.sweep(board.clock.now()) == 0
        board.advance("31m")
        assert store.sweep(board.clock.now()) == 1


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"dedupe": "24h"}, "needs id="),
        ({"dedupe": "soon", "id": "a"}, "dedupe= is not understood"),
        ({"expires": "soon"}, "expires= is not understood"),
        ({"expires": 1e18}, "beyond the year 9999|not understood"),
        ({"priority": 1.5}, "priority is a whole number"),
        ({"priority": True}, "priority is a whole number"),
        ({"priority": 10**12}, "priority is a whole number"),
    ],
)
def test_options_that_cannot_work_are_refused(
    board: Board, options: dict[str, Any], text: str
) -> None:
    board.rt.mailbox("jobs", lambda _: None)
    with pytest.raises(MessageError, match=text):
        board.rt.tell("jobs", 1, **options)


# --- capacity --------------------------------------------------------------------------------


def test_a_full_mailbox_rejects_and_takes_again_when_there_is_room(board: Board) -> None:
    board.rt.mailbox("jobs", lambda _: None, capacity=3)
    with board:
        board.rt.pause("jobs")
        board.rt.tell_many("jobs", [1, 2])
        with pytest.raises(MailboxFull, match="room for 1 more, not for 2"):
            board.rt.tell_many("jobs", [3, 4])
        board.rt.tell("jobs", 3)
        with pytest.raises(MailboxFull, match="takes 3 waiting messages"):
            board.rt.tell("jobs", 4)
        assert board.rt.mailboxes()[0].waiting == 3
        board.rt.resume("jobs")
        board.settle()
        board.rt.tell_many("jobs", [5, 6, 7])
        board.settle()


def test_retries_count_and_future_calls_only_when_they_are_due(board: Board) -> None:
    def fails(_: int) -> None:
        raise ArithmeticError

    board.rt.mailbox("jobs", fails, capacity=2)
    board.rt.mailbox("quiet", lambda _: None, capacity=2)
    with board:
        board.rt.tell("jobs", 1)
        board.settle()
        board.rt.tell("jobs", 2)
        board.settle()
        with pytest.raises(MailboxFull):
            board.rt.tell("jobs", 3)
        board.rt.pause("quiet")
        board.rt.tell_many("quiet", range(5), after="1h")
        board.rt.tell_many("quiet", [1, 2])
        assert board.rt.cancel("quiet", board.rt.peek("quiet")[0].id)
        board.rt.tell("quiet", 3)
        with pytest.raises(MailboxFull):
            board.rt.tell("quiet", 4)
        board.advance("2h")
        board.rt.resume("quiet")
        board.settle()
        board.rt.tell_many("quiet", [1, 2])


def test_the_level_is_right_after_a_crash_and_when_a_capacity_is_new(
    board: Board, tmp_path: Path
) -> None:
    before = Runtime(tmp_path / "board.db")
    before.mailbox("jobs", lambda _: None)
    before.tell_many("jobs", range(4))
    before.stop()
    board.rt.mailbox("jobs", lambda _: None, capacity=5)
    board.rt.pause("jobs")
    with board:
        board.rt.tell("jobs", 5)
        with pytest.raises(MailboxFull):
            board.rt.tell("jobs", 6)
        board.crash()
        with pytest.raises(MailboxFull):
            board.rt.tell("jobs", 6)
        board.rt.resume("jobs")
        board.settle()
        board.rt.tell_many("jobs", range(5))


def test_the_oldest_are_dropped_where_that_is_declared(board: Board) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append, capacity=3, overflow="drop_oldest")
    events = names(board)
    with board:
        board.rt.pause("jobs")
        for number in range(5):
            board.rt.tell("jobs", number)
        board.rt.resume("jobs")
        board.settle()
        assert seen == [2, 3, 4]
        assert events.count("message.dropped") == 2
        assert "message.cancelled" not in events
        with pytest.raises(MailboxFull):
            board.rt.tell_many("jobs", range(4))


def test_a_sender_waits_for_room_where_that_is_declared(board: Board) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append, capacity=1, overflow="wait")
    with board:
        board.rt.pause("jobs")
        board.rt.tell("jobs", 1)
        with pytest.raises(MailboxFull, match=r"no room in the mailbox for 0\.05 s"):
            board.rt.tell("jobs", 2, timeout=0.05)
        told = threading.Event()

        def tell() -> None:
            board.rt.tell("jobs", 3)
            told.set()

        thread = threading.Thread(target=tell)
        thread.start()
        board.rt.resume("jobs")
        assert told.wait(PATIENCE)
        thread.join()
        board.settle()
        assert seen == [1, 3]


def test_a_turn_that_tells_a_full_mailbox_fails_and_is_tried_again(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("full", seen.append, capacity=1, overflow="wait")

    def forward(text: str) -> None:
        board.rt.tell("full", text)

    board.rt.mailbox("first", forward)
    with board:
        board.rt.pause("full")
        board.rt.tell("full", "stands")
        board.rt.tell("first", "waits")
        board.settle()
        assert [timer.attempt for timer in board.rt.timers("first")] == [1]
        board.rt.resume("full")
        board.advance("1m")
        assert seen == ["stands", "waits"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"capacity": 0}, "capacity must be a number from 1"),
        ({"capacity": True}, "capacity must be"),
        ({"overflow": "explode"}, "overflow must be one of"),
        ({"rate": "often"}, 'rate reads like "100/min"'),
        ({"rate": "0/s"}, "rate"),
        ({"rate": 5}, 'rate reads like "100/min"'),
        ({"topics": [""]}, "a topic is a text"),
        ({"retain": "ever"}, "retain"),
        ({"retain": 0}, "retain must be positive"),
    ],
)
def test_declarations_that_cannot_work_are_refused(
    board: Board, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        board.rt.mailbox("jobs", lambda _: None, **options)


# --- what is kept ----------------------------------------------------------------------------


@dataclass
class Sum:
    total: int


def test_handled_messages_are_kept_with_their_result_for_as_long_as_declared(board: Board) -> None:
    def add(numbers: list[int]) -> Sum:
        board.clock.shift(2)
        return Sum(sum(numbers))

    board.rt.mailbox("sums", add, retain="7d")
    with board:
        number = board.rt.tell("sums", [1, 2, 3], id="mine")
        board.settle()
        for found in (board.rt.find(number), board.rt.find("mine")):
            assert found is not None
            assert (found.state, found.attempt, found.result) == ("handled", 1, {"total": 6})
            assert (found.message, found.took, found.error) == ([1, 2, 3], 2.0, None)
        board.crash()
        board.advance("6d")
        assert board.rt._store.sweep(board.clock.now()) == 0
        board.advance("2d")
        assert board.rt._store.sweep(board.clock.now()) == 1
        assert board.rt.find(number) is None


def test_a_result_that_is_no_json_is_kept_as_text(board: Board) -> None:
    board.rt.mailbox("odd", lambda _: {object}, retain="1h")
    with board:
        number = board.rt.tell("odd", 1)
        board.settle()
        found = board.rt.find(number)
        assert found is not None
        assert found.result == "{<class 'object'>}"


def test_a_retained_message_is_handled_once_when_it_is_cancelled_meanwhile(board: Board) -> None:
    runs, go_on = threading.Event(), threading.Event()

    def work(_: int) -> None:
        runs.set()
        assert go_on.wait(PATIENCE)

    board.rt.mailbox("jobs", work, retain="1h")
    with board:
        number = board.rt.tell("jobs", 1)
        assert runs.wait(PATIENCE)
        assert board.rt.cancel("jobs", number)
        go_on.set()
        board.settle()
        assert board.rt.find(number) is None


def test_a_running_handler_says_how_far_it_is(board: Board) -> None:
    said, go_on = threading.Event(), threading.Event()

    def work(_: int, context: Context) -> None:
        context.progress(0.25, "a quarter")
        said.set()
        assert go_on.wait(PATIENCE)
        context.progress(1, "all")

    board.rt.mailbox("jobs", work, retain="1h")
    with board:
        number = board.rt.tell("jobs", 1)
        assert said.wait(PATIENCE)
        assert board.rt._host.committer.flush(PATIENCE)
        found = board.rt.find(number)
        assert found is not None
        assert (found.progress, found.note) == (0.25, "a quarter")
        go_on.set()
        board.settle()
        assert board.rt._store.progress(number) is None or board.rt._store.sweep(0) == 1
        assert board.rt._store.progress(number) is None


# --- topics ----------------------------------------------------------------------------------


def test_each_subscribed_mailbox_gets_a_copy_and_nobody_else(board: Board) -> None:
    seen: list[tuple[str, str]] = []
    for name, topics in [
        ("mails", ["order.placed", "order.paid"]), ("audit", "*"), ("orders", "order.*"),
        ("users", ["user.*"]), ("none", ()),
    ]:  # fmt: skip
        board.rt.mailbox(name, lambda m, name=name: seen.append((name, m)), topics=topics)
    with board:
        assert board.rt.publish("order.placed", "a") == 3
        assert board.rt.publish("order.shipped", "b") == 2
        assert board.rt.publish("else", "c") == 1
        board.settle()
        assert sorted(seen) == [
            ("audit", "a"), ("audit", "b"), ("audit", "c"), ("mails", "a"), ("orders", "a"),
            ("orders", "b"),
        ]  # fmt: skip


def test_a_client_publishes_to_what_only_the_owner_declares(board: Board, tmp_path: Path) -> None:
    seen: list[str] = []
    client = Runtime(tmp_path / "board.db")
    board.rt.mailbox("mails", seen.append, topics="order.*")
    with board:
        assert client.publish("order.paid", "from outside") == 1
        assert client.publish("user.new", "nobody") == 0
        client.wake()
        board.rt.mailbox("later", seen.append, topics="user.*")
        assert client.publish("user.new", "somebody") == 1
        client.stop()
        board.rt._host.look_again()
        board.settle()
    assert sorted(seen) == ["from outside", "somebody"]


def test_a_client_publishes_to_what_it_declares_whatever_is_stored(
    board: Board, tmp_path: Path
) -> None:
    """Of two versions of the code each knows its own mailboxes best."""
    client = Runtime(tmp_path / "board.db")
    board.rt.mailbox("mails", lambda _m: None, topics="old.*")
    client.mailbox("mails", lambda _m: None, topics="new.*")
    with board:
        assert client.publish("new.paid", 1) == 1
        assert client.publish("old.paid", 2) == 0
        client.stop()


def test_what_a_failing_turn_publishes_is_not_published(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("mails", seen.append, topics="t")

    def work(text: str, context: Context) -> None:
        board.rt.publish("t", f"{text} {context.attempt}")
        if context.attempt == 1:
            raise ArithmeticError

    board.rt.mailbox("work", work)
    with board:
        board.rt.tell("work", "attempt")
        board.advance("1m")
    assert seen == ["attempt 2"]


def test_one_mailbox_that_cannot_take_it_keeps_all_from_getting_it(board: Board) -> None:
    def takes_numbers(number: int) -> None:
        seen.append(number)

    seen: list[Any] = []
    board.rt.mailbox("all", seen.append, topics="t")
    board.rt.mailbox("numbers", takes_numbers, topics="t", capacity=1)
    with board:
        with pytest.raises(MessageError):
            board.rt.publish("t", "text")
        board.rt.pause("numbers")
        board.rt.publish("t", 1)
        with pytest.raises(MailboxFull):
            board.rt.publish("t", 2)
        board.rt.resume("numbers")
        board.settle()
    assert seen == [1, 1]


def test_a_transaction_publishes_at_its_end_or_not_at_all(board: Board) -> None:
    seen: list[str] = []
    board.rt.mailbox("mails", seen.append, topics="t")
    with board:
        with board.rt.transaction() as tx:
            assert tx.publish("t", "first") == 1
            tx.tell("mails", "second")
            board.settle()
            assert seen == []
        with contextlib.suppress(ZeroDivisionError), board.rt.transaction() as tx:
            tx.publish("t", "never")
            raise ZeroDivisionError
        board.settle()
    assert seen == ["first", "second"]
