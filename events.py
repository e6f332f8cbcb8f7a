"""Every state change is one named event; logging, metrics, consoles and tests subscribe to them.

Events are told after the commit that they speak of, in order, on one thread of their own, so that
a slow subscriber delays no commit. A subscriber that raises is logged and removed. Emitting while
nobody listens costs one attribute read::

    if events.on:
        events.emit("mailbox.paused", mailbox=name)

What every message causes is emitted only while somebody subscribes to it: ``if events.flow``.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("callboard")

#: Name of every event, and what it says. The documentation lists exactly these.
EVENTS = {
    "runtime.started": "the runtime is up in a role: role",
    "runtime.stopped": "the runtime has stopped: unfinished (names of handlers that did not end)",
    "owner.taken": "this process owns the store now: epoch, waited (seconds)",
    "owner.lost": "another process has written a newer epoch; this one has stopped: error",
    "store.refused": "the store refused a commit; staged turns are kept: error",
    "store.recovered": "a commit has succeeded again: after (seconds)",
    "message.told": "a message is on disk: mailbox id key kind due cause",
    "message.handled": "a turn has committed: mailbox id key took (s) told (messages it told)",
    "message.void": "cancelled or replaced while its handler ran; nothing happened: mailbox id key",
    "message.failed": "a handler raised; it is tried again: mailbox id key attempt error due",
    "message.later": "a handler asked to be tried later; not a failure: mailbox id key due",
    "message.dead": "a message became a dead letter: mailbox id key attempts error",
    "message.expired": "its time to live was over before its handler ran: mailbox id key",
    "message.dropped": "removed from a full mailbox to make room: mailbox id",
    "message.progress": "a handler said how far it is: mailbox id fraction note",
    "message.cancelled": "a waiting message was cancelled or replaced: mailbox id",
    "message.unknown": "kind or version that no code knows; it waits: mailbox id kind version",
    "message.requeued": "a dead letter waits again under a new number: mailbox id was",
    "message.discarded": "a dead letter was deleted: mailbox id",
    "ask.answered": "the answer of an ask's turn is on its way: mailbox key took (seconds)",
    "ask.failed": "the error of an ask's turn is on its way to the asker: mailbox key error",
    "feed.resumed": "a listener has found the next owner; it missed some: topic gaps",
    "timer.fired": "a future call is due and has gone to its mailbox: mailbox id due late (s)",
    "schedule.declared": "a schedule is live: schedule expression tz mailbox next_at",
    "schedule.changed": "a new expression, zone or zone data; was is dropped: schedule was next_at",
    "schedule.stopped": "the owner's code declares it no longer; it is kept: schedule",
    "schedule.ticked": "a tick was told: schedule mailbox id at missed (made up for) late (s)",
    "schedule.skipped": "a tick was not told: schedule at reason count (of ticks)",
    "schedule.missed": "instants went by: schedule count first last ticks (told for them)",
    "schedule.paused": "a schedule does not tick: schedule",
    "schedule.resumed": "a schedule goes on, from now: schedule next_at",
    "mailbox.declared": "a mailbox is live: mailbox workers keyed",
    "mailbox.paused": "a mailbox takes no new turn: mailbox",
    "mailbox.resumed": "a mailbox goes on: mailbox",
    "mailbox.spilled": "the window is full; the rest stays in the store: mailbox window",
    "mailbox.faulted": "a mailbox has stopped taking turns: mailbox error",
    "actor.started": "a worker's object was built and its state loaded: mailbox key",
    "actor.stopped": "an idle actor was put away: mailbox key",
    "actor.restarted": "an actor was rebuilt after a crash: actor attempt error delay (seconds)",
    "actor.faulted": "an actor is left alone: too many crashes, or a broken state: actor error",
    "actor.repaired": "an actor was restarted by hand, or its state was written: actor",
    "supervisor.failed": "a supervisor fails to its own, which restarts all below it: actor error",
    "handler.abandoned": "a handler ran past its timeout, its thread is left: mailbox id thread",
    "threads.short": "every handler thread is taken: threads",
    "events.dropped": "subscribers were too slow; events were dropped: count",
}  # fmt: skip

#: Those that every message causes: emitted only while somebody wants them (``events.flow``).
_FREQUENT = ("message.told", "message.handled", "message.progress", "ask.answered", "timer.fired",
             "actor.started", "actor.stopped")  # fmt: skip
_BOUND = 100_000


@dataclass(frozen=True, slots=True)
class Event:
    """One state change.

    Attributes:
        name: one of :data:`EVENTS`.
        at: microseconds UTC when it was told.
        fields: what it says, as named in :data:`EVENTS`.

    """

    name: str
    at: int
    fields: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        """Return a field."""
        return self.fields[name]


class Events:
    """Subscribers, and the queue between those who emit and the one thread that tells.

    Args:
        now: reads the clock (microseconds UTC).

    """

    def __init__(self, now: Callable[[], int]) -> None:
        """Start with nobody listening and no thread."""
        self.on = False
        self.flow = False
        #: Tell on the thread that emits: where there is but one.
        self.at_once = False
        self._now = now
        self._subscribers: list[tuple[str, Callable[[Event], object]]] = []
        self._queue: deque[Event] = deque()
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._telling = False
        self._dropped = 0

    def subscribe(
        self, callback: Callable[[Event], object], prefix: str = ""
    ) -> Callable[[], None]:
        """Call ``callback(event)`` for each event whose name starts with ``prefix``.

        Runs: on the events thread, in order, after the commit. It may call the runtime. Up to
        100,000 events wait for it; beyond that the newest are dropped and ``events.dropped`` says
        how many. Events are live only: nothing of them is stored.

        Returns:
            a call that ends the subscription.

        """
        entry = (prefix, callback)
        with self._lock:
            self._listen([*self._subscribers, entry])

        def off() -> None:
            self._remove(entry)

        return off

    def emit(self, name: str, **fields: Any) -> None:
        """Queue one event for the subscribers; call only when :attr:`on`."""
        event = Event(name, self._now(), fields)
        if self.at_once:
            self._tell(event)
            return
        with self._more:
            if len(self._queue) >= _BOUND:
                self._dropped += 1
                return
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                self._queue.append(Event("events.dropped", event.at, {"count": dropped}))
            self._queue.append(event)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._pump, name="callboard-events", daemon=True
                )
                self._thread.start()
            self._more.notify()

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until every event emitted so far has been told; False when the time ran out."""
        if threading.current_thread() is self._thread:
            return True
        with self._more:
            return self._more.wait_for(lambda: not self._queue and not self._telling, timeout)

    def forget_threads(self) -> None:
        """Start afresh in a forked child: the thread did not survive, its locks may be held."""
        self._lock = threading.Lock()
        self._more = threading.Condition(self._lock)
        self._queue.clear()
        self._thread = None
        self._telling = False

    def _pump(self) -> None:
        while True:
            with self._more:
                self._telling = False
                self._more.notify_all()
                while not self._queue:
                    # An idle thread is not worth keeping: it ends, and the next event starts one.
                    if not self._more.wait(5.0) and not self._queue:
                        self._thread = None
                        return
                event = self._queue.popleft()
                self._telling = True
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for entry in self._subscribers:
            prefix, callback = entry
            if not event.name.startswith(prefix):
                continue
            try:
                callback(event)
            except Exception:
                logger.exception("event subscriber %r raised and was removed", callback)
                self._remove(entry)

    def _remove(self, entry: tuple[str, Callable[[Event], object]]) -> None:
        with self._lock:
            self._listen([each for each in self._subscribers if each is not entry])

    def _listen(self, subscribers: list[tuple[str, Callable[[Event], object]]]) -> None:
        self._subscribers = subscribers
        self.on = bool(subscribers)
        self.flow = any(name.startswith(prefix) for prefix, _ in subscribers for name in _FREQUENT)
