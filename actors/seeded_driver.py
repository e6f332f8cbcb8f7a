"""One thread that steps the actors, in an order that a seed decides: for tests and simulations."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from ..clock import SECOND
from .cell import Wake
from .driver import Deadlines

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from ..clock import Clock
    from ..persistence.committer import Waiter
    from .cell import Cell


class SeededDriver:
    """Steps cells one at a time in the calling thread, in an order that a seed decides.

    Nothing runs before :meth:`run`. A waiter pumps the driver instead of blocking; deadlines come
    only when the clock is moved by hand.

    Args:
        clock: a ManualClock, or whatever does not move by itself.
        seed: the same seed gives the same order.

    """

    def __init__(self, clock: Clock, seed: int) -> None:
        """Start with nothing ready."""
        self.activity = 0
        self.slice = 0.0  # real time must not decide how far a step goes
        self.random = random.Random(seed)
        self.trace: list[str] = []
        self._clock = clock
        self._ready: list[Cell] = []
        self._deadlines = Deadlines()
        self._pumps: list[Callable[[], bool]] = []

    def also(self, pump: Callable[[], bool]) -> None:
        """Add something that takes part in the order (a committer): True when it did work."""
        self._pumps.append(pump)

    def ready(self, cell: Cell) -> None:
        """See Driver."""
        self.activity += 1
        self._ready.append(cell)

    def drain(self) -> None:
        """Leave it to :meth:`run`: the order is the seed's."""

    def at(self, cell: Cell, due: int) -> None:
        """See Driver."""
        self._deadlines.add(due, cell)

    def watch(self, seconds: float, callback: Callable[[], None]) -> None:
        """Handlers take no time here: their timeouts never come."""

    def waiter(self) -> Waiter:
        """See Driver."""
        return _PumpWaiter(self)

    def rouse(self) -> None:
        """Do nothing: there is no thread that would have to get up."""

    def seconds(self) -> float:
        """See Driver: here they pass as the clock is moved."""
        return self._clock.now() / SECOND

    def drain_soon(self) -> None:
        """Leave it to :meth:`run`."""

    def blocked(self) -> None:
        """Do nothing: who waits steps the others."""

    def unblocked(self) -> None:
        """Do nothing."""

    def leave_behind(self, thread: threading.Thread) -> None:
        """Do nothing: no handler runs past its time here."""

    def next_deadline(self) -> int | None:
        """Return the earliest instant that a cell waits for."""
        return self._deadlines.earliest()

    def start(self) -> None:
        """Start nothing; see :meth:`run`."""

    def stop(self, timeout: float) -> list[threading.Thread]:
        """End nothing: there are no threads."""
        return []

    def rest(self, seconds: float) -> None:
        """Do one thing meanwhile."""
        self.step()

    @property
    def busy(self) -> bool:
        """A cell is ready."""
        return bool(self._ready)

    def step(self) -> bool:
        """Do one thing, drawn by the seed; False when there is nothing to do."""
        for cell in self._deadlines.pop(self._clock.now()):
            cell.post(Wake())
        pumps = list(self._pumps)
        while self._ready or pumps:
            index = self.random.randrange(len(self._ready) + len(pumps))
            if index < len(self._ready):
                cell = self._ready.pop(index)
                self.trace.append(cell.name)
                cell.step()
                return True
            if pumps.pop(index - len(self._ready))():
                self.trace.append("commit")
                return True
        return False

    def run(self, most: int = 1_000_000) -> int:
        """Step until there is nothing to do; returns how many steps that took."""
        for count in range(most):
            if not self.step():
                return count
        msg = f"still busy after {most} steps: an actor keeps itself ready"
        raise RuntimeError(msg)


class _PumpWaiter:
    """Waits by stepping the driver."""

    def __init__(self, driver: SeededDriver) -> None:
        self._driver = driver
        self._woken = False

    def wait(self, timeout: float | None = None) -> bool:
        while not self._woken:
            if not self._driver.step():
                return False
        return True

    def wake(self) -> None:
        self._woken = True
