"""The mailbox: nothing is forgotten that is told, or taken, while it reads its pages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import Runtime
from callboard.actors.mailbox import MailboxActor
from callboard.actors.sizes import WINDOW
from callboard.runtime import testing

if TYPE_CHECKING:
    from callboard.runtime.testing import Board

PATIENCE = 10.0


def test_what_is_told_while_a_page_is_read_is_handled(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    store = board.rt._store
    read = store.waiting
    told = iter([1])

    def waiting(*args: Any, **options: Any) -> Any:
        rows = read(*args, **options)
        for number in told:
            board.rt.tell("jobs", number)  # committed after the rows were read
        return rows

    monkeypatch.setattr(store, "waiting", waiting)
    board.start()
    board.settle()
    assert seen == [1]


def test_what_is_beyond_the_window_is_said_once_and_handled_in_its_order(board: Board) -> None:
    spilled: list[tuple[str, int]] = []
    seen: list[int] = []
    board.rt.events.subscribe(
        lambda event: spilled.append((event["mailbox"], event["window"])),
        "mailbox.spilled",
    )
    board.rt.mailbox("jobs", seen.append)
    board.start()
    board.rt.pause("jobs")
    board.settle()
    for start in (0, 600, 1200):
        board.rt.tell_many("jobs", range(start, start + 600))
    board.settle()
    assert spilled == [("jobs", WINDOW)]
    board.rt.resume("jobs")
    board.settle()
    assert seen == [*range(1800)]


def test_what_is_told_to_a_key_while_its_page_is_read_is_handled(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append, keyed=lambda _: "one")
    board.rt.tell_many("jobs", range(50))
    store = board.rt._store
    read = store.waiting
    told = iter([50])

    def waiting(*args: Any, **options: Any) -> Any:
        rows = read(*args, **options)
        if options.get("key") == "one" and len(rows) < options["limit"]:
            for number in told:
                board.rt.tell("jobs", number)
        return rows

    monkeypatch.setattr(store, "waiting", waiting)
    board.start()
    board.settle()
    assert seen == [*range(51)]


def test_a_worker_that_empties_the_window_while_it_is_refilled_has_it_refilled_again(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    low, refilled, drained = threading.Event(), threading.Event(), threading.Event()
    seen: list[int] = []

    def work(number: int) -> None:
        if len(seen) == 24:  # eight of the 32 that are loaded are left: a refill was asked for
            low.set()
            assert refilled.wait(PATIENCE)
        seen.append(number)

    refill, take_next = MailboxActor._refill, MailboxActor.next

    def refill_slowly(self: MailboxActor) -> None:
        refill(self)
        if low.is_set() and not refilled.is_set():
            refilled.set()
            assert drained.wait(PATIENCE)

    def take(self: MailboxActor, cell: Any) -> Any:
        message = take_next(self, cell)
        if message is None and refilled.is_set():
            drained.set()
        return message

    monkeypatch.setattr(MailboxActor, "_refill", refill_slowly)
    monkeypatch.setattr(MailboxActor, "next", take)
    board.rt.mailbox("jobs", work, keyed=lambda _: "one")
    board.rt.tell_many("jobs", range(200))
    board.start()
    assert low.wait(PATIENCE)
    engine = board.rt._host.engine
    assert engine is not None
    engine.environment.driver.drain()  # this thread refills while the worker runs
    board.settle()
    assert seen == [*range(200)]


def test_what_is_due_in_the_store_and_not_loaded_keeps_the_board_unsettled(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    board.rt.mailbox("jobs", seen.append)
    board.start()
    board.settle()
    client = Runtime(board.rt._config.path)
    client.tell("jobs", 1)  # nobody rings for it: the owner looks four times a second
    client.stop()
    board.settle()
    assert seen == [1]
    monkeypatch.setattr(testing, "PATIENCE", 0.2)
    monkeypatch.setattr(MailboxActor, "arrived", lambda *_: None)
    number = board.rt.tell("jobs", 2)
    with pytest.raises(TimeoutError, match=f"mailbox jobs has not loaded message {number}"):
        board.settle()
    monkeypatch.undo()
    board.crash()
    board.settle()
    assert seen == [1, 2]
