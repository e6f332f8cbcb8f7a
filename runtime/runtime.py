"""The Runtime: what users hold. It composes the parts and does nothing else."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from ..actors.limits import Limits
from ..actors.retry import RetryPolicy
from ..events import Events
from ..persistence.sqlite import SqliteStore
from .acting import Acting
from .config import configure
from .feed import BUFFER, Feed, Feeds
from .host import Host, Role
from .letters import Letters
from .logs import LogSubscriber
from .looking import Looking
from .mailbox_ref import MailboxRef
from .past import Past
from .registry import Registry, caller_scope
from .repair import Repairs
from .schedules import Schedules
from .sender import Sender
from .signals import serve
from .supervisor_ref import SupervisorRef
from .transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime, timedelta
    from pathlib import Path

    from flask import Flask

    from ..actors.supervisor import Strategy
    from ..actors.ticks import Missed, Overlap
    from ..clock import Clock
    from ..events import Event
    from ..persistence.store import IfExists
    from .asking import Asking
    from .options import (
        Class,
        CronOptions,
        Function,
        Key,
        MailboxOptions,
        ManyOptions,
        Overflow,
        TellOptions,
    )
    from .records import (
        ActorDetail,
        ActorInfo,
        AuditInfo,
        CauseInfo,
        DeadLetter,
        Finding,
        MailboxInfo,
        MessageInfo,
        ScheduleInfo,
        Simulation,
        Stats,
        TimerInfo,
    )
    from .rehearsal import Rehearsal

M = TypeVar("M")
R = TypeVar("R")
W = TypeVar("W")


class Runtime:
    """Actors, messages and future calls in one SQLite file, in your own process.

    Building one opens nothing. One that was never started is a *client*: it sends, durably, and
    whichever process owns the store handles it at once. ``start()`` makes it the *owner*, or, when
    another process owns the store, a *standby* that takes over as soon as that one ends. Every call
    may be made from any thread.

    Args:
        store: a path, or ``sqlite:///path``; it may be your own database (all tables are
            ``callboard_...``; its journal is switched to WAL).
        durability: ``"full"``: on disk at every commit; ``"normal"``: a power cut may lose the last
            commits, a crash of the process loses nothing.
        clock: a ManualClock in tests.
        threads: the most threads that run handlers, shared by all mailboxes.
        network_ok: insist on a store on a network file system, whose locks cannot be trusted.

    Raises:
        ConfigError: an option cannot work.

    """

    def __init__(
        self,
        store: str | Path = "callboard.db",
        *,
        durability: str = "full",
        clock: Clock | None = None,
        threads: int = 64,
        network_ok: bool = False,
    ) -> None:
        """Compose the parts."""
        self._config = configure(
            store, durability=durability, clock=clock, threads=threads, network_ok=network_ok
        )
        path, clock = self._config.path, self._config.clock
        self.events = Events(clock.now)
        self._logs = LogSubscriber(self.events, path.name)
        self._store = SqliteStore(path, durability=durability, network_ok=network_ok)
        self._registry = Registry(self._store)
        self._sender = Sender(
            self, self._store, lambda: self._host.committer, self._registry, clock
        )
        self._schedules = Schedules(self._store, self._registry, self._sender, clock, self.events)
        self._host = Host(
            self, self._store, self._registry, self._schedules, clock, self.events, threads
        )
        self._sender.make_asking = self._make_asking
        self._feeds = Feeds(self._registry, self._host.attach)
        self._host.ending = self._feeds.end
        self._repairs = Repairs(self, self._host, self._registry)
        self._looking = Looking(
            self._store, self._registry, clock, self._store.companion.slots, self._host.owned
        )
        self._past = Past(self._store, self._looking, clock)
        by_hand = (
            self, self._store, self._host, self._sender, self._looking, clock, self.events
        )  # fmt: skip
        self._letters = Letters(*by_hand)
        self._acting = Acting(*by_hand)

    def __repr__(self) -> str:
        """Show the store and the role."""
        return f"Runtime({str(self._config.path)!r}, role={self.role!r})"

    # --- life --------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """``"client"``, ``"standby"`` or ``"owner"``."""
        return self._host.role

    def start(self, standby: bool = True) -> None:  # noqa: FBT001, FBT002  (the contract's)
        """Own the store, or stand by; again is nothing.

        Args:
            standby: wait for the present owner to end; False: StoreOwned at once.

        Raises:
            StoreOwned: see ``standby``.
            StoreError: the store cannot be opened; the text says why and what to do.

        """
        self._host.start(standby=standby)

    def stop(self, timeout: float = 10.0) -> None:
        """Finish running handlers, give the rest back uncounted, and close; legal before a start.

        Args:
            timeout: seconds that handlers may take to end. Those that do not are named in the log;
                nothing they still do is kept. Called from a handler it returns at once.

        """
        self._host.stop(timeout)

    def run(self) -> None:
        """Start, and block until SIGTERM or SIGINT; a second signal ends the process at once.

        Under systemd (``Type=notify``) it says when it is ready, which role it has and when it
        stops, and pets the watchdog while its parts are alive.

        Raises:
            SystemExit: with 1, when a part that cannot be missed gave up, or ownership was lost.

        """
        serve(self._host, self.events)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop."""
        self.stop()

    async def __aenter__(self) -> Self:
        """Start; coroutine handlers run on this event loop."""
        import asyncio  # 15 ms, which only those pay who use it

        loop = asyncio.get_running_loop()
        await asyncio.to_thread(self._host.start, standby=True, loop=loop)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop, without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self.stop)

    @asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """Run as an ASGI lifespan: ``FastAPI(lifespan=rt.lifespan)``.

        Args:
            app: what the server gives; not used.

        """
        del app
        async with self:
            yield

    def init_app(self, app: Flask, *, timeout: float = 10.0) -> None:
        """Run with a Flask application, in each process that serves it and in no other.

        It starts as the application is loaded by a gunicorn worker or by ``flask run`` (in the
        reloader's child, never in its parent), else with the first request: so after a fork from
        a preloading master. ``flask shell``, other commands and the test client start nothing.
        The runtime is kept as ``app.extensions["callboard"]``.

        Args:
            app: the application; its ``wsgi_app`` is wrapped.
            timeout: seconds that running handlers may take when the process ends; let the
                server's own (gunicorn: ``graceful_timeout``, 30 s) be longer.

        Raises:
            StoreError: this process serves, and the store cannot be opened.

        """
        from .flask import embed

        embed(app, self, self._host, timeout)

    def wake(self) -> None:
        """Tell the owner to look, after a commit on a connection of your own."""
        self._host.wake()

    # --- declaring ---------------------------------------------------------------------------

    @overload
    def mailbox(
        self, name: str, worker: Class[M, Awaitable[R]] | Function[M, Awaitable[R]],
        **options: Unpack[MailboxOptions],
    ) -> MailboxRef[M, R]: ...  # fmt: skip
    @overload
    def mailbox(
        self, name: str, worker: Class[M, R] | Function[M, R], **options: Unpack[MailboxOptions]
    ) -> MailboxRef[M, R]: ...
    @overload
    def mailbox(
        self, name: str, worker: Callable[[], Awaitable[R]], **options: Unpack[MailboxOptions]
    ) -> MailboxRef[None, R]: ...
    @overload
    def mailbox(
        self, name: str, worker: Callable[[], R], **options: Unpack[MailboxOptions]
    ) -> MailboxRef[None, R]: ...
    @overload
    def mailbox(
        self, name: str, worker: None = None, **options: Unpack[MailboxOptions]
    ) -> Callable[[W], W]: ...
    def mailbox(
        self,
        name: str,
        worker: Any = None,
        *,
        workers: int = 1,
        keyed: bool | Callable[[Any], Any] = False,
        retry: RetryPolicy = RetryPolicy(),
        timeout: float | None = None,
        capacity: int | None = None,
        overflow: Overflow = "reject",
        rate: str | None = None,
        topics: str | Sequence[str] = (),
        retain: float | str | timedelta | None = None,
        supervisor: SupervisorRef | None = None,
    ) -> Any:
        """Declare a mailbox and what handles its messages.

        Args:
            name: of the mailbox, in the store and for everybody who sends to it.
            worker: a function ``(message)``, ``(message, context)`` or ``()``, sync or async, or a
                WorkerActor subclass. None: use it as a decorator, which returns the worker itself.
            workers: how many messages may be handled at once.
            keyed: one actor a key, each with its own state and order. True: the sender gives
                ``key=``; or a function from the message to its key.
            retry: when a failed message is tried again.
            timeout: seconds that a handler may run; None: as long as it likes.
            capacity: so many may wait at once (waiting messages and retries, not future calls
                before their time); None: as many as the disk holds.
            overflow: what a tell does beyond that: ``"reject"`` raises MailboxFull; ``"wait"``
                waits for room, at most its ``timeout=`` (inside a turn it rejects);
                ``"drop_oldest"`` removes the message that was told first, with an event.
            rate: so many handler starts at most in any window of that length: ``"100/min"``,
                ``"5/s"``, ``"1000/h"``, ``"10/30s"``; also over restarts. None: no limit.
            topics: what it subscribes to; :meth:`publish` gives it a copy. ``*`` stands for any
                text: ``"order.*"``.
            retain: keep handled messages for so long, with result and duration, for :meth:`find`,
                and the states that its actors have had, for :meth:`state`: seconds, a
                ``timedelta`` or text such as ``"7d"``. None: a handled one is gone.
            supervisor: restarts it and its actors, as :meth:`supervisor` returned it; None: the
                runtime's own, one for one, 5 restarts in 60 seconds.

        Raises:
            ConfigError: the declaration cannot work.

        """
        scope = caller_scope(2)

        def declare(found: Any) -> Any:
            spec = self._registry.declare(
                name, found, workers=workers, keyed=keyed, retry=retry, timeout=timeout,
                limits=Limits.of(name, capacity, overflow, rate, topics, retain),
                supervisor=supervisor, scope=scope,
            )  # fmt: skip
            self._host.declare(spec)
            return found

        if worker is None:
            return declare
        declare(worker)
        return MailboxRef[Any, Any](self._sender, name)

    @overload
    def cron(
        self, expression: str, *, to: None = None, retry: RetryPolicy | None = ...,
        timeout: float | None = ..., **options: Unpack[CronOptions],
    ) -> Callable[[W], W]: ...  # fmt: skip
    @overload
    def cron(self, expression: str, *, to: Any, **options: Unpack[CronOptions]) -> str: ...
    def cron(
        self,
        expression: str,
        *,
        name: str | None = None,
        to: Any = None,
        message: Any = None,
        tz: str = "UTC",
        missed: Missed = "last",
        overlap: Overlap = "skip",
        jitter: float | str | timedelta = 0.0,
        retry: RetryPolicy | None = None,
        timeout: float | None = None,
    ) -> Any:
        """Declare a schedule: as a decorator of what it runs, or by a call with ``to=``.

        The owner ticks: each tick is a durable message, told once however many processes declare
        the schedule. A job for a time of day runs once where the zone's clock jumps, at the first
        valid instant of a gap and in the first pass of a fold; wildcard minutes and hours follow
        the clock. An instant that nothing ticked at is late for 60 seconds, or half the distance
        to the next one if that is less, and ticks still; after that it is missed.

        Args:
            expression: minute, hour, day, month, weekday; a sixth field, last, is seconds. Or
                ``@yearly``, ``@monthly``, ``@weekly``, ``@daily``, ``@hourly``.
            name: of the schedule; default: the function's, or the mailbox's.
            to: where ticks go: a name, a MailboxRef, a worker. None: the decorated function is the
                worker of a mailbox of the schedule's name. It may take nothing, the tick, or the
                tick and the context.
            message: what is told; None: a :class:`Tick`.
            tz: the zone's IANA name.
            missed: ``"last"``: one tick for the newest missed instant, with the count; ``"skip"``:
                none; ``"all"``: one each, for the newest 100. An event tells of them.
            overlap: ``"skip"``: no tick while the last one's message is neither handled, dead nor
                cancelled (an event tells of it); ``"allow"``.
            jitter: each tick comes up to so many seconds later, by chance but the same in every
                process; less than there is between two instants.
            retry: of the function's mailbox; not with ``to``.
            timeout: of the function's mailbox, in seconds; not with ``to``.

        Returns:
            a decorator that returns the function unchanged; with ``to``, the schedule's name.

        Raises:
            BadSchedule: the expression or the zone cannot work; the text marks what.
            ConfigError: an option cannot work, or the name is taken.
            MessageError: the mailbox does not accept what it would be told.

        """
        return self._schedules.cron(
            expression, name=name, to=to, message=message, tz=tz, missed=missed, overlap=overlap,
            jitter=jitter, retry=retry, timeout=timeout, scope=caller_scope(2), host=self._host,
        )  # fmt: skip

    def supervisor(
        self,
        name: str,
        *,
        strategy: Strategy = "one_for_one",
        intensity: int = 5,
        period: float = 60.0,
        parent: SupervisorRef | None = None,
    ) -> SupervisorRef:
        """Declare a supervisor: who is restarted together, and how often.

        An actor is restarted when its ``on_start``, the loading of its state, or its mailbox's or
        worker's loop fails, and when its handler raises one of ``WorkerActor.restart_on``; what a
        handler raises else is its message's failure. It waits 0.1 s, then twice as long each time,
        at most 30 s, +-20 %. Those restarted with it take no new turn until then; turns that run
        end first. A restarted mailbox keeps all that waits; its workers' objects are built anew and
        their state is loaded. Nothing of this is durable: a new owner starts everything anew.

        Args:
            name: of the supervisor.
            strategy: ``"one_for_one"``: the crashed actor alone; ``"one_for_all"``: every mailbox
                and supervisor under this one; ``"rest_for_one"``: the crashed one's mailbox and
                those declared after it.
            intensity: so many restarts of one actor within the period; one beyond it is
                *faulted*: shown by :meth:`tree`, left alone, its messages wait. When one is
                faulted and more than half of the actors below could not be started, the
                supervisor itself fails: it is restarted by its parent, as one of its children.
            period: seconds.
            parent: the supervisor above; None: the runtime's own.

        Raises:
            ConfigError: the declaration cannot work.

        """
        spec = self._registry.supervise(
            name, strategy=strategy, intensity=intensity, period=period, parent=parent
        )
        self._host.supervise(spec)
        return SupervisorRef(name)

    # --- sending -----------------------------------------------------------------------------

    @overload
    def tell(self, mailbox: str, message: Any = ..., **options: Unpack[TellOptions]) -> int: ...
    @overload
    def tell(
        self, mailbox: MailboxRef[M, Any] | Class[M, Any], message: M,
        **options: Unpack[TellOptions],
    ) -> int: ...  # fmt: skip
    @overload
    def tell(
        self, mailbox: Function[M, Any], message: M, **options: Unpack[TellOptions]
    ) -> int: ...
    @overload
    def tell(
        self, mailbox: MailboxRef[None, Any] | Callable[[], Any], message: None = ...,
        **options: Unpack[TellOptions],
    ) -> int: ...  # fmt: skip
    def tell(
        self,
        mailbox: Any,
        message: Any = None,
        *,
        key: str | int | None = None,
        after: float | str | timedelta | None = None,
        at: datetime | None = None,
        id: str | None = None,
        if_exists: IfExists = "replace",
        dedupe: float | str | timedelta | None = None,
        priority: int = 0,
        expires: float | str | timedelta | None = None,
        connection: Any = None,
        timeout: float | None = None,
    ) -> int:
        """Send a message; return when it is on disk.

        Inside a handler of this runtime it joins the turn: it is sent if and only if the turn
        commits.

        Args:
            mailbox: a name, a MailboxRef, or the declared worker itself.
            message: what the worker's annotation accepts.
            key: for which actor, in a keyed mailbox.
            after: not before so long: seconds, a ``timedelta`` or text such as ``"30m"``; it is a
                future call then, a durable timer.
            at: not before this aware ``datetime``.
            id: your name for it, unique among the mailbox's waiting messages.
            if_exists: what to do when one of that id waits: ``"replace"`` it (also its due time;
                the old one is never delivered), ``"keep"`` it, or ``"raise"`` AlreadyTold.
            dedupe: do not tell it again when this ``id`` was told within so long with ``dedupe=``,
                handled or not: seconds, a ``timedelta`` or text such as ``"24h"``.
            priority: higher first among the waiting messages; a whole number.
            expires: do not run it later than so long after it was told (a future call: after it
                was due); then event ``message.expired``, no dead letter.
            connection: your own open connection to the same database (sqlite3, or SQLAlchemy's or
                Django's around one): durable and visible when *you* commit; call :meth:`wake`
                after it, else it is seen within 250 ms. Never joins a turn.
            timeout: seconds to wait for room in a mailbox whose ``overflow`` is ``"wait"``; None:
                as long as it takes.

        Returns:
            the message's number; 0 inside a turn (numbers are given at the commit), when
            ``"keep"`` kept what was there, and when ``dedupe`` found it told.

        Raises:
            MailboxNotFound: nobody declares it.
            MailboxFull: its capacity is used up.
            MessageError: the worker does not accept the message, or the key is missing.
            StoreError: it could not be written; nothing was sent.
            TurnEnded: from a handler that ran past its timeout.

        """
        return self._sender.tell(
            mailbox, message, key=key, after=after, at=at, id=id, if_exists=if_exists,
            dedupe=dedupe, priority=priority, expires=expires, connection=connection,
            timeout=timeout,
        )  # fmt: skip

    @overload
    async def tell_async(
        self, mailbox: str, message: Any = ..., **options: Unpack[TellOptions]
    ) -> int: ...
    @overload
    async def tell_async(
        self, mailbox: MailboxRef[M, Any] | Class[M, Any], message: M,
        **options: Unpack[TellOptions],
    ) -> int: ...  # fmt: skip
    @overload
    async def tell_async(
        self, mailbox: Function[M, Any], message: M, **options: Unpack[TellOptions]
    ) -> int: ...
    @overload
    async def tell_async(
        self, mailbox: MailboxRef[None, Any] | Callable[[], Any], message: None = ...,
        **options: Unpack[TellOptions],
    ) -> int: ...  # fmt: skip
    async def tell_async(
        self, mailbox: Any, message: Any = None, **options: Unpack[TellOptions]
    ) -> int:
        """Send a message from a coroutine; return when it is on disk.

        The event loop is not blocked: the commit thread writes, and tasks that wait at the same
        time share its commits. A task that is cancelled while it waits may have sent its message
        all the same. With ``connection=`` it is written at once, on this thread.

        Args:
            mailbox: as for :meth:`tell`.
            message: as for :meth:`tell`.
            options: all that :meth:`tell` takes.

        Returns:
            what :meth:`tell` returns.

        """
        return await self._sender.tell_async(mailbox, message, **options)

    # Of a list of two kinds mypy makes a list of objects: for a class that takes both, no check.
    @overload
    def tell_many(
        self, mailbox: str | Class[Any, Any], messages: Iterable[Any],
        **options: Unpack[ManyOptions],
    ) -> list[int]: ...  # fmt: skip
    @overload
    def tell_many(
        self, mailbox: MailboxRef[M, Any], messages: Iterable[M], **options: Unpack[ManyOptions]
    ) -> list[int]: ...
    @overload
    def tell_many(
        self, mailbox: Function[M, Any], messages: Iterable[M], **options: Unpack[ManyOptions]
    ) -> list[int]: ...
    def tell_many(
        self,
        mailbox: Any,
        messages: Iterable[Any],
        *,
        key: str | int | None = None,
        after: float | str | timedelta | None = None,
        at: datetime | None = None,
        priority: int = 0,
        expires: float | str | timedelta | None = None,
        connection: Any = None,
        timeout: float | None = None,
    ) -> list[int]:
        """Send many messages to one mailbox in one transaction.

        Args:
            mailbox: as for :meth:`tell`.
            messages: all or none of them are sent.
            key: as for :meth:`tell`, one for all.
            after: as for :meth:`tell`, one for all.
            at: as for :meth:`tell`, one for all.
            priority: as for :meth:`tell`, one for all.
            expires: as for :meth:`tell`, one for all.
            connection: as for :meth:`tell`.
            timeout: as for :meth:`tell`.

        Returns:
            their numbers, in order (zeros inside a turn).

        """
        return self._sender.tell_many(
            mailbox, messages, key=key, after=after, at=at, priority=priority, expires=expires,
            connection=connection, timeout=timeout,
        )  # fmt: skip

    def publish(self, topic: str, message: Any) -> int:
        """Send a copy to every mailbox that subscribes to the topic, in one transaction.

        Durable as :meth:`tell` is, and joins a turn as it does. Who listens hears of it after the
        commit, live.

        Args:
            topic: such as ``"order.placed"``.
            message: what the worker of every subscribed mailbox accepts.

        Returns:
            how many mailboxes it went to; those that a worker process has declared, too.

        Raises:
            MessageError: one of them does not accept the message; nothing was sent.
            MailboxFull: the capacity of one is used up; nothing was sent.
            StoreError: it could not be written; nothing was sent.

        """
        return self._sender.publish(topic, message)

    @overload
    def ask(
        self, mailbox: str, message: Any = ..., *, key: Key = ..., timeout: float = ...
    ) -> Any: ...
    @overload
    def ask(
        self, mailbox: MailboxRef[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    def ask(
        self, mailbox: Class[M, Awaitable[R]], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    def ask(
        self, mailbox: Class[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    def ask(
        self, mailbox: Function[M, Awaitable[R]], message: M, *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    @overload
    def ask(
        self, mailbox: Function[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    def ask(
        self, mailbox: Callable[[], Awaitable[R]], message: None = ..., *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    @overload
    def ask(
        self, mailbox: Callable[[], R], message: None = ..., *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    def ask(
        self,
        mailbox: Any,
        message: Any = None,
        *,
        key: str | int | None = None,
        timeout: float = 5.0,
    ) -> Any:
        """Have a message handled now, and return what its handler returns.

        An ask is not stored and not tried again. It stands behind all that its actor has waiting
        at that moment, runs as a turn of its own (state, tells, ``execute``: all in one
        transaction), and is answered after the commit of that turn and of every earlier turn of
        that actor. A paused mailbox answers when it goes on. Inside a handler it runs and commits
        by itself, before what the asking turn tells. From a process that does not own the store
        it goes to the owner.

        The answer is encoded and decoded as a message is, by the annotation of what the handler
        returns; without one a dataclass comes as a dict.

        Args:
            mailbox: as for :meth:`tell`.
            message: as for :meth:`tell`.
            key: as for :meth:`tell`.
            timeout: real seconds that the answer may take; it cannot be left out.

        Raises:
            Exception: what the handler raised. Of another process the same class where it is
                loaded here, with its arguments and the owner's traceback as a note; else
                RemoteError.
            AskTimeout: no answer came in time; the handler may run all the same.
            AskDeadlock: it could never be answered, as its actor waits for the one that asks; or
                it was called on an event loop's thread (await :meth:`ask_async` there).
            ActorStopped: the owner stops or has ended, or the actor is faulted.
            NotStarted: nobody owns the store.
            MailboxNotFound: the owner's code does not declare it.
            MessageError: the worker does not accept the message, the key is missing, or what the
                handler returned is no JSON.

        """
        return self._sender.asking.ask(mailbox, message, key=key, timeout=timeout)

    @overload
    async def ask_async(
        self, mailbox: str, message: Any = ..., *, key: Key = ..., timeout: float = ...
    ) -> Any: ...
    @overload
    async def ask_async(
        self, mailbox: MailboxRef[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    async def ask_async(
        self, mailbox: Class[M, Awaitable[R]], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    async def ask_async(
        self, mailbox: Class[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    async def ask_async(
        self, mailbox: Function[M, Awaitable[R]], message: M, *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    @overload
    async def ask_async(
        self, mailbox: Function[M, R], message: M, *, key: Key = ..., timeout: float = ...
    ) -> R: ...
    @overload
    async def ask_async(
        self, mailbox: Callable[[], Awaitable[R]], message: None = ..., *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    @overload
    async def ask_async(
        self, mailbox: Callable[[], R], message: None = ..., *,
        key: Key = ..., timeout: float = ...,
    ) -> R: ...  # fmt: skip
    async def ask_async(
        self,
        mailbox: Any,
        message: Any = None,
        *,
        key: str | int | None = None,
        timeout: float = 5.0,
    ) -> Any:
        """Ask from a coroutine, without blocking its event loop; see :meth:`ask`.

        A task that is cancelled while it waits takes its ask back, if it is not running yet.

        Args:
            mailbox: as for :meth:`ask`.
            message: as for :meth:`ask`.
            key: as for :meth:`ask`.
            timeout: as for :meth:`ask`.

        """
        return await self._sender.asking.ask_async(mailbox, message, key=key, timeout=timeout)

    def listen(self, topic: str, *, buffer: int = BUFFER) -> Feed[Any]:
        """Hear what is published, live: ``with rt.listen("order.*") as feed: for message in feed``.

        In a coroutine ``async with`` and ``async for``. From a process that does not own the store
        it is heard through the owner. Nothing is stored: for messages that must not be missed give
        a mailbox ``topics=``.

        Args:
            topic: what :meth:`publish` names; ``*`` stands for any text.
            buffer: so many messages may wait for the listener; beyond that the oldest is dropped
                and counted (``feed.dropped``).

        Raises:
            NotStarted: (at the ``with``) nobody owns the store.
            ConfigError: topic or buffer cannot be.

        """
        return self._feeds.make(topic, buffer)

    def watch(self, prefix: str = "", *, buffer: int = BUFFER) -> Feed[Event]:
        """Return a feed of the owner's events, as they happen: iterate over it, ``async`` or not.

        It is as :meth:`listen` in all else. From another process at most 2,000 a second come; how
        many were left out is counted in ``dropped``.

        Args:
            prefix: of the names of events, such as ``"message."``; "": all of them.
            buffer: so many wait for a slow reader; then the oldest are dropped.

        Raises:
            NotStarted: nobody owns the store; when it begins.

        """
        return self._feeds.watch(prefix, buffer)

    @cached_property
    def _rehearsal(self) -> Rehearsal:
        from .rehearsal import Rehearsal  # asyncio: 15 ms that `import callboard` need not take

        return Rehearsal(
            self, self._store, self._registry, self._sender, self._host, self._config.clock
        )

    def _make_asking(self) -> Asking:
        from .asking import Asking  # 5 ms that `import callboard` need not take

        return Asking(self, self._host, self._sender, self._registry)

    def cancel(self, mailbox: Any, id: str | int) -> bool:
        """Remove a waiting message, or a future call, by your id or by its number.

        A message waits until its turn commits: cancelled while its handler runs, its turn is void.

        Args:
            mailbox: where it waits.
            id: your id, a text; or its number.

        Returns:
            whether there was one. Inside a handler it joins the turn and returns False.

        """
        return self._sender.cancel(mailbox, id)

    def transaction(self) -> Transaction:
        """Collect operations in a ``with`` block and do all or none of them at its end."""
        return Transaction(self._sender)

    @overload
    def ref(self, mailbox: str, key: Key = ...) -> MailboxRef[Any, Any]: ...
    @overload
    def ref(self, mailbox: MailboxRef[M, R], key: Key = ...) -> MailboxRef[M, R]: ...
    @overload
    def ref(self, mailbox: Class[M, Awaitable[R]], key: Key = ...) -> MailboxRef[M, R]: ...
    @overload
    def ref(self, mailbox: Class[M, R], key: Key = ...) -> MailboxRef[M, R]: ...
    @overload
    def ref(self, mailbox: Function[M, Awaitable[R]], key: Key = ...) -> MailboxRef[M, R]: ...
    @overload
    def ref(self, mailbox: Function[M, R], key: Key = ...) -> MailboxRef[M, R]: ...
    @overload
    def ref(self, mailbox: Callable[[], R], key: Key = ...) -> MailboxRef[None, R]: ...
    def ref(self, mailbox: Any, key: Key = None) -> Any:
        """Return a reference to a mailbox, or to one actor of a keyed one.

        Args:
            mailbox: a name, a reference, or the declared worker itself.
            key: of the actor.

        Raises:
            MailboxNotFound: the worker was never declared. A name is looked up when it is told to.

        """
        return MailboxRef(self._sender, self._registry.name_of(mailbox), key)

    # --- looking -----------------------------------------------------------------------------

    def mailboxes(self) -> list[MailboxInfo]:
        """Return every mailbox of the store, by name."""
        return self._looking.mailboxes()

    def stats(self) -> Stats:
        """Return the store and this process in numbers: what a health check or a meter reads."""
        return self._looking.stats(self._host)

    def timers(self, mailbox: Any = None) -> list[TimerInfo]:
        """Return future calls and retries not yet due, nearest first, at most 10,000.

        Args:
            mailbox: of this one alone; None: of all.

        """
        return self._looking.timers(mailbox)

    def schedules(self) -> list[ScheduleInfo]:
        """Return every schedule of the store, by name; those too that no code declares any more."""
        return self._schedules.infos()

    def next_runs(self, schedule: Any, n: int = 10) -> list[datetime]:
        """Return the next instants of a schedule, in its zone, without jitter.

        Args:
            schedule: its name, or the function that it runs; paused or not.
            n: how many, at most 10,000.

        Raises:
            LookupError: there is no such schedule.

        """
        return self._schedules.next_runs(schedule, n)

    def peek(self, mailbox: Any, n: int = 10) -> list[MessageInfo]:
        """Return the first messages of a mailbox without touching them.

        Args:
            mailbox: where they wait.
            n: at most so many.

        """
        return self._looking.peek(mailbox, n)

    def dead(self, mailbox: Any = None) -> list[DeadLetter]:
        """Return dead letters, oldest first, at most 10,000.

        Args:
            mailbox: of this one alone; None: of all.

        """
        return self._looking.dead(mailbox)

    def find(self, id: int | str, *, mailbox: Any = None) -> MessageInfo | None:
        """Return a message that waits, or a dead letter; None when there is neither.

        Args:
            id: its number; or your id, for a waiting one.
            mailbox: look there only: an id is unique in its mailbox.

        Raises:
            MailboxNotFound: nobody declares it.

        """
        return self._looking.find(id, mailbox)

    def state(
        self, mailbox: Any, key: str | int | None = None, *, at: datetime | None = None
    ) -> Any:
        """Return an actor's committed state: its declared type, else plain data.

        Args:
            mailbox: of the actor.
            key: of the actor, in a keyed mailbox.
            at: the state that it had then, an aware ``datetime`` that is past, in a mailbox with
                ``retain=``: the one that the last turn before has left, or who wrote it by hand.

        Raises:
            MailboxNotFound: nobody declares it.
            LookupError: what state it had then is not kept.
            ConfigError: the mailbox keeps no states of before.
            MessageError: ``at`` has no zone or is not past, or the state is none of this code's.

        """
        if at is not None:
            return self._past.state_at(mailbox, key, at).state
        return self._looking.state(mailbox, key)

    def tree(self) -> ActorInfo:
        """Return the supervision tree, from its root down.

        It is shown as it lives in the owner, whichever process that is: supervisors, mailboxes,
        their workers with what they run and since when, and the keyed actors that are restarting or
        faulted. Where nobody owns the store, or the owner does not answer within a second, it is
        what the store knows: the declared mailboxes and the supervisors above them; their state is
        ``"declared"``, or ``"paused"``.
        """
        seen = self._host.look()
        if seen is not None:
            import msgspec

            from .records import ActorInfo

            return msgspec.json.decode(seen, type=ActorInfo)
        from .tree import show  # needs the living parts, which a client does not import

        return show(self._store, self._host.engine, self._config.clock.now())

    def actor(self, mailbox: Any, key: str | int | None = None) -> ActorDetail:
        """Return one actor in full: what waits for it, what it runs since when, whether it is well.

        Args:
            mailbox: of it.
            key: of it, in a keyed mailbox; None: the mailbox, with all its actors.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: the mailbox is not keyed.
            LookupError: neither the store nor the owner knows the key.

        """
        from .inspecting import Inspecting

        return Inspecting(self._store, self._looking, self.tree, self._config.clock).actor(
            mailbox, key
        )

    def doctor(self) -> list[Finding]:
        """Examine the store by the code of this runtime, and change nothing: before a deploy.

        Every waiting message, future call, dead letter and state is decoded as this process would;
        what will not load is named. The file, its place, the schema, SQLite, the clock, counters,
        and what no code declares are checked too. Where nothing is declared here, content is judged
        as far as that goes without code. It takes seconds for a million messages, little memory,
        and may run beside an owner.

        Raises:
            StoreError: there is no such file, or it cannot be opened.

        """
        from .doctor import examine  # only who asks for it pays for it

        return examine(self._config, self._registry, self._schedules)

    def restart(self, actor: Any, key: str | int | None = None) -> None:
        """Start an actor anew, faulted or not, its crashes forgotten.

        Turns that run end first; then its object is let go of (``on_stop``) and built anew, its
        state loaded. What waits stays. From a client it is a durable note for the owner, which
        does it within 250 ms, or when one starts.

        Args:
            actor: a mailbox, with all its actors; or what :meth:`supervisor` returned: everything
                below it.
            key: one actor of a keyed mailbox alone.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: a key for a mailbox that is not keyed.
            StoreError: it could not be written.

        """
        self._repairs.restart(actor, key)

    def set_state(self, mailbox: Any, state: Any, key: str | int | None = None) -> None:
        """Write an actor's state, durably, and start the actor anew with it.

        No turn of that actor begins meanwhile. Turns of it that run or are not yet committed are
        void: their messages run again on the new state. A faulted actor goes on. From a client it
        is a durable note for the owner, which does it within 250 ms, or when one starts.

        Args:
            mailbox: of the actor.
            state: of the declared type, or plain data that makes one.
            key: of the actor, in a keyed mailbox.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: the state is not of the declared type, or the key is missing.
            StoreError: it could not be written.

        """
        self._repairs.set_state(mailbox, state, key)

    def reset_state(self, mailbox: Any, key: str | int | None = None) -> None:
        """Delete an actor's state, durably: it starts anew as one that never had any.

        The rest is as for :meth:`set_state`.

        Args:
            mailbox: of the actor.
            key: of the actor, in a keyed mailbox.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: the key is missing.
            StoreError: it could not be written.

        """
        self._repairs.reset_state(mailbox, key)

    def requeue(self, id: int, *, edited: Any = ...) -> int:
        """Send a dead letter again, its attempts forgotten; returns its new number.

        Args:
            id: number of the dead letter.
            edited: send this message instead of the one that failed.

        Raises:
            LookupError: there is no dead letter of that number.
            MessageError: the mailbox does not accept the edited message.

        """
        return self._letters.requeue(id, edited)

    def requeue_all(
        self, mailbox: Any = None, *, edited: Any = ...,
        progress: Callable[[list[tuple[int, int]]], None] | None = None,
    ) -> int:  # fmt: skip
        """Send all dead letters of now again, in transactions of 1,000; returns how many.

        A crash leaves the rest as it was, and the same call does the rest.

        Args:
            mailbox: those of this one only.
            edited: send this message instead of those that failed.
            progress: called after each transaction with (number of then, number of now) of its
                letters; what it raises ends the call there.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: a mailbox does not accept the edited message.

        """
        return self._letters.requeue_all(mailbox, edited, progress)

    def discard(self, id: int) -> bool:
        """Delete a dead letter; says whether there was one.

        Args:
            id: number of the dead letter.

        """
        return self._letters.discard(id)

    def discard_all(
        self, mailbox: Any = None, *, progress: Callable[[int], None] | None = None
    ) -> int:
        """Delete all dead letters of now, in transactions of 1,000; returns how many.

        Args:
            mailbox: those of this one only.
            progress: called after each transaction with how many are deleted; what it raises ends
                the call there.

        Raises:
            MailboxNotFound: nobody declares it.

        """
        return self._letters.discard_all(mailbox, progress)

    def pause(self, mailbox: Any) -> None:
        """Have a mailbox take no new turns, and a schedule of that name tick no more, durably.

        What is told to the mailbox waits. What a paused schedule would have ticked does not happen,
        not later either.

        Args:
            mailbox: a mailbox, or the name of a schedule; both, where they have one name.

        Raises:
            MailboxNotFound: there is neither.

        """
        self._schedules.pause(mailbox, self._looking, paused=True)
        self._host.look_again()

    def resume(self, mailbox: Any) -> None:
        """Have a paused mailbox, and a paused schedule of that name, go on; again is nothing.

        Args:
            mailbox: as for :meth:`pause`.

        Raises:
            MailboxNotFound: there is neither.

        """
        self._schedules.pause(mailbox, self._looking, paused=False)
        self._host.look_again()

    # --- poking --------------------------------------------------------------------------------

    def repl(self) -> None:
        """Open the console on this runtime, in the program's own terminal, until it is left.

        It blocks the calling thread, and an event loop that runs on it: a coroutine calls
        ``await asyncio.to_thread(rt.repl)``. Any thread will do, and everything else goes on.
        What the program prints meanwhile appears above the prompt. The runtime is neither started
        nor stopped by it.

        Raises:
            ConfigError: standard input or output is no terminal.
            StoreError: the store cannot be opened.

        """
        from ..repl.shell import poke  # the one import upwards: setup.cfg says so too

        poke(self)

    # --- by hand -----------------------------------------------------------------------------

    def why(self, id: int) -> list[CauseInfo]:
        """Return the chain that led to a message: itself, what told it, what told that, and so on.

        It ends at a message that was told from outside, or with one whose state is ``"lost"``: it
        was handled and its mailbox does not retain what it has handled.

        Args:
            id: number of a message that waits, is dead or is kept.

        Raises:
            LookupError: the store holds no message of that number.

        """
        return self._past.why(id)

    def history(self, mailbox: Any, key: str | int | None = None, n: int = 10) -> list[MessageInfo]:
        """Return what a mailbox has handled and keeps, the newest first, with results.

        Args:
            mailbox: of it; declared with ``retain=``.
            key: of this actor only.
            n: at most so many.

        Raises:
            MailboxNotFound: nobody declares it.
            ConfigError: it keeps no handled messages.

        """
        return self._past.history(mailbox, key, n)

    def reschedule(
        self, id: int, *, after: float | str | timedelta | None = None, at: datetime | None = None
    ) -> int:
        """Move a future call or a retry to another instant, durably; returns its new number.

        It is removed and told again in one transaction, with its id, attempts and cause; what
        expires does so as long after it is due as before. If its handler runs, that turn is void.

        Args:
            id: its number.
            after: so long from now: seconds, a ``timedelta``, or text such as ``"30m"``.
            at: an aware ``datetime``.

        Raises:
            LookupError: it is none, or was handled, cancelled or replaced.
            MessageError: the instant is not understood.
            CallboardError: it is called inside a handler.

        """
        return self._acting.reschedule(id, after, at)

    def fire(self, id: int) -> int:
        """Have a future call or a retry be due now, durably; returns its new number.

        Args:
            id: its number.

        Raises:
            LookupError: it is none, or was handled, cancelled or replaced.
            CallboardError: it is called inside a handler.

        """
        return self._acting.fire(id)

    def trigger(self, schedule: Any) -> None:
        """Have a schedule tick now, durably; its next instant stays, paused or not.

        The owner tells the tick, whether the one before it is handled or not. From a client it is a
        durable note for the owner, which does it within 250 ms, or when one starts.

        Args:
            schedule: its name.

        Raises:
            LookupError: there is none, or no code declares it any more.
            CallboardError: it is called inside a handler.

        """
        self._repairs.trigger(self._schedules.ticking(schedule))

    def purge(
        self, mailbox: Any, *, older: float | str | timedelta,
        progress: Callable[[int], None] | None = None,
    ) -> int:  # fmt: skip
        """Cancel what waits in a mailbox and was told so long ago; returns how many.

        Future calls and retries not yet due stay. It goes on in transactions of 500: a crash leaves
        the rest, and the same call does the rest.

        Args:
            mailbox: of it.
            older: the age: seconds, a ``timedelta``, or text such as ``"7d"``.
            progress: called after each transaction with how many are gone; what it raises ends the
                call there.

        Raises:
            MailboxNotFound: nobody declares it.
            MessageError: the age is not understood.
            CallboardError: it is called inside a handler.

        """
        return self._acting.purge(mailbox, older, progress)

    def purgeable(self, mailbox: Any, *, older: float | str | timedelta) -> int:
        """Return how many messages :meth:`purge` would cancel.

        Args:
            mailbox: of it.
            older: as for :meth:`purge`.

        """
        return self._acting.purgeable(mailbox, older)

    def simulate(
        self, mailbox: Any, message: Any = None, *, key: str | int | None = None,
        timeout: float = 10.0,
    ) -> Simulation:  # fmt: skip
        """Run a handler in a turn that is always rolled back, and say what it would have done.

        It runs here where this process declares the mailbox, whatever its role, else in the process
        that owns the store: on a thread of its own (a coroutine: on the loop of the handlers), with
        an object of its own (``on_start`` and ``on_stop`` too), on the actor's committed state.
        Everything else goes on beside it. It blocks the calling thread.

        Nothing is stored. What joins the turn is shown; whatever else the handler would write, in
        its thread, its tasks and ``asyncio.to_thread``, is refused, then and later. What it does
        **outside the store does happen** (a mail is sent, a file is written), and so does what it
        has a thread do that it starts by hand, which belongs to no turn.

        Args:
            mailbox: whose handler runs.
            message: as for :meth:`tell`.
            key: of the actor, in a keyed mailbox.
            timeout: seconds for the handler, at most an hour; one that runs on is left.

        Raises:
            LookupError: neither this process nor a running owner has code of the mailbox.
            MessageError: the mailbox does not accept the message.
            NotStarted: the owner has ended, or does not answer.
            CallboardError: a handler calls, or eight such turns still run in the owner.

        """
        return self._rehearsal.simulate(mailbox, message, key, timeout)

    def replay(self, id: int, *, timeout: float = 10.0) -> Simulation:
        """Simulate a message again that is dead, kept or waiting; see :meth:`simulate`.

        Args:
            id: its number.
            timeout: seconds for the handler.

        Raises:
            LookupError: there is no such message, or no code of its mailbox.
            NotStarted: as for :meth:`simulate`.
            CallboardError: as for :meth:`simulate`.

        """
        return self._rehearsal.replay(id, timeout)

    def audit(self, command: str, who: str | None = None) -> None:
        """Note, durably, a change that somebody has made by hand.

        Args:
            command: as it was typed.
            who: default: this process's user, and its number.

        """
        self._acting.audit(command, who)

    def signing(self, command: str, who: str | None = None) -> AbstractContextManager[None]:
        """Return a block whose first change notes, in its own transaction, who makes it.

        That is so for what is one unit of the committer's or one transaction of the store's: a
        tell, a cancel, a requeue, a pause, the first page of a purge, a client's note for the
        owner. Where the block ends without such a change (an ask, a backup, a vacuum, a restart in
        the owner's own process) the note is written right after it; where it raises, no more.

        Args:
            command: as it was typed.
            who: default: this process's user, and its number.

        """
        return self._acting.signing(command, who)

    def audits(self, n: int = 100) -> list[AuditInfo]:
        """Return the changes that were made by hand, the newest first.

        Args:
            n: at most so many.

        """
        return self._past.audits(n)

    def backup(self, path: str | Path) -> int:
        """Copy the store as of one moment, beside whoever writes; returns the copy's bytes.

        The copy appears when it is whole, checked and on disk, readable by this user alone.

        Args:
            path: of the copy; nothing may be there.

        Raises:
            StoreError: there is a file already, no room, or the copy is damaged.

        """
        from pathlib import Path

        from ..persistence.sqlite_copy import back_up

        return back_up(self._config.path, Path(path))

    def vacuum(self) -> int:
        """Make the store's file as small as what is in it; returns the bytes that are free now.

        Needs as much room beside it as it takes. Others that tell meanwhile wait.

        Raises:
            StoreOwned: it is owned; the owner would stand still meanwhile.
            StoreError: there is no room.

        """
        return self._acting.vacuum()

    def select(
        self, sql: str, *, limit: int = 1000, timeout: float = 5.0
    ) -> tuple[list[str], list[Any], bool]:
        """Ask the store in SQL, on a connection that can only read.

        Args:
            sql: one SELECT.
            limit: at most so many rows.
            timeout: seconds.

        Returns:
            the names of the columns, the rows, and whether there are more.

        Raises:
            MessageError: the statement does more than read, or is wrong; below it, as a
                ``TimeoutError``: it did not end in its time.

        """
        from ..persistence.sqlite_select import select

        return select(self._config.path, sql, limit, timeout)
