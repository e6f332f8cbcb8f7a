"""A lock that is taken without standing in line for it.

A thread that stands in line is given the lock while it sleeps. When many threads take one lock for
each message, the one that has just released it wants it back before the other has the GIL: from
then on each message costs two context switches, for as long as there is work (a convoy: Blasgen et
al., "The Convoy Phenomenon", 1979). Whoever naps instead leaves the lock to those who run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import sleep

if TYPE_CHECKING:
    import threading

_FIRST_NAP, _LONGEST_NAP = 0.00005, 0.001


def take(lock: threading.Lock) -> None:
    """Take a lock that is never held for long."""
    nap = _FIRST_NAP
    while not lock.acquire(blocking=False):
        sleep(nap)
        nap = min(_LONGEST_NAP, nap * 1.5)
