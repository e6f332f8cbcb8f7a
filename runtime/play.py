"""One run of a handler in a turn that nothing stages, and what it would have done."""

from __future__ import annotations

import logging
import queue
import traceback
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ..actors.activation import Activation
from ..actors.messages import Unknown
from ..actors.turn import Context, enter
from ..clock import instant
from ..errors import MessageError, Reject, RetryLater
from ..persistence.store import Cancel, Execute, Message, Op, Publish, Tell
from .records import EffectInfo, Simulation

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..actors.aio import Loop
    from ..actors.mail import MailboxSpec
    from ..actors.turn import Turn
    from ..actors.worker import WorkerActor
    from ..persistence.store import Store

    Ended: TypeAlias = queue.SimpleQueue[tuple[Any, BaseException | None]]

logger = logging.getLogger("callboard")


class Play:
    """Runs one handler with an object of its own; the actor that lives is not touched.

    Args:
        spec: whose handler.
        turn: in which.
        store: has the actor's committed state.
        loop: where coroutines run; None: on a loop of their own.
        seconds: after which a coroutine on that loop is cancelled.

    Attributes:
        error: what it raised, or why it was left.

    """

    def __init__(
        self, spec: MailboxSpec, turn: Turn, store: Store, loop: Loop | None, seconds: float
    ) -> None:
        """Run nothing yet."""
        self.error: BaseException | None = None
        self._spec, self._turn, self._store = spec, turn, store
        self._loop, self._seconds = loop, seconds
        self._trace: str | None = None
        self._before: Any = None
        self._after: Any = None

    def run(self) -> None:
        """Run the handler. Runs: on a thread of its own, in a sealed context."""
        try:
            self._handle()
        except BaseException as error:  # noqa: BLE001  (SystemExit too: it is the handler's)
            self.error = self.error or error
            self._trace = traceback.format_exc()
        finally:
            self._turn.seal()

    def found(self, took: float, names: dict[int, str]) -> Simulation:
        """Return what the handler has done, once its turn is closed.

        Args:
            took: seconds.
            names: of the mailboxes, by number.

        """
        turn, error = self._turn, self.error
        kept = error is None
        effects = tuple(_effect(op, names) for op in turn.ops or ()) if kept else ()
        return Simulation(
            self._spec.name, turn.message.key, _plain(turn.message.body), _outcome(error),
            None if self._trace is None else _storable(self._trace),
            _value(turn.result) if kept else None, took, self._before,
            self._after if kept else self._before, effects,
        )  # fmt: skip

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
        call = behaviour.call
        if behaviour.factory is None:
            assert call is not None  # noqa: S101  (a worker has one of the two)
            enter(turn)
            turn.result = self._finish(lambda: call(value, turn))
            return
        worker = behaviour.factory()
        codec = behaviour.state
        if codec is not None:
            key = message.key if spec.keyed else None
            Activation(key).restore(worker, codec, message.mailbox, self._store)
            self._before = _plain(codec.encode(worker.state))
        worker.on_start()
        try:
            enter(turn)
            worker._context = Context(turn)  # noqa: SLF001  (the two are one piece)
            turn.result = self._finish(lambda: worker.on_receive(value))
            if codec is not None:
                self._after = _plain(codec.encode(worker.state))
        finally:
            self._stop(worker)

    def _stop(self, worker: WorkerActor) -> None:
        """Have the object let go of what it has opened; what it raises is logged, as always."""
        self._turn.seal()  # on_stop belongs to no turn
        try:
            worker.on_stop()
        except BaseException:
            logger.exception("on_stop of a simulated %s raised", self._spec.name)

    def _finish(self, start: Callable[[], Any]) -> Any:
        """Return what a handler gives, a coroutine's when it has ended."""
        if not self._spec.behaviour.is_async:
            return start()
        if self._loop is None:
            import asyncio  # 15 ms, which an owner's start need not take

            return asyncio.run(start())
        ended: Ended = queue.SimpleQueue()
        self._loop.run(start, copy_context(), self._seconds, lambda *end: ended.put(end))
        result, error = ended.get()
        if error is not None:
            raise error
        return result


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "handled"
    kind = "later" if isinstance(error, RetryLater) else "failed"
    kind = "dead" if isinstance(error, Reject) else kind
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (the user's)
        text = "(its text could not be made)"
    return _storable(f"{kind}: {type(error).__name__}: {text}")


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
        return _storable(repr(value))


def _storable(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()
