"""Who steps the actors: a pool of threads. For one thread in an order of a seed: seeded_driver.py.

Every actor is a ``step()`` without a loop. *System* cells (timers, mailboxes, supervisors) run no
user code; whoever makes one ready steps it as soon as it holds no lock (:meth:`Driver.drain`), so
that a message costs no thread hop before its handler. *Worker* cells run the user's handlers and
go to a bounded pool, each in its turn.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from ..clock import monotonic, sleep
from .cell import Wake
from .doorbell import doorbell

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..clock import Clock
    from ..persistence.committer import Waiter
    from .cell import Cell

logger = logging.getLogger("callboard")

#: Seconds between two pulses: how soon an owner sees what nobody rang its bell for.
PULSE = 0.25
#: Seconds that a worker keeps its thread while others wait for one.
SLICE = 0.002
_IDLE = 10.0
# Seconds before another thread is tried for, when the machine has given none.
_SPAWN_AGAIN = 0.2
# Seconds by which the clock thread has its sleep end before a deadline, since the machine wakes it
# late: at first, at least and at most, and the steps in which it learns by how much. With these
# three of four wake-ups are in time.
_AHEAD, _LEAST_AHEAD, _MOST_AHEAD = 0.00015, 0.00005, 0.0004
_EARLIER, _LATER = 0.000015, 0.000005
# A shorter sleep teaches nothing.
_NAP = 0.001
# Seconds of rest for a thread whose step failed in our own code.
_BREATH = 0.01


class Driver(Protocol):
    """What a cell asks of whoever steps it."""

    #: Raised whenever something happens; two equal readings around a look mean that nothing did.
    activity: int
    #: Seconds that a worker may go on in one step; 0: one message.
    slice: float

    def ready(self, cell: Cell) -> None:
        """Note that a cell has to be stepped. Never steps it here: the caller may hold locks."""
        ...

    def drain(self) -> None:
        """Step the system cells that are ready; call it holding no lock."""
        ...

    def at(self, cell: Cell, due: int) -> None:
        """Send the cell a Wake at an instant (microseconds UTC), if it still wants it then."""
        ...

    def watch(self, seconds: float, callback: Callable[[], None]) -> None:
        """Call back after real seconds: for handler timeouts."""
        ...

    def waiter(self) -> Waiter:
        """Return what a thread may wait on."""
        ...

    def rouse(self) -> None:
        """Have a thread get up for the worker that is about to be made ready, if one is idle."""
        ...

    def seconds(self) -> float:
        """Return seconds that only grow, by which is judged what is done now and then."""
        ...

    def drain_soon(self) -> None:
        """Have the system cells stepped soon: the caller must not wait for the store."""
        ...

    def blocked(self) -> None:
        """Note that a handler waits for another's answer."""
        ...

    def unblocked(self) -> None:
        """Note that it goes on."""
        ...

    def leave_behind(self, thread: threading.Thread) -> None:
        """Count a thread out whose handler ran past its timeout."""
        ...

    # --- for the runtime ---------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """A cell is ready or being stepped."""
        ...

    def next_deadline(self) -> int | None:
        """Return the earliest instant that a cell waits for."""
        ...

    def start(self) -> None:
        """Begin to step."""
        ...

    def stop(self, timeout: float) -> list[threading.Thread]:
        """Step no more; returns the threads that still run a handler after so many seconds."""
        ...

    def rest(self, seconds: float) -> None:
        """Wait a moment for handlers to end."""
        ...


class Deadlines:
    """A heap of (instant, cell); an entry counts only while the cell still wants that instant."""

    def __init__(self) -> None:
        """Start empty."""
        self._heap: list[tuple[int, int, Cell]] = []
        self._order = itertools.count()

    def add(self, due: int, cell: Cell) -> bool:
        """Add an entry; says whether it is the earliest now."""
        heapq.heappush(self._heap, (due, next(self._order), cell))
        return self._heap[0][0] == due

    def earliest(self) -> int | None:
        """Return the earliest instant that is still wanted."""
        heap = self._heap
        while heap and heap[0][2].due != heap[0][0]:
            heapq.heappop(heap)
        return heap[0][0] if heap else None

    def pop(self, now: int) -> list[Cell]:
        """Take the cells whose instant has come."""
        found = []
        while (due := self.earliest()) is not None and due <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found


class _Ended(Exception):
    """The clock thread is to end."""


class ThreadDriver:
    """Steps cells on threads.

    Args:
        clock: for deadlines.
        threads: the most threads that run handlers.
        on_short: called when all of them are taken and more is ready.
        pulse: called four times a second, on the clock thread.

    """

    def __init__(
        self,
        clock: Clock,
        threads: int,
        *,
        on_short: Callable[[], None] = lambda: None,
        pulse: Callable[[], None] = lambda: None,
    ) -> None:
        """Start no thread; see :meth:`start`."""
        self.activity = 0
        self.slice = SLICE
        self._clock = clock
        self._most = threads
        self._on_short = on_short
        self._pulse = pulse
        self._system: deque[Cell] = deque()
        self._lock = threading.Lock()
        self._queue: deque[Cell] = deque()
        self._threads: set[threading.Thread] = set()
        self._left: set[threading.Thread] = set()
        self._own = threading.local()  # .cell: what this thread is stepping
        # Idle threads, each parked on a lock of its own: the cheapest way to wake just one.
        self._seats: list[threading.Lock] = []
        # A thread that :meth:`rouse` has woken may be on its way still, with nothing to do yet.
        self._roused = False
        self._away = 0  # handlers that wait for an answer do not count
        self._short = False
        self._spawn_again = 0.0
        self._said_few = False
        self._ending = False
        self._over = threading.Event()
        self._ticking = threading.Condition()
        self._deadlines = Deadlines()
        self._watched: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._changed = False
        self._beat = monotonic() + PULSE
        self._ahead = _AHEAD
        self._clock_thread: threading.Thread | None = None
        self._off: Callable[[], None] = lambda: None

    # --- for cells ---------------------------------------------------------------------------

    def ready(self, cell: Cell) -> None:
        """See Driver."""
        self.activity += 1
        if cell.system:
            self._system.append(cell)
            return
        short = False
        seat = None
        with self._lock:
            self._queue.append(cell)
            if getattr(self._own, "cell", None) is cell:
                return  # ready again as its step ends: this thread comes back for it by itself
            if self._roused:
                self._roused = False
                return
            if self._seats:
                seat = self._seats.pop()
            elif len(self._threads) < self._most + self._away and not self._ending:
                short = not self._spawn()
            else:
                short, self._short = not self._short, True
        if seat is not None:
            seat.release()
        if short:
            self._on_short()

    def drain(self) -> None:
        """See Driver."""
        system = self._system
        while system:
            try:
                cell = system.popleft()
            except IndexError:  # another thread took it
                return
            cell.step()
            self.activity += 1

    def at(self, cell: Cell, due: int) -> None:
        """See Driver."""
        with self._ticking:
            if self._deadlines.add(due, cell):
                self._changed = True
                self._ticking.notify()

    def watch(self, seconds: float, callback: Callable[[], None]) -> None:
        """See Driver."""
        until = monotonic() + seconds
        with self._ticking:
            heapq.heappush(self._watched, (until, next(self._order), callback))
            if self._watched[0][0] == until:
                self._changed = True
                self._ticking.notify()

    def waiter(self) -> Waiter:
        """See Driver."""
        return doorbell()

    def rouse(self) -> None:
        """See Driver. In the time that the machine takes to wake it the caller goes on.

        Nobody gets up beside a thread that works: they would only queue for the GIL.
        """
        if self._roused or len(self._seats) < len(self._threads):
            return
        with self._lock:
            if not self._seats:
                return
            self._seats.pop().release()
            self._roused = True  # behind it: a Ctrl-C between the two must not have us count on it

    def seconds(self) -> float:
        """See Driver."""
        return monotonic()

    def drain_soon(self) -> None:
        """Have the clock thread drain: the caller's thread must not wait for the store."""
        if self._system:
            with self._ticking:
                self._changed = True
                self._ticking.notify()

    def blocked(self) -> None:
        """Let another thread take the place of this one, which waits for a handler's answer."""
        with self._lock:
            self._away += 1
            if self._queue and not self._ending:
                self._spawn()

    def unblocked(self) -> None:
        """Take the place back; the first thread that ends a step beyond the limit leaves."""
        with self._lock:
            self._away -= 1

    def leave_behind(self, thread: threading.Thread) -> None:
        """Count a thread out whose handler ran past its timeout; another may take its place."""
        with self._lock:
            self._threads.discard(thread)
            self._left.add(thread)
            if self._queue and not self._ending:
                self._spawn()

    # --- for the runtime ---------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """A cell is ready or being stepped by the pool."""
        with self._lock:
            return bool(self._system or self._queue or len(self._seats) < len(self._threads))

    def next_deadline(self) -> int | None:
        """Return the earliest instant that a cell waits for."""
        with self._ticking:
            return self._deadlines.earliest()

    def start(self) -> None:
        """Start the clock thread; handler threads start when there is work for them."""
        self._off = self._clock.on_change(self._clock_changed)
        thread = threading.Thread(target=self._tick, name="callboard-clock", daemon=True)
        thread.start()
        self._clock_thread = thread

    def stop(self, timeout: float) -> list[threading.Thread]:
        """End all threads; returns those that still run a handler after so many seconds."""
        self._off()
        with self._ticking:
            self._ending = True
            self._ticking.notify()
        self._over.set()
        with self._lock:
            seats, self._seats = self._seats, []
            threads = [*self._threads]
        for seat in seats:
            seat.release()
        until = monotonic() + timeout
        for thread in [*threads, self._clock_thread]:
            if thread is not None and thread is not threading.current_thread():
                thread.join(max(0.0, until - monotonic()))
        return [t for t in [*threads, *self._left]
                if t.is_alive() and t is not threading.current_thread()]  # fmt: skip

    def rest(self, seconds: float) -> None:
        """Wait a moment for handlers to end.

        Not where the clock thread waits: a notice of a deadline would wake this one instead.
        """
        self._over.wait(seconds)

    # --- handler threads ---------------------------------------------------------------------

    def _spawn(self) -> bool:
        """Start a thread; False where the machine gives none: those there are go on."""
        if monotonic() < self._spawn_again:
            return True  # said already
        thread = threading.Thread(target=self._run, name="callboard-handler", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            self._threads.discard(thread)
            self._spawn_again = monotonic() + _SPAWN_AGAIN
            said, self._said_few = self._said_few, True
            if not said:
                logger.warning(
                    "the machine gives no more than %d of %d handler threads: work goes on with "
                    "these; raise its limit of threads, or give the runtime fewer",
                    len(self._threads), self._most,
                )  # fmt: skip
            return said
        return True

    def _relieve(self) -> None:
        """Try again to find a thread for what is ready.

        The machine gave none, or a Ctrl-C interrupted whoever was about to wake one.
        """
        with self._lock:
            self._hand_on()

    def _run(self) -> None:
        me = threading.current_thread()
        seat = threading.Lock()
        seat.acquire()
        while True:
            with self._lock:
                self._roused = False  # if it was this one, it is on its way no more
                if me in self._left or len(self._threads) > self._most + self._away:
                    self._left.discard(me)
                    self._threads.discard(me)
                    self._hand_on()
                    return
                cell = self._queue.popleft() if self._queue else None
                if cell is None:
                    self._short = False
                    if self._ending:
                        self._threads.discard(me)
                        return
                    self._seats.append(seat)
            if cell is not None:
                self._step(cell)
            elif not seat.acquire(timeout=_IDLE):
                with self._lock:
                    if seat in self._seats:
                        self._seats.remove(seat)
                        self._threads.discard(me)
                        return
                if not seat.acquire(timeout=_IDLE):  # it was chosen just now
                    seat = threading.Lock()  # by one whom a Ctrl-C interrupted before the release
                    seat.acquire()

    def _hand_on(self) -> None:
        """Have another thread take what is ready; the caller holds the lock."""
        if self._queue and self._seats:
            self._seats.pop().release()
        elif self._queue and len(self._threads) < self._most + self._away and not self._ending:
            self._spawn()

    def _step(self, cell: Cell) -> None:
        own = self._own
        own.cell = cell
        try:
            cell.step()
            own.cell = None
            self.activity += 1
            if self._system:
                with self._lock:
                    self._hand_on()
                self.drain()
        except Exception:  # no memory for a step: the thread must not die of it
            own.cell = None
            logger.exception("a step of %s could not end", cell.name)
            sleep(_BREATH)

    # --- the clock thread --------------------------------------------------------------------

    def _clock_changed(self) -> None:
        with self._ticking:
            self._changed = True
            self._ticking.notify()

    def _tick(self) -> None:
        while True:
            try:
                self._turn()
            except _Ended:
                return
            except Exception:  # no memory for it: without this thread no timer would ever fire
                logger.exception("the clock thread could not end a round; it goes on")
                sleep(_BREATH)

    def _turn(self) -> None:
        """Wait for the next deadline or beat, and do what is due."""
        with self._ticking:
            if not self._changed and not self._ending:
                self._sleep(self._patience(self._beat))
            if self._ending:
                raise _Ended
            self._changed = False
            cells = self._deadlines.pop(self._clock.now())
            calls = []
            while self._watched and self._watched[0][0] <= monotonic():
                calls.append(heapq.heappop(self._watched)[2])
        if monotonic() >= self._beat:
            self._beat = monotonic() + PULSE
            calls += [self._relieve, self._pulse]
        for cell in cells:
            cell.post(Wake())
        for call in calls:
            _guarded(call)
        self.drain()

    def _sleep(self, seconds: float) -> None:
        """Wait for so long, or until notified; learn how late the machine ends a sleep."""
        until = monotonic() + seconds
        if not self._ticking.wait(seconds) and seconds > _NAP:
            late = monotonic() - until > self._ahead
            ahead = self._ahead + (_EARLIER if late else -_LATER)
            self._ahead = min(_MOST_AHEAD, max(_LEAST_AHEAD, ahead))

    def _patience(self, beat: float) -> float:
        waits = [beat - monotonic()]
        wait = self._clock.slice(self._deadlines.earliest())
        if wait is not None:
            waits.append(wait - self._ahead)
        if self._watched:
            waits.append(self._watched[0][0] - monotonic())
        return max(0.0, min(waits))


def _guarded(call: Callable[[], Any]) -> None:
    """Run a callback of the clock thread, which must not die of it."""
    try:
        call()
    except Exception:
        logger.exception("%r failed on the clock thread", call)
