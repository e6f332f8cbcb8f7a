"""A failed message that keeps its place: what waits behind it always goes on again."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard import RetryPolicy, Runtime, WorkerActor

if TYPE_CHECKING:
    import pytest

    from callboard.runtime.testing import Board

PATIENCE = 10.0


@dataclass
class Count:
    messages: int = 0


def test_a_key_goes_on_when_a_turn_that_failed_stood_on_a_void_one(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    runs, go_on, failed, stalled = (threading.Event() for _ in range(4))
    store = board.rt._store
    write = store.write

    def stalling(units: Any, **options: Any) -> Any:
        if go_on.is_set() and not stalled.is_set():
            stalled.set()
            assert failed.wait(PATIENCE)
        return write(units, **options)

    class Work(WorkerActor):
        state: Count

        def on_receive(self, message: str) -> None:
            seen.append(message)
            self.state.messages += 1
            if message == "cancelled":
                runs.set()
                assert go_on.wait(PATIENCE)
            elif not failed.is_set():
                failed.set()
                raise ArithmeticError(message)

    board.rt.mailbox("jobs", Work, keyed=lambda _: "one", retry=RetryPolicy(delay=1.0))
    board.start()
    number = board.rt.tell("jobs", "cancelled")
    board.rt.tell("jobs", "fails once")
    assert runs.wait(PATIENCE)
    assert board.rt.cancel("jobs", number)
    monkeypatch.setattr(store, "write", stalling)
    go_on.set()
    assert failed.wait(PATIENCE)
    board.settle()
    board.advance("1m")
    assert seen == ["cancelled", "fails once", "fails once"]


def test_a_message_of_before_the_mailbox_was_keyed_is_tried_again(
    board: Board, tmp_path: Path
) -> None:
    seen: list[str] = []
    before = Runtime(tmp_path / "board.db")
    before.mailbox("jobs", seen.append)
    before.tell("jobs", "without a key")
    before.stop()

    def fails_once(message: str) -> None:
        seen.append(message)
        if len(seen) == 1:
            raise ArithmeticError(message)

    board.rt.mailbox("jobs", fails_once, keyed=lambda _: "one")
    board.start()
    board.advance("1m")
    assert seen == ["without a key", "without a key"]
    board.rt.tell("jobs", "with a key")
    board.settle()
    assert seen[2:] == ["with a key"]
