"""How often Python's threads give way to each other, in a process that is the runtime's own.

At Python's default of 5 ms a tell beside four computing handlers waits a quarter of a second at
worst; at 0.1 ms it waits 17 ms, and the handlers compute a tenth less. But many small handlers side
by side lose half of their rate below 1 ms, because they are stopped with a lock in hand. So threads
give way often only where handlers compute for long: the processor is busy, and few are handled.
"""

from __future__ import annotations

import sys

#: Seconds, of ``sys.setswitchinterval``: by default, and while handlers compute for long.
USUAL, COMPUTING = 0.0005, 0.0001
#: The processor is busy from this share of one core on; few is under so many a second.
BUSY, FEW = 0.6, 2000.0


class Pace:
    """Sets the interval by what was seen since the last look.

    Args:
        now: seconds, that only grow.
        cpu: seconds of processor time that the process has used.
        handled: messages that it has handled.

    """

    def __init__(self, now: float, cpu: float, handled: int) -> None:
        """Begin with the usual one."""
        self._before = sys.getswitchinterval()
        self._seen = (now, cpu, handled)
        sys.setswitchinterval(USUAL)

    def look(self, now: float, cpu: float, handled: int) -> None:
        """Choose anew."""
        since, used, done = self._seen
        self._seen = (now, cpu, handled)
        took = max(now - since, 1e-6)
        computes = cpu - used > BUSY * took and handled - done < FEW * took
        sys.setswitchinterval(COMPUTING if computes else USUAL)

    def end(self) -> None:
        """Leave Python as it was."""
        sys.setswitchinterval(self._before)
