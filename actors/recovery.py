"""Recovery: what a mailbox does about its actors that crash, and about keys that have to wait.

An actor is one key of a keyed mailbox, else the mailbox's own (key None). One that cannot be built
has its key blocked for the back-off; one beyond the intensity is *faulted*: its messages wait.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

from ..clock import SECOND
from ..errors import MessageError
from .mail import Blocked, Refill
from .supervisor import Restarts

if TYPE_CHECKING:
    import threading

    from ..persistence.store import Message
    from .activation import Activation
    from .mailbox import MailboxActor
    from .turn import Turn
    from .worker_cell import WorkerCell


class Recovery:
    """Restarts the actors of one mailbox, or leaves them alone.

    Args:
        mailbox: whose window is blocked and unblocked, under its lock.

    Attributes:
        faulted: why an actor is left alone, by key; under None the whole mailbox is.
        abandoned: threads whose handler ran past its timeout, with the message it runs.

    """

    def __init__(self, mailbox: MailboxActor) -> None:
        """Start with nothing broken."""
        self.faulted: dict[str | None, str] = {}
        self.abandoned: dict[threading.Thread, int] = {}
        self.restarts = Restarts(5, 60.0, mailbox.environment.random)
        self._mailbox = mailbox
        self._unblock: list[tuple[int, bool, str]] = []  # until, has a key, key

    # --- for workers (any handler thread) ----------------------------------------------------

    def crashed(self, message: Message, activation: Activation, error: BaseException) -> None:
        """Restart an actor that could not be built: block its key for the back-off.

        A state that cannot be loaded is not tried again: the actor is faulted at once.
        """
        mailbox = self._mailbox
        now = mailbox.environment.clock.now()
        key = activation.key
        broken = isinstance(error, MessageError)
        with mailbox.lock:
            mailbox.window.settled(message)
            mailbox.window.block(key)
            mailbox.window.finished(message)
            delay = None if broken else self.restarts.crashed(key, now)
            if delay is None:
                self.faulted[key] = repr(error)
            if message.number < 0:
                mailbox.window.park(message)
        name = mailbox.name if key is None else f"{mailbox.name} key {key!r}"
        events = mailbox.environment.events
        if delay is None:
            if events.on:
                events.emit("actor.faulted", actor=name, error=str(error))
            mailbox.asks.faulted(key, repr(error))
            return
        if events.on:
            events.emit("actor.restarted", actor=name, error=repr(error), delay=delay / SECOND,
                        attempt=self.restarts.count(key, now))  # fmt: skip
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

    # --- for the mailbox's own steps ---------------------------------------------------------

    def schedule(self, message: Blocked) -> None:
        """Unblock a key now, or note when."""
        if message.until is None:
            with self._mailbox.lock:
                self._mailbox.window.unblock(message.key)
        else:
            key = message.key
            heapq.heappush(self._unblock, (message.until, key is not None, key or ""))

    def unblock_due(self) -> None:
        """Let the keys go on whose time has come."""
        mailbox = self._mailbox
        now = mailbox.environment.clock.now()
        while self._unblock and self._unblock[0][0] <= now:
            _, has_key, text = heapq.heappop(self._unblock)
            key = text if has_key else None
            with mailbox.lock:
                if key not in self.faulted:
                    mailbox.window.unblock(key)

    @property
    def due(self) -> int | None:
        """When the next key may go on."""
        return self._unblock[0][0] if self._unblock else None
