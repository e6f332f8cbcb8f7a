"""Supervision against a model: who is restarted when, with what backlog, and who is left alone."""

from __future__ import annotations

import random
from collections import deque
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callboard.actors.cell import Cell
from callboard.actors.driver import Driver
from callboard.actors.environment import Environment
from callboard.actors.restarts import Restarts
from callboard.actors.seeded_driver import SeededDriver
from callboard.actors.supervisor import Supervisor
from callboard.clock import SECOND, ManualClock
from callboard.events import Events

NAMES = ("a", "b", "c")
INTENSITY = 3
PERIOD = 10
BOOM = "boom"


class Child(Cell):
    """Notes what it is told, and crashes when it is told to."""

    def __init__(self, driver: Driver, name: str, supervisor: Cell) -> None:
        super().__init__(driver, name, supervisor)
        self.seen: list[object] = []
        self.reloads = 0
        self.broken = 0

    def on_receive(self, message: Any) -> None:
        if message == BOOM:
            raise ArithmeticError(message)
        self.seen.append(message)

    def reload(self) -> None:
        self.reloads += 1
        if self.broken:
            self.broken -= 1
            msg = "still broken"
            raise ArithmeticError(msg)


class Model:
    """What a child is expected to look like."""

    def __init__(self) -> None:
        self.queue: deque[object] = deque()
        self.seen: list[object] = []
        self.crashes: list[int] = []
        self.crashed = False
        self.faulted = False
        self.due = 0
        self.reloads = 0
        self.broken = 0

    def crash(self, now: int) -> None:
        self.crashed = True
        self.crashes = [at for at in self.crashes if at > now - PERIOD * SECOND] + [now]
        self.faulted = len(self.crashes) > INTENSITY

    def run(self, now: int) -> bool:
        """Do what one run does; says whether there was a crash that is answered with a restart."""
        if self.crashed:
            if self.faulted or self.due > now:
                return False
            self.reloads += 1
            if self.broken:
                self.broken -= 1
                self.crash(now)
                return not self.faulted
            self.crashed = False
        while self.queue:
            message = self.queue.popleft()
            if message == BOOM:
                self.crash(now)
                return not self.faulted
            self.seen.append(message)
        return False


def environment(seed: int = 0) -> tuple[Environment, SeededDriver, ManualClock]:
    clock = ManualClock()
    driver = SeededDriver(clock, seed)
    nothing = cast("Any", None)
    found = Environment(
        home=nothing, store=nothing, committer=nothing, clock=clock, driver=cast("Any", driver),
        events=Events(clock.now), slots=nothing, loop=nothing, random=random.Random(0),
    )  # fmt: skip
    return found, driver, clock


class SupervisorMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.environment, self.driver, self.clock = environment()
        self.failures: list[BaseException] = []
        self.supervisor = Supervisor.launch(
            self.environment, "root", intensity=INTENSITY, period=PERIOD,
            give_up=self.failures.append,
        )  # fmt: skip
        self.children = {n: Child.launch(self.driver, n, self.supervisor) for n in NAMES}
        self.refs = {name: child.actor_ref for name, child in self.children.items()}
        self.models = {name: Model() for name in NAMES}
        self.numbers = 0
        self.fresh = True

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4))
    def tell(self, name: str, count: int) -> None:
        self.fresh = False
        for _ in range(count):
            self.numbers += 1
            self.refs[name].tell(self.numbers)
            self.models[name].queue.append(self.numbers)

    @rule(name=st.sampled_from(NAMES))
    def tell_what_it_dies_of(self, name: str) -> None:
        self.fresh = False
        self.refs[name].tell(BOOM)
        self.models[name].queue.append(BOOM)

    @rule(name=st.sampled_from(NAMES))
    def break_the_next_reload(self, name: str) -> None:
        self.children[name].broken += 1
        self.models[name].broken += 1

    @rule(milliseconds=st.sampled_from([1, 50, 150, 400, 2_000, 11_000]))
    def move_the_clock(self, milliseconds: int) -> None:
        self.fresh = False
        self.clock.shift(milliseconds / 1000)

    @precondition(lambda self: not self.fresh)
    @rule()
    def run(self) -> None:
        self.driver.run()
        self.fresh = True
        now = self.clock.now()
        for name, model in self.models.items():
            if not model.run(now):
                continue
            due = self.supervisor.until(self.children[name])
            assert due is not None
            model.due = due
            seconds = (model.due - now) / SECOND
            expected = 0.1 * 2 ** (len(model.crashes) - 1)
            assert 0.8 * expected <= seconds <= 1.2 * expected

    @invariant()
    def every_child_is_as_expected(self) -> None:
        if not self.fresh:
            return
        for name, model in self.models.items():
            child = self.children[name]
            assert child.seen == model.seen
            assert child.reloads == model.reloads
            assert child.crashed is model.crashed
            assert (name in self.supervisor.faulted) is model.faulted
            assert child.actor_ref is self.refs[name]
            assert self.refs[name].is_alive()
            backlog = [message for message, _ in child.actor_inbox._backlog]
            assert backlog == list(model.queue)

    @invariant()
    def nobody_gives_up(self) -> None:
        assert not self.failures
        assert not self.supervisor.crashed


TestSupervisor = SupervisorMachine.TestCase
TestSupervisor.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    intensity=st.integers(1, 12),
    crashes=st.lists(
        st.tuples(st.sampled_from(NAMES), st.integers(0, 30 * SECOND)), min_size=1, max_size=60
    ),
)
def test_restarts_count_per_child_within_a_sliding_period(
    seed: int, intensity: int, crashes: list[tuple[str, int]]
) -> None:
    restarts = Restarts(intensity, 60.0, random.Random(seed))
    history: dict[str, list[int]] = {name: [] for name in NAMES}
    now = 1_700_000_000 * SECOND
    for name, passed in crashes:
        now += passed
        history[name].append(now)
        recent = sum(1 for at in history[name] if at > now - 60 * SECOND)
        delay = restarts.crashed(name, now)
        assert restarts.count(name, now) == recent
        if recent > intensity:
            assert delay is None
            continue
        assert delay is not None
        expected = min(30.0, 0.1 * 2 ** (recent - 1)) * SECOND
        assert 0.8 * expected - 1 <= delay <= 1.2 * expected + 1
    restarts.sweep(now)
    for name in NAMES:
        assert restarts.count(name, now) == sum(1 for at in history[name] if at > now - 60 * SECOND)
    restarts.sweep(now + 60 * SECOND)
    assert not restarts


def test_a_forgotten_child_starts_with_a_clean_record() -> None:
    restarts = Restarts(1, 60.0, random.Random(0))
    assert restarts.crashed("a", 0) is not None
    assert restarts.crashed("a", 1) is None
    restarts.forget("a")
    restarts.forget("nobody")
    assert restarts.crashed("a", 2) is not None


@pytest.mark.parametrize("nested", [False, True])
def test_the_fault_of_an_essential_child_is_one_of_its_supervisor(nested: bool) -> None:  # noqa: FBT001
    shared, driver, _clock = environment()
    failures: list[BaseException] = []
    root = Supervisor.launch(shared, "root", intensity=0, give_up=failures.append)
    above = root
    if nested:
        root.essential.add("middle")
        above = Supervisor.launch(shared, "middle", root, intensity=0)
    above.essential.add("heart")
    heart = Child.launch(driver, "heart", above)
    finger = Child.launch(driver, "finger", above)
    finger.post(BOOM)
    driver.run()
    assert not failures
    assert list(above.faulted) == ["finger"]
    heart.post(BOOM)
    driver.run()
    assert [type(each) for each in failures] == [ArithmeticError]
    assert "heart" in above.faulted
    assert ("middle" in root.faulted) is nested
