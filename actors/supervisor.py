"""Supervision: who is restarted when, with whom, and when an actor is left alone.

A supervisor's children are mailboxes and supervisors, in the order of their declaration. When one
crashes, or an actor of a mailbox does, its *group* is restarted after the back-off:

=============== ==========================================================
one_for_one     the crashed one alone (of a keyed mailbox: that key alone)
one_for_all     every child
rest_for_one    the crashed child and those declared after it
=============== ==========================================================

Until then the group takes no new turn; turns that run end first. A restarted mailbox keeps its
address and all that waits, and builds its workers' objects and loads their state anew.

Intensity is counted per child, unlike in OTP: one that crashes more often than ``intensity`` times
within ``period`` seconds is *faulted*: visible, left alone, its messages wait, its siblings go on.
The supervisor itself fails, to its own, when one is faulted and within the period ``on_start`` or
the loading of state has failed for more than half of its activations (more than one, and more often
than ``intensity`` in all); also when an essential child (the timers) is faulted. The root gives up.
"""

from __future__ import annotations

from bisect import insort
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec

from ..clock import SECOND
from ..errors import CallboardError
from .cell import Cell, Crashed, Restart, Suspend
from .inbox import Control
from .restarts import Restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .environment import Environment

Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
INTENSITY, PERIOD = 5, 60.0


class SupervisorSpec(msgspec.Struct, frozen=True):
    """A supervisor as it was declared.

    Attributes:
        parent: the name of its own; None: the one above all that users declare.
        index: place among all declarations: the order of siblings.

    """

    name: str
    strategy: str = "one_for_one"
    intensity: int = INTENSITY
    period: float = PERIOD
    parent: str | None = None
    index: int = 0


class Census(msgspec.Struct, frozen=True):
    """How the actors below somebody did within its period.

    Attributes:
        activations: actors in memory, or tried.
        failing: those of them whose ``on_start`` or state failed.
        failures: how often that was, in all.

    """

    activations: int
    failing: int
    failures: int


class Ailing(Control):
    """A mailbox's report of an actor of its own: it crashed, or is faulted (``until`` is None)."""

    __slots__ = ("actor", "cell", "error", "until")

    def __init__(self, cell: Cell, actor: str, error: BaseException, until: int | None) -> None:
        """Say whose, why, and when it is restarted."""
        self.cell = cell
        self.actor = actor
        self.error = error
        self.until = until


class Repair(Control):
    """Start a child anew, its crashes forgotten."""

    __slots__ = ("cell",)

    def __init__(self, cell: Cell) -> None:
        """Say which."""
        self.cell = cell


class Supervisor(Cell):
    """Restarts its children by its strategy.

    Args:
        environment: clock, events, driver.
        name: for people.
        supervisor: its own; None for the root.
        strategy: see the module.
        intensity: see Restarts.
        period: see Restarts.
        give_up: called by the root when it fails.

    Attributes:
        children: in the order of their declaration.
        faulted: why a child is left alone, by its name.

    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        supervisor: Cell | None = None,
        *,
        strategy: str = "one_for_one",
        intensity: int = INTENSITY,
        period: float = PERIOD,
        give_up: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Start with no children; each names its supervisor when it is built."""
        super().__init__(environment.driver, name, supervisor)
        self.environment = environment
        self.strategy = strategy
        self.intensity = intensity
        self.period = period
        self.restarts = Restarts(intensity, period, environment.random)
        self.faulted: dict[str, BaseException] = {}
        self.essential: set[str] = set()
        self._give_up = give_up
        self._children: list[tuple[int, Cell]] = []
        self._until: dict[Cell, int] = {}

    # --- from any thread ---------------------------------------------------------------------

    def adopt(self, child: Cell, index: int = 0) -> None:
        """Take a child, at its place among its siblings."""
        insort(self._children, (index, child), key=lambda each: each[0])

    @property
    def children(self) -> list[Cell]:
        """The children, in the order of their declaration."""
        return [child for _, child in self._children]

    def until(self, child: Cell) -> int | None:
        """Return when a child is to be restarted (microseconds UTC); None: it is not waiting."""
        return self._until.get(child)

    def census(self, now: int) -> Census:
        """Count the actors below, and those that could not be started."""
        found = [child.census(now) for child in self.children if hasattr(child, "census")]
        return Census(
            sum(each.activations for each in found),
            sum(each.failing for each in found),
            sum(each.failures for each in found),
        )

    # --- the actor ---------------------------------------------------------------------------

    def on_receive(self, message: Any) -> None:
        """Take a report, or restart the children whose back-off is over."""
        match message:
            case Crashed():
                self._crashed(message.cell, message.error)
            case Ailing():
                self._ailing(message)
            case Repair():
                self._repair(message.cell)
            case _:
                pass
        now = self.environment.clock.now()
        due = [cell for cell, until in self._until.items() if until <= now]
        for cell in self._in_order(due):
            del self._until[cell]
            # One that has failed itself starts anew all that is below it.
            cell.post(Restart(clean=isinstance(cell, Supervisor) and cell.crashed))
        self.wake_at(min(self._until.values(), default=None))

    def suspend(self) -> None:
        """Have everything below wait."""
        super().suspend()
        self._hold(self.children)

    def restart(self, *, clean: bool) -> None:
        """Restart every child; those that are faulted only with ``clean``."""
        self._until.clear()
        if clean:
            self.faulted.clear()
            self.restarts.clear()
        for child in self.children:
            if child.name not in self.faulted:
                child.post(Restart(clean=clean))

    def crash(self, error: BaseException) -> None:
        """Fail: everything below waits for the one above to restart it; the root gives up."""
        self._until.clear()
        self._hold(self.children)
        if self.environment.events.on:
            self.environment.events.emit("supervisor.failed", actor=self.name, error=repr(error))
        super().crash(error)
        if self.supervisor is None:
            self._give_up(error)

    # --- inside ------------------------------------------------------------------------------

    def _crashed(self, cell: Cell, error: BaseException) -> None:
        child = cell.part_of or cell
        if child.name in self.faulted:
            return
        now = self.environment.clock.now()
        events = self.environment.events
        delay = self.restarts.crashed(child.name, now)
        if delay is not None:
            if events.on:
                attempt = self.restarts.count(child.name, now)
                events.emit("actor.restarted", actor=child.name, attempt=attempt,
                            error=repr(error), delay=delay / SECOND)  # fmt: skip
            self._restart_at(now + delay, cell, error)
            return
        self.faulted[child.name] = error
        self._until.pop(cell, None)
        self._until.pop(child, None)
        self._hold([child])
        if events.on:
            events.emit("actor.faulted", actor=child.name, error=repr(error))
        if child.name in self.essential:
            self.crash(error)
        elif isinstance(child, Supervisor):
            self._judge(error)

    def _ailing(self, report: Ailing) -> None:
        if report.until is None:
            self._judge(report.error)
        elif self.strategy != "one_for_one":
            self._restart_at(report.until, report.cell, report.error)

    def _repair(self, cell: Cell) -> None:
        self.faulted.pop(cell.name, None)
        self.restarts.forget(cell.name)
        self._until.pop(cell, None)
        cell.post(Restart(clean=True))

    def _restart_at(self, until: int, crashed: Cell, error: BaseException) -> None:
        """Have a group wait, to be restarted together; who crashed twice waits for the later."""
        if self.crashed or self.suspended:
            return  # all of them wait to be restarted by the one above
        child = crashed.part_of or crashed
        group = self._group(crashed, child)
        self._hold([cell for cell in group if cell.part_of is None])
        for cell in group:
            self._until[cell] = max(until, self._until.get(cell, until))
        events = self.environment.events
        if events.on:
            delay = (until - self.environment.clock.now()) / SECOND
            for cell in group:
                if cell not in (child, crashed):
                    events.emit("actor.restarted", actor=cell.name, attempt=0,
                                error=f"{child.name}: {error!r}", delay=delay)  # fmt: skip

    def _group(self, crashed: Cell, child: Cell) -> list[Cell]:
        children = self.children
        if self.strategy == "one_for_one" or child not in children:
            return [crashed]
        first = 0 if self.strategy == "one_for_all" else children.index(child)
        return [cell for cell in children[first:] if cell.name not in self.faulted]

    def _in_order(self, cells: Sequence[Cell]) -> list[Cell]:
        place = {child: number for number, child in enumerate(self.children)}
        return sorted(cells, key=lambda cell: place.get(cell, -1))

    @staticmethod
    def _hold(cells: Sequence[Cell]) -> None:
        for cell in cells:
            cell.post(Suspend())

    def _judge(self, error: BaseException) -> None:
        """Fail, now that one is faulted, if most of what was to be started could not be."""
        found = self.census(self.environment.clock.now())
        most = 2 * found.failing > found.activations and found.failing > 1
        if not self.crashed and most and found.failures > self.intensity:
            failure = CallboardError(
                f"{self.name}: {found.failing} of {found.activations} actors could not be started "
                f"within {self.period:g} s, the last with {error!r}: mend on_start or their state"
            )
            failure.__cause__ = error
            self.crash(failure)
