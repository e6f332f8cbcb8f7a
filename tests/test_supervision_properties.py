"""Strategies by properties: who is restarted in what order, nothing lost, no crash too many."""

from __future__ import annotations

import random
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.actors.cell import Cell, Crashed
from callboard.actors.driver import Driver
from callboard.actors.environment import Environment
from callboard.actors.restarts import Failures
from callboard.actors.seeded_driver import SeededDriver
from callboard.actors.supervisor import STRATEGIES, Strategy, Supervisor
from callboard.clock import SECOND, ManualClock
from callboard.events import Events

BOOM = "boom"
PERIOD = 60
NAMES = ("a", "b", "c", "d")
#: The children of the outer supervisor in their order, and those of the inner one.
OUTER, INNER = ("a", "inner", "d"), ("b", "c")


class InTurn(random.Random):
    """Has the seeded driver step whoever was ready first, as the real one does."""

    def randrange(self, *_: Any, **__: Any) -> int:
        return 0


class Child(Cell):
    """Notes what it is told and when it is restarted; crashes when it is told to."""

    def __init__(self, driver: Driver, name: str, supervisor: Cell, world: World) -> None:
        super().__init__(driver, name, supervisor)
        self.world = world
        self.told: list[int] = []
        self.seen: list[int] = []
        self.crashes: list[int] = []

    def on_receive(self, message: Any) -> None:
        assert not self.suspended
        assert self.name not in self.world.faulted
        if message == BOOM:
            self.crashes.append(self.world.clock.now())
            raise ArithmeticError(self.name)
        self.seen.append(message)

    def reload(self) -> None:
        self.world.reloads.append(self.name)


class World:
    """Two supervisors, one below the other, with two children each."""

    def __init__(self, outer: Strategy, inner: Strategy, intensity: int, seed: int | None) -> None:
        self.clock = ManualClock()
        self.driver = SeededDriver(self.clock, seed or 0)
        if seed is None:
            self.driver.random = InTurn()
        self.reloads: list[str] = []
        self.failures: list[BaseException] = []
        nothing = cast("Any", None)
        shared = Environment(
            home=nothing, store=nothing, committer=nothing, clock=self.clock,
            driver=cast("Any", self.driver), events=Events(self.clock.now), slots=nothing,
            loop=nothing, random=random.Random(0),
        )  # fmt: skip
        self.intensity = intensity
        options: dict[str, Any] = {"intensity": intensity, "period": PERIOD}
        self.root = Supervisor.launch(shared, "root", give_up=self.failures.append)
        self.outer = Supervisor.launch(shared, "outer", self.root, strategy=outer, **options)
        self.root.adopt(self.outer)
        self.inner = Supervisor.launch(shared, "inner", self.outer, strategy=inner, **options)
        self.children: dict[str, Child] = {}
        self.outer.adopt(self.inner, 1)
        for index, name in ((0, "a"), (2, "d")):
            self._child(name, index, self.outer)
        for index, name in enumerate(INNER):
            self._child(name, index, self.inner)

    def _child(self, name: str, index: int, above: Supervisor) -> None:
        self.children[name] = child = Child.launch(self.driver, name, above, self)
        above.adopt(child, index)

    @property
    def faulted(self) -> set[str]:
        return {*self.outer.faulted, *self.inner.faulted}

    def tell(self, name: str, number: int) -> None:
        self.children[name].told.append(number)
        self.children[name].post(number)

    def rest(self) -> None:
        """Let everything come to rest, back-offs included."""
        self.driver.run()
        while (due := self.driver.next_deadline()) is not None:
            self.clock.set(max(due, self.clock.now()))
            self.driver.run()


def group(strategy: str, children: tuple[str, ...], crashed: str) -> list[str]:
    """Return who is restarted with a crashed child, by the words of the documentation."""
    if strategy == "one_for_one":
        return [crashed]
    return list(children if strategy == "one_for_all" else children[children.index(crashed) :])


def expected(outer: str, inner: str, crashed: str, faulted: set[str]) -> list[str]:
    """Return the restarts of a crash that nothing else overlaps, in their order."""
    if crashed in INNER:
        found = group(inner, INNER, crashed)
    else:
        found = []
        for name in group(outer, OUTER, crashed):
            found += INNER if name == "inner" else [name]
    return [name for name in found if name not in faulted]


strategy = st.sampled_from(STRATEGIES).map(lambda name: cast("Strategy", name))


@settings(max_examples=150, deadline=None)
@given(strategy, strategy, st.lists(st.tuples(st.sampled_from(NAMES), st.integers(0, 40))))
def test_a_crash_restarts_its_group_in_the_order_of_declaration(
    outer: Strategy, inner: Strategy, crashes: list[tuple[str, int]]
) -> None:
    world = World(outer, inner, intensity=2, seed=None)
    for number, (name, seconds) in enumerate(crashes):
        world.clock.shift(seconds)
        was_faulted = name in world.faulted
        world.reloads.clear()
        world.children[name].post(BOOM)
        for each in NAMES:
            world.tell(each, number)
        world.rest()
        if was_faulted or name in world.faulted:
            assert world.reloads == []
        else:
            # Those of the inner one are sent on by it: after their elders' siblings.
            whole = expected(outer, inner, name, world.faulted)
            assert sorted(world.reloads) == sorted(whole)
            for below in (OUTER, INNER):
                assert [n for n in world.reloads if n in below] == [n for n in whole if n in below]
        for each in set(NAMES) - world.faulted:
            assert world.children[each].seen == world.children[each].told


def test_who_waits_for_one_above_is_not_restarted_by_its_own() -> None:
    world = World("one_for_all", "one_for_all", intensity=5, seed=0)
    for _ in range(3):
        world.outer.post(Crashed(world.children["a"], ArithmeticError()))
    world.driver.run()
    world.inner.post(Crashed(world.children["b"], ArithmeticError()))  # the end of a running turn
    world.driver.run()
    for _ in range(3):
        assert world.children["b"].suspended
        world.clock.shift(0.1)
        world.driver.run()
    world.rest()
    assert not world.children["b"].suspended


def test_a_group_that_waits_for_two_goes_on_after_the_later() -> None:
    world = World("one_for_all", "one_for_one", intensity=5, seed=0)
    for _ in range(3):
        world.outer.post(Crashed(world.children["a"], ArithmeticError()))
    world.driver.run()
    until = world.outer.until(world.children["a"])
    world.outer.post(Crashed(world.children["d"], ArithmeticError()))
    world.driver.run()
    assert [world.outer.until(child) for child in world.outer.children] == [until] * 3
    world.rest()
    assert sorted(world.reloads) == list(NAMES)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["note", "note", "note", "forget", "total"]),
            st.sampled_from(NAMES), st.integers(0, 20),
        )
    )
)  # fmt: skip
def test_failures_are_counted_in_all_as_for_each(acts: list[tuple[str, str, int]]) -> None:
    failures, now = Failures(PERIOD), 0
    noted: list[tuple[int, str]] = []
    for act, name, seconds in acts:
        now += seconds * SECOND
        if act == "note":
            failures.note(name, now)
            noted.append((now, name))
        elif act == "forget":
            failures.forget(name)
            noted = [each for each in noted if each[1] != name]
        recent = [each for each in noted if each[0] > now - PERIOD * SECOND]
        assert failures.total(now) == (len({name for _, name in recent}), len(recent))
        assert failures.count(name, now) == sum(each[1] == name for each in recent)
    failures.clear()
    assert failures.total(now) == (0, 0)


steps = st.lists(
    st.one_of(
        st.tuples(st.just("tell"), st.sampled_from(NAMES)),
        st.tuples(st.just("crash"), st.sampled_from(NAMES)),
        st.tuples(st.just("wait"), st.sampled_from([0.0, 0.05, 0.3, 2.0, 20.0])),
        st.tuples(st.just("run"), st.integers(1, 12)),
    ),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(strategy, strategy, st.integers(0, 3), st.integers(0, 2**16), steps)
def test_crashes_at_any_time_lose_nothing_and_are_never_too_many(
    outer: Strategy, inner: Strategy, intensity: int, seed: int, script: list[tuple[str, Any]]
) -> None:
    world = World(outer, inner, intensity, seed)
    for number, (act, what) in enumerate(script):
        if act == "tell":
            world.tell(what, number)
        elif act == "crash":
            world.children[what].post(BOOM)
        elif act == "wait":
            world.driver.run()  # a crash is counted when it is reported: no time passes until then
            world.clock.shift(what)
        else:
            for _ in range(what):
                world.driver.step()
    world.rest()
    assert not world.failures
    for name, child in world.children.items():
        # More crashes than the intensity within a period: visible, and it went no further.
        last = child.crashes[-1] if child.crashes else 0
        recent = [at for at in child.crashes if at > last - PERIOD * SECOND]
        assert len(recent) <= intensity + 1
        assert (name in world.faulted) is (len(recent) > intensity)
        assert child.seen == child.told[: len(child.seen)]
        if name not in world.faulted:
            assert child.seen == child.told
            assert not child.suspended
            assert not child.crashed
