"""A client's line to the owner: asks and feeds over its socket.

The line is laid with the first ask, feed or publication and hangs up when the runtime stops. When
the owner ends, open asks are answered with ActorStopped at once; feeds are attached again to the
next owner, which may be this very process.
"""

from __future__ import annotations

import itertools
import queue
import socket
import threading
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.asks import Asked, Reply
from ..clock import monotonic, sleep
from ..errors import ActorStopped, NotStarted
from .frames import (
    Answer,
    Ask,
    Channel,
    Drop,
    Failure,
    Fed,
    Leave,
    Listen,
    Listening,
    Look,
    Rehearse,
    Said,
    Shown,
    ToOwner,
    pack,
)
from .frames import read_to_client as read
from .reactor import Reactor
from .remote import rebuild

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..persistence.store import Message
    from .feed import Feed
    from .hub import Hub

#: Seconds between two tries while an owner is taking over, and to wait until it answers.
_NAP, _PATIENCE = 0.01, 5.0


class Line:
    """One connection to whoever owns the store.

    Args:
        store: for messages to people.
        path: returns where the owner's socket is.
        owned: says whether another process owns the store.
        is_owner: says whether this process does.
        hub: of this process: feeds move there when it becomes the owner.
        found: called with a feed that has found an owner again.

    """

    def __init__(
        self, store: Path, path: Callable[[], Path], *, owned: Callable[[], bool],
        is_owner: Callable[[], bool], hub: Hub, found: Callable[[Feed[Any]], None],
    ) -> None:  # fmt: skip
        """Connect to nobody yet."""
        self._store = store
        self._path = path
        self._owned = owned
        self._is_owner = is_owner
        self._hub = hub
        self._found = found
        self._numbers = itertools.count(1)
        self._start()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._link: tuple[Reactor, Channel] | None = None
        self._asks: dict[int, Asked] = {}
        self._feeds: dict[int, tuple[Feed[Any], threading.Event]] = {}
        self._refused: dict[int, Exception] = {}
        self._local: dict[int, Callable[[], None]] = {}
        self._shows: dict[int, queue.SimpleQueue[bytes | Exception | None]] = {}
        self._seeking: threading.Thread | None = None
        self._closing = threading.Event()

    # --- asks --------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Sending will not have to connect first."""
        return self._link is not None

    def connect(self, seconds: float) -> None:
        """Connect, unless that is done; waits while an owner is taking over.

        Raises:
            NotStarted: nobody owns the store, or it cannot be reached in that time.

        """
        until = monotonic() + seconds
        while not self._connected_now():
            if not self._owned():
                msg = (
                    f"nobody owns {self._store}, so nobody can answer: start a Runtime on it here "
                    "or in another process, or tell instead of ask"
                )
                raise NotStarted(msg)
            if monotonic() > until:
                msg = f"the owner of {self._store} could not be reached within {seconds:g} s"
                raise NotStarted(msg)
            sleep(_NAP)

    def ask(self, ask: Asked) -> None:
        """Send an ask; it is answered through its ``deliver``, also when the owner ends.

        Raises:
            ActorStopped: the owner has just ended.

        """
        number = ask.number = next(self._numbers)
        frame = Ask(number, ask.target, ask.kind, ask.version, msgspec.Raw(ask.body), ask.key)
        with self._lock:
            link = self._link
            if link is None:
                raise ActorStopped("the owner of the store has just ended: ask again")
            self._asks[number] = ask
        link[0].send(link[1], pack(frame))

    def forget(self, ask: Asked) -> bool:
        """Wait for an answer no more; False when it has come meanwhile."""
        with self._lock:
            open_still = self._asks.pop(ask.number, None) is not None
            link = self._link
        if open_still and link is not None:
            link[0].send(link[1], pack(Drop(ask.number)))
        return open_still

    # --- feeds -------------------------------------------------------------------------------

    def listen(self, feed: Feed[Any]) -> Callable[[], None]:
        """Have the owner send what is published; returns when nothing more is missed.

        Raises:
            NotStarted: nobody owns the store.
            CallboardError: the owner feeds this process as much as it may.

        """
        self.connect(_PATIENCE)
        number, begun = next(self._numbers), threading.Event()
        with self._lock:
            self._feeds[number] = (feed, begun)
            link = self._link
        if link is not None:
            link[0].send(link[1], pack(Listen(number, feed.pattern, feed.events)))
        if not begun.wait(_PATIENCE):
            self._leave(number)
            msg = f"the owner has not begun to send within {_PATIENCE:g} s: is it stuck?"
            raise NotStarted(msg)
        if (refused := self._refused.pop(number, None)) is not None:
            self._leave(number)
            raise refused
        return lambda: self._leave(number)

    def said(self, topic: str, kind: str, body: bytes) -> None:
        """Tell the owner what was published here, if there is one. Waits for nobody."""
        if self._connected_now():
            with self._lock:
                link = self._link
            if link is not None:
                link[0].send(link[1], pack(Said(topic, kind, msgspec.Raw(body))))

    def _leave(self, number: int) -> None:
        with self._lock:
            self._feeds.pop(number, None)
            off = self._local.pop(number, None)
            link = self._link
        if off is not None:
            off()
        elif link is not None:
            link[0].send(link[1], pack(Leave(number)))

    # --- looking -----------------------------------------------------------------------------

    def look(self, seconds: float) -> bytes | None:
        """Return the owner's supervision tree as JSON; None: it has ended, or did not answer.

        Raises:
            NotStarted: nobody owns the store, or it cannot be reached in that time.

        """
        self.connect(seconds)
        return self._shown(Look, seconds)

    def rehearse(self, mailbox: str, message: Message, seconds: float) -> bytes:
        """Return what a message would do in the owner, as JSON of a Simulation.

        Args:
            mailbox: its name.
            message: that its handler gets.
            seconds: for the handler.

        Raises:
            NotStarted: nobody owns the store, or the owner has not answered.
            CallboardError: the owner refuses.

        """
        self.connect(_PATIENCE)
        found = self._shown(
            lambda number: Rehearse(
                number, mailbox, message.kind, message.version, msgspec.Raw(message.body), seconds,
                message.key, message.number,
            ),
            seconds + _PATIENCE,
        )  # fmt: skip
        if found is None:
            msg = (
                f"the owner of {self._store} has not said what the message would do: it has ended, "
                "is stuck, or is of an older version that cannot"
            )
            raise NotStarted(msg)
        return found

    def _shown(self, ask: Callable[[int], ToOwner], seconds: float) -> bytes | None:
        """Ask the owner to show something; None: it has ended, or did not answer in that time.

        Raises:
            Exception: what the owner raised.

        """
        number, answer = next(self._numbers), queue.SimpleQueue[bytes | Exception | None]()
        with self._lock:
            link = self._link
            if link is None:
                return None
            self._shows[number] = answer
        link[0].send(link[1], pack(ask(number)))
        try:
            found = answer.get(timeout=seconds)
        except queue.Empty:
            return None
        finally:
            with self._lock:
                self._shows.pop(number, None)
        if isinstance(found, Exception):
            raise found
        return found

    # --- life --------------------------------------------------------------------------------

    def close(self) -> None:
        """Hang up: asks are answered with ActorStopped."""
        self._closing.set()
        with self._lock:
            link, self._link = self._link, None
            seeking = self._seeking
        if link is not None:
            link[0].close()
        if seeking is not None and seeking is not threading.current_thread():
            seeking.join(_PATIENCE)
        self._give_up("this runtime has stopped")
        self._closing.clear()

    def forked(self) -> None:
        """Start afresh in a forked child: the connection is the parent's."""
        link = self._link
        if link is not None:
            link[0].forked()
        self._start()

    def _connected_now(self) -> bool:
        with self._lock:
            if self._link is not None:
                return True
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            try:
                client.connect(str(self._path()))
            except OSError:
                client.close()
                return False
            channel = Channel(client)
            reactor = Reactor("callboard-line", self._received, self._hung_up)
            reactor.add(channel)
            reactor.start()
            self._link = reactor, channel
            return True

    # --- the line's thread -------------------------------------------------------------------

    def _received(self, channel: Channel, frames: list[bytes]) -> None:
        for data in frames:
            match read(data):
                case Answer(number, kind, version, body):
                    self._answer(number, Reply(kind, version, bytes(body)), None)
                case Failure() as failure:
                    self._failed(failure.id, rebuild(failure))
                case Shown(number, body):
                    if (waiting := self._shows.get(number)) is not None:
                        waiting.put(bytes(body))
                case Listening(number):
                    if (found := self._feeds.get(number)) is not None:
                        self._heard(*found)
                case Fed(number, topic, kind, body, dropped):
                    if (found := self._feeds.get(number)) is not None:
                        found[0].missed(dropped)
                        found[0].put(topic, kind, bytes(body))

    def _heard(self, feed: Feed[Any], begun: threading.Event) -> None:
        """Go on with a feed that misses nothing from now on."""
        if begun.is_set():
            feed.gaps += 1
            self._found(feed)
        begun.set()

    def _failed(self, number: int, error: Exception) -> None:
        """Refuse a feed or a show, or answer an ask."""
        feed, show = self._feeds.get(number), self._shows.get(number)
        if show is not None:
            show.put(error)
        elif feed is not None:
            self._refused[number] = error
            feed[1].set()
        else:
            self._answer(number, None, error)

    def _answer(self, number: int, reply: Reply | None, error: BaseException | None) -> None:
        with self._lock:
            ask = self._asks.pop(number, None)
        if ask is not None:
            ask.deliver(reply, error)

    def _hung_up(self, channel: Channel) -> None:
        with self._lock:
            link = self._link
            if link is None or link[1] is not channel:
                return
            self._link = None
            seek = bool(self._feeds) and self._seeking is None and not self._closing.is_set()
            if seek:
                self._seeking = threading.Thread(
                    target=self._seek, name="callboard-line", daemon=True
                )
                self._seeking.start()
        self._give_up(
            "the owner of the store has ended before it answered; the handler may have run"
        )
        link[0].close()

    def _give_up(self, reason: str) -> None:
        with self._lock:
            asks, self._asks = self._asks, {}
            shows = list(self._shows.values())
        for waiting in shows:
            waiting.put(None)
        for ask in asks.values():
            ask.deliver(None, ActorStopped(reason))

    def _seek(self) -> None:
        """Attach the feeds again to whoever owns the store next. Runs: on a thread of its own."""
        while not self._closing.wait(_NAP):
            if self._is_owner():
                attach = self._attach_here
            elif self._connected_now():
                attach = self._attach_there
            else:
                continue
            with self._lock:
                feeds = list(self._feeds.items())
                self._seeking = None
            for number, (feed, begun) in feeds:
                attach(number, feed, begun)
            return

    def _attach_here(self, number: int, feed: Feed[Any], begun: threading.Event) -> None:
        off = self._hub.attach(feed)
        with self._lock:
            if self._feeds.pop(number, None) is not None:
                self._local[number] = off
                off = lambda: None  # noqa: E731  (it stays)
        off()
        self._heard(feed, begun)

    def _attach_there(self, number: int, feed: Feed[Any], begun: threading.Event) -> None:
        with self._lock:
            link = self._link
        if link is not None:
            link[0].send(link[1], pack(Listen(number, feed.pattern, feed.events)))
