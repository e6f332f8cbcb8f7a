"""The group committer, when the store refuses or is lost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from callboard.errors import StoreError, StoreFull, StoreOwned
from callboard.persistence.store import Lineage, Outcome

from .committer_bench import Bench
from .fake_store import PATIENCE, FakeStore, Job, Told, full, half, odd, owned, slow


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.committer.close()
    bench.join()


# --- a store that refuses ------------------------------------------------------------------------


@pytest.mark.parametrize("refusals", [1, 2])
def test_on_refusal_senders_get_the_error_and_turns_are_kept_in_order(
    bench: Bench, refusals: int
) -> None:
    go = bench.busy()
    inside, refuse, act = slow(full)
    turns = [Job(n) for n in range(5)]
    bench.store.script += [act, full][:refusals]
    bench.committer.stage(turns[0])
    bench.send_behind(Job("tell"))
    for turn in turns[1:4]:
        bench.committer.stage(turn)
    go.set()
    assert inside.wait(PATIENCE)
    bench.committer.stage(turns[4])  # behind those that are refused
    refuse.set()
    bench.done()
    assert isinstance(bench.errors["tell"], StoreFull)
    assert bench.store.log == ["first", 0, 1, 2, 3, 4]
    assert [turn.settled for turn in turns] == [[Outcome.COMMITTED]] * 5
    assert bench.told.said.count("refused") == bench.told.said.count("recovered") == 1


def test_it_is_not_healthy_until_staged_turns_have_committed(bench: Bench) -> None:
    inside, go, act = slow(full)
    bench.store.script += [full, act]
    with pytest.raises(StoreFull):
        bench.committer.commit(Job("tell"))
    assert not bench.committer.healthy
    assert inside.wait(PATIENCE), "it tries by itself, though nothing was staged"
    assert not bench.committer.healthy
    go.set()
    bench.told.wait_for("recovered")
    assert bench.committer.healthy
    assert bench.told.said.index("recovered") < bench.told.said.index("room")


def test_it_goes_on_trying_when_all_that_was_staged_has_come_through(bench: Bench) -> None:
    bench.store.script += [full, half(1)]
    with pytest.raises(StoreFull):
        bench.committer.commit(Job("tell"))
    bench.told.wait_for("recovered")
    assert bench.committer.healthy


def test_what_was_written_before_the_refusal_is_settled_and_nothing_else(bench: Bench) -> None:
    go = bench.busy()
    bench.store.script.append(half(3))
    turns = [Job("turn"), Job("kept")]
    bench.committer.stage(turns[0])
    bench.send_behind(Job(1), Job(2, result=Outcome.FAILED), Job(3))
    bench.committer.stage(turns[1])
    bench.committer.seen = 0
    go.set()
    bench.done()
    assert (bench.errors[1], type(bench.errors[2]), type(bench.errors[3])) == (
        None, ValueError, StoreFull,
    )  # fmt: skip
    assert [turn.settled for turn in turns] == [[Outcome.COMMITTED]] * 2
    assert bench.told.groups[1:3] == [["turn", 1, 2], ["kept"]]
    assert bench.store.asked[2] == (None, 4), "what was written is not foreign"


def test_a_sender_that_failed_before_the_refusal_is_woken_though_nothing_was_written(
    bench: Bench,
) -> None:
    def fail_then_refuse(store: FakeStore, units: Any) -> Any:
        units[0].outcome, units[0].error = Outcome.FAILED, ValueError("own")
        raise StoreFull("no room")

    go = bench.busy()
    bench.store.script.append(fail_then_refuse)
    bench.send_behind(Job(1), Job(2))
    go.set()
    bench.done()
    assert isinstance(bench.errors[1], ValueError)
    assert isinstance(bench.errors[2], StoreFull)


def test_an_overtaken_turn_in_a_refused_group_is_settled_once(bench: Bench) -> None:
    line = Lineage()
    turn, other = Job("again", lineage=line), Job("other")
    line.generation += 1
    go = bench.busy()
    bench.store.script.append(full)
    bench.committer.stage(other)
    bench.committer.stage(turn)
    go.set()
    bench.done()
    assert turn.settled == [Outcome.AGAIN]
    assert other.settled == [Outcome.COMMITTED]
    assert not bench.committer.crowded
    assert bench.committer._staged == 0


def test_an_error_that_no_store_may_raise_is_a_refusal(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    go = bench.busy()
    bench.store.script.append(odd)
    turn = Job("turn")
    bench.committer.stage(turn)
    bench.send_behind(Job(1))
    go.set()
    bench.done()
    assert isinstance(bench.errors[1], StoreError)
    assert isinstance(bench.errors[1].__cause__, ZeroDivisionError)
    assert turn.settled == [Outcome.COMMITTED]
    assert "no StoreError" in caplog.text


# --- losing the store ----------------------------------------------------------------------------


def test_a_lost_store_is_said_once_and_staged_turns_are_left_to_the_new_owner(
    bench: Bench,
) -> None:
    go = bench.busy()
    bench.store.script += [owned, owned]
    turns = [Job(n) for n in range(2)]
    for turn in turns:
        bench.committer.stage(turn)
    go.set()
    bench.done()
    bench.committer.stage(Job("late"))
    bench.done()
    with pytest.raises(StoreOwned):
        bench.committer.commit(Job("tell"))
    assert bench.told.said.count("lost") == 1
    assert [turn.settled for turn in turns] == [[], []]
    assert not bench.committer.healthy
    assert len(bench.store.groups) == 3, "it does not try for ever"


def test_a_change_of_role_tells_the_old_hooks_of_the_old_group(bench: Bench) -> None:
    owner = Told()
    go = bench.busy()
    bench.committer.become(owner, 7, 100)
    go.set()
    bench.done()
    assert (bench.told.groups, owner.groups) == ([["first"]], [])
    assert bench.committer.seen == 100
    bench.committer.commit(Job(1))
    assert owner.groups == [[1]]
    assert bench.store.asked == [(None, None), (7, 100)]
    assert bench.committer.seen == owner.last[0]
