"""Asking: build an ask, bring it to whoever owns the store, and wait for the answer."""

from __future__ import annotations

import contextlib
import math
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.asks import Asked, Link, Reply
from ..actors.doorbell import doorbell
from ..actors.messages import Accepts, Unknown
from ..actors.turn import Phase, current
from ..clock import monotonic
from ..errors import (
    ActorStopped,
    AskDeadlock,
    AskTimeout,
    ConfigError,
    MessageError,
    RemoteError,
    TurnEnded,
)
from ..persistence.seal import is_sealed
from .landing import Landings, on_loop
from .sender import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..actors.turn import Turn
    from .engine import Engine
    from .host import Host
    from .line import Line
    from .registry import Registry
    from .sender import Sender

#: Seconds that an answer may take from its commit to the asker whose time ran out meanwhile.
_ON_ITS_WAY = 1.0
_LONGEST = threading.TIMEOUT_MAX


class Asking:
    """What ``ask`` and ``ask_async`` do.

    Args:
        home: the runtime, to know its own turns by.
        host: knows the engine, or whether another process owns the store.
        sender: builds messages.
        registry: knows what handlers return.

    """

    def __init__(self, home: object, host: Host, sender: Sender, registry: Registry) -> None:
        """Ask nothing yet."""
        self._home = home
        self._host = host
        self._sender = sender
        self._registry = registry
        self._landings = Landings()
        self._returns: dict[str, Accepts] = {}
        self._here: Here | None = None

    def ask(self, mailbox: Any, message: Any, *, key: str | int | None, timeout: float) -> Any:
        """See Runtime.ask."""
        seconds = _seconds(timeout)
        if on_loop():
            msg = "ask() would block the event loop that it is called on: await rt.ask_async(...)"
            raise AskDeadlock(msg)
        turn = self._turn()
        route = self._route(turn)
        left = seconds if route.connected else route.connect(seconds)
        name = self._registry.name_of(mailbox)
        route.expect(name)
        answer: list[tuple[Reply | None, BaseException | None]] = []
        waiter = route.waiter()

        def deliver(reply: Reply | None, error: BaseException | None) -> None:
            answer.append((reply, error))
            waiter.wake()

        ask = self._build(name, message, key_of(mailbox, key), turn, deliver)
        route.send(ask)
        route.drain()
        try:
            if turn is None:
                done = waiter.wait(left)
            else:
                with route.waiting():
                    done = waiter.wait(left)
        except BaseException:
            route.forget(ask)
            raise
        if not done and not answer and route.forget(ask):
            raise _late(ask, seconds)
        if not answer and not waiter.wait(_ON_ITS_WAY):
            raise _late(ask, seconds)
        return self._read(ask, *answer[0])

    async def ask_async(
        self, mailbox: Any, message: Any, *, key: str | int | None, timeout: float
    ) -> Any:
        """See Runtime.ask_async."""
        import asyncio

        seconds = _seconds(timeout)
        turn = self._turn()
        route = self._route(turn)
        left = seconds
        if not route.connected:
            left = await asyncio.to_thread(route.connect, seconds)
        name = self._registry.name_of(mailbox)
        await self._sender.know(name)
        route.expect(name)
        landing = self._landings.here()
        answer: asyncio.Future[Any] = landing.loop.create_future()
        ask = self._build(
            name, message, key_of(mailbox, key), turn,
            lambda reply, error: landing.put(answer, (reply, error)),
        )  # fmt: skip
        route.send(ask)
        route.drain_soon()
        try:
            done, _ = await asyncio.wait([answer], timeout=left)
        except BaseException:
            route.forget(ask)
            raise
        if not done:
            if route.forget(ask):
                raise _late(ask, seconds)
            done, _ = await asyncio.wait([answer], timeout=_ON_ITS_WAY)
            if not done:
                raise _late(ask, seconds)
        return self._read(ask, *answer.result())

    # --- inside ------------------------------------------------------------------------------

    def _turn(self) -> Turn | None:
        """Return the turn that asks; it waits for the answer."""
        turn = current(self._home)
        if turn is None or turn.phase is Phase.SEALED:
            return None
        if turn.phase is Phase.ABANDONED:
            raise TurnEnded(turn.ended())
        return turn

    def _route(self, turn: Turn | None) -> Here | There:
        if is_sealed():
            raise ActorStopped("a simulated turn asks nobody: the answer's turn would be stored")
        engine = self._host.engine
        if engine is not None:
            here = self._here
            if here is None or here.engine is not engine:
                here = self._here = Here(engine)
            return here
        if turn is not None:
            raise ActorStopped("the runtime stops: it takes no more asks")
        return There(self._host.line)

    def _build(
        self, name: str, message: Any, key: str | int | None, turn: Turn | None,
        deliver: Callable[[Reply | None, BaseException | None], None],
    ) -> Asked:  # fmt: skip
        ask = self._sender.asked(name, message, key)
        ask.deliver = deliver
        if turn is not None:
            asker = turn.message
            chain = asker.chain if isinstance(asker, Asked) else ()
            ask.chain = (*chain, Link(turn.mailbox, asker.key, asker.number))
            ask.sender = turn.mailbox
        return ask

    def _read(self, ask: Asked, reply: Reply | None, error: BaseException | None) -> Any:
        """Return the answer, or raise what the handler raised."""
        if error is not None:
            # An exception that would end the asker rather than fail it comes in a wrapping.
            if isinstance(error, Exception) and not isinstance(error, StopIteration):
                raise error
            raise RemoteError(type(error).__qualname__, str(error)) from error
        if reply is None:
            raise RemoteError("AssertionError", "an answer without a reply")
        accepts = self._accepts(ask.target)
        try:
            return accepts.decode(reply.kind, reply.version, reply.body)
        except (Unknown, MessageError):  # the annotation of what is returned is no promise
            return msgspec.json.decode(reply.body)

    def _accepts(self, name: str) -> Accepts:
        found = self._returns.get(name)
        if found is None:
            spec = self._registry.specs.get(name)
            annotation = Any if spec is None else spec.behaviour.returns
            what = f"the answer of {name!r}"
            try:
                found = Accepts(annotation, what)
            except ConfigError:
                found = Accepts(Any, what)
            self._returns[name] = found
        return found


class Here:
    """The way to an engine of this process.

    Args:
        engine: whose actors are asked.

    """

    def __init__(self, engine: Engine) -> None:
        """Send nothing yet."""
        self.engine = engine
        self.connected = True
        self.expect, self.send = engine.expect, engine.ask
        driver = engine.environment.driver
        self.waiter, self.drain, self.drain_soon = driver.waiter, driver.drain, driver.drain_soon

    def connect(self, seconds: float) -> float:
        """Be there already; returns the seconds that are left."""
        return seconds

    def forget(self, ask: Asked) -> bool:
        """Take it back; False when it was answered meanwhile."""
        open_still = self.engine.environment.asks.close(ask)
        self.engine.withdraw(ask)
        return open_still

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Have another thread take the place of a handler's that waits: it does not count."""
        driver = self.engine.environment.driver
        driver.blocked()
        try:
            yield
        finally:
            driver.unblocked()


class There:
    """The way to the owner in another process.

    Args:
        line: to it.

    """

    def __init__(self, line: Line) -> None:
        """Send nothing yet."""
        self._line = line
        self.waiter = doorbell

    @property
    def connected(self) -> bool:
        """Sending need not connect first."""
        return self._line.connected

    def connect(self, seconds: float) -> float:
        """Reach the owner; NotStarted at once when there is none. Returns the seconds left."""
        begun = monotonic()
        self._line.connect(seconds)
        return max(0.001, seconds - (monotonic() - begun))

    def expect(self, name: str) -> None:
        """Leave it to the owner."""

    def send(self, ask: Asked) -> None:
        """Send the ask to the owner."""
        self._line.ask(ask)

    def forget(self, ask: Asked) -> bool:
        """Take it back; False when it was answered meanwhile."""
        return self._line.forget(ask)

    def drain(self) -> None:
        """Leave it to the owner."""

    def drain_soon(self) -> None:
        """Leave it to the owner."""

    def waiting(self) -> contextlib.AbstractContextManager[None]:
        """Take up nobody's place: handlers run where the owner is."""
        return contextlib.nullcontext()


def _seconds(timeout: float) -> float:
    if type(timeout) is float and 0 < timeout <= _LONGEST:
        return timeout
    good = isinstance(timeout, (int, float)) and not isinstance(timeout, bool)
    if not good or not timeout > 0 or math.isnan(timeout):
        msg = f"timeout must be a positive number of seconds, got {timeout!r}"
        raise ConfigError(msg)
    return min(float(timeout), _LONGEST)


def _late(ask: Asked, seconds: float) -> AskTimeout:
    name = repr(ask.target) if ask.key is None else f"{ask.target!r} key {ask.key!r}"
    return AskTimeout(
        f"no answer from {name} within {seconds:g} s; its handler may still run and commit: ask "
        "with a longer timeout=, or tell and let the answer come as a message"
    )
