"""When a failed message is tried again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard import ConfigError, RetryLater, RetryPolicy
from callboard.clock import SECOND

if TYPE_CHECKING:
    from callboard.runtime.testing import Board


@given(
    attempt=st.integers(1, 10_000),
    delay=st.floats(0, 1e6),
    factor=st.floats(1, 100),
    limit=st.floats(0, 1e7),
    jitter=st.floats(0, 1),
    seed=st.integers(),
)
def test_a_wait_lies_within_its_jitter_and_under_its_limit(  # noqa: PLR0917
    attempt: int, delay: float, factor: float, limit: float, jitter: float, seed: int
) -> None:
    policy = RetryPolicy(delay=delay, factor=factor, limit=limit, jitter=jitter)
    wait = policy.wait(attempt, random.Random(seed))
    assert isinstance(wait, int)
    assert 0 <= wait <= limit * (1 + jitter) * SECOND + 1
    plain = RetryPolicy(delay=delay, factor=factor, limit=limit, jitter=0)
    middle = plain.wait(attempt, random.Random(seed))
    slack = 1 + middle * 1e-9
    assert middle * (1 - jitter) - slack <= wait <= middle * (1 + jitter) + slack
    assert plain.wait(attempt + 1, random.Random(seed)) >= middle


def test_the_default_waits_are_those_that_are_documented() -> None:
    policy = RetryPolicy(jitter=0)
    waits = [policy.wait(attempt, random.Random(0)) // SECOND for attempt in range(1, 12)]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert policy.wait(5_000, random.Random(0)) == 600 * SECOND
    assert RetryPolicy().jitter == 0.1


def test_a_message_is_tried_ten_times_then_it_is_a_dead_letter(board: Board) -> None:
    runs: list[int] = []

    def fails(n: int) -> None:
        runs.append(n)
        msg = "no"
        raise ValueError(msg)

    board.rt.mailbox("jobs", fails)
    with board:
        board.rt.tell("jobs", 1)
        for _ in range(12):
            board.advance("11m")
        (letter,) = board.rt.dead("jobs")
    assert len(runs) == letter.attempts == 10


def test_the_same_seed_gives_the_same_waits() -> None:
    policy = RetryPolicy()
    assert policy.wait(3, random.Random(7)) == policy.wait(3, random.Random(7))
    assert policy.wait(3, random.Random(7)) != policy.wait(3, random.Random(8))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"attempts": 0}, "attempts must be a number from 1, got 0"),
        ({"attempts": "3"}, "attempts must be a number from 1, got '3'"),
        ({"delay": -1}, "delay must be a number from 0, got -1"),
        ({"factor": 0.5}, "factor must be a number from 1, got 0.5"),
        ({"limit": -0.1}, "limit must be a number from 0, got -0.1"),
        ({"jitter": -0.1}, "jitter must be a number from 0, got -0.1"),
        ({"jitter": 1.1}, "jitter must be a part from 0 to 1, got 1.1"),
        ({"order": "first"}, 'order must be "aside" or "block", got \'first\''),
        ({"delay": float("nan")}, "delay must be a number from 0, got nan"),
        ({"limit": float("inf")}, "limit must be finite, got inf"),
        ({"attempts": float("nan")}, "attempts must be a number from 1, got nan"),
        ({"factor": float("inf")}, "factor must be finite, got inf"),
    ],
)
def test_what_cannot_work_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RetryPolicy(**options)
    assert str(caught.value) == told


@pytest.mark.parametrize("limit", [1e300, 1.7e308])
def test_a_limit_beyond_all_time_waits_until_the_last_instant(limit: float, board: Board) -> None:
    def fail(_: str) -> None:
        raise ArithmeticError

    aside = RetryPolicy(limit=limit, delay=limit, jitter=0, order="aside")
    block = RetryPolicy(limit=limit, delay=limit, jitter=0, order="block")
    board.rt.mailbox("aside", fail, retry=aside)
    board.rt.mailbox("block", fail, retry=block)
    with board:
        board.rt.tell("aside", "1")
        board.rt.tell("block", "1")
        board.settle()
        (timer,) = board.rt.timers("aside")
        assert timer.due.year == 9999
        board.advance("1d")
        assert [m.waiting for m in board.rt.mailboxes()] == [0, 1]
        assert board.rt.dead() == []


def test_asking_to_be_tried_beyond_all_time_waits_until_the_last_instant(board: Board) -> None:
    def postpone(_: str) -> None:
        raise RetryLater(after=1e300)

    board.rt.mailbox("jobs", postpone)
    with board:
        board.rt.tell("jobs", "1")
        board.settle()
        assert board.rt.timers()[0].due.year == 9999
