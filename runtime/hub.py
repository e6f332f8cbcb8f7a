"""The hub: where what was published meets those who listen; see feed.py."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.messages import PLAIN
from ..actors.topics import matches
from ..persistence.store import Outcome, Publish

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..events import Event, Events
    from ..persistence.store import Unit
    from .feed import Feed


class Hub:
    """Whoever listens in this process, and the connections of those who listen in others.

    Args:
        events: of this process, for who watches those.

    """

    def __init__(self, events: Events) -> None:
        """Have nobody listening."""
        self._events = events
        #: Somebody listens: one attribute to look at where nobody does.
        self.on = False
        self._lock = threading.Lock()
        self._sinks: list[tuple[str, Callable[[str, str, bytes], None]]] = []

    def add(self, pattern: str, sink: Callable[[str, str, bytes], None]) -> Callable[[], None]:
        """Call ``sink(topic, kind, body)`` for what is published; returns what ends that."""
        entry = (pattern, sink)
        with self._lock:
            self._sinks = [*self._sinks, entry]
            self.on = True

        def off() -> None:
            with self._lock:
                self._sinks = [each for each in self._sinks if each is not entry]
                self.on = bool(self._sinks)

        return off

    def watch(self, prefix: str, sink: Callable[[str, str, bytes], None]) -> Callable[[], None]:
        """Call ``sink(name, "json", event)`` for events of this process; returns what ends that.

        Runs: the sink on the events thread.
        """

        def told(event: Event) -> None:
            sink(event.name, PLAIN, msgspec.json.encode(event, enc_hook=str))

        return self._events.subscribe(told, prefix)

    def attach(self, feed: Feed[Any]) -> Callable[[], None]:
        """Feed a listener of this process; returns what ends that."""
        return (self.watch if feed.events else self.add)(feed.pattern, feed.put)

    def published(self, topic: str, kind: str, body: bytes) -> None:
        """Tell those who listen. Runs: after the commit, on any thread; waits for nobody."""
        for pattern, sink in self._sinks:
            if matches(pattern, topic):
                sink(topic, kind, body)


def publish(units: Sequence[Unit], tell: Callable[[str, str, bytes], None]) -> None:
    """Tell what these units have published, now that they are on disk."""
    for unit in units:
        if unit.ops is not None and unit.outcome is Outcome.COMMITTED:
            for op in unit.ops:
                if isinstance(op, Publish):
                    tell(op.topic, op.kind, op.body)
