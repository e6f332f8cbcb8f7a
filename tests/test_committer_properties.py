"""Whatever the order of senders, turns and refusals: each unit is settled once, in commit order."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)  # fmt: skip

from callboard.errors import StoreError, StoreFull
from callboard.persistence import committer as module
from callboard.persistence.committer import Committer
from callboard.persistence.store import Lineage, Outcome, Unit

from .fake_store import PATIENCE, Act, FakeStore, Job, Told, as_store, full, half, well

ACTS: st.SearchStrategy[Act] = st.one_of(st.just(well), st.just(full), st.integers(0, 4).map(half))
RESULTS = st.sampled_from([Outcome.COMMITTED, Outcome.COMMITTED, Outcome.VOID, Outcome.FAILED])


class SeededCommitter(RuleBasedStateMachine):
    """The committer without a thread, one step at a time, against a list of what must come out."""

    lines = Bundle("lines")

    def __init__(self) -> None:
        super().__init__()
        self.store, self.told = FakeStore(), Told()
        self.committer = Committer(as_store(self.store), self.told, background=False)
        self.staged: list[Job] = []
        self.sent: list[tuple[Job, BaseException | None]] = []

    @initialize(target=lines)
    def begin(self) -> Lineage:
        return Lineage()

    @rule(target=lines)
    def new_line(self) -> Lineage:
        return Lineage()

    @rule(acts=st.lists(ACTS, max_size=3))
    def plan(self, acts: list[Act]) -> None:
        self.store.script.extend(acts)

    @rule(result=RESULTS)
    def stage(self, result: Outcome) -> None:
        self.staged.append(Job(len(self.staged), result=result))
        self.committer.stage(self.staged[-1])

    @rule(line=lines, result=RESULTS)
    def stage_in_line(self, line: Lineage, result: Outcome) -> None:
        self.staged.append(Job(len(self.staged), result=result, lineage=line))
        self.committer.stage(self.staged[-1])

    @rule(line=consumes(lines))
    def end_line(self, line: Lineage) -> None:
        line.generation += 1

    @rule(result=st.sampled_from([Outcome.COMMITTED, Outcome.FAILED]))
    def send(self, result: Outcome) -> None:
        job = Job(("sent", len(self.sent)), result=result)
        try:
            self.committer.commit(job)
        except (StoreError, ValueError) as error:
            self.sent.append((job, error))
        else:
            self.sent.append((job, None))

    @rule()
    def pump(self) -> None:
        self.committer.pump()

    @invariant()
    def each_is_settled_once_and_turns_in_their_order(self) -> None:
        assert all(len(job.settled) <= 1 for job in self.staged)
        settled = [bool(job.settled) for job in self.staged]
        assert settled == sorted(settled, reverse=True)
        written = [n for n in self.store.log if isinstance(n, int)]
        assert written == sorted(set(written))

    @invariant()
    def a_sender_knows_what_became_of_its_unit(self) -> None:
        for job, error in self.sent:
            assert (error is None) == (job.outcome is Outcome.COMMITTED)
            assert (job.label in self.store.log) == (not isinstance(error, StoreError))

    @invariant()
    def health_is_what_was_said_last(self) -> None:
        said = [word for word in self.told.said if word in ("refused", "recovered")]
        assert self.committer.healthy == (not said or said[-1] == "recovered")
        assert said == ["refused", "recovered"] * (len(said) // 2) + ["refused"] * (len(said) % 2)

    @invariant()
    def what_is_staged_is_counted(self) -> None:
        open_ = sum(not job.settled for job in self.staged)
        # A refusal stages one more, an empty one, so that it is tried again.
        assert self.committer._staged - open_ in (0, int(not self.committer.healthy))

    def teardown(self) -> None:
        self.store.script.clear()
        assert self.committer.flush(0)
        assert self.committer.healthy
        assert all(len(job.settled) == 1 for job in self.staged)
        assert self.committer.pending == self.committer._staged == 0


SeededCommitter.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
TestSeededCommitter = SeededCommitter.TestCase


@dataclass
class Plan:
    """What one thread does: a list of sends (True) and stages (False), with their results."""

    steps: list[tuple[bool, Outcome]]
    jobs: list[Job] = field(default_factory=list)
    errors: dict[object, BaseException] = field(default_factory=dict)

    def run(self, committer: Committer, name: int, barrier: threading.Barrier) -> None:
        barrier.wait(PATIENCE)
        for number, (send, result) in enumerate(self.steps):
            job = Job((name, number), result=result)
            self.jobs.append(job)
            if not send:
                committer.stage(job)
                continue
            try:
                committer.commit(job)
            except (StoreError, ValueError) as error:
                self.errors[job.label] = error


SEND = st.sampled_from([Outcome.COMMITTED, Outcome.COMMITTED, Outcome.FAILED])
STEPS = st.one_of(st.tuples(st.just(True), SEND), st.tuples(st.just(False), RESULTS))


@settings(max_examples=150, deadline=None)
@given(
    plans=st.lists(st.lists(STEPS, max_size=12), min_size=1, max_size=5),
    acts=st.lists(ACTS, max_size=5),
)
def test_any_threads_and_any_refusals(
    plans: list[list[tuple[bool, Outcome]]], acts: list[Act]
) -> None:
    store, told = FakeStore(*acts), Told()
    before, module._RETRY_FIRST = module._RETRY_FIRST, 0.001
    committer = Committer(as_store(store), told)
    runs = [Plan(steps) for steps in plans]
    barrier = threading.Barrier(len(runs))
    threads = [
        threading.Thread(target=run.run, args=(committer, name, barrier))
        for name, run in enumerate(runs)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a sender waits for ever"
        assert committer.flush(PATIENCE), "a wake-up was lost"
    finally:
        module._RETRY_FIRST = before
        committer.close()
    check(store, told, committer, runs)


def check(store: FakeStore, told: Told, committer: Committer, runs: list[Plan]) -> None:
    assert max(Counter(store.log).values(), default=1) == 1, "written twice"
    handed_over = [label for group in told.groups for label in group]
    assert handed_over == store.log, "not in commit order"
    for run in runs:
        own = [job.label for job in run.jobs if job.label in store.log]
        staged = [job for job in run.jobs if job.staged]
        assert [label for label in store.log if label in own] == own
        assert [job.settled for job in staged] == [[job.result] for job in staged]
        for job in run.jobs:
            if job.staged:
                continue
            error = run.errors.get(job.label)
            assert isinstance(error, StoreError) == (job.label not in store.log)
            assert isinstance(error, ValueError) == (job.outcome is Outcome.FAILED)
            if isinstance(error, ValueError):
                assert error.args == (job.label,)
    assert committer.pending == committer._staged == 0
    assert committer.healthy or not any(isinstance(u, Unit) for u in committer._queue)


def test_the_property_test_would_see_a_turn_that_is_forgotten() -> None:
    """A store that refuses, and a committer that keeps nothing: the check must not let it pass."""
    store, told = FakeStore(full), Told()
    committer = Committer(as_store(store), told, background=False)
    job = Job((0, 0))
    committer.stage(job)
    committer.pump()
    committer._queue.clear()
    committer.flush(0)
    plan = Plan([], jobs=[job])
    try:
        check(store, told, committer, [plan])
    except AssertionError:
        return
    raise StoreFull
