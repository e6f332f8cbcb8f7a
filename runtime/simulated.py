"""One simulated process: the parts of a runtime that have no thread, no socket and no chance.

Read simulation.py first: it says when this process does something, and when it crashes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ..actors.seeded_driver import SeededDriver
from ..actors.sizes import Sizes
from ..persistence.committer import Committer, ThreadWaiter
from .parts import Parts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from random import Random

    from ..clock import Clock
    from ..persistence.committer import Hooks
    from ..persistence.companion import Companion
    from ..persistence.hooks import Waiter
    from ..persistence.store import Store
    from .bell import Bell
    from .engine import Engine
    from .hub import Hub
    from .ownership import Ownership
    from .runtime import Runtime
    from .simulation import Simulation
    from .wire import Ringer

#: So few are in memory that there is always something to page.
SMALL = Sizes(window=6, per_key=3, near=6, least=2)


class Process(Parts):
    """One simulated process: the parts of its runtime, and what it has to do.

    Args:
        simulation: draws, and decides.
        rt: its runtime.
        number: for the trace.

    """

    sizes = SMALL

    def __init__(self, simulation: Simulation, rt: Runtime, number: int) -> None:
        """Equip the runtime."""
        self.rt = rt
        self.number = number
        self.dead = False
        self.stands_by = False
        self.stepper: SeededDriver | None = None
        self.soon: list[Callable[[], object]] = []
        self._simulation = simulation
        self._taking: Callable[[], None] | None = None
        self._pulse: Callable[[], None] = lambda: None
        rt.events.at_once = True
        rt._store.probe = lambda point: simulation.reached(self, point)  # noqa: SLF001
        rt._host.equip(self)  # noqa: SLF001  (the two are one piece)

    # --- the parts ---------------------------------------------------------------------------

    @property
    def random(self) -> Random:
        """The simulation's own."""
        return self._simulation.random

    def committer(self, store: Store, hooks: Hooks) -> Committer:
        """Commit when it is the committer's turn to be stepped, and never by itself."""
        return Committer(store, hooks, waiter=self._waiter, background=False)

    def driver(
        self,
        clock: Clock,
        threads: int,
        on_short: Callable[[], None],
        pulse: Callable[[], None],
    ) -> SeededDriver:
        """Step actors and commits in the simulation's order."""
        driver = self.stepper = SeededDriver(clock, 0)
        driver.random = self._simulation.random
        driver.also(lambda: self.rt._host.committer.pump())  # noqa: SLF001, PLW0108
        self._pulse = pulse
        return driver

    def bell(self, companion: Companion, engine: Engine, hub: Hub) -> Bell | None:
        """Have none: a client's ring is a thing to be done."""
        return None

    def ringer(self, path: Callable[[], Path]) -> Ringer:
        """Ring the simulated owner."""
        return cast("Ringer", _Ringer(self._simulation))

    def stand_by(self, ownership: Ownership, taken: Callable[[], None]) -> None:
        """Try for the lock whenever this process looks."""
        self._taking = lambda: taken() if ownership.take() else None

    def aside(self, call: Callable[[], None]) -> None:
        """Do it when it is this process's turn again."""
        self.soon.append(call)

    # --- what it does ------------------------------------------------------------------------

    def work(self) -> bool:
        """Do one thing; False when there is nothing."""
        if self.soon and not self._simulation._running[:-1]:  # noqa: SLF001  (the two are one piece)
            self.soon.pop(0)()
            return True
        driver = self.stepper
        if driver is None or self.rt.role != "owner":
            return False
        done = driver.step()
        if done:
            self._simulation.note(f"{self.number} {driver.trace.pop()}")
        return done

    def look(self) -> None:
        """Look at the store as an owner does four times a second, or for the lock."""
        self._simulation.note(f"{self.number} looks")
        if self.rt.role == "owner":
            self._pulse()
        elif self.rt.role == "standby" and self._taking is not None:
            self._taking()

    def rung(self) -> None:
        """Hear that a client has told something."""
        engine = self.rt._host.engine  # noqa: SLF001  (the two are one piece)
        if engine is not None:
            self.soon.append(engine.ring)

    def forget(self) -> None:
        """Lose all memory."""
        self.stepper, self.soon, self._taking = None, [], None

    def roll_back(self) -> None:
        """Undo the transaction that is open, as SQLite does by itself where a COMMIT fails."""
        connection = self.rt._store._connection  # noqa: SLF001  (the two are one piece)
        if connection is not None and connection.in_transaction:
            connection.execute("ROLLBACK")

    def unplug(self) -> None:
        """Let the runtime be an ordinary one again."""
        self.rt.events.at_once = False
        self.rt._store.probe = lambda _: None  # noqa: SLF001
        self.rt._host.equip(Parts())  # noqa: SLF001

    def _waiter(self) -> Waiter:
        return ThreadWaiter() if self.stepper is None else self.stepper.waiter()


class _Ringer:
    """A client's ring: it is lost now and then, as a full buffer loses it."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def ring(self) -> None:
        if self._simulation.random.random() < 0.8:
            for process in self._simulation._processes:  # noqa: SLF001  (the two are one piece)
                process.rung()

    def close(self) -> None:
        """Nothing is open."""

    def forked(self) -> None:
        """Nothing is open."""
