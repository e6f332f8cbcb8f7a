"""What an asker waits on: a descriptor that is rung, so that nobody is woken in vain.

Who frees a lock holds the GIL. The woken thread takes the processor, finds the GIL taken, and
sleeps again until the other lets go of it; then it is woken a second time. Writing to a descriptor
gives the GIL up: the asker goes on at once, and what is left of the handler's step is done while it
does something else. An ask takes three context switches so, instead of six.

A lock remains right where whoever wakes has to go on without giving the GIL up: among threads that
compute it comes back only after some milliseconds (a sender that leads a commit is such a one).
"""

from __future__ import annotations

import math
import os
import select
from typing import TYPE_CHECKING

from ..persistence.hooks import ThreadWaiter

if TYPE_CHECKING:
    from ..persistence.hooks import Waiter

#: Seconds that the kernel waits at once: it counts milliseconds in 31 bits.
LONGEST = 2_000_000.0
#: So many are kept to be used again.
MOST_SPARE = 32

_close = os.close  # it is needed still when an interpreter that ends has taken modules apart


class Doorbell:
    """Parks one thread until it is rung once; rung and heard, it is kept for the next who waits."""

    __slots__ = ("_fd", "_poll")

    def __init__(self) -> None:
        """Open a descriptor; OSError where there is none to be had."""
        self._fd = os.eventfd(0, os.EFD_CLOEXEC)
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        self._poll = poll.poll

    def wait(self, timeout: float | None = None) -> bool:
        """See Waiter; after True it belongs to somebody else."""
        left = math.inf if timeout is None else timeout
        while not self._poll(min(left, LONGEST) * 1000):
            left -= LONGEST
            if left <= 0:
                return False
        os.eventfd_read(self._fd)
        if len(_spare) < MOST_SPARE:
            _spare.append(self)
        return True

    def wake(self) -> None:
        """See Waiter. Gives the GIL up for a moment."""
        os.eventfd_write(self._fd, 1)

    def __del__(self) -> None:
        """Close the descriptor: nobody who could ring holds it any more."""
        if hasattr(self, "_fd"):
            _close(self._fd)


_spare: list[Doorbell] = []
# A child shares the descriptors that it inherits: it would hear what its parent's are rung for.
os.register_at_fork(after_in_child=_spare.clear)


def doorbell() -> Waiter:
    """Return what a thread may wait on, once: a lock where there are no such descriptors."""
    try:
        return _spare.pop()
    except IndexError:
        pass
    try:
        return Doorbell()
    except (OSError, AttributeError):  # too many are open, or not Linux
        return ThreadWaiter()
