"""Feeds: what is published reaches whoever listens, live, in this process and in others.

Nothing of it is stored, and a listener that is slow loses the oldest, which is counted. One Hub
lives as long as its Runtime, in whatever role: an owner's engine publishes to it after the commit,
a client's line puts into its feeds what the owner's hub has sent (see line.py).
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import msgspec

from ..actors.messages import Accepts, Unknown, plain
from ..errors import CallboardError, ConfigError, MessageError
from ..events import Event
from .landing import Landing, Landings, on_loop
from .names import check_text

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from .registry import Registry

T = TypeVar("T")

#: Messages that wait for a listener before the oldest is dropped, unless it says otherwise.
BUFFER = 1000
#: Bytes that they may take together.
_BYTES = 64 * 1024 * 1024


class Feed(Generic[T]):
    """What is published on a topic while somebody listens: iterate over it, ``async`` or not.

    :meth:`Runtime.listen` gives one. It begins with the ``with`` (or ``async with``) block: what is
    published after that, by any process, is heard. It is live only: nothing is stored, and what
    was published before, or while the owner changes, is not heard. The loop ends when the Runtime
    is stopped, or the block is left (another thread may call :meth:`close`).

    Attributes:
        pattern: what is listened to.
        topic: of the message that was handed out last.
        dropped: messages that were thrown away, oldest first, because they were not taken in time.
        gaps: how often the owner was lost and found again; what was published meanwhile is missing.
        events: it hears events, by a prefix of their names, and not what is published.

    """

    def __init__(
        self, pattern: str, size: int, decode: Callable[[str, bytes], T], feeds: Feeds,
        events: bool = False,  # noqa: FBT001, FBT002  (the same)
    ) -> None:  # fmt: skip
        """Hear nothing yet; ``rt.listen(...)`` does this."""
        self.events = events
        self.pattern = pattern
        self.topic = ""
        self.dropped = 0
        self.gaps = 0
        self._size = size
        self._decode = decode
        self._feeds = feeds
        self._bytes = 0
        self._open = False
        self._buffer: deque[tuple[str, str, bytes]] = deque()
        self._more = threading.Condition()
        self._tasks: list[tuple[Landing, asyncio.Future[Any]]] = []
        self._landings = Landings()

    # --- for the listener --------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Begin to listen; NotStarted when nobody owns the store."""
        _refuse_on_loop("with rt.listen(...)")
        self._begin()
        return self

    def __exit__(self, *exc: object) -> None:
        """Listen no more."""
        self.close()

    async def __aenter__(self) -> Self:
        """Begin to listen, without blocking the event loop."""
        import asyncio

        await asyncio.to_thread(self._begin)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Listen no more."""
        self.close()

    def __iter__(self) -> Self:
        """Return itself: it is an endless iterator."""
        return self

    def __next__(self) -> T:
        """Wait for the next message; StopIteration when the feed has ended."""
        _refuse_on_loop("for ... in feed")
        with self._more:
            while not self._buffer:
                if not self._open:
                    raise StopIteration
                self._more.wait()
            return self._take()

    def __aiter__(self) -> Self:
        """Return itself."""
        return self

    async def __anext__(self) -> T:
        """Wait for the next message without blocking the event loop."""
        while True:
            with self._more:
                if self._buffer:
                    return self._take()
                if not self._open:
                    raise StopAsyncIteration
                landing = self._landings.here()
                future = landing.loop.create_future()
                self._tasks.append((landing, future))
            try:
                await future
            finally:
                with self._more:
                    self._tasks = [each for each in self._tasks if each[1] is not future]

    def close(self) -> None:
        """End the feed: its loops end after what is waiting. Legal from any thread, and again."""
        self._feeds.remove(self)
        self.end()

    # --- for who feeds it --------------------------------------------------------------------

    def put(self, topic: str, kind: str, body: bytes) -> None:
        """Add what was published. Runs: on any thread; waits for nothing."""
        with self._more:
            if not self._open:
                return
            self._buffer.append((topic, kind, body))
            self._bytes += len(body)
            while len(self._buffer) > self._size or (
                self._bytes > _BYTES and len(self._buffer) > 1
            ):
                self._bytes -= len(self._buffer.popleft()[2])
                self.dropped += 1
            self._wake()

    def missed(self, dropped: int) -> None:
        """Count what was dropped on its way here."""
        self.dropped += dropped

    def end(self) -> None:
        """Let its loops end after what is waiting."""
        with self._more:
            self._open = False
            self._wake()

    # --- inside ------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._open = True
        try:
            self._feeds.add(self)
        except BaseException:
            self._open = False
            raise

    def _take(self) -> T:
        self.topic, kind, body = self._buffer.popleft()
        self._bytes -= len(body)
        return self._decode(kind, body)

    def _wake(self) -> None:
        self._more.notify_all()
        tasks, self._tasks = self._tasks, []
        for landing, future in tasks:
            landing.put(future, None)


class Feeds:
    """The feeds of one Runtime: made, attached to wherever they are fed from, and ended.

    Args:
        registry: knows the message types of this process.
        attach: begins to feed one and returns what ends that; raises NotStarted.

    """

    def __init__(
        self, registry: Registry, attach: Callable[[Feed[Any]], Callable[[], None]]
    ) -> None:
        """Have none."""
        self._registry = registry
        self._attach = attach
        self._lock = threading.Lock()
        self._live: dict[Feed[Any], Callable[[], None]] = {}
        self._accepts = Accepts(Any, "a feed")

    def make(self, pattern: str, size: int) -> Feed[Any]:
        """See Runtime.listen."""
        if not isinstance(pattern, str) or not pattern:
            msg = f'a topic is a text such as "order.placed" or "order.*", got {pattern!r}'
            raise ConfigError(msg)
        check_text("topic", pattern)
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            msg = f"buffer must be a number from 1, got {size!r}"
            raise ConfigError(msg)
        return Feed(pattern, size, self._decode, self)

    def watch(self, prefix: str, size: int) -> Feed[Event]:
        """See Runtime.watch."""
        return Feed(prefix, size, _event, self, events=True)

    def add(self, feed: Feed[Any]) -> None:
        """Begin to feed one."""
        with self._lock:
            if feed in self._live:
                raise CallboardError(
                    "this feed is listened to already: rt.listen(...) makes another"
                )
        off = self._attach(feed)
        with self._lock:
            self._live[feed] = off

    def remove(self, feed: Feed[Any]) -> None:
        """Feed one no more."""
        with self._lock:
            off = self._live.pop(feed, None)
        if off is not None:
            off()

    def end(self) -> None:
        """End them all: the runtime stops."""
        with self._lock:
            live = list(self._live)
        for feed in live:
            feed.close()

    def _decode(self, kind: str, body: bytes) -> Any:
        """Return a message as the type that this process knows by that kind, else plain data."""
        for spec in list(self._registry.specs.values()):
            if (record := spec.behaviour.accepts.records.get(kind)) is not None:
                try:
                    return record[2](body)
                except (msgspec.MsgspecError, ValueError, TypeError):
                    break
        try:
            return self._accepts.decode(kind, 1, body)
        except (Unknown, MessageError):
            return plain(body)


def _event(_kind: str, body: bytes) -> Event:
    return msgspec.json.decode(body, type=Event)


def _refuse_on_loop(what: str) -> None:
    if on_loop():
        msg = f"`{what}` would block the event loop that it runs on: write `async {what}`"
        raise CallboardError(msg)
