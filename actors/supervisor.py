"""Supervision: who is restarted when, and when an actor is left alone.

Intensity is counted per child, unlike in OTP: one that crashes more often than ``intensity`` times
within ``period`` seconds is *faulted*: visible, left alone, its messages wait, its siblings go on.
Each restart waits longer than the one before. When an essential child (the timers) is faulted, the
supervisor itself has failed: it reports to its own, and the root gives up.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from ..clock import SECOND
from .cell import Cell, Crashed, Restart, Wake

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Hashable

    from .environment import Environment

_FIRST, _FACTOR, _LONGEST, _JITTER = 0.1, 2.0, 30.0, 0.2


class Restarts:
    """Counts crashes and says how long to wait. Pure.

    Args:
        intensity: so many restarts within the period are granted.
        period: seconds.
        random: for the jitter of the back-off.

    """

    def __init__(self, intensity: int, period: float, random: random.Random) -> None:
        """Start with a clean record."""
        self.intensity = intensity
        self.period = round(period * SECOND)
        self._random = random
        self._crashes: dict[Hashable, deque[int]] = {}

    def crashed(self, child: Hashable, now: int) -> int | None:
        """Note a crash; returns microseconds until the restart, or None: leave it alone."""
        times = self._crashes.setdefault(child, deque())
        while times and times[0] <= now - self.period:
            times.popleft()
        times.append(now)
        if len(times) > self.intensity:
            return None
        seconds = min(_LONGEST, _FIRST * _FACTOR ** (len(times) - 1))
        return round(seconds * (1 + _JITTER * (2 * self._random.random() - 1)) * SECOND)

    def count(self, child: Hashable, now: int) -> int:
        """Return the crashes of a child within the period."""
        return sum(1 for at in self._crashes.get(child, ()) if at > now - self.period)

    def forget(self, child: Hashable) -> None:
        """Clear a child's record: it was repaired, or is gone."""
        self._crashes.pop(child, None)

    def sweep(self, now: int) -> None:
        """Forget the children whose crashes are all out of the period."""
        for child in [c for c, times in self._crashes.items() if times[-1] <= now - self.period]:
            del self._crashes[child]


class Supervisor(Cell):
    """Restarts its children, one for one.

    Args:
        environment: clock, events, driver.
        name: for people.
        supervisor: its own; None for the root.
        intensity: see Restarts.
        period: see Restarts.
        give_up: called by the root when an essential child is faulted.

    """

    def __init__(
        self,
        environment: Environment,
        name: str,
        supervisor: Cell | None = None,
        *,
        intensity: int = 5,
        period: float = 60.0,
        give_up: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        """Start with no children; each names its supervisor when it is built."""
        super().__init__(environment.driver, name, supervisor)
        self.environment = environment
        self.restarts = Restarts(intensity, period, environment.random)
        self.faulted: dict[str, BaseException] = {}
        self.essential: set[str] = set()
        self._give_up = give_up
        self._due: list[tuple[int, int, Cell]] = []
        self._order = itertools.count()

    def on_receive(self, message: Any) -> None:
        """Take a crash report, or restart the children whose back-off is over."""
        match message:
            case Crashed():
                self._crashed(message.cell, message.error)
            case Wake():
                pass
        now = self.environment.clock.now()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2].post(Restart())
        self.wake_at(self._due[0][0] if self._due else None)

    def _crashed(self, child: Cell, error: BaseException) -> None:
        now = self.environment.clock.now()
        events = self.environment.events
        delay = self.restarts.crashed(child.name, now)
        if delay is not None:
            heapq.heappush(self._due, (now + delay, next(self._order), child))
            if events.on:
                attempt = self.restarts.count(child.name, now)
                events.emit("actor.restarted", actor=child.name, attempt=attempt,
                            error=repr(error), delay=delay / SECOND)  # fmt: skip
            return
        self.faulted[child.name] = error
        if events.on:
            events.emit("actor.faulted", actor=child.name, error=repr(error))
        if child.name in self.essential:
            if self.supervisor is not None:
                self.supervisor.post(Crashed(self, error))
            else:
                self._give_up(error)
