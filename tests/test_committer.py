"""The group committer: who leads, who follows, what is staged, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import pytest

from callboard.errors import StoreError
from callboard.persistence import committer as module
from callboard.persistence.committer import ThreadWaiter
from callboard.persistence.store import Lineage, Outcome, Unit, Written

from .committer_bench import Bench
from .fake_store import PATIENCE, FakeStore, Job, full, half, owned


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.committer.close()
    bench.join()


# --- leader and followers ------------------------------------------------------------------------


def test_a_lone_sender_commits_in_its_own_thread(bench: Bench) -> None:
    ran_on: list[threading.Thread] = []

    def act(store: FakeStore, units: Sequence[Unit]) -> Written:
        ran_on.append(threading.current_thread())
        return store.put(units)

    bench.store.script.append(act)
    bench.committer.commit(Job(1))
    assert ran_on == [threading.current_thread()]
    assert bench.committer._thread is None


def test_those_who_come_while_one_commits_are_committed_together(bench: Bench) -> None:
    go = bench.busy()
    bench.send_behind(*[Job(n) for n in range(5)])
    go.set()
    bench.done()
    assert bench.store.groups == [["first"], [0, 1, 2, 3, 4]]
    assert bench.errors == dict.fromkeys(["first", 0, 1, 2, 3, 4])


def test_a_sender_gets_its_own_error_and_no_other(bench: Bench) -> None:
    go = bench.busy()
    bench.send_behind(Job(1), Job(2, result=Outcome.FAILED), Job(3))
    go.set()
    bench.done()
    assert isinstance(bench.errors[2], ValueError)
    assert (bench.errors[1], bench.errors[3]) == (None, None)


def test_the_runtime_is_told_before_a_sender_goes_on(bench: Bench) -> None:
    job = Job(1)
    bench.committer.commit(job)
    assert bench.told.said == ["committed", "after"]
    assert job.settled == [Outcome.COMMITTED]


def test_a_follower_goes_on_when_the_runtime_has_been_told(bench: Bench) -> None:
    real, told, go_on = bench.told.committed, threading.Event(), threading.Event()

    def committed(units: Sequence[Unit], written: Written) -> None:
        real(units, written)
        if len(bench.told.groups) == 2:
            told.set()
            assert go_on.wait(PATIENCE)

    bench.told.committed = committed  # type: ignore[method-assign]
    go = bench.busy()
    leader, follower = Job("leader"), Job("follower")
    bench.send_behind(leader, follower)
    woken: list[str] = []
    waiter = follower.waiter

    def wake() -> None:
        woken.append("follower")
        waiter.wake()

    follower.waiter = SimpleNamespace(wait=waiter.wait, wake=wake)
    go.set()
    assert told.wait(PATIENCE)
    assert follower.settled == [Outcome.COMMITTED]
    assert woken == []
    go_on.set()
    bench.done()
    assert woken == ["follower"]
    assert bench.errors["follower"] is None


def test_what_comes_after_may_commit(bench: Bench) -> None:
    bench.told.after = lambda: bench.committer.commit(  # type: ignore[method-assign]
        Job(len(bench.store.log))
    ) if len(bench.store.log) < 3 else None  # fmt: skip
    bench.committer.commit(Job("first"))
    assert bench.store.log == ["first", 1, 2]


def test_a_group_takes_so_many_units_and_bytes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GROUP_UNITS", 3)
    monkeypatch.setattr(module, "GROUP_BYTES", 10)
    go = bench.busy()
    for n in range(7):
        bench.committer.stage(Job(n, size=6 if n > 2 else 1))
    go.set()
    bench.done()
    assert bench.store.groups == [["first"], [0, 1, 2], [3, 4], [5, 6]]


# --- staged turns --------------------------------------------------------------------------------


def test_a_staged_turn_is_committed_though_nobody_waits(bench: Bench) -> None:
    jobs = [Job(n) for n in range(3)]
    for job in jobs:
        bench.committer.stage(job)
        bench.done()
    assert [job.settled for job in jobs] == [[Outcome.COMMITTED]] * 3


def test_staged_turns_ride_along_with_a_sender(bench: Bench) -> None:
    go = bench.busy()
    bench.committer.stage(Job("turn"))
    bench.send_behind(Job("tell"))
    go.set()
    bench.done()
    assert bench.store.groups == [["first"], ["turn", "tell"]]


def test_a_turn_that_stands_on_a_void_one_is_not_written(bench: Bench) -> None:
    line = Lineage()
    first, second = Job(1, result=Outcome.VOID, lineage=line), Job(2, lineage=line)
    go = bench.busy()
    bench.committer.stage(first)
    go.set()
    bench.done()
    bench.committer.stage(second)
    bench.done()
    assert (first.settled, second.settled) == ([Outcome.VOID], [Outcome.AGAIN])
    assert bench.store.log == ["first", 1]


def test_it_is_crowded_at_the_bound_and_says_when_there_is_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAGED_UNITS", 3)
    monkeypatch.setattr(module, "STAGED_BYTES", 100)
    for sizes in ([1, 1, 1], [60, 60]):
        go = bench.busy()
        for size in sizes:
            assert not bench.committer.crowded
            bench.committer.stage(Job("turn", size=size))
        assert bench.committer.crowded
        bench.told.said.clear()
        go.set()
        bench.done()
        assert not bench.committer.crowded
        assert bench.told.said.count("room") == 1


# --- hooks that raise ----------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["committed", "after", "room", "refused", "recovered", "lost"])
def test_a_hook_that_raises_keeps_nobody_waiting(
    bench: Bench, caplog: pytest.LogCaptureFixture, hook: str
) -> None:
    def fail(*args: object) -> None:
        raise ZeroDivisionError(hook)

    setattr(bench.told, hook, fail)
    go = bench.busy()
    bench.store.script += [owned] if hook == "lost" else [full]
    turn = Job("turn")
    bench.committer.stage(turn)
    bench.send_behind(Job(1), Job(2))
    go.set()
    bench.done()
    assert turn.settled == ([] if hook == "lost" else [Outcome.COMMITTED])
    assert f"ZeroDivisionError: {hook}" in caplog.text


# --- the end -------------------------------------------------------------------------------------


def test_flush_says_when_the_time_ran_out(bench: Bench) -> None:
    go = bench.busy()
    assert not bench.committer.flush(0.01)
    go.set()
    bench.done()


def test_without_a_thread_of_its_own_the_caller_pumps() -> None:
    bench = Bench()
    committer = bench.make(background=False)
    bench.store.script.append(full)
    turn = Job("turn")
    committer.stage(turn)
    assert bench.store.groups == []
    assert not committer.flush(0), "it ends, though the store refuses"
    assert turn.settled == []
    assert committer.flush(0)
    assert turn.settled == [Outcome.COMMITTED]
    assert not committer.pump()
    assert committer._thread is None


def test_closing_gives_up_what_is_queued_and_lets_every_sender_go(bench: Bench) -> None:
    go = bench.busy()
    bench.send_behind(Job(1), Job(2), Job(3))
    turn = Job("turn")
    bench.committer.stage(turn)
    bench.committer.close()
    go.set()
    bench.join()
    assert bench.errors["first"] is None
    assert [type(bench.errors[n]) for n in (1, 2, 3)] == [StoreError] * 3
    assert turn.settled == []
    assert bench.committer.pending == 0


class Sleepy(ThreadWaiter):
    """Wakes late: whoever handed the lead to it has gone on meanwhile."""

    __slots__ = ("may_wake", "woken")

    def __init__(self) -> None:
        super().__init__()
        self.woken, self.may_wake = threading.Event(), threading.Event()

    def wake(self) -> None:
        super().wake()
        self.woken.set()

    def wait(self, timeout: float | None = None) -> bool:
        assert self.may_wake.wait(PATIENCE)
        return super().wait(timeout)


def test_closing_wakes_an_heir_once_and_the_others_too(bench: Bench) -> None:
    sleepy = Sleepy()
    waiters: list[Callable[[], ThreadWaiter]] = [lambda: sleepy, ThreadWaiter, ThreadWaiter]

    def waiter() -> ThreadWaiter:
        bench.queued.release()
        return waiters.pop(0)()

    bench.make(waiter=waiter)
    go = bench.busy()
    bench.send_behind(Job("heir"), Job(2), Job(3))
    go.set()
    assert sleepy.woken.wait(PATIENCE), "the lead was handed on"
    bench.committer.close()
    sleepy.may_wake.set()
    bench.join()
    assert [type(bench.errors[label]) for label in ("heir", 2, 3)] == [StoreError] * 3


# --- many senders of one group -------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "woken"), [(0.0, 1), (1.0, 5)])
def test_many_senders_wake_each_other_unless_that_takes_long(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, seconds: float, woken: int
) -> None:
    """One at a time; all the rest at once where the next took a second to come."""
    calls: list[threading.Thread] = []
    go_on, now = threading.Event(), [0.0]

    class Held(ThreadWaiter):
        __slots__ = ()

        def wait(self, timeout: float | None = None) -> bool:
            return super().wait(timeout) and go_on.wait(PATIENCE)

        def wake(self) -> None:
            calls.append(threading.current_thread())
            super().wake()

    def waiter() -> ThreadWaiter:
        bench.queued.release()
        return ThreadWaiter() if len(bench.committer._queue) == 1 else Held()

    def monotonic() -> float:
        now[0] += seconds
        return now[0]

    bench.make(waiter=waiter)
    monkeypatch.setattr(module, "monotonic", monotonic)
    go = bench.busy()
    bench.send_behind(*[Job(n) for n in range(6)])
    go.set()
    bench._threads[1].join(PATIENCE)
    assert bench.errors[0] is None, "the leader has gone on"
    assert len(calls) == woken
    go_on.set()
    bench.done()
    assert len(calls) == 5
    assert bench.errors == dict.fromkeys(["first", *range(6)])


# --- Ctrl-C --------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_interrupted_leader_takes_nobody_with_it(bench: Bench, count: int) -> None:
    """Its own unit is given up where it was not written; all the others are committed."""
    go = bench.busy()
    bench.store.script.append(half(count, KeyboardInterrupt))
    bench.send_behind(Job("leader"))
    bench.committer.stage(Job("turn"))
    bench.send_behind(Job(2))
    go.set()
    bench.done()
    assert isinstance(bench.errors["leader"], KeyboardInterrupt)
    assert bench.errors[2] is None
    assert bench.store.log == (["first", "leader"] if count else ["first"]) + ["turn", 2]


class Interrupted(ThreadWaiter):
    """A sender that gets Ctrl-C while it waits: before it is woken, or just after."""

    __slots__ = ("_after", "_go")

    def __init__(self, go: threading.Event, *, after: bool) -> None:
        super().__init__()
        self._go, self._after = go, after

    def wait(self, timeout: float | None = None) -> bool:
        if self._after:
            super().wait(timeout)
        self._go.wait(PATIENCE)
        raise KeyboardInterrupt


@pytest.mark.parametrize("after", [True, False])
def test_an_interrupted_follower_does_not_take_the_lead_with_it(
    bench: Bench, *, after: bool
) -> None:
    interrupt = threading.Event()

    def waiter() -> ThreadWaiter:
        bench.queued.release()
        first = len(bench.committer._queue) == 1
        return Interrupted(interrupt, after=after) if first else ThreadWaiter()

    bench.make(waiter=waiter)
    go = bench.busy()
    bench.send_behind(Job("interrupted"))
    bench.committer.stage(Job("turn"))
    bench.send_behind(Job(2))
    interrupt.set()
    if not after:
        bench._threads[1].join(PATIENCE)
    go.set()
    bench.done()
    assert isinstance(bench.errors["interrupted"], KeyboardInterrupt)
    assert bench.errors[2] is None
    assert bench.store.log == ["first", "interrupted", "turn", 2]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("which", [1, 3, 5])
def test_an_interrupted_sender_of_many_keeps_nobody_asleep(
    bench: Bench, which: int, *, after: bool
) -> None:
    interrupt = threading.Event()

    def waiter() -> ThreadWaiter:
        bench.queued.release()
        it = len(bench.committer._queue) == which + 1
        return Interrupted(interrupt, after=after) if it else ThreadWaiter()

    bench.make(waiter=waiter)
    go = bench.busy()
    bench.send_behind(*[Job(n) for n in range(6)])
    interrupt.set()
    if not after:
        bench._threads[1 + which].join(PATIENCE)
    go.set()
    bench.done()
    assert isinstance(bench.errors.pop(which), KeyboardInterrupt)
    assert set(bench.errors.values()) == {None}
    assert len(bench.errors) == 6
    assert bench.store.log == ["first", *range(6)]


def test_a_sender_that_is_interrupted_before_its_turn_to_be_woken_is_passed_over(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt = threading.Event()

    class Slow(ThreadWaiter):
        __slots__ = ()

        def wait(self, timeout: float | None = None) -> bool:
            super().wait(timeout)
            interrupt.set()
            bench._threads[1 + 3].join(PATIENCE)
            return True

    def waiter() -> ThreadWaiter:
        bench.queued.release()
        match len(bench.committer._queue):
            case 2:
                return Slow()
            case 4:
                return Interrupted(interrupt, after=False)
        return ThreadWaiter()

    monkeypatch.setattr(module, "_LONG", PATIENCE)
    bench.make(waiter=waiter)
    go = bench.busy()
    bench.send_behind(*[Job(n) for n in range(6)])
    go.set()
    bench.done()
    assert isinstance(bench.errors.pop(3), KeyboardInterrupt)
    assert bench.errors == dict.fromkeys(["first", 0, 1, 2, 4, 5])


def test_a_poke_runs_an_empty_group(bench: Bench) -> None:
    bench.committer.poke()
    bench.done()
    assert bench.store.groups == [[None]]
    assert isinstance(Unit(), Unit)
