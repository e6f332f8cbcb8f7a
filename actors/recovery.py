"""Recovery: what a mailbox does about its actors that crash, and about keys that have to wait.

An actor is one key of a keyed mailbox, else the mailbox's own (key None). When it cannot be built,
or its handler raises what is in ``restart_on``, its object is thrown away and its key blocked for
the back-off; one beyond its supervisor's intensity is *faulted*: its messages wait for a repair::

    running --crash--> restarting, key blocked --back-off over--> running, object built anew
                           '--beyond the intensity, or state unreadable--> faulted --repair--^
"""

from __future__ import annotations

import heapq
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..clock import SECOND
from ..errors import MessageError
from .activation import Activation
from .cell import Restart
from .mail import Blocked, Refill
from .restarts import Failures, Restarts
from .supervisor import Ailing, Census

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator

    from ..persistence.store import Message
    from .mailbox import MailboxActor
    from .turn import Turn
    from .worker_cell import WorkerCell


class Recovery:
    """Restarts the actors of one mailbox, or leaves them alone.

    Args:
        mailbox: whose window is blocked and unblocked, under its lock.

    Attributes:
        faulted: why an actor is left alone, by key; under None the whole mailbox is.
        until: when an actor is to be restarted, by key.
        abandoned: threads whose handler ran past its timeout, with the message it runs.
        draining: see :meth:`drained`.

    """

    def __init__(self, mailbox: MailboxActor) -> None:
        """Start with nothing broken."""
        supervisor = mailbox.supervisor
        self.faulted: dict[str | None, str] = {}
        self.until: dict[str | None, int] = {}
        self.abandoned: dict[threading.Thread, int] = {}
        self.restarts = Restarts(
            supervisor.intensity, supervisor.period, mailbox.environment.random
        )
        self._unstarted = Failures(supervisor.period)
        self._mailbox = mailbox
        # Keys whose state is being written; after that their activation, until it is drained.
        self._edited: dict[str | None, Activation | None] = {}
        # Keys of which a turn became void: what was started on its state comes back first.
        self._overturned: set[str | None] = set()
        self.draining = False
        self._failing: dict[str | None, int] = {}
        self._unblock: list[tuple[int, bool, str]] = []  # until, has a key, key

    # --- for workers (any handler thread) ----------------------------------------------------

    def crashed(
        self,
        message: Message | None,
        activation: Activation,
        error: BaseException,
        *,
        starting: bool,
    ) -> None:
        """Restart an actor; its message runs again then, no attempt counted.

        A state that cannot be loaded is not tried again: the actor is faulted at once.

        Args:
            message: in hand, to be run again; None: an ask, which has its answer.
            activation: whose object is thrown away.
            error: why.
            starting: it could not be built; else its handler raised one of ``restart_on``.

        """
        mailbox = self._mailbox
        now = mailbox.environment.clock.now()
        key = activation.key
        broken = starting and isinstance(error, MessageError)
        with mailbox.lock:
            # Of several workers of one actor the second to crash waits with the first.
            known = self.until.get(key, 0) > now
            activation.object, activation.clean = None, False
            mailbox.window.block(key)
            if message is not None:
                mailbox.window.settled(message)
                mailbox.window.finished(message)
                if message.number < 0:
                    mailbox.window.park(message)
            if known and not broken:
                return
            if starting:
                self._unstarted.note(key, now)
            delay = None if broken else self.restarts.crashed(key, now)
            if delay is None:
                self.faulted[key] = repr(error)
                self.until.pop(key, None)
                mailbox.reconsider()
            else:
                self.until[key] = now + delay
        name, events = self.name(key), mailbox.environment.events
        if delay is None:
            if events.on:
                events.emit("actor.faulted", actor=name, error=str(error))
            mailbox.asks.faulted(key, repr(error))
            mailbox.supervisor.post(Ailing(mailbox, name, error, None))
            return
        if events.on:
            events.emit("actor.restarted", actor=name, error=repr(error), delay=delay / SECOND,
                        attempt=self.restarts.count(key, now))  # fmt: skip
        mailbox.supervisor.post(Ailing(mailbox, name, error, now + delay))
        mailbox.post(Blocked(key, now + delay))

    def abandon(self, cell: WorkerCell, turn: Turn) -> None:
        """Replace a worker whose handler ran past its timeout; too many, and the mailbox faults."""
        mailbox = self._mailbox
        thread = turn.thread
        with mailbox.lock:
            if thread is not None:
                self.abandoned[thread] = turn.message.number
            if cell in mailbox.cells:
                mailbox.cells.remove(cell)
            full = len(self.abandoned) >= mailbox.spec.workers
            if full:
                stuck = ", ".join(f"{t.name} in message {n}" for t, n in self.abandoned.items())
                self.faulted[None] = f"every worker's handler ran past its timeout: {stuck}"
                mailbox.reconsider()
        events = mailbox.environment.events
        if events.on:
            events.emit("handler.abandoned", mailbox=mailbox.spec.name, id=turn.message.number,
                        thread=thread.name if thread is not None else "")  # fmt: skip
            if full:
                events.emit("mailbox.faulted", mailbox=mailbox.spec.name, error=self.faulted[None])
        if full:
            mailbox.asks.faulted(None, self.faulted[None])
        mailbox.post(Refill())

    def came_back(self, thread: threading.Thread) -> None:
        """Forget an abandoned thread: its handler has ended after all."""
        with self._mailbox.lock:
            self.abandoned.pop(thread, None)

    # --- repair (any thread) -----------------------------------------------------------------

    def repair(self, key: str | None) -> None:
        """Start one actor anew, its crashes forgotten; a turn of it that runs ends first."""
        mailbox = self._mailbox
        with mailbox.lock:
            self._forgive(key)
            activation = mailbox.activations.get(key)
            if activation is not None:
                activation.stale = True
            mailbox.reconsider()
        mailbox.post(Blocked(key, None))

    @contextmanager
    def editing(self, key: str | None) -> Iterator[None]:
        """Let no turn of an actor begin while its state is written; then it starts anew.

        Turns of it that run, or are staged and not yet committed, are void: their messages run
        again on the new state. Its key is let go when they are settled, so that the order stays.
        """
        mailbox = self._mailbox
        with mailbox.lock:
            mailbox.window.block(key)
            activation = mailbox.activations.setdefault(key, Activation(key))
            self._edited[key] = None
            activation.held = True
            activation.overturn()
        try:
            yield
        finally:
            with mailbox.lock:
                self._edited[key] = activation
                self.draining = True
            mailbox.post(Refill())

    # --- for the mailbox's own steps ---------------------------------------------------------

    def renew(self, *, clean: bool) -> None:
        """Have every object built anew, those in use at their next message.

        Args:
            clean: also those that are faulted; all crashes are forgotten.

        """
        mailbox = self._mailbox
        woken: list[WorkerCell] = []
        with mailbox.lock:
            if clean:
                kept = {*self._edited, *self._failing}
                # Sorted: the order of a set of texts is another in each process.
                for key in sorted({*self.faulted, *self.until} - kept, key=str):
                    mailbox.window.unblock(key)
                self.faulted.clear()
                self.until.clear()
                self.abandoned.clear()
                self.restarts.clear()
                self._unstarted.clear()
            for key, each in list(mailbox.activations.items()):
                if each.pending or each.held or not mailbox.window.idle(key):
                    each.stale = True
                else:
                    del mailbox.activations[key]
                    mailbox.retiring.append(each)
            for cell in mailbox.cells:
                if cell.own is not None:
                    cell.own.stale = True
                    if cell.idle:
                        mailbox.idle.remove(cell)
                        cell.idle = False
                        woken.append(cell)
                if cell.crashed:
                    cell.post(Restart())
            mailbox.reconsider()
        for cell in woken:
            cell.actor_inbox.nudge()

    def failing(self, key: str | None) -> None:
        """Block a key whose message is to keep its place, until it is known when; lock held.

        Two of a key may fail one after the other, before the first is on disk: the earlier one is
        in hand still when the later one may run again, and nothing of the key is read before it.
        """
        self._mailbox.window.block(key)
        self._failing[key] = self._failing.get(key, 0) + 1

    def overturned(self, key: str | None) -> None:
        """Let no turn of an actor begin until those on its void state are settled; lock held.

        They run again, and what has not run yet comes after them: so the order stays.
        """
        self._mailbox.window.block(key)
        self._overturned.add(key)
        self.draining = True

    def failed(self, key: str | None) -> None:
        """Note that what :meth:`failing` waited for is settled; lock held."""
        left = self._failing.pop(key, 1) - 1
        if left:
            self._failing[key] = left
        self._mailbox.window.block(key)  # a repair may have let it go meanwhile

    def schedule(self, message: Blocked) -> None:
        """Unblock a key now, or note when."""
        if message.until is None:
            self._let_go(message.key)
        else:
            key = message.key
            heapq.heappush(self._unblock, (message.until, key is not None, key or ""))

    def unblock_due(self) -> None:
        """Let the keys go on whose time has come."""
        now = self._mailbox.environment.clock.now()
        while self._unblock and self._unblock[0][0] <= now:
            _, has_key, text = heapq.heappop(self._unblock)
            self._let_go(text if has_key else None)

    def drained(self) -> None:
        """Let actors go on whose state is another now, when turns on the old one are settled."""
        mailbox = self._mailbox
        done = []
        with mailbox.lock:
            running = {mailbox.key(message) for message in mailbox.window.held.values()}
            for key, activation in list(self._edited.items()):
                if activation is not None and key not in running:
                    activation.held, activation.stale = False, True
                    del self._edited[key]
                    self._forgive(key)
                    done.append(key)
            done += sorted(self._overturned - running, key=str)
            self._overturned &= running
            self.draining = bool(self._overturned) or any(
                each is not None for each in self._edited.values()
            )
            mailbox.reconsider()
        for key in done:
            self._let_go(key)

    @property
    def due(self) -> int | None:
        """When the next key may go on."""
        return self._unblock[0][0] if self._unblock else None

    # --- looking -----------------------------------------------------------------------------

    def name(self, key: str | None) -> str:
        """Return an actor's name, for people."""
        name = self._mailbox.name
        return name if key is None else f"{name} key {key!r}"

    def census(self, now: int) -> Census:
        """Count the actors in memory or tried, and those that could not be started."""
        mailbox = self._mailbox
        with mailbox.lock:
            failing, failures = self._unstarted.total(now)
            living = len(mailbox.activations) or bool(mailbox.cells)
        if mailbox.spec.behaviour.factory is None:
            return Census(1, 0, 0)  # a function: nothing of it can fail to start
        return Census(max(failing, living), failing, failures)

    def sweep(self, now: int) -> None:
        """Forget crashes that are out of the period."""
        self.restarts.sweep(now)
        self._unstarted.sweep(now)

    # --- inside ------------------------------------------------------------------------------

    def _forgive(self, key: str | None) -> None:
        """Forget a key's crashes; the lock is held."""
        self.faulted.pop(key, None)
        self.until.pop(key, None)
        self.restarts.forget(key)
        self._unstarted.forget(key)

    def _let_go(self, key: str | None) -> None:
        """Unblock a key, unless something else keeps it waiting: that unblocks it in its time."""
        mailbox = self._mailbox
        with mailbox.lock:
            until = self.until.get(key)
            if until is not None and until <= mailbox.environment.clock.now():
                del self.until[key]
                until = None
            kept = any(
                key in each
                for each in (self.faulted, self._edited, self._failing, self._overturned)
            )
            if until is None and not kept:
                mailbox.window.unblock(key)
