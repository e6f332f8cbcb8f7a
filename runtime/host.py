"""The role of one process on one store, and how it changes.

::

    client --start--> owner                       (nobody owns the store)
    client --start--> standby --owner ends--> owner
    owner, standby --stop--> client
    owner --another epoch in the store--> stopped (StoreOwned)
    owner --its files deleted or replaced--> stopped (StoreGone)
    any --fork, in the child--> client
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, Literal

from ..actors.turn import Phase, current
from ..clock import monotonic
from ..errors import NotStarted, StoreError, StoreOwned
from ..persistence import seal
from ..persistence.presence import gone
from ..persistence.slots import Slots
from ..persistence.sqlite_open import check_owner, of_os
from .hub import Hub, publish
from .ownership import Ownership
from .parts import Parts

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from ..actors.mail import MailboxSpec
    from ..actors.supervisor import SupervisorSpec
    from ..actors.ticks import ScheduleSpec
    from ..clock import Clock
    from ..events import Events
    from ..persistence.sqlite import SqliteStore
    from ..persistence.store import Unit, Written
    from .bell import Bell
    from .engine import Engine
    from .feed import Feed
    from .line import Line
    from .registry import Registry
    from .schedules import Schedules
    from .wire import Ringer

Role = Literal["client", "standby", "owner"]
#: Seconds without a look at the store after which an owner counts as stuck.
STALLED = 5.0
#: Seconds that an owner has to show its tree.
_GLANCE = 1.0
_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


class Host:
    """Makes this process a client, a standby or the owner of a store.

    Args:
        home: the runtime.
        store: the store.
        registry: what this process declares.
        schedules: those that it declares.
        clock: of deadlines.
        events: told here.
        threads: the most threads that run handlers.
        parts: makes what steps, commits and rings.

    """

    def __init__(  # noqa: PLR0917  (built by one caller)
        self,
        home: object,
        store: SqliteStore,
        registry: Registry,
        schedules: Schedules,
        clock: Clock,
        events: Events,
        threads: int,
        parts: Parts = Parts(),
    ) -> None:
        """Be a client; open nothing."""
        self.role: Role = "client"
        self.store = store
        self.engine: Engine | None = None
        self.failure: BaseException | None = None
        self.ended = threading.Event()
        self._home = home
        self._registry = registry
        self._schedules = schedules
        self._clock = clock
        self._events = events
        self._threads = threads
        self._lock = threading.RLock()
        self._slots: Slots | None = None
        self._bell: Bell | None = None
        self._parts = parts
        self._ringer = parts.ringer(lambda: store.companion.socket)
        self._ownership = Ownership(store.companion.owner)
        store.on_gone = registry.forget_rows
        self.hub = Hub(events)
        #: Called when the runtime has stopped, to end what listens.
        self.ending: Callable[[], None] = lambda: None
        self._line: Line | None = None
        self._laying = threading.Lock()  # not the host's own: a stop holds that for long
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starts = 0
        self._commits = 0
        self._counts = (0, 0)
        self.committer = parts.committer(store, _ClientHooks(self._ringer, self._said))
        _hosts.add(self)

    def equip(self, parts: Parts) -> None:
        """Use other parts from now on; it must not be started."""
        self._parts = parts
        self._ringer = parts.ringer(lambda: self.store.companion.socket)
        self._renew_committer()

    @property
    def line(self) -> Line:
        """The way to the owner in another process; made when it is first needed."""
        found = self._line
        if found is None:
            from .line import Line

            with self._laying:
                found = self._line = self._line or Line(
                    self.store.path, lambda: self.store.companion.socket,
                    owned=lambda: self._ownership.owner() is not None,
                    is_owner=lambda: self.engine is not None, hub=self.hub,
                    found=self._found_again,
                )  # fmt: skip
        return found

    @property
    def started(self) -> bool:
        """It was started and not stopped since."""
        return self.role != "client"

    def owned(self) -> bool:
        """Somebody owns the store now."""
        return self.role == "owner" or self._ownership.owner() is not None

    def owner(self) -> int | None:
        """Return the process that owns the store."""
        return os.getpid() if self.role == "owner" else self._ownership.owner()

    @property
    def commits(self) -> int:
        """How many transactions this runtime has committed."""
        return self._commits + self.committer.commits

    def counts(self) -> tuple[int, int]:
        """Return how many messages were handled here, and how many runs of handlers failed."""
        handled, failed = self._counts
        engine = self.engine
        now, then = engine.counts() if engine is not None else (0, 0)
        return handled + now, failed + then

    def alive(self) -> bool:
        """Say whether its parts are moving: what a watchdog asks for.

        An owner looks at the store four times a second; a standby's thread waits for the lock. A
        stop ends by its own timeout, so it counts as alive.
        """
        engine = self.engine
        if engine is not None:
            return monotonic() - engine.pulsed < STALLED
        return self.role != "standby" or self._ownership.waiting

    def start(self, *, standby: bool, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """Own the store, or stand by."""
        with self._lock:
            if self.started:
                return
            self._parts.load()  # now: a standby is to take over at once
            self._schedules.check()
            self.store.renew()
            check_owner(self.store.schema, self.store.path)
            self.failure = None
            self._starts += 1
            self.ended.clear()
            self._loop = loop
            if self._take():
                self._own(waited=0.0)
                return
            pid = self._ownership.owner()
            if not standby:
                msg = (
                    f"{self.store.path} is owned by process {pid}: stop it, or start with "
                    "standby=True to take over when it ends"
                )
                raise StoreOwned(msg)
            self._registry.know_all()
            self.role = "standby"
            since = monotonic()
            self._say("standby", owner=pid)
            self._parts.stand_by(self._ownership, lambda: self._take_over(monotonic() - since))

    def stop(self, timeout: float, start: int | None = None) -> None:
        """Become a client again, and close the store; the next call opens it again.

        Args:
            timeout: seconds for running handlers.
            start: which start is to be undone; nothing happens where it was started again since.

        """
        seal.check()
        if self._on_own_thread():
            # A handler cannot wait for itself: the rest is done by a thread that can.
            self._parts.aside(lambda: self.stop(timeout, start))
            return
        with self._lock:
            if start not in (None, self._starts):
                return
            if self.started:
                self._stop(timeout)
            self.committer.close()
            self._ringer.close()
            if self._line is not None:
                self._line.close()
            self.store.close()
            self._renew_committer()
        self.ending()
        self.ended.set()

    def crash(self) -> None:
        """Throw away all memory without finishing anything: for tests."""
        with self._lock:
            engine, self.engine = self.engine, None
            self.role = "client"
            if self._bell is not None:
                self._bell.close()
                self._bell = None
            self.committer.close()
            if engine is not None:
                engine.crash()
                self._keep_counts(engine)
            self._let_go()
            self.store.close()
            self._renew_committer()
            self._registry.forget_rows()

    def declare(self, spec: MailboxSpec) -> None:
        """Bring a mailbox to life that was declared after the start."""
        with self._lock:
            if self.engine is not None:
                self.engine.add(spec, self._registry.store(spec))
                self.engine.environment.driver.drain()
            elif self.started:
                self._registry.know_all()

    def schedule(self, spec: ScheduleSpec) -> None:
        """Bring a schedule to life that was declared after the start."""
        with self._lock:
            if self.engine is not None:
                self.engine.schedule(spec, self._schedules.store_one(spec))
                self.engine.environment.driver.drain()

    def supervise(self, spec: SupervisorSpec) -> None:
        """Bring a supervisor to life that was declared after the start."""
        with self._lock:
            if self.engine is not None:
                self.engine.supervise(spec)

    def wake(self) -> None:
        """Have the owner look for what was committed on somebody's own connection."""
        engine = self.engine
        if engine is not None:
            engine.ring()
        else:
            self._ringer.ring()

    def look_again(self) -> None:
        """Have the owner look for changes that are no messages (pauses) and for messages."""
        engine = self.engine
        if engine is not None:
            engine.pauses_changed()
        self.wake()

    def forked(self) -> None:
        """Be a client in a forked child; the parent's connections are kept and never used."""
        self._ownership.forked()
        if self._bell is not None:
            self._bell.forked()
            self._bell = None
        self._ringer.forked()
        if self._line is not None:
            self._line.forked()
        self.store.forked()
        self._events.forget_threads()
        self._lock, self._laying = threading.RLock(), threading.Lock()
        self.role, self.engine, self._slots = "client", None, None
        self.ended = threading.Event()
        self._renew_committer()

    def attach(self, feed: Feed[Any]) -> Callable[[], None]:
        """Begin to feed a listener, from here or from the owner; returns what ends that.

        Raises:
            NotStarted: nobody owns the store.

        """
        if self.engine is not None:
            return self.hub.attach(feed)
        return self.line.listen(feed)

    def look(self) -> bytes | None:
        """Return the supervision tree of the owner in another process; None: nobody shows it."""
        if self.engine is not None or not self.owned():
            return None
        try:
            return self.line.look(_GLANCE)
        except NotStarted:
            return None

    # --- inside ------------------------------------------------------------------------------

    def _renew_committer(self) -> None:
        self._commits += self.committer.commits
        self.committer = self._parts.committer(self.store, _ClientHooks(self._ringer, self._said))

    def _keep_counts(self, engine: Engine) -> None:
        handled, failed = engine.counts()
        self._counts = (self._counts[0] + handled, self._counts[1] + failed)

    def _stop(self, timeout: float) -> None:
        unfinished: list[str] = []
        if self.engine is not None:
            self.engine.shut()
        self.role = "client"
        engine, self.engine = self.engine, None
        if engine is not None:
            unfinished = engine.stop(timeout)
            self._keep_counts(engine)
        if self._bell is not None:  # last: the answers of handlers that have ended go over it
            self._bell.close()
            self._bell = None
        self.committer.become(_ClientHooks(self._ringer, self._said), None, None)
        self._let_go()
        if self._events.on:
            self._events.emit("runtime.stopped", unfinished=unfinished)
        self._events.flush(1.0)

    def _take(self) -> bool:
        try:
            return self._ownership.take()
        except OSError as error:
            raise of_os(error, self.store.companion.owner) from error

    def _own(self, waited: float) -> None:
        """Take over, or be a client again; this process holds the owner's lock.

        Raises:
            StoreError: the store refuses, or the machine gives no descriptor or no thread.

        """
        try:
            self._become_owner(waited)
        except BaseException as error:
            engine, self.engine = self.engine, None
            self.role = "client"
            if self._bell is not None:
                self._bell.close()
                self._bell = None
            self.committer.become(_ClientHooks(self._ringer, self._said), None, None)
            if engine is not None:
                engine.crash()
            self._let_go()
            if isinstance(error, OSError) and not isinstance(error, StoreError):
                raise of_os(error, self.store.companion.folder) from error
            if isinstance(error, RuntimeError):  # can't start new thread
                msg = f"{self.store.path} cannot be owned: {error}"
                raise StoreError(msg) from error
            raise

    def _become_owner(self, waited: float) -> None:
        from .engine import Engine  # an owner's: `import callboard` need not take their 20 ms

        self._slots = Slots(self.store.companion.slots)
        now = self._clock.now()
        running = self._slots.running()
        # Cleared first: killed between the two, a death is forgotten rather than counted twice.
        self._slots.clear()
        epoch, last, killers = self.store.take_over(running, now)
        driver = self._parts.driver(self._clock, self._threads, self._short, self._pulse)
        engine = Engine(
            self._home, store=self.store, committer=self.committer, clock=self._clock,
            driver=driver, events=self._events, slots=self._slots, host_loop=self._loop,
            hub=self.hub, give_up=self._give_up, random=self._parts.random,
            sizes=self._parts.sizes,
        )  # fmt: skip
        self.committer.become(engine, epoch, last)
        for above in self._registry.supervisors.values():
            engine.supervise(above)
        for spec, row in self._registry.store_all():
            engine.add(spec, row)
        for schedule, stored in self._schedules.store_all():
            engine.schedule(schedule, stored)
        self.engine, self.role = engine, "owner"
        self._bell = self._parts.bell(self.store.companion, engine, self.hub)
        if self._events.on:
            self._events.emit("owner.taken", epoch=epoch, waited=waited)
            names = {row.id: row.name for row in self.store.mailboxes()}
            for dead in killers:
                self._events.emit("message.dead", mailbox=names.get(dead.mailbox, "?"),
                                  id=dead.number, key=dead.key, attempts=dead.attempts,
                                  error=dead.error)  # fmt: skip
        engine.repairing.begin()
        self._say("owner")
        engine.start()

    def _take_over(self, waited: float) -> None:
        """Become the owner after the one before has ended. Runs: on the standby's thread."""
        while not self._lock.acquire(timeout=0.05):
            if self.role != "standby":
                return  # it is being stopped by one who waits for this thread
        try:
            if self.role == "standby":
                self.store.renew()
                self._own(waited)
        except Exception as error:  # noqa: BLE001  (the standby's thread: nobody else would say it)
            self.failure = error
            self._let_go()
            self.role = "client"
            self.ended.set()
            if self._events.on:
                self._events.emit("owner.lost", error=str(error))
        finally:
            self._lock.release()

    def _pulse(self) -> None:
        """Look, four times a second, at what is there. Runs: on the clock thread."""
        engine = self.engine
        if engine is None:
            return
        if self.store.intact() and not self._ownership.intact():
            self.store.lose(gone(self.store.companion.owner, "deleted"))
        if self.store.lost:
            self.committer.poke()  # refused as gone, which is told as every loss of the store is
        engine.pulse()

    def _let_go(self) -> None:
        if self._slots is not None:
            self._slots.clear()
            self._slots.close()
            self._slots = None
        self._ownership.release()

    def _give_up(self, error: BaseException) -> None:
        """Stop because a part that cannot be missed keeps failing, or ownership is lost."""
        self.failure = error
        start = self._starts
        self._parts.aside(lambda: self.stop(1.0, start))

    def _on_own_thread(self) -> bool:
        if self.engine is None:
            return False
        name = threading.current_thread().name
        turn = current(self._home)  # a coroutine handler may run on the host's loop
        return name.startswith(("callboard-handler", "callboard-loop")) or (
            turn is not None and turn.phase is Phase.OPEN
        )

    def _said(self, topic: str, kind: str, body: bytes) -> None:
        self.line.said(topic, kind, body)

    def _found_again(self, feed: Feed[Any]) -> None:
        if self._events.on:
            self._events.emit("feed.resumed", topic=feed.pattern, gaps=feed.gaps)

    def _short(self) -> None:
        if self._events.on:
            self._events.emit("threads.short", threads=self._threads)

    def _say(self, role: Role, **fields: object) -> None:
        if self._events.on:
            self._events.emit("runtime.started", role=role, **fields)


class _ClientHooks:
    """What a client does after its commits: say what was published, ring the owner's bell."""

    def __init__(self, ringer: Ringer, said: Callable[[str, str, bytes], None]) -> None:
        self._ringer = ringer
        self._said = said

    def committed(self, units: Sequence[Unit], written: Written) -> None:
        """Tell the owner what was published; nothing is handed over here."""
        publish(units, self._said)

    def after(self) -> None:
        """Ring, once the senders know."""
        self._ringer.ring()

    def room(self) -> None:
        """No workers wait here."""

    def refused(self, error: StoreError) -> None:
        """Each sender has its error."""

    def recovered(self, after: float) -> None:
        """Nothing had stopped."""

    def lost(self, error: StoreError) -> None:
        """Do nothing: a client owns nothing."""


def _forked() -> None:
    for host in list(_hosts):
        host.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
