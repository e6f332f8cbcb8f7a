"""The owner's desk: serves what clients ask and listen for over the socket.

What shows the tree and rehearses is imported with the first who wants it, which spares a start what
the records cost.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from ..actors.asks import Asked, Reply
from ..actors.messages import LARGEST_MESSAGE
from ..clock import monotonic
from ..errors import CallboardError, MailboxFull, MailboxNotFound, MessageError, StoreError
from ..persistence.store import Message
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
    NoFrame,
    Rehearse,
    Said,
    Shown,
    pack,
)
from .frames import read_to_owner as read
from .remote import describe

if TYPE_CHECKING:
    from collections.abc import Callable

    from .engine import Engine
    from .hub import Hub
    from .records import Simulation
    from .stage import Stage

logger = logging.getLogger("callboard")

#: Asks of one connection that may be open at once.
MOST_OPEN = 10_000
#: Events that one who watches them is sent in a second; more are dropped, and counted.
MOST_EVENTS = 2000
#: Patterns that one connection may listen to at once.
MOST_LISTENS = 1000
#: Bytes of answers that may wait for a peer that does not read them; then it is hung up on.
MOST_UNREAD = 256 * 1024 * 1024
#: Bytes that may wait for a slow listener before what is published is dropped for it.
MOST_WAITING = 4 * 1024 * 1024
_TOO_LONG = "no frame can carry that; callboard -a MODULE:ATTR simulate ... needs none"


class Desk:
    """Serves the connections of one owner. Runs: on the socket's thread.

    Args:
        engine: whose actors are asked.
        hub: to whose topics clients listen.

    """

    def __init__(self, engine: Engine, hub: Hub) -> None:
        """Serve nobody yet."""
        self._engine = engine
        self._hub = hub
        self._send: Callable[[Channel, bytes], None] = lambda *_: None
        self._hang_up: Callable[[Channel], None] = lambda _: None
        self._asks: dict[Channel, dict[int, Asked]] = {}
        self._feeds: dict[Channel, dict[int, Callable[[], None]]] = {}

    def open(
        self, send: Callable[[Channel, bytes], None], hang_up: Callable[[Channel], None]
    ) -> None:
        """Say how frames are sent, and how a connection is ended."""
        self._send = send
        self._hang_up = hang_up

    def serve(self, channel: Channel, data: bytes) -> None:
        """Do what one frame says.

        Raises:
            NoFrame: no client of ours says this.

        """
        try:
            said = read(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise NoFrame(str(error)) from error
        match said:
            case Ask() as frame:
                self._ask(channel, frame)
            case Drop(number):
                self._drop(self._asks.get(channel, {}).pop(number, None))
            case Listen() as frame:
                self._listen(channel, frame)
            case Look(number):
                self._look(channel, number)
            case Rehearse() as frame:
                self._rehearse(channel, frame)
            case Leave(number):
                self._feeds.get(channel, {}).pop(number, lambda: None)()
            case Said(topic, kind, body):
                self._hub.published(topic, kind, bytes(body))

    def hung_up(self, channel: Channel) -> None:
        """Take back the asks of a client that is gone, and feed it no more."""
        for ask in self._asks.pop(channel, {}).values():
            self._drop(ask)
        for off in self._feeds.pop(channel, {}).values():
            off()

    # --- asks --------------------------------------------------------------------------------

    def _ask(self, channel: Channel, frame: Ask) -> None:
        number = frame.id
        asks = self._asks.setdefault(channel, {})
        if number in asks:
            msg = f"ask {number} is open already"
            raise NoFrame(msg)

        def deliver(reply: Reply | None, error: BaseException | None) -> None:
            asks.pop(number, None)
            if reply is not None:
                answer = Answer(number, reply.kind, reply.version, msgspec.Raw(reply.body))
                self._reply(channel, answer)
            elif error is not None:
                self._reply(channel, describe(number, error))

        ask = Asked(
            0, frame.kind, bytes(frame.body), frame.key, version=frame.version,
            target=frame.mailbox, deliver=deliver,
        )  # fmt: skip
        try:
            if len(asks) >= MOST_OPEN:
                msg = f"{MOST_OPEN} asks of this process are open: wait for some of them"
                raise MailboxFull(msg)
            asks[number] = ask
            self._engine.ask(ask, look=self._others_have_told())
        except CallboardError as error:
            deliver(None, error.with_traceback(None))
        self._engine.environment.driver.drain()

    def _reply(self, channel: Channel, frame: Answer | Failure | Shown) -> None:
        """Send an answer, unless too many wait to be read. Runs: on any thread."""
        if channel.waiting > MOST_UNREAD:
            self._hang_up(channel)
        else:
            self._send(channel, pack(frame))

    def _others_have_told(self) -> bool:
        """Say whether there is what the asker may have told before, and we have not seen."""
        environment = self._engine.environment
        try:
            return environment.store.heartbeat()[0] > (environment.committer.seen or 0)
        except StoreError:
            return True

    def _drop(self, ask: Asked | None) -> None:
        if ask is not None:
            self._engine.environment.asks.close(ask)
            self._engine.withdraw(ask)

    # --- listening ---------------------------------------------------------------------------

    def _listen(self, channel: Channel, frame: Listen) -> None:
        number, dropped = frame.id, 0
        since, sent = 0.0, 0
        feeds = self._feeds.setdefault(channel, {})
        if number not in feeds and len(feeds) >= MOST_LISTENS:
            msg = f"this process has {MOST_LISTENS} feeds open: close some of its feeds"
            self._send(channel, pack(describe(number, CallboardError(msg))))
            return

        def sink(topic: str, kind: str, body: bytes) -> None:
            nonlocal dropped, since, sent
            if frame.events and (now := monotonic()) - since >= 1:
                since, sent = now, 0
            if channel.waiting > MOST_WAITING or (frame.events and sent >= MOST_EVENTS):
                dropped += 1
                return
            missed, dropped = dropped, 0
            sent += 1
            self._send(channel, pack(Fed(number, topic, kind, msgspec.Raw(body), missed)))

        # Who finds a new owner may say twice what it listens to.
        feeds.pop(number, lambda: None)()
        begin = self._hub.watch if frame.events else self._hub.add
        feeds[number] = begin(frame.pattern, sink)
        self._send(channel, pack(Listening(number)))

    # --- looking -----------------------------------------------------------------------------

    def _look(self, channel: Channel, number: int) -> None:
        from .tree import show

        environment = self._engine.environment
        found = show(environment.store, self._engine, environment.clock.now())
        self._send(channel, pack(Shown(number, msgspec.Raw(msgspec.json.encode(found)))))

    # --- rehearsing --------------------------------------------------------------------------

    @cached_property
    def _stage(self) -> Stage:
        from .stage import Stage

        environment = self._engine.environment
        return Stage(environment.home, environment.store, environment.clock, environment.loop)

    def _rehearse(self, channel: Channel, frame: Rehearse) -> None:
        """Have a handler run on a thread of its own: this one goes on serving."""
        from .rehearsal import duration

        def deliver(found: Simulation | None, error: BaseException | None) -> None:
            if found is not None:
                body = msgspec.json.encode(found)
                if len(body) <= LARGEST_MESSAGE:
                    self._reply(channel, Shown(frame.id, msgspec.Raw(body)))
                    return
                error = MessageError(f"what was found has {len(body):,} bytes: {_TOO_LONG}")
            if error is not None:
                self._reply(channel, describe(frame.id, error))

        try:
            mailbox = self._engine.mailbox(frame.mailbox)
            if mailbox is None:
                raise MailboxNotFound(frame.mailbox, self._engine.names)
            message = Message(
                mailbox.id, frame.kind, bytes(frame.body), frame.key, version=frame.version,
                number=frame.number,
            )  # fmt: skip
            self._stage.begin(mailbox.spec, message, duration(frame.seconds), deliver)
        except CallboardError as error:
            deliver(None, error.with_traceback(None))
