"""The parts of a runtime that are others in a simulation: who steps, who commits, what is random.

Here are those of every day, with their threads; simulation.py has those of one thread.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

from ..actors.sizes import Sizes
from ..clock import sleep
from ..persistence.committer import Committer
from .wire import Ringer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..actors.driver import Driver
    from ..clock import Clock
    from ..persistence.committer import Hooks
    from ..persistence.companion import Companion
    from ..persistence.store import Store
    from .bell import Bell
    from .engine import Engine
    from .hub import Hub
    from .ownership import Ownership


class Parts:
    """Makes the parts that have threads, sockets or chance in them."""

    #: Of what is held in memory.
    sizes = Sizes()

    @property
    def random(self) -> random.Random:
        """Return what jitter is drawn from."""
        return random.Random()

    def load(self) -> None:
        """Import an owner's parts, so that a standby need not when it takes over."""
        from ..actors import driver
        from . import engine

        del driver, engine

    def committer(self, store: Store, hooks: Hooks) -> Committer:
        """Return what commits."""
        return Committer(store, hooks, pause=sleep)

    def driver(
        self,
        clock: Clock,
        threads: int,
        on_short: Callable[[], None],
        pulse: Callable[[], None],
    ) -> Driver:
        """Return what steps an owner's actors."""
        from ..actors.driver import ThreadDriver  # `import callboard` need not take its time

        return ThreadDriver(clock, threads, on_short=on_short, pulse=pulse)

    def bell(self, companion: Companion, engine: Engine, hub: Hub) -> Bell | None:
        """Return an owner's socket; None where nobody is to reach it."""
        from .bell import Bell  # with the frames 5 ms, which `import callboard` need not take
        from .desk import Desk

        return Bell(companion.socket, engine.ring, Desk(engine, hub))

    def ringer(self, path: Callable[[], Path]) -> Ringer:
        """Return a client's end of it."""
        return Ringer(path)

    def stand_by(self, ownership: Ownership, taken: Callable[[], None]) -> None:
        """Call ``taken`` when the owner has ended and the store is ours."""
        ownership.stand_by(taken)

    def aside(self, call: Callable[[], None]) -> None:
        """Make a call that the calling thread cannot wait for."""
        threading.Thread(target=call, name="callboard-stop").start()
