"""Workers: the user's functions and classes, read once into what the runtime needs to run them."""

from __future__ import annotations

import contextlib
import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import ConfigError, MessageError
from .messages import LARGEST_STATE, Accepts, Unknown, encode, kind_of
from .turn import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..persistence.store import State
    from .turn import Turn


class WorkerActor:
    """Base of worker classes: an actor with, if it likes, durable state.

    Annotate ``state`` and it is loaded before the first message and stored with each turn that
    changed it, in that turn's transaction. It must build without arguments. Only ``state`` is
    durable; other attributes are caches that live as long as the object. A failed message replaces
    ``state`` with what it was before; a restart rebuilds the object.

    Every hook runs on a handler thread, one at a time for each object. ``on_receive`` may be
    ``async def``; then it runs on the event loop.

    Attributes:
        restart_on: exceptions that speak of the actor, not of the message, such as a lost
            connection. When ``on_receive`` raises one, the turn is void, the object is thrown away
            (``on_stop`` is not called), and after a back-off the actor is restarted by its
            supervisor's strategy: built anew, its state loaded, ``on_start`` called. Then the
            message runs again; no attempt is counted. After more restarts than the supervisor's
            intensity the actor is faulted, and its messages wait.

    """

    state: Any
    restart_on: ClassVar[tuple[type[BaseException], ...]] = ()
    _context: Context | None = None

    @property
    def context(self) -> Context:
        """The context of the message that is being handled.

        Raises:
            AttributeError: no message is being handled (``on_start``, ``on_stop``).

        """
        if self._context is None:
            msg = "context is there only while a message is handled, not in on_start or on_stop"
            raise AttributeError(msg)
        return self._context

    def on_start(self) -> None:
        """Build caches. Runs: on a handler thread, after ``state`` was loaded.

        If it raises, the actor is restarted with back-off, and left alone as faulted after too
        many times; its messages wait.
        """

    def on_receive(self, message: Any) -> Any:
        """Handle one message. Runs: on a handler thread, in the message's turn."""
        msg = f"{type(self).__name__} has no on_receive: write it, its annotation is the schema"
        raise NotImplementedError(msg)

    def on_stop(self) -> None:
        """Let go of caches. Runs: on a handler thread when the actor is put away or stopped.

        Not called after a crash. What it raises is logged.
        """


@dataclass(frozen=True, slots=True)
class Behaviour:
    """A worker as the runtime sees it.

    Attributes:
        call: runs a function worker with (message, turn).
        factory: builds a class worker's object; None for functions.
        accepts: what it takes.
        is_async: the handler is a coroutine function.
        state: how its state is stored; None when it has none.
        returns: annotation of what the handler returns, by which an asker decodes it.
        restart_on: exceptions of the handler that restart the actor.

    """

    name: str
    call: Callable[[Any, Turn], Any] | None
    factory: Callable[[], WorkerActor] | None
    accepts: Accepts
    is_async: bool
    state: StateCodec | None
    returns: Any = Any
    restart_on: tuple[type[BaseException], ...] = ()


class StateCodec:
    """Encodes and decodes one type of state."""

    def __init__(self, cls: Any, what: str) -> None:
        """Check that it builds without arguments and survives a round trip."""
        self.cls = cls
        self.what = what
        origin = typing.get_origin(cls) or cls
        self.kind, self.version = kind_of(origin) if isinstance(origin, type) else ("json", 1)
        self._accepts = Accepts(cls, what)
        self._origin = origin
        try:
            fresh = self.fresh()
            body = self.encode(fresh)
            self._accepts.decode(self.kind, self.version, body)
        except (MessageError, TypeError, Unknown) as error:
            msg = f"{what}: state {getattr(cls, '__name__', cls)!r} must build without arguments "
            msg += f"and be storable as JSON: {error}"
            raise ConfigError(msg) from error

    def fresh(self) -> Any:
        """Build the state of an actor that has none stored."""
        return self._origin()

    def encode(self, state: Any) -> bytes:
        """Return the state's JSON text; MessageError when it is no JSON or over 64 MiB."""
        return encode(state, self.what, LARGEST_STATE)

    def decode(self, stored: State) -> Any:
        """Return the state that was stored.

        Raises:
            MessageError: it cannot be loaded by this code.

        """
        if stored.kind != self.kind:
            msg = (
                f"{self.what}: its stored state is of kind {stored.kind!r}, the code declares "
                f"{self.kind!r}: name the class with @message({stored.kind!r}), or reset the state"
            )
            raise MessageError(msg)
        try:
            return self._accepts.decode(stored.kind, stored.version, stored.body)
        except Unknown as error:
            msg = (
                f"{self.what}: its stored state is of version {stored.version}, the code knows "
                f"{self.version}: add @upcast({stored.kind!r}, version=...), or upgrade"
            )
            raise MessageError(msg) from error


def behaviour(worker: Any, mailbox: str, scope: Mapping[str, Any]) -> Behaviour:
    """Read a worker.

    Args:
        worker: a function ``(message)``, ``(message, context)`` or ``()``, sync or async, or a
            WorkerActor subclass.
        mailbox: its mailbox's name, for messages to people.
        scope: the names of the declaring function, for annotations of local classes.

    Raises:
        ConfigError: it is no worker, or its annotation is no schema.

    """
    what = f"mailbox {mailbox!r}"
    if isinstance(worker, type) and issubclass(worker, WorkerActor):
        method = worker.on_receive
        takes = _positional(method, what)[1:]
        if len(takes) != 1:
            msg = f"{what}: {worker.__name__}.on_receive takes one message, got {len(takes)} names"
            raise ConfigError(msg)
        hints = _hints(method, what, scope)
        annotation = hints.get(takes[0], Any)
        state = _hints(worker, what, scope).get("state", Any)
        declared = any(
            "state" in inspect.get_annotations(cls)
            for cls in worker.__mro__
            if cls is not WorkerActor
        )
        return Behaviour(
            worker.__name__, None, worker, Accepts(annotation, what),
            inspect.iscoroutinefunction(method), StateCodec(state, what) if declared else None,
            hints.get("return", Any),
            _restart_on(worker, what),
        )  # fmt: skip
    if not callable(worker) or isinstance(worker, type):
        msg = f"{what}: a worker is a function or a WorkerActor subclass, got {worker!r}"
        raise ConfigError(msg)
    takes = _positional(worker, what)
    if len(takes) > len(("message", "context")):
        msg = f"{what}: a worker takes (message), (message, context) or (), got {tuple(takes)}"
        raise ConfigError(msg)
    hints = {}
    with contextlib.nullcontext() if takes else contextlib.suppress(ConfigError):
        hints = _hints(worker, what, scope)
    annotation = hints.get(takes[0], Any) if takes else Any
    name = getattr(worker, "__name__", type(worker).__name__)
    return Behaviour(
        name, _caller(worker, len(takes)), None, Accepts(annotation, what),
        inspect.iscoroutinefunction(worker)
        or inspect.iscoroutinefunction(type(worker).__call__),
        None, hints.get("return", Any),
    )  # fmt: skip


def _restart_on(worker: type[WorkerActor], what: str) -> tuple[type[BaseException], ...]:
    found: Any = worker.restart_on
    if isinstance(found, type):
        found = (found,)
    if not isinstance(found, tuple) or not all(
        isinstance(each, type) and issubclass(each, BaseException) for each in found
    ):
        msg = f"{what}: restart_on is a tuple of exception classes, got {found!r}"
        raise ConfigError(msg)
    return found


def _caller(worker: Callable[..., Any], takes: int) -> Callable[[Any, Turn], Any]:
    if takes == 0:
        return lambda _message, _turn: worker()
    if takes == 1:
        return lambda message, _turn: worker(message)
    return lambda message, turn: worker(message, Context(turn))


def _positional(function: Any, what: str) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError) as error:
        msg = f"{what}: the signature of {function!r} cannot be read: wrap it in a function"
        raise ConfigError(msg) from error
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if needed:
        msg = f"{what}: a worker is called with the message alone; {needed[0]!r} has no default"
        raise ConfigError(msg)
    return [p.name for p in parameters
            if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
            and (p.default is p.empty or p.name in ("message", "context"))]  # fmt: skip


def _hints(thing: Any, what: str, scope: Mapping[str, Any]) -> dict[str, Any]:
    target = thing if isinstance(thing, type) or inspect.isroutine(thing) else type(thing).__call__
    try:
        return typing.get_type_hints(target, localns=dict(scope), include_extras=True)
    except NameError as error:
        msg = (
            f"{what}: an annotation cannot be resolved: {error}; it is the schema of the messages, "
            "so import the name at run time, not under TYPE_CHECKING only"
        )
        raise ConfigError(msg) from error
