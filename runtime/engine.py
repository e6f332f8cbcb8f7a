"""The engine: the living parts of an owner, built at its start and ended at its stop.

It composes the supervision tree (root -> timers, schedules, mailboxes -> workers), hands what was
committed to whom it is for, and watches for what other processes have written.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from random import Random
from typing import TYPE_CHECKING

from ..actors.aio import Loop
from ..actors.cron import CronActor
from ..actors.environment import Environment
from ..actors.mail import Flood, MailboxSpec, Refill, SetPaused
from ..actors.mailbox import MailboxActor
from ..actors.overlooked import overlooked
from ..actors.sizes import Sizes
from ..actors.supervisor import Supervisor, SupervisorSpec
from ..actors.timer import TimerActor
from ..clock import monotonic
from ..errors import MailboxNotFound, MessageError, StoreError
from ..persistence.store import Cancel, Move, Outcome, Room, Tell, Unit
from .hub import publish
from .repairing import Repairing

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from ..actors.asks import Asked
    from ..actors.driver import Driver
    from ..actors.ticks import ScheduleSpec
    from ..clock import Clock
    from ..events import Events
    from ..persistence.committer import Committer
    from ..persistence.slots import Slots
    from ..persistence.store import MailboxRow, Message, ScheduleRow, Store, Written
    from .hub import Hub

#: Seconds between two looks for actors that nobody uses.
SWEEP = 30.0
_MANY_ACTORS = 10_000
_MANY_STALE = 2000


class Engine:
    """The owner's parts. It is the committer's hooks while this process owns the store.

    Args:
        home: the runtime, by which turns know whose they are.
        store: read by actors.
        committer: written through.
        clock: of deadlines.
        driver: steps the actors; it is started and stopped here.
        events: told here.
        slots: of this owner.
        host_loop: the host's event loop, if it has one.
        hub: told what was published.
        give_up: called when a part that cannot be missed keeps failing, or ownership is lost.
        random: for jitter.
        sizes: of what is held in memory.

    """

    def __init__(
        self,
        home: object,
        *,
        store: Store,
        committer: Committer,
        clock: Clock,
        driver: Driver,
        events: Events,
        slots: Slots,
        host_loop: asyncio.AbstractEventLoop | None,
        hub: Hub,
        give_up: Callable[[BaseException], None],
        random: Random | None = None,
        sizes: Sizes = Sizes(),
    ) -> None:
        """Build the tree; nothing runs before :meth:`start`."""
        self.environment = Environment(
            home, store, committer, clock, driver, events, slots, Loop(host_loop),
            random or Random(), sizes=sizes,
        )  # fmt: skip
        self._give_up = give_up
        self._hub = hub
        self.root = Supervisor.launch(self.environment, "root", give_up=give_up)
        self.timers = TimerActor.launch(self.environment, self.root)
        self.root.essential.add(self.timers.name)
        self.schedules = CronActor.launch(self.environment, self.root)
        self.root.essential.add(self.schedules.name)
        self.supervisor = Supervisor.launch(self.environment, "mailboxes", self.root)
        self.root.essential.add(self.supervisor.name)
        self.root.adopt(self.timers)
        self.root.adopt(self.schedules)
        self.root.adopt(self.supervisor)
        self.supervisors: dict[str, Supervisor] = {}
        self.environment.timers = self.timers
        self.mailboxes: dict[int, MailboxActor] = {}
        self._names: dict[str, MailboxActor] = {}
        self.repairing = Repairing(self.environment, self._names, self.supervisors, self.schedules)
        #: When the last look at the store ended: what a watchdog judges by.
        self.pulsed = monotonic()
        self._swept = driver.seconds()
        self._changes = -1
        self._rings = 0
        self._looking = False
        self._asked: list[tuple[MailboxActor, Asked]] = []

    # --- life --------------------------------------------------------------------------------

    def supervise(self, spec: SupervisorSpec) -> None:
        """Bring a declared supervisor to life; its own is there already."""
        above = self._above(spec.parent)
        actor = Supervisor.launch(
            self.environment, f"supervisor {spec.name}", above, strategy=spec.strategy,
            intensity=spec.intensity, period=spec.period,
        )  # fmt: skip
        self.supervisors[spec.name] = actor
        above.adopt(actor, spec.index)

    def add(self, spec: MailboxSpec, row: MailboxRow) -> None:
        """Bring a declared mailbox to life."""
        above = self._above(spec.supervisor)
        actor = MailboxActor.launch(
            self.environment, spec, row.id, paused=row.paused,
            due_upto=self.environment.clock.now(), supervisor=above,
        )  # fmt: skip
        above.adopt(actor, spec.index)
        self.mailboxes[row.id] = actor
        self._names[spec.name] = actor
        self.timers.attach(actor)
        actor.post(Refill())
        if self.environment.events.on:
            self.environment.events.emit(
                "mailbox.declared", mailbox=spec.name, workers=spec.workers, keyed=spec.keyed
            )

    def schedule(self, spec: ScheduleSpec, row: ScheduleRow) -> None:
        """Bring a declared schedule to life."""
        self.schedules.attach(spec, row)

    def start(self) -> None:
        """Let the actors run."""
        self.environment.driver.start()
        self.environment.driver.drain()

    def mailbox(self, name: str) -> MailboxActor | None:
        """Return a live mailbox."""
        return self._names.get(name)

    @property
    def names(self) -> list[str]:
        """Return the names of all that live."""
        return list(self._names)

    def shut(self) -> None:
        """Start no handler any more, and take no ask; those that are not running are answered."""
        self.schedules.halt()
        for mailbox in list(self.mailboxes.values()):
            mailbox.halt()
        running = [number for _, number in self._running()]
        self.environment.asks.end("the runtime stops: it takes no more asks", running)

    def stop(self, timeout: float) -> list[str]:
        """Finish running handlers up to ``timeout`` seconds, give the rest back uncounted.

        Returns:
            the handlers that did not end, by mailbox and message.

        """
        until = monotonic() + timeout
        self.shut()
        environment = self.environment
        while monotonic() < until and any(self._running()):
            environment.driver.rest(0.01)
        unfinished = [_running(name, number) for name, number in self._running(seal=True)]
        environment.loop.cancel_all()
        self._stop_objects()
        environment.committer.flush(max(0.5, until - monotonic()))
        environment.asks.end("the runtime has stopped")
        environment.driver.stop(max(0.2, until - monotonic()) if not unfinished else 0.2)
        environment.loop.stop()
        return unfinished

    def crash(self) -> None:
        """Stop everything at once and keep nothing: for tests of what a crash leaves."""
        self.schedules.halt()
        for mailbox in self.mailboxes.values():
            mailbox.halt()
        list(self._running(seal=True))
        self.environment.asks.end("the runtime has crashed")
        self.environment.loop.cancel_all()
        self.environment.driver.stop(1.0)
        self.environment.loop.stop()

    # --- the committer's hooks ---------------------------------------------------------------

    def committed(self, units: Sequence[Unit], written: Written) -> None:
        """Hand over what was told, foreign messages first: number order is commit order."""
        arrived: defaultdict[int, list[Message]] = defaultdict(list)
        later: defaultdict[int, list[Message]] = defaultdict(list)
        if written.flood is not None:
            self._flood(written.flood)
        self._sort_in(written.foreign, arrived, later)
        committed = Outcome.COMMITTED
        for unit in units:
            if unit.outcome is not committed or not (unit.tells or unit.ops):
                continue
            if unit.removed:
                self._removed(unit)
            self._sort_in(unit.told, arrived, later)
        for number, messages in arrived.items():
            self.mailboxes[number].arrived(messages)
        for number, messages in later.items():
            if left := self.mailboxes[number].later(messages):
                self.timers.later(left)
        self._handed_over(units)

    def after(self) -> None:
        """Step what the hand-over has made ready."""
        self.environment.driver.drain()

    def room(self) -> None:
        """Let workers go on that had to wait."""
        self.environment.feed()

    def refused(self, error: StoreError) -> None:
        """Say that no handler starts until a commit has succeeded."""
        if self.environment.events.on:
            self.environment.events.emit("store.refused", error=str(error))

    def recovered(self, after: float) -> None:
        """Say that it goes on."""
        if self.environment.events.on:
            self.environment.events.emit("store.recovered", after=after)

    def lost(self, error: StoreError) -> None:
        """Stop: another owner has written a newer epoch, or the store's files are gone."""
        if self.environment.events.on:
            self.environment.events.emit("owner.lost", error=str(error))
        self._give_up(error)

    # --- asks --------------------------------------------------------------------------------

    def ask(self, ask: Asked, *, look: bool = False) -> None:
        """Put an ask behind what has been told before it; it is answered through its ``deliver``.

        Runs: on any thread; it does not wait and reads nothing from the store.

        Args:
            ask: as the asker made it.
            look: first look for what other processes have told.

        Raises:
            MailboxNotFound: the running code does not declare it: nobody would answer.
            MessageError: the running code does not know this kind of message.
            AskDeadlock: see :meth:`Asks.open`.
            ActorStopped: the runtime is stopping.

        """
        mailbox = self._names.get(ask.target)
        if mailbox is None:
            raise MailboxNotFound(ask.target, self._names)
        ask.mailbox, ask.told_at = mailbox.id, self.environment.clock.now()
        if mailbox.spec.keyed and ask.key is None:
            msg = f"mailbox {ask.target!r} is keyed: say which actor is asked with key=..."
            raise MessageError(msg)
        if not mailbox.knows(ask):
            msg = f"mailbox {ask.target!r}: the owner's code knows no {ask.kind!r} {ask.version}"
            raise MessageError(msg)
        self.environment.asks.open(ask, self._workers)
        if not (look or self._looking):
            mailbox.asks.take(ask)
            return

        def looked(_: Unit) -> None:
            self._asked.append((mailbox, ask))

        self.environment.committer.stage(Unit(settle=looked))

    def expect(self, name: str) -> None:
        """Have a thread get up for an ask to that mailbox, which is being made."""
        mailbox = self._names.get(name)
        if mailbox is not None and mailbox.idle and mailbox.open:
            self.environment.driver.rouse()

    def withdraw(self, ask: Asked) -> None:
        """Forget an ask whose asker waits no more."""
        mailbox = self._names.get(ask.target)
        if mailbox is not None:
            mailbox.asks.withdraw(ask)

    def _handed_over(self, units: Sequence[Unit]) -> None:
        """Go on after the hand-over of messages: what was told before an ask goes before it."""
        if self._hub.on:
            publish(units, self._hub.published)
        if self._asked:
            asked, self._asked = self._asked, []
            for mailbox, ask in asked:
                mailbox.asks.take(ask)
        self.environment.asks.flush()

    def _workers(self, name: str) -> int:
        mailbox = self._names.get(name)
        return 1 if mailbox is None else mailbox.spec.workers

    # --- what others have written ------------------------------------------------------------

    def ring(self) -> None:
        """Look soon: another process says that it has told something.

        However many ring meanwhile, one look is under way and at most one follows it.
        """
        self._rings += 1
        if not self._looking:
            self._looking = True
            self._look()

    def _look(self) -> None:
        rings = self._rings

        def looked(_: Unit) -> None:
            self._looking = False
            if self._rings != rings:
                self.ring()

        self.environment.committer.stage(Unit(settle=looked))

    def pulse(self) -> None:
        """Look, four times a second, for what nobody rang for; and put idle actors away."""
        environment = self.environment
        environment.committer.nudge()
        with contextlib.suppress(StoreError):
            last, epoch, changes = environment.store.heartbeat()
            seen = environment.committer.seen
            if seen is not None and (last > seen or epoch != environment.committer.epoch):
                self.ring()
            if changes != self._changes:
                self._read_pauses()
                self.repairing.answer()
                self._changes = changes
        for mailbox in list(self.mailboxes.values()):
            if mailbox.recovery.draining:
                mailbox.post(Refill())
        crowded = any(len(m.activations) > _MANY_ACTORS for m in self.mailboxes.values())
        if crowded or environment.driver.seconds() - self._swept > SWEEP:
            self._swept = environment.driver.seconds()
            for mailbox in list(self.mailboxes.values()):
                mailbox.sweep()
            with contextlib.suppress(StoreError):
                while environment.store.sweep(environment.clock.now()) >= _MANY_STALE:
                    pass
        self.pulsed = monotonic()

    def pauses_changed(self) -> None:
        """Read which mailboxes are paused, now."""
        self._read_pauses()
        self.environment.driver.drain()

    def counts(self) -> tuple[int, int]:
        """Return how many messages were handled, and how many runs of handlers failed."""
        settling = [mailbox.settling for mailbox in self.mailboxes.values()]
        return sum(each.handled for each in settling), sum(each.failures for each in settling)

    @property
    def quiet(self) -> bool:
        """No row is due, no turn runs, nothing is staged."""
        environment = self.environment
        if environment.committer.pending or environment.driver.busy:
            return False
        cells = [self.root, self.supervisor, self.timers, self.schedules,
                 *self.supervisors.values(), *self.mailboxes.values()]  # fmt: skip
        if any(cell.actor_inbox.scheduled or cell.actor_inbox.has_work for cell in cells):
            return False
        now = environment.clock.now()
        due = environment.driver.next_deadline()
        if due is not None and due <= now:
            return False
        mailboxes = list(self.mailboxes.values())
        return all(self._settled(m) for m in mailboxes) and not any(map(overlooked, mailboxes))

    def unsettled(self) -> list[str]:
        """Name what keeps the engine from being quiet."""
        reasons = [f"runs: {_running(name, number)}" for name, number in self._running()]
        reasons += [m.name for m in self.mailboxes.values() if not self._settled(m)]
        reasons += [f"{m.name} has not loaded message {row.number}"
                    for m in self.mailboxes.values() if (row := overlooked(m))]  # fmt: skip
        if self.environment.committer.pending:
            reasons.append(f"{self.environment.committer.pending} units to commit")
        return reasons or ["actors at work"]

    # --- inside ------------------------------------------------------------------------------

    def _above(self, name: str | None) -> Supervisor:
        return self.supervisor if name is None else self.supervisors[name]

    def _settled(self, mailbox: MailboxActor) -> bool:
        with mailbox.lock:
            if any(not cell.idle and not cell.crashed for cell in mailbox.cells):
                return False
            if mailbox.held_back:
                return True
            crashed = sum(cell.crashed for cell in mailbox.cells)  # until their back-off is over
            ready = mailbox.window.ready and crashed < mailbox.spec.workers
            return not ready and not mailbox.window.hungry

    def _running(self, *, seal: bool = False) -> list[tuple[str, int]]:
        found = []
        for mailbox in self.mailboxes.values():
            for cell in list(mailbox.cells):
                turn = cell.turn
                if turn is not None and (turn.abandon() if seal else turn.phase == 0):
                    found.append((mailbox.spec.name, turn.message.number))
        return found

    def _stop_objects(self) -> None:
        for mailbox in self.mailboxes.values():
            for key, activation in list(mailbox.activations.items()):
                if activation.object is not None:
                    mailbox.stop_worker(activation.object, key)
            for cell in mailbox.cells:
                cell.stop_own()

    def _sort_in(
        self,
        messages: Iterable[Message],
        arrived: defaultdict[int, list[Message]],
        later: defaultdict[int, list[Message]],
    ) -> None:
        events, mailboxes = self.environment.events, self.mailboxes
        for message in messages:
            mailbox = mailboxes.get(message.mailbox)
            if mailbox is None:
                continue  # nobody here declares it: it waits in the store
            lane = arrived if message.due is None else later
            lane[message.mailbox].append(message)
            if events.flow:
                events.emit("message.told", mailbox=mailbox.spec.name, id=message.number,
                            kind=message.kind, key=message.key, due=message.due,
                            cause=message.cause)  # fmt: skip

    def _removed(self, unit: Unit) -> None:
        numbers = {op.message.mailbox if isinstance(op, (Tell, Move)) else op.mailbox
                   for op in unit.ops or ()
                   if isinstance(op, (Tell, Cancel, Room, Move))}  # fmt: skip
        for mailbox_id in numbers:
            mailbox = self.mailboxes.get(mailbox_id)
            if mailbox is None:
                continue
            for number in unit.removed:
                mailbox.drop(number)
                self.timers.drop(mailbox_id, number)
        if self.environment.events.on:
            names = [m.spec.name for i in numbers if (m := self.mailboxes.get(i)) is not None]
            for number in unit.removed:
                name = "message.dropped" if number in unit.dropped else "message.cancelled"
                self.environment.events.emit(name, mailbox=names[0] if names else "", id=number)

    def _flood(self, number: int) -> None:
        for mailbox in self.mailboxes.values():
            mailbox.post(Flood(number))
        self.timers.post("reload")

    def _read_pauses(self) -> None:
        self.schedules.reread()
        for row in self.environment.store.mailboxes():
            mailbox = self.mailboxes.get(row.id)
            if mailbox is not None and mailbox.paused != row.paused:
                mailbox.post(SetPaused(paused=row.paused))


def _running(mailbox: str, number: int) -> str:
    return f"{mailbox} (message {number})" if number > 0 else f"{mailbox} (an ask)"
