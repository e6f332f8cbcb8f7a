"""The largest message and the largest state: they pass and come back; one byte more is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard import MessageError, RetryPolicy, Runtime, WorkerActor
from callboard.actors.messages import LARGEST_MESSAGE, LARGEST_STATE

if TYPE_CHECKING:
    from collections.abc import Callable

    from callboard.runtime.testing import Board

#: What the quotes around a text, and the object around a state's text, take.
QUOTES, AROUND = 2, len('{"text":""}')
HUNDRED = 100_000_000


class Page(WorkerActor):
    """Keeps as much text as it is told to."""

    state: dict[str, str]

    def on_receive(self, message: int) -> None:
        self.state["text"] = "x" * message


@pytest.fixture
def sizes(board: Board) -> list[int]:
    """Return where the mailbox ``text`` notes how long its messages are."""
    found: list[int] = []
    board.rt.mailbox("text", lambda text: found.append(len(text)), retry=RetryPolicy(attempts=1))
    board.rt.mailbox("page", Page, retry=RetryPolicy(attempts=1))
    return found


@pytest.mark.slow
def test_messages_from_nothing_to_the_limit_arrive_as_they_were(
    board: Board, sizes: list[int]
) -> None:
    lengths = [0, 1, 1000, 1_000_000, LARGEST_MESSAGE - QUOTES]
    with board:
        for length in lengths:
            board.rt.tell("text", "x" * length)
        board.settle()
        assert sizes == lengths
        number = board.rt.tell("text", "y" * lengths[-1], after=60)
        board.crash()
        found = board.rt.find(number)
        assert found is not None
        assert found.message == "y" * lengths[-1]
        board.advance("1m")
        assert sizes == [*lengths, lengths[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("length", [LARGEST_MESSAGE - QUOTES + 1, HUNDRED])
def test_a_larger_message_is_refused_where_it_is_sent(
    board: Board, sizes: list[int], length: int
) -> None:
    rt, text = board.rt, "x" * length

    def outside() -> None:
        with rt.transaction() as tx:
            tx.tell("text", text)

    calls: list[Callable[[], object]] = [
        lambda: rt.tell("text", text),
        lambda: rt.tell_many("text", ["x", text]),
        lambda: rt.publish("topic", text),
        lambda: rt.ask("text", text),
        outside,
    ]
    with board:
        for call in calls:
            with pytest.raises(MessageError, match="over the limit of 16 MiB") as caught:
                call()
            assert f"{length + QUOTES:,} bytes" in str(caught.value)
            assert len(str(caught.value)) < 300
        assert rt.stats().told == 0
        assert sizes == []


@pytest.mark.slow
def test_the_largest_message_and_its_answer_go_over_the_socket(
    board: Board, sizes: list[int]
) -> None:
    board.rt.mailbox("echo", lambda text: text, keyed=True)
    client = Runtime(board.rt._config.path)
    text = "x" * (LARGEST_MESSAGE - QUOTES)
    with board:
        assert client.ask("echo", text, key="\0" * 1000, timeout=30.0) == text
        with pytest.raises(MessageError, match="16 MiB"):
            client.ask("echo", text + "x", key="k")
    client.stop()
    assert sizes == []


@pytest.mark.slow
def test_the_largest_state_is_kept_and_loaded_again(board: Board, sizes: list[int]) -> None:
    most = LARGEST_STATE - AROUND
    with board:
        board.rt.tell("page", most)
        board.settle()
        board.crash()
        assert board.rt.state("page") == {"text": "x" * most}
        board.rt.tell("page", 1)
        board.settle()
        assert board.rt.state("page") == {"text": "x"}
        assert board.rt.dead() == []
    assert sizes == []


@pytest.mark.slow
@pytest.mark.parametrize("length", [LARGEST_STATE - AROUND + 1, HUNDRED])
def test_a_larger_state_fails_its_turn_and_the_last_one_stays(
    board: Board, sizes: list[int], length: int
) -> None:
    with board:
        board.rt.tell("page", 3)
        board.rt.tell("page", length)
        board.settle()
        (letter,) = board.rt.dead("page")
        assert "over the limit of 64 MiB" in letter.error
        assert board.rt.state("page") == {"text": "xxx"}
        with pytest.raises(MessageError, match="over the limit of 64 MiB"):
            board.rt.set_state("page", {"text": "x" * length})
        assert board.rt.state("page") == {"text": "xxx"}
    assert sizes == []
