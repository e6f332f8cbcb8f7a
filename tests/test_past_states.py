"""States of before: what ``state(at=)`` shows where a mailbox retains what it has handled."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callboard import ConfigError, ManualClock, MessageError, Reject, Runtime, WorkerActor
from callboard.clock import instant
from callboard.runtime.testing import Board

if TYPE_CHECKING:
    from pathlib import Path


@dataclass
class Total:
    n: int = 0


class Adder(WorkerActor):
    state: Total

    def on_receive(self, n: int) -> int:
        self.state.n += n
        if n == 13:
            raise Reject("unlucky")
        return self.state.n


@pytest.fixture
def adders(board: Board) -> Board:
    board.rt.mailbox("adder", Adder, keyed=True, retain="7d")
    board.start()
    return board


def add(board: Board, n: int, key: str = "k") -> datetime:
    """Have one message handled; returns when that was, and lets a minute pass."""
    board.rt.tell("adder", n, key=key)
    board.settle()
    at = board.now
    board.advance("1m")
    return at


def changed_by(rt: Runtime) -> list[str]:
    """Return what has changed each state that is kept."""
    return [by for (by,) in rt.select("SELECT by FROM callboard_past ORDER BY number")[1]]


def test_the_state_at_an_instant_is_what_the_last_turn_before_has_left(adders: Board) -> None:
    first, second = add(adders, 1), add(adders, 2)
    second_ago = timedelta(seconds=1)
    assert adders.rt.state("adder", "k", at=first) == Total(1)
    assert adders.rt.state("adder", "k", at=second - second_ago) == Total(1)
    assert adders.rt.state("adder", "k", at=second) == Total(3)
    assert adders.rt.state("adder", "k", at=adders.now) == adders.rt.state("adder", "k")
    with pytest.raises(
        LookupError, match=f"'k' of 'adder' .* goes back to {first.isoformat()[:9]}"
    ):
        adders.rt.state("adder", "k", at=first - second_ago)
    with pytest.raises(LookupError, match="no state of 'l' of 'adder' is kept"):
        adders.rt.state("adder", "l", at=first)


def test_the_handled_message_and_the_state_have_one_instant(adders: Board) -> None:
    add(adders, 1)
    (message,) = adders.rt.history("adder", "k")
    assert message.handled_at is not None
    found = adders.rt._past.state_at("adder", "k", message.handled_at)
    assert (found.at, found.by, found.message) == (message.handled_at, "message", message.id)


def test_what_leaves_the_state_as_it_was_keeps_none(adders: Board) -> None:
    at = add(adders, 1)
    add(adders, 0)
    add(adders, 13)  # fails: its change is undone
    assert len(adders.rt.dead()) == 1
    assert changed_by(adders.rt) == ["message"]
    assert adders.rt._past.state_at("adder", "k", adders.now).at == at


def test_an_ask_is_not_retained_and_what_it_changes_is(adders: Board) -> None:
    add(adders, 1)
    assert adders.rt.ask("adder", 5, key="k") == 6
    at = adders.now
    assert adders.rt.state("adder", "k", at=at) == Total(6)
    assert adders.rt._past.state_at("adder", "k", at)[2:] == ("ask", None)
    assert len(adders.rt.history("adder")) == 1


def test_what_was_written_by_hand_is_kept(adders: Board) -> None:
    first = add(adders, 1)
    adders.rt.set_state("adder", Total(100), "k")
    written = adders.now
    adders.advance("1m")
    adders.rt.reset_state("adder", "k")
    found = [adders.rt.state("adder", "k", at=at) for at in (first, written, adders.now)]
    assert found == [Total(1), Total(100), Total(0)]
    assert changed_by(adders.rt) == ["message", "hand", "hand"]


def test_what_a_client_wrote_while_nothing_ran_is_kept_from_the_start_on(adders: Board) -> None:
    before = add(adders, 1)
    adders.stop()
    client = Runtime(adders.rt._config.path)
    client.mailbox("adder", Adder, keyed=True, retain="7d")
    client.set_state("adder", Total(50), "k")
    client.stop()
    adders.start()
    assert adders.rt.state("adder", "k", at=before) == Total(1)
    assert adders.rt.state("adder", "k", at=adders.now) == Total(50)


def test_a_state_stays_known_for_as_long_as_its_mailbox_retains(adders: Board) -> None:
    first = add(adders, 1)
    adders.advance("10d")
    second = add(adders, 1)
    adders.advance("6d")
    just_before = second - timedelta(seconds=1)
    assert adders.rt.state("adder", "k", at=just_before) == Total(1)
    adders.advance("2d")
    adders.rt._store.sweep(adders.clock.now())
    with pytest.raises(LookupError, match="not kept: what is goes back to"):
        adders.rt.state("adder", "k", at=just_before)
    with pytest.raises(LookupError):
        adders.rt.state("adder", "k", at=first)
    adders.advance("100d")
    assert adders.rt.state("adder", "k", at=adders.now) == Total(2)


def test_without_retain_nothing_is_kept_and_that_is_said(board: Board) -> None:
    board.rt.mailbox("adder", Adder, keyed=True)
    board.start()
    at = add(board, 1)
    board.rt.ask("adder", 1, key="k")
    board.rt.set_state("adder", Total(9), "k")
    assert changed_by(board.rt) == []
    with pytest.raises(ConfigError, match=r"'adder' keeps no states of before: .*retain="):
        board.rt.state("adder", "k", at=at)


def test_a_time_without_retain_leaves_no_state_that_looks_as_if_it_still_held(
    tmp_path: Path,
) -> None:
    clock, found = ManualClock(), list[datetime]()
    for retain in ("7d", None, "7d"):
        board = Board(Runtime(tmp_path / "s.db", clock=clock))
        board.rt.mailbox("adder", Adder, keyed=True, retain=retain)
        with board:
            found.append(add(board, 1))
            if len(found) == 3:
                assert board.rt.state("adder", "k", at=found[2]) == Total(3)
                for at in found[:2]:
                    with pytest.raises(LookupError, match="is not kept"):
                        board.rt.state("adder", "k", at=at)


def test_an_instant_to_come_and_one_without_a_zone_are_refused(adders: Board) -> None:
    add(adders, 1)
    with pytest.raises(MessageError, match="is not past"):
        adders.rt.state("adder", "k", at=adders.now + timedelta(seconds=1))
    with pytest.raises(MessageError, match="has no time zone"):
        adders.rt.state("adder", "k", at=datetime(2024, 1, 1))  # noqa: DTZ001  (that is it)
    with pytest.raises(MessageError, match="is keyed"):
        adders.rt.state("adder", at=adders.now)


def test_a_crash_leaves_the_past_as_it_was(adders: Board) -> None:
    first, second = add(adders, 1), add(adders, 2)
    adders.crash()
    adders.settle()
    found = [adders.rt.state("adder", "k", at=at) for at in (first, second)]
    assert found == [Total(1), Total(3)]


STEPS = st.lists(
    st.tuples(
        st.sampled_from("ab"), st.integers(-2, 2) | st.just(13), st.integers(0, 3), st.booleans()
    ),
    max_size=25,
)


@settings(max_examples=15, deadline=None)
@given(steps=STEPS)
def test_at_any_instant_it_is_what_a_plain_fold_gives(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int, bool]]
) -> None:
    board = Board(Runtime(tmp_path_factory.mktemp("fold") / "s.db", clock=ManualClock()))
    board.rt.mailbox("adder", Adder, keyed=True, retain="7d")
    with board:
        begun = board.clock.now()
        totals: dict[str, int] = {}
        changes: list[tuple[int, str, int]] = []
        for key, n, wait, settle in steps:
            board.rt.tell("adder", n, key=key)
            if n not in (0, 13):
                totals[key] = totals.get(key, 0) + n
                changes.append((board.clock.now(), key, totals[key]))
            if settle or wait:  # else several turns of one instant stand in a group
                board.settle()
                board.advance(wait)
        board.settle()
        for at in range(begun, board.clock.now() + 1, 500_000):
            for key in "ab":
                wanted = [total for when, whose, total in changes if whose == key and when <= at]
                assert _at(board, key, at) == (wanted[-1] if wanted else None)


def _at(board: Board, key: str, at: int) -> int | None:
    try:
        found: Total = board.rt.state("adder", key, at=instant(at))
    except LookupError:
        return None
    return found.n
