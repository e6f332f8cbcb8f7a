"""The group committer: leader and followers, and one thread for what nobody waits for.

Whoever finds nobody committing commits at once, in its own thread, with all that has queued; the
others wait and are committed by that leader, or by the next::

    idle --commit()--> leading --(queue empty)--> idle
      ^                   |  (a sender waits)--> it is woken and leads
      |                   '--(only turns wait)-> the commit thread is woken
      '---- commit thread: leads, unless a sender has come first and took them along

Many senders of one group wake each other, one at a time, and the last one hands the lead on. All at
once they would queue for the GIL, each be put to sleep twice, and miss the next group.

Turns are *staged*: their worker goes on while they wait. They ride along with the next commit and
start one themselves when nobody is committing. Staged work is bounded; at the bound workers wait.

When the store refuses a commit as a whole (full, I/O, locked), senders get the error, staged turns
are kept and tried again, and no handler starts (``healthy``) until one commit has succeeded.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from itertools import groupby, takewhile
from operator import attrgetter
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import StoreError, StoreGone, StoreOwned
from . import courtesy, seal
from .breath import Breath
from .byline import take
from .hooks import Hooks, ThreadWaiter, Waiter, call, wake
from .store import Outcome, Store, Unit, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Committer", "Hooks", "ThreadWaiter", "Waiter"]

logger = logging.getLogger("callboard")

#: The most units and bytes that one group takes.
GROUP_UNITS = 2000
GROUP_BYTES = 8 * 1024 * 1024
#: What may be staged before workers wait.
STAGED_UNITS = 2 * GROUP_UNITS
STAGED_BYTES = 2 * GROUP_BYTES
# Beside a sender that tells one by one the commit thread leaves a few acknowledgements to it: with
# a commit of their own they would make every tell wait for theirs.
_GRACE, _LATELY, _FEW = 0.001, 0.002, 64
# From so many senders on they wake each other, and all the rest at once where one took so long.
_CHAIN, _LONG = 4, 0.001
_RETRY_FIRST, _RETRY_LONGEST = 0.05, 1.0


class Committer:
    """Commits units in groups; every call may be made from any thread.

    Args:
        store: where to.
        hooks: whom to tell.
        waiter: makes what a sender waits on.
        background: run the thread that commits staged turns; the seeded driver has none and calls
            :meth:`pump`.
        pause: sleeps, for the breath that foreign connections are given.

    """

    def __init__(
        self,
        store: Store,
        hooks: Hooks,
        *,
        waiter: Callable[[], Waiter] = ThreadWaiter,
        background: bool = True,
        pause: Callable[[float], None] | None = None,
    ) -> None:
        """Start nothing; the commit thread starts with the first staged turn."""
        self.epoch: int | None = None
        self.seen: int | None = None
        self.healthy = True
        #: More is staged than may be.
        self.crowded = False
        #: Groups that were committed.
        self.commits = 0
        self._store = store
        self._hooks = hooks
        self._waiter = waiter
        self._background = background
        self._breath = Breath(pause, store.others_wrote, store.breathe)
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)
        self._quiet = threading.Condition(self._lock)
        self._flushing = 0  # so many wait for quiet
        self._queue: deque[Unit] = deque()
        self._leading = False
        # Senders whose units are settled, while they are woken.
        self._asleep: deque[Unit] = deque()
        self._called_at = 0.0
        self._staged = 0
        self._bytes = 0
        self._thread: threading.Thread | None = None
        self._awake = False
        self._ending = False
        self._lost: StoreError | None = None
        self._refused_at: float | None = None
        self._retry_in = _RETRY_FIRST
        self._last_end = 0.0
        self._sent_at = 0.0
        self._eager = False
        # The role in which the leader writes; it may change before the group is settled.
        self._role: tuple[Hooks, bool] = (hooks, False)

    # --- for senders -------------------------------------------------------------------------

    def commit(self, unit: Unit) -> None:
        """Commit one unit and return when it is on disk, with the byline of who asks for it.

        Raises:
            StoreError: the store refused; nothing was written, unless it is ``unclear``.
            Exception: the unit's own failure (a statement of the user's, AlreadyTold).

        """
        seal.check()
        byline = take(unit)
        if byline is not None:
            byline.sign(unit)
        with self._lock:
            self._queue.append(unit)
            if self._leading:
                unit.waiter = self._waiter()
            else:
                self._leading = True
        if unit.waiter is None:
            self._lead(unit)
        else:
            try:
                unit.waiter.wait()
                if unit.calls:
                    self._call_next(unit)
            except BaseException:
                self._desert(unit)
                raise
            if unit.lead:
                unit.lead, unit.waiter = False, None
                self._lead(unit)
        if byline is not None:
            byline.settle(unit)
        if unit.error is not None:
            raise unit.error

    def submit(self, unit: Unit, waiter: Waiter) -> None:
        """Queue one unit for the commit thread; ``waiter`` is woken when its outcome is known.

        For who must not block: it never leads, and many share a commit. Whose byline it carries is
        the caller's affair.
        """
        seal.check()
        unit.waiter, unit.follows = waiter, True
        with self._lock:
            if self._ending:
                unit.error = StoreError("the runtime stopped before this was written")
            else:
                self._queue.append(unit)
                # The first one has woken the thread: it has not come to them yet.
                woken, self._eager = self._eager and self._thread is not None, True
                if self._background and not self._leading and not woken:
                    self._awake = True
                    self._start_thread()
                    self._work.notify()
        if unit.error is not None:
            wake(unit)

    def _desert(self, unit: Unit) -> None:
        """Do without a sender that was interrupted (Ctrl-C): others may count on it already."""
        with self._lock:
            unit.waiter = None
            lead, unit.lead = unit.lead, False
        if lead:
            self._hand_on()
        elif unit.calls:
            self._call_next(unit)

    def stage(self, unit: Unit) -> None:
        """Queue a finished turn; its ``settle`` is called when its outcome is known.

        It is dropped where another owner has the store, or the committer is closed: its message is
        in the store as it was.
        """
        unit.staged = True
        if not self._lock.acquire(blocking=False):
            courtesy.take(self._lock)  # many workers come here, each after every message
        try:
            if self._lost is not None or self._ending:
                return
            self._queue.append(unit)
            self._staged += 1
            self._bytes += unit.size
            if self._staged >= STAGED_UNITS or self._bytes >= STAGED_BYTES:
                self.crowded = True
            if self._background and not self._awake and not self._leading:
                self._awake = True
                self._start_thread()
                self._work.notify()
        finally:
            self._lock.release()

    def nudge(self) -> None:
        """Have what is queued committed, if nobody is about to: four times a second.

        Only where the commit thread could not be started is there anything to do.
        """
        if self._background and self._thread is None and self._queue:
            with self._lock:
                if self._queue and not self._leading:
                    self._start_thread()

    @property
    def pending(self) -> int:
        """Units that are queued or being committed."""
        return len(self._queue) + (1 if self._leading else 0)

    def poke(self) -> None:
        """Have an empty group run soon: it shows what other processes have told."""
        self.stage(Unit())

    def become(self, hooks: Hooks, epoch: int | None, seen: int | None) -> None:
        """Change roles: tell other hooks, and write as that owner, or as a client (None).

        What a client's commit that is under way tells is found again by the owner's next one.
        """
        with self._lock:
            self._hooks, self.epoch, self.seen = hooks, epoch, seen

    def pump(self) -> bool:
        """Commit one group in the calling thread, if there is one and nobody leads."""
        with self._lock:
            if self._leading or not self._queue:
                return False
            self._leading = True
        self._lead(None)
        return True

    def flush(self, timeout: float) -> bool:
        """Wait until nothing is queued; False when the time (seconds) ran out."""
        if self._thread is None:  # none is wanted, or none can be had: as the interpreter ends
            while self.pump() and self.healthy:
                pass
        if not self._background:
            return not self._queue and not self._leading
        with self._quiet:
            self._flushing += 1
            try:
                return self._quiet.wait_for(
                    lambda: self._ending or (not self._queue and not self._leading), timeout
                )
            finally:
                self._flushing -= 1

    def close(self) -> None:
        """End the commit thread; turns still queued are given up (the store is as it was)."""
        with self._lock:
            self._ending = True
            self._work.notify_all()
            self._quiet.notify_all()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5.0)
        with self._lock:
            left, self._queue = list(self._queue), deque()
            self._staged = self._bytes = 0
            self.crowded = False
            for unit in left:
                unit.error = StoreError("the runtime stopped before this was written")
            asleep = [unit for unit in left if not unit.lead]  # an heir has been woken
        for unit in asleep:
            wake(unit)

    # --- leading -----------------------------------------------------------------------------

    def _lead(self, own: Unit | None) -> None:
        """Commit groups until the own unit is through, then hand the lead on."""
        try:
            while True:
                group = self._take()
                if group:
                    self._write(group, own)
                if own is None or own.outcome is not None or own.error is not None:
                    break
                self._rouse()
        finally:
            if own is not None:
                self._sent_at = self._last_end
            self._step_down()
            call(self._hooks.after)

    def _take(self) -> list[Unit]:
        with self._lock:
            queue = self._queue
            self._eager = False
            if len(queue) == 1:
                return [queue.popleft()]
            group: list[Unit] = []
            size = 0
            while queue and len(group) < GROUP_UNITS and (not group or size < GROUP_BYTES):
                unit = queue.popleft()
                size += unit.size
                group.append(unit)
            return group

    def _step_down(self) -> None:
        """Let the senders of what is settled go on, and hand the lead on."""
        if self._background and len(self._asleep) >= _CHAIN:
            self._called_at = monotonic()
            self._call_next(None)
        else:
            self._rouse()
            self._hand_on()

    def _call_next(self, caller: Unit | None) -> None:
        """Wake one sender, who will wake the next; behind the last one the lead is handed on."""
        now = monotonic()
        if now - self._called_at > _LONG:  # others compute: it would be as long for each
            self._rouse()
        self._called_at = now
        with self._lock:
            while self._asleep and self._asleep[0].waiter is None:
                self._asleep.popleft()  # it was interrupted
            called = self._asleep.popleft() if self._asleep else None
            if called is not None:
                called.calls = True
            if caller is not None:
                caller.calls = False
        if called is None:
            self._hand_on()
        else:
            wake(called)

    def _rouse(self) -> None:
        """Wake all senders of what is settled."""
        while self._asleep:
            wake(self._asleep.popleft())

    def _hand_on(self) -> None:
        with self._lock:
            if not self._queue:
                self._leading = False
                if self._flushing:
                    self._quiet.notify_all()
                return
            heir = next((u for u in self._queue if u.waiter is not None and not u.follows), None)
            if heir is None:
                self._leading = False
                # A thread that is awake and leaves these to the next sender looks again by itself.
                if self._background and not (self._awake and self._senders_come()):
                    self._awake = True
                    self._start_thread()
                    self._work.notify()
                return
            heir.lead = True
        wake(heir)

    def _write(self, group: list[Unit], own: Unit | None) -> None:
        overtaken = False
        for unit in group:
            if unit.lineage is not None and unit.overtaken:
                unit.outcome, overtaken = Outcome.AGAIN, True
        fresh = [unit for unit in group if unit.outcome is None] if overtaken else group
        try:
            self._breath.take()
            with self._lock:
                epoch, seen = self.epoch, self.seen
                self._role = (self._hooks, seen is not None)
            written = self._store.write(fresh, epoch=epoch, seen=seen)
        except StoreError as error:
            self._refuse(group, error, error.written)
            return
        except Exception as error:
            logger.exception("the store raised what is no StoreError")
            refusal = StoreError(f"the store failed: {error!r}")
            refusal.__cause__ = error
            self._refuse(group, refusal, None)
            return
        except BaseException as error:
            self._interrupt(group, own, getattr(error, "written", None))
            raise
        self._last_end = self._breath.ended()
        if not self.healthy and any(unit.staged for unit in group):
            self._recover()
        self._settle(group, written)

    def _settle(self, group: Sequence[Unit], written: Written) -> None:
        """Tell each unit and the runtime, in commit order; only then let the senders go on."""
        hooks, watched = self._role
        self.commits += 1
        with self._lock:
            if watched and self.seen is not None:
                self.seen = written.last
        _tell(group)
        call(hooks.committed, group, written)
        staged = size = 0
        for unit in group:
            if unit.staged:
                staged += 1
                size += unit.size
        if staged:
            with self._lock:
                crowded = self.crowded
                self._staged -= staged
                self._bytes -= size
                self.crowded = self._staged >= STAGED_UNITS or self._bytes >= STAGED_BYTES
                roomy = crowded and not self.crowded
            if roomy:
                call(self._hooks.room)
        for unit in group:
            if unit.follows:
                wake(unit)
            elif unit.waiter is not None:
                self._asleep.append(unit)

    def _settle_written(self, group: Sequence[Unit], written: Written | None) -> list[Unit]:
        """Settle those at the head of a group that were written; returns the others."""
        done = list(takewhile(lambda unit: unit.outcome is not None, group))
        left = list(group[len(done) :])
        if done:
            self._settle(done, written or Written(self.seen or 0, []))
        for unit in left:
            unit.outcome = None  # AGAIN is found out again
        return left

    def _refuse(self, group: Sequence[Unit], error: StoreError, written: Written | None) -> None:
        """Give senders the error, keep staged turns in their order, and hold new handlers back."""
        left = self._settle_written(group, written)
        if error.unclear:
            left = self._fail_once(left, error)
        lost = isinstance(error, StoreOwned) or (
            isinstance(error, StoreGone) and self.epoch is not None
        )
        if not lost:
            with self._lock:
                self._queue.extendleft(reversed([unit for unit in left if unit.staged]))
        for unit in left:
            if not unit.staged:
                unit.error = error
                wake(unit)
        if lost:
            self._lose(error)
            return
        if self.healthy:
            self.healthy = False
            self._refused_at = monotonic()
            self._retry_in = _RETRY_FIRST
            call(self._hooks.refused, error)
        if not self._staged:
            self.poke()  # else nobody would try again, and no handler ever start

    def _fail_once(self, left: list[Unit], error: StoreError) -> list[Unit]:
        """Give up the asks of a group that may be on disk; returns the others.

        A message's turn is tried again all the same: its acknowledgement is done but once.
        """
        once = [unit for unit in left if unit.once]
        for unit in once:
            unit.outcome, unit.error = Outcome.FAILED, error
        if once:
            self._settle(once, Written(self.seen or 0, []))
        return [unit for unit in left if not unit.once]

    def _lose(self, error: StoreError) -> None:
        """Give up what is staged: these messages are the new owner's, and it runs them."""
        with self._lock:
            again, self._lost = self._lost is not None, error
            self._queue = deque(unit for unit in self._queue if not unit.staged)
            self._staged = self._bytes = 0
            self.crowded = False
            self.healthy = False
        if not again:
            call(self._hooks.lost, error)
            call(self._hooks.room)

    def _interrupt(self, group: Sequence[Unit], own: Unit | None, written: Written | None) -> None:
        """Put back what an interrupted leader (Ctrl-C) has not written, but for its own unit."""
        left = self._settle_written(group, written)
        with self._lock:
            self._queue.extendleft(reversed([unit for unit in left if unit is not own]))

    def _recover(self) -> None:
        since = self._refused_at or monotonic()
        self.healthy, self._refused_at = True, None
        call(self._hooks.recovered, monotonic() - since)
        call(self._hooks.room)

    # --- the commit thread -------------------------------------------------------------------

    def _start_thread(self) -> None:
        if self._thread is None and not self._ending:
            thread = threading.Thread(target=self._run, name="callboard-commit", daemon=True)
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                # What is queued waits for the next commit, or for who calls `nudge`.
                self._awake = False
                logger.warning("the commit thread cannot be started (%s): tried again", error)
                return
            self._thread = thread

    def _run(self) -> None:
        while True:
            with self._lock:
                while not self._ending and self._idle():
                    # Beside a sender: look again by itself, which spares a wake-up for each turn.
                    self._awake = monotonic() - self._sent_at < _LATELY
                    self._work.wait(_GRACE if self._awake else None)
                if self._ending:
                    return
                if not self.healthy:
                    self._work.wait(self._retry_in)
                    self._retry_in = min(_RETRY_LONGEST, self._retry_in * 2)
                    if self._idle():
                        continue
                elif self._senders_come():
                    self._work.wait(_GRACE)
                    if self._idle():
                        continue
                self._leading = True
            try:
                self._lead(None)
            except Exception:  # no memory for a group: without this thread no turn would commit
                logger.exception("the commit thread could not end a group; it goes on")

    def _idle(self) -> bool:
        """Say whether there is nothing for the commit thread to lead."""
        return self._leading or self._ending or not self._queue

    def _senders_come(self) -> bool:
        """Say whether a sender has just led: the next one takes the few staged turns along.

        Tasks wait for their own commit, not for a sender's.
        """
        return (
            not self._eager and len(self._queue) <= _FEW and monotonic() - self._sent_at < _LATELY
        )


_settler = attrgetter("settler")


def _tell(group: Sequence[Unit]) -> None:
    """Tell each unit what became of it, in their order; those that stand together together."""
    for settler, units in groupby(group, _settler):
        if settler is not None:
            call(settler.ended, list(units))
            continue
        for unit in units:
            if unit.settle is not None:
                call(unit.settle, unit)
