"""What the committer asks of its runtime: how senders wait, and whom it tells what has happened."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..errors import StoreError
    from .store import Unit, Written

logger = logging.getLogger("callboard")


class Waiter(Protocol):
    """What a sender waits on; the simulation pumps its driver here."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until woken; False when the time (seconds) ran out."""
        ...

    def wake(self) -> None:
        """Wake the one that waits."""
        ...


class ThreadWaiter:
    """A lock that is taken until somebody frees it: the cheapest way to park one thread."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        """Start taken."""
        self._lock = threading.Lock()
        self._lock.acquire()

    def wait(self, timeout: float | None = None) -> bool:
        """See Waiter."""
        return self._lock.acquire(timeout=-1 if timeout is None else timeout)

    def wake(self) -> None:
        """See Waiter."""
        self._lock.release()


class Hooks(Protocol):
    """What the committer tells its runtime. Called by the leader, in commit order.

    A hook that raises is logged and stops nobody; so is a unit's ``settle``.
    """

    def committed(self, units: Sequence[Unit], written: Written) -> None:
        """Hand over a group that is on disk; must be quick and must not commit."""
        ...

    def after(self) -> None:
        """Do what hand-overs have made ready; the leader has stepped down."""
        ...

    def room(self) -> None:
        """Let workers go on that waited (too much was staged, or the store refused)."""
        ...

    def refused(self, error: StoreError) -> None:
        """Hold new handlers back: the store refused a group as a whole."""
        ...

    def recovered(self, after: float) -> None:
        """Let handlers start again: a commit has succeeded, so many seconds later."""
        ...

    def lost(self, error: StoreError) -> None:
        """Stop: another owner has taken the store, or its files are gone. Said once."""
        ...


def call(hook: Callable[..., None], *args: object) -> None:
    """Call into the runtime; what it raises is logged and must keep nobody waiting."""
    try:
        hook(*args)
    except Exception:
        logger.exception("%r raised while a commit was handed over", hook)


def wake(unit: Unit) -> None:
    """Wake the sender that waits for a unit, if one does."""
    waiter = unit.waiter  # read once: an interrupted sender takes it away
    if waiter is not None:
        waiter.wake()
