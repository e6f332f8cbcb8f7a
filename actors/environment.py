"""What every actor of one runtime shares; handed down, never imported."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from .asks import Asks
from .sizes import Sizes

if TYPE_CHECKING:
    from ..clock import Clock
    from ..events import Events
    from ..persistence.committer import Committer
    from ..persistence.slots import Slots
    from ..persistence.store import Message, Store
    from .aio import Loop
    from .driver import Driver
    from .worker_cell import WorkerCell


class Timers(Protocol):
    """Where a message goes that is not due yet."""

    def later(self, messages: list[Message]) -> None:
        """Take messages whose ``due`` is to come; they are on disk."""
        ...

    def drop(self, mailbox: int, number: int) -> None:
        """Forget one that was cancelled or replaced."""
        ...


@dataclass(slots=True)
class Environment:
    """The parts that actors use.

    Attributes:
        home: the runtime itself, by which turns know whose they are.
        random: for jitter; seeded in simulations.
        starved: workers that wait until the committer has room, or is healthy again.
        asks: those that are not answered yet.
        sizes: of what is held in memory.

    """

    home: object
    store: Store
    committer: Committer
    clock: Clock
    driver: Driver
    events: Events
    slots: Slots
    loop: Loop
    random: random.Random = field(default_factory=random.Random)
    starved: list[WorkerCell] = field(default_factory=list)
    timers: Timers | None = None
    asks: Asks = field(default_factory=Asks)
    sizes: Sizes = Sizes()

    @property
    def may_run(self) -> bool:
        """A handler may start: the store takes commits and not too much is staged."""
        return self.committer.healthy and not self.committer.crowded

    def feed(self) -> None:
        """Let the workers go on that had to wait."""
        starved, self.starved = self.starved, []
        for cell in starved:
            cell.actor_inbox.nudge()
