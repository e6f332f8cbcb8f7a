"""A turn that is always rolled back: what would a message do?

The handler runs in a turn that nothing stages; the store is sealed meanwhile, so that nothing that
this Runtime does, on whatever thread, can write. What a handler does outside the store happens.
"""

from __future__ import annotations

import asyncio
import threading
import traceback
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

import msgspec

from ..actors.activation import Activation
from ..actors.messages import Unknown
from ..actors.turn import Context, Turn, current, enter
from ..clock import instant, monotonic
from ..errors import CallboardError, MessageError, Reject, RetryLater
from ..persistence import sqlite_past
from ..persistence.store import Cancel, Execute, Message, Op, Publish, Tell
from .records import EffectInfo, Simulation

if TYPE_CHECKING:
    from ..actors.environment import Environment
    from ..actors.mail import MailboxSpec
    from ..clock import Clock
    from ..events import Events
    from ..persistence.sqlite import SqliteStore
    from ..persistence.store import Unit
    from .host import Host
    from .registry import Registry
    from .sender import Sender


class Rehearsal:
    """Runs handlers of this process's code, and keeps nothing of what they do.

    Args:
        home: the runtime, which was never started.
        store: read, and sealed meanwhile.
        registry: has the code.
        sender: builds the message.
        host: says in which role this process is.
        clock: reads time.
        events: the runtime's.

    """

    def __init__(  # noqa: PLR0917  (built by one caller)
        self, home: object, store: SqliteStore, registry: Registry, sender: Sender, host: Host,
        clock: Clock, events: Events,
    ) -> None:  # fmt: skip
        """Run nothing yet."""
        self.home = home
        self.store = store
        self.clock = clock
        self.events = events
        self.committer = self.driver = self
        self._registry = registry
        self._sender = sender
        self._host = host

    def stage(self, unit: Unit) -> None:
        """Keep nothing: what a turn writes beside itself, its progress, is not written either."""

    def seconds(self) -> float:
        """Return real seconds, as a driver does."""
        return monotonic()

    def simulate(
        self, mailbox: Any, value: Any, key: str | int | None, timeout: float
    ) -> Simulation:
        """See Runtime.simulate."""
        self._ready()
        with self.store.sealed():
            name = self._registry.name_of(mailbox)
            return self._run(self._spec(name), self._sender.message(name, value, key), timeout)

    def replay(self, number: int, timeout: float) -> Simulation:
        """See Runtime.replay."""
        self._ready()
        found = sqlite_past.again(self.store.query, number)
        if found is None:
            msg = f"no message {number} waits, is kept or is dead: there is nothing to replay"
            raise LookupError(msg)
        name = next(row.name for row in self.store.mailboxes() if row.id == found.mailbox)
        with self.store.sealed():
            return self._run(self._spec(name), found, timeout)

    # --- inside ------------------------------------------------------------------------------

    def _ready(self) -> None:
        if current(self.home) is not None or self._host.started:
            msg = (
                "a turn is simulated by a Runtime that was never started, outside its handlers: "
                "callboard -a MODULE:ATTR simulate ..."
            )
            raise CallboardError(msg)
        self.store.open()

    def _spec(self, name: str) -> MailboxSpec:
        spec = self._registry.specs.get(name)
        if spec is None:
            msg = (
                f"no code of mailbox {name!r} is here: name the Runtime that declares it, "
                "callboard -a MODULE:ATTR simulate ..."
            )
            raise LookupError(msg)
        return spec

    def _run(self, spec: MailboxSpec, message: Message, timeout: float) -> Simulation:
        turn = Turn(
            cast("Environment", self), spec.name, message, self.clock.now(), threading.Lock()
        )
        begun = monotonic()
        played = _Play(spec, turn, self.store)
        thread = threading.Thread(
            target=copy_context().run, args=(played.run,), name="callboard-simulation", daemon=True
        )
        thread.start()
        thread.join(timeout)
        if thread.is_alive() and turn.abandon():
            played.error = TimeoutError(f"the handler did not end in {timeout:g} s")
        took = monotonic() - begun
        kept = played.error is None
        names = {row.id: row.name for row in self.store.mailboxes()}
        effects = tuple(_effect(op, names) for op in turn.ops) if kept else ()
        return Simulation(
            spec.name, message.key, _plain(message.body), _outcome(played.error), played.trace,
            _value(turn.result) if kept else None, took, played.before,
            played.after if kept else played.before, effects,
        )  # fmt: skip


class _Play:
    """One run of a handler, on a thread of its own."""

    def __init__(self, spec: MailboxSpec, turn: Turn, store: SqliteStore) -> None:
        self.error: BaseException | None = None
        self.trace: str | None = None
        self.before: Any = None
        self.after: Any = None
        self._spec, self._turn, self._store = spec, turn, store

    def run(self) -> None:
        try:
            self._handle()
        except BaseException as error:  # noqa: BLE001  (SystemExit too: it is the handler's)
            self.error = self.error or error
            self.trace = traceback.format_exc()
        finally:
            self._turn.seal()

    def _handle(self) -> None:
        spec, turn = self._spec, self._turn
        behaviour, message = spec.behaviour, turn.message
        value = message.value
        if value is None:
            try:
                value = behaviour.accepts.decode(message.kind, message.version, message.body)
            except Unknown as error:
                msg = f"the code knows no {message.kind!r} of version {message.version}"
                raise MessageError(msg) from error
        context = Context(turn)
        if behaviour.factory is None:
            enter(turn)
            assert behaviour.call is not None  # noqa: S101  (a worker has one of the two)
            turn.result = _finish(behaviour.call(value, context))
            return
        worker = behaviour.factory()
        codec = behaviour.state
        if codec is not None:
            key = message.key if spec.keyed else None
            Activation(key).restore(worker, codec, message.mailbox, self._store)
            self.before = _plain(codec.encode(worker.state))
        worker.on_start()
        enter(turn)
        worker._context = context  # noqa: SLF001  (the two are one piece)
        turn.result = _finish(worker.on_receive(value))
        if codec is not None:
            self.after = _plain(codec.encode(worker.state))


def _finish(result: Any) -> Any:
    """Return what a handler gives, a coroutine's when it has ended."""
    if not asyncio.iscoroutine(result):
        return result
    return asyncio.run(result)


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "handled"
    kind = "later" if isinstance(error, RetryLater) else "failed"
    kind = "dead" if isinstance(error, Reject) else kind
    return f"{kind}: {type(error).__name__}: {error}"


def _effect(op: Op, names: dict[int, str]) -> EffectInfo:
    message = op if isinstance(op, Message) else getattr(op, "message", None)
    if isinstance(op, (Message, Tell)) and message is not None:
        return EffectInfo(
            "tell", names.get(message.mailbox, "?"), message.key, _plain(message.body),
            None if message.due is None else instant(message.due), message.name,
        )  # fmt: skip
    if isinstance(op, Cancel):
        return EffectInfo("cancel", names.get(op.mailbox, "?"), None, op.target)
    if isinstance(op, Execute):
        return EffectInfo("execute", None, None, {"sql": op.sql, "params": _value(op.params)})
    if isinstance(op, Publish):
        return EffectInfo("publish", op.topic, None, _plain(op.body))
    return EffectInfo(type(op).__name__.lower(), None, None, None)


def _plain(body: bytes) -> Any:
    return msgspec.json.decode(body)


def _value(value: Any) -> Any:
    """Return a value as plain data, or as text where it is no JSON."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, RecursionError):
        return repr(value)
