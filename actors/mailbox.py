"""The MailboxActor: receives what was told, keeps the window, delegates to its workers.

Workers pull: each takes the next message from the window, under the mailbox's lock, when it is
free. So no message waits behind a slow one while another worker is idle. The actor itself reads
pages, blocks and unblocks keys, and looks after its workers.

What becomes of a turn is in settling.py, of an actor that crashes in recovery.py.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from ..clock import LATEST
from ..persistence.store import LAST, Message, Outcome, Reserve, Unit
from .answering import Answering
from .cell import Cell
from .expiry import Expiry
from .look import Look
from .mail import Blocked, DueNow, Flood, MailboxSpec, Refill, SetPaused
from .rate import Limiter
from .recovery import Recovery
from .settling import Settling
from .window import Window
from .worker_cell import WorkerCell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .activation import Activation
    from .environment import Environment
    from .supervisor import Census, Supervisor
    from .worker import WorkerActor

logger = logging.getLogger("callboard")


class MailboxActor(Cell):
    """One named mailbox of the owner.

    Args:
        environment: the shared parts.
        spec: as declared.
        number: the store's number of the mailbox.
        paused: as stored.
        due_upto: what is due until then is this mailbox's to read (see timer.py).
        supervisor: restarts it; then it reads its window anew, and its actors are rebuilt.

    """

    supervisor: Supervisor

    def __init__(
        self,
        environment: Environment,
        spec: MailboxSpec,
        number: int,
        *,
        paused: bool,
        due_upto: int,
        supervisor: Supervisor,
    ) -> None:
        """Build it with an empty window; the first Refill reads what waits."""
        super().__init__(environment.driver, f"mailbox {spec.name}", supervisor)
        self.environment = environment
        self.spec = spec
        self.id = number
        self.paused = paused
        self.due_upto = due_upto
        self.stopping = False
        # It takes new turns: not paused, suspended, stopping or faulted; see :meth:`reconsider`.
        self.open = not paused
        self.lock = threading.Lock()
        self.asks = Answering(self)
        stateful = spec.behaviour.state is not None
        self.window = Window(
            keyed=spec.keyed, exclusive=stateful or (spec.workers == 1 and spec.order == "block"),
            size=environment.sizes.window, per_key=environment.sizes.per_key,
        )  # fmt: skip
        self.cells: list[WorkerCell] = []
        self.activations: dict[str | None, Activation] = {}
        self.retiring: list[Activation] = []
        self.limiter: Limiter | None = None
        rate = spec.limits.rate
        if rate is not None:
            reserved = environment.store.reserved(number)
            self.limiter = Limiter(rate, reserved, environment.clock.now())
        self.recovery = Recovery(self)
        self.settling = Settling(self)
        self.expiry = Expiry(self)
        # When the rate allows a start again, as dispatch() saw it: looked at later it may be now,
        # and nobody would come back.
        self._free: int | None = None
        self.idle: list[WorkerCell] = []
        self._refilling = False
        self._set_back = False
        self._known: dict[tuple[str, int], bool] = {}

    # --- for workers (any handler thread) ----------------------------------------------------

    def next(self, cell: WorkerCell) -> Message | None:
        """Return the next message; None: nothing to do, the cell is idle now."""
        with self.lock:
            message = None
            limiter = self.limiter
            if self.open:
                if limiter is None:
                    message = self.window.take()
                elif limiter.available(now := self.environment.clock.now()):
                    message = self.window.take()
                    if message is not None:
                        limiter.take(now)
            if message is None:
                cell.idle = True
                self.idle.append(cell)
            hungry = self.window.hungry and not self._refilling
            if hungry:
                self._refilling = True
            limited = limiter is not None and message is None and self.window.ready > 0
        if hungry or limited:
            self.post(Refill())
        return message

    def key(self, message: Message) -> str | None:
        """Return the name of the message's actor: its key, or None where the mailbox has one."""
        return message.key if self.spec.keyed else None

    def reconsider(self) -> None:
        """Look whether new turns may be taken; call it with the lock held."""
        self.open = not (
            self.paused or self.stopping or self.suspended or None in self.recovery.faulted
        )

    def halt(self) -> None:
        """Take no new turns any more: the owner stops."""
        with self.lock:
            self.stopping = True
            self.reconsider()

    def retired(self) -> Activation | None:
        """Return an idle actor that is to be put away."""
        if not self.retiring:
            return None
        with self.lock:
            return self.retiring.pop() if self.retiring else None

    def finished(self, message: Message) -> None:
        """Let the next message of the same key run."""
        if self.window.exclusive:
            with self.lock:
                self.window.finished(message)

    def vanished(self, message: Message) -> None:
        """Let go of a message that was cancelled or replaced before its handler ran."""
        with self.lock:
            self.window.settled(message)
            self.window.finished(message)
        if self.environment.events.on and message.number > 0:
            self.environment.events.emit(
                "message.void", mailbox=self.spec.name, id=message.number, key=message.key
            )

    def stop_worker(self, worker: WorkerActor, key: str | None) -> None:
        """Call an object's ``on_stop``; what it raises is logged."""
        try:
            worker.on_stop()
        except BaseException:
            logger.exception("on_stop of %s, key %r, raised", self.name, key)

    def give_back(self, message: Message) -> None:
        """Put a message back that was not run."""
        with self.lock:
            self.window.again(message)
            self.window.finished(message)

    # --- for the committer (in commit order) -------------------------------------------------

    def arrived(self, messages: list[Message]) -> None:
        """Take what was just committed, in commit order. Runs: on the committing thread."""
        with self.lock:
            self._offer(messages, due=False)
            hungry = self.window.hungry and not self._refilling
            if hungry:
                self._refilling = True
            ends = self.expiry.saw(messages)
        if hungry or ends or self.limiter is not None:
            self.post(Refill())
        self.dispatch()

    def later(self, messages: list[Message]) -> list[Message]:
        """Take those future calls that are due already, in commit order; returns the others.

        Runs: on the committing thread. What is due until ``due_upto`` is the mailbox's; as with
        what waits, it must be known here before its own turn can be settled.
        """
        if self.expiry.saw(messages):
            self.post(Refill())
        upto = self._due_until()
        ours = [m for m in messages if m.due is not None and m.due <= upto]
        if not ours:
            return messages
        with self.lock:
            self._offer(ours, due=True)
        self.post(Refill())
        return [m for m in messages if m.due is None or m.due > upto]

    @property
    def held_back(self) -> bool:
        """Nothing may start now, whatever waits: not open, or as often as the rate allows.

        The caller holds the lock.
        """
        if not self.open:
            return True
        limiter = self.limiter
        return limiter is not None and limiter.next(self.environment.clock.now()) is not None

    def drop(self, number: int) -> None:
        """Mark a message as cancelled or replaced; it will not be run."""
        with self.lock:
            self.window.drop(number)

    # --- the actor ---------------------------------------------------------------------------

    def on_receive(self, message: Any) -> None:
        """Take arrivals, pages and the rest; see the classes above."""
        match message:
            case DueNow():
                self._due_now(message)
            case Flood():
                with self.lock:
                    self.window.flood((0, message.number))
                    self.expiry.next = 0
            case SetPaused():
                self._set_paused(paused=message.paused)
            case Blocked():
                self.recovery.schedule(message)
            case _:
                pass
        if self.crashed:
            return  # all else waits for the restart
        if self.recovery.draining:
            self.recovery.drained()
        if self._set_back:
            self._set_back = False
            with self.lock:
                self.window.due_in_store()
        self.recovery.unblock_due()
        self.expiry.run()
        self._fill()
        self.dispatch()
        self._wake()

    def reload(self) -> None:
        """Forget the window and read it anew; what is in hand stays in hand."""
        with self.lock:
            self.window.reset()
            self.reconsider()
        self.recovery.unblock_due()
        self._fill()
        self.dispatch()
        self._wake()

    def suspend(self) -> None:
        """Take no new turns until a restart; those that run end."""
        super().suspend()
        with self.lock:
            self.reconsider()

    def restart(self, *, clean: bool) -> None:
        """Begin anew: the window is read again, and each actor rebuilt at its next message."""
        self.recovery.renew(clean=clean)
        self.reload()

    def census(self, now: int) -> Census:
        """Count the actors, and those that could not be started; see Supervisor."""
        return self.recovery.census(now)

    def sweep(self) -> None:
        """Mark actors that nobody used since the last sweep, to be put away by a worker."""
        with self.lock:
            now = self.environment.clock.now()
            self.recovery.sweep(now)
            for key, each in list(self.activations.items()):
                if each.touched or each.pending or not self.window.idle(key):
                    each.touched = False
                    continue
                del self.activations[key]
                self.retiring.append(each)
            wanted = bool(self.retiring)
        if wanted:
            self.post(Refill())

    # --- inside ------------------------------------------------------------------------------

    def _due_now(self, message: DueNow) -> None:
        with self.lock:
            self.due_upto = max(self.due_upto, message.upto)
            if message.behind:
                self.window.due_in_store()
            self._offer(message.messages, due=True)

    def _offer(self, messages: list[Message], *, due: bool) -> None:
        """Offer the window what the running code knows; call it with the lock held."""
        window, knows, events = self.window, self.knows, self.environment.events
        lane = window.due if due else window.waiting
        complete = lane.complete
        window.offer_all([each for each in messages if knows(each)], due=due)
        if complete and not lane.complete and events.on:
            events.emit("mailbox.spilled", mailbox=self.spec.name, window=window.loaded)

    def knows(self, message: Message) -> bool:
        """Say whether the running code can decode it; else it waits in the store."""
        kind = (message.kind, message.version)
        known = self._known.get(kind)
        if known is None:
            known = self.spec.behaviour.accepts.knows(*kind)
            self._known[kind] = known
        if not known and self.environment.events.on:
            self.environment.events.emit(
                "message.unknown", mailbox=self.spec.name, id=message.number, kind=message.kind,
                version=message.version,
            )  # fmt: skip
        return known

    def _fill(self) -> None:
        """Refill while the window is hungry.

        Whoever gets hungry during a refill posts none, so what is left of that is looked at under
        the lock, together with saying that the refill is over.
        """
        while True:
            with self.lock:
                self._refilling = self.window.hungry
                if not self._refilling:
                    return
            self._refill()

    def _refill(self) -> None:
        """Read pages until the window is full or the store has no more."""
        store = self.environment.store
        while True:
            with self.lock:
                page = self.window.pages()
            if page is None:
                return
            if page.due:
                upto = self._due_until()
                # What was due until the clock was set back stays in the store for that time.
                self._set_back = self._set_back or upto < self.due_upto
                look = Look(store.others())
                rows = store.due(self.id, upto=upto, after=page.after, limit=page.limit,
                                 skip=page.skip, key=page.key)  # fmt: skip
                for each in rows:
                    each.look = look
            else:
                rows = store.waiting(self.id, after=page.after, limit=page.limit, skip=page.skip,
                                     key=page.key)  # fmt: skip
            with self.lock:
                blocked = self.window.paged(page, rows, self.knows, self._must_wait)
            for key, until in blocked:
                self.post(Blocked(key, until))

    def _must_wait(self, message: Message) -> int | None:
        """Return until when a message keeps its key waiting, after a failure that blocks."""
        until = message.retry_at
        if until is None or until > LATEST:  # no retry of ours: see fate.py
            return None
        return until if until > self.environment.clock.now() else None

    def dispatch(self) -> None:
        """Wake as many idle workers as there is work for; start them as they are needed."""
        with self.lock:
            chosen = self.choose()
        for cell in chosen:
            cell.actor_inbox.nudge()

    def choose(self) -> Sequence[WorkerCell]:
        """Return the workers that have to be woken; the caller holds the lock, and wakes them."""
        self._free = None
        if self.stopping or (not self.idle and len(self.cells) >= self.spec.workers):
            return ()
        wanted = self.window.ready if self.open else 0
        if wanted and self.limiter is not None:
            now = self.environment.clock.now()
            self._free = self.limiter.next(now)
            if count := self.limiter.wanted(now):
                self._reserve(self.limiter, now, count)
            wanted = min(wanted, self.limiter.available(now))
        if self.retiring:
            wanted = max(wanted, 1)
        chosen: list[WorkerCell] = []
        while len(chosen) < wanted and self.idle:
            cell = self.idle.pop()
            cell.idle = False
            chosen.append(cell)
        while len(chosen) < wanted and len(self.cells) < self.spec.workers:
            chosen.append(self._hire())
        return chosen

    def _reserve(self, limiter: Limiter, now: int, count: int) -> None:
        """Have the store know of coming starts; the caller holds the lock."""
        limiter.reserving = True

        def settle(unit: Unit) -> None:
            with self.lock:
                limiter.reserving = False
                if unit.outcome is Outcome.COMMITTED:
                    limiter.granted(count)
            self.post(Refill())

        op = Reserve(self.id, now, count, now - limiter.period)
        self.environment.committer.stage(Unit(ops=[op], size=64, settle=settle))

    def _hire(self) -> WorkerCell:
        cell = WorkerCell.launch(self.environment, self)
        self.cells.append(cell)
        return cell

    def _set_paused(self, *, paused: bool) -> None:
        if paused == self.paused:
            return
        with self.lock:
            self.paused = paused
            self.reconsider()
        if self.environment.events.on:
            name = "mailbox.paused" if paused else "mailbox.resumed"
            self.environment.events.emit(name, mailbox=self.spec.name)

    def _wake(self) -> None:
        """Look again when a key may go on, and after the clock was set back at what is hidden."""
        due = self.expiry.next
        if (key_free := self.recovery.due) is not None:
            due = key_free if due is None else min(due, key_free)
        if (free := self._free) is not None:
            due = free if due is None else min(due, free)
        if self._set_back:
            now = self.environment.clock.now()
            for row in self.environment.store.timers(self.id, after=(now, LAST), limit=1):
                due = row.due if due is None or row.due is None else min(due, row.due)
        self.wake_at(due)

    def _due_until(self) -> int:
        """Return until when what is due is the mailbox's, and due by the clock as it stands."""
        return min(self.due_upto, self.environment.clock.now())
