"""How what happens on our threads reaches tasks of an event loop, many at a time.

A commit of two thousand units wakes the loop once: whoever comes first schedules the landing, and
what is put meanwhile lands with it.
"""

from __future__ import annotations

import contextlib
import sys
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..persistence.byline import take

if TYPE_CHECKING:
    import asyncio

    from ..persistence.byline import Byline
    from ..persistence.committer import Committer
    from ..persistence.store import Unit


def on_loop() -> bool:
    """Say whether an event loop runs on this thread: then nothing may wait here."""
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None  # noqa: SLF001  (documented for this)


class Landing:
    """Sets futures of one loop from any thread.

    Args:
        loop: whose futures they are.

    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have nothing to land."""
        self.loop = loop
        self._ready: deque[tuple[asyncio.Future[Any], Any]] = deque()
        self._called = False

    def put(self, future: asyncio.Future[Any], result: Any) -> None:
        """Set the future's result soon. Runs: on any thread; waits for nothing."""
        self._ready.append((future, result))
        if not self._called:
            self._called = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self.loop.call_soon_threadsafe(self._land)

    def _land(self) -> None:
        self._called = False  # first: what is put from now on calls again
        while self._ready:
            future, result = self._ready.popleft()
            if not future.done():
                future.set_result(result)


class LandingWaiter(msgspec.Struct, eq=False):
    """What a task waits on for its commit; see Waiter. It follows, and is never made the leader."""

    landing: Landing
    future: asyncio.Future[Any]

    def wait(self, timeout: float | None = None) -> bool:
        """Tell that the task awaits its future instead."""
        raise NotImplementedError

    def wake(self) -> None:
        """See Waiter."""
        self.landing.put(self.future, None)


class Landings:
    """The landing of the loop that is running now; there is seldom more than one."""

    def __init__(self) -> None:
        """Know no loop."""
        self._last: Landing | None = None

    def here(self) -> Landing:
        """Return the landing of the running loop; RuntimeError where none runs."""
        asyncio = sys.modules.get("asyncio")  # whoever has a running loop has imported it
        if asyncio is None:
            msg = "no running event loop: await it in a task of asyncio"
            raise RuntimeError(msg)
        loop = asyncio.get_running_loop()
        landing = self._last
        if landing is None or landing.loop is not loop:
            landing = self._last = Landing(loop)
        return landing

    def commit(self, committer: Committer, unit: Unit) -> asyncio.Future[None]:
        """Commit a unit in a group with whatever else waits; the commit thread does it.

        It takes the byline of who asks for it along, as ``Committer.commit`` does. Awaiting what
        this returns waits for the commit; ``unit.error`` says then whether, and why, it failed.
        """
        landing = self.here()
        future = landing.loop.create_future()
        byline = take(unit)
        if byline is not None:
            byline.sign(unit)
            future.add_done_callback(partial(_settle, byline, unit))
        committer.submit(unit, LandingWaiter(landing, future))
        return future


def _settle(byline: Byline, unit: Unit, future: asyncio.Future[None]) -> None:
    """Settle a byline before its task goes on; one that is cancelled knows of no outcome."""
    if not future.cancelled():
        byline.settle(unit)
