"""What goes over the owner's socket: frames, and a connection that carries them.

A frame is four bytes of length, big-endian, and so many bytes of JSON; an empty one is a ring. A
body (a message, an answer) travels inside as the JSON that it is. Whoever sends a longer frame than
the largest message needs, or something that is no frame, is hung up on.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Annotated, TypeAlias

import msgspec

from ..actors.messages import LARGEST_MESSAGE
from ..clock import monotonic

if TYPE_CHECKING:
    import socket

#: The longest frame: the largest message, and room for what stands around it.
LONGEST = LARGEST_MESSAGE + 256 * 1024
_HEAD = 4
_CHUNK = 262_144


# What JSON carries both ways.
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Ask(msgspec.Struct, tag="ask", tag_field="verb"):
    """Client to owner: run this as a turn, and answer."""

    id: Number
    mailbox: str
    kind: str
    version: Number
    body: msgspec.Raw
    key: str | None = None


class Drop(msgspec.Struct, tag="drop", tag_field="verb"):
    """Client to owner: nobody waits for this answer any more."""

    id: Number


class Listen(msgspec.Struct, tag="listen", tag_field="verb"):
    """Client to owner: send what is published on topics like this; answered with Listening.

    With ``events`` the pattern is a prefix of events' names, and those are sent.
    """

    id: Number
    pattern: str
    events: bool = False


class Look(msgspec.Struct, tag="look", tag_field="verb"):
    """Client to owner: show the supervision tree as it lives; answered with Shown."""

    id: Number


class Rehearse(msgspec.Struct, tag="rehearse", tag_field="verb"):
    """Client to owner: run this in a turn that nothing stages; answered with Shown or Failure."""

    id: Number
    mailbox: str
    kind: str
    version: Number
    body: msgspec.Raw
    seconds: float
    key: str | None = None
    number: Number = 0


class Leave(msgspec.Struct, tag="leave", tag_field="verb"):
    """Client to owner: send no more of it."""

    id: Number


class Said(msgspec.Struct, tag="said", tag_field="verb"):
    """Client to owner, after its commit: this was published; whoever listens hears of it."""

    topic: str
    kind: str
    body: msgspec.Raw


class Answer(msgspec.Struct, tag="answer", tag_field="verb"):
    """Owner to client: what the handler returned."""

    id: Number
    kind: str
    version: Number
    body: msgspec.Raw


class Failure(msgspec.Struct, tag="failure", tag_field="verb"):
    """Owner to client: what the handler raised, or why the ask was refused; see remote.py."""

    id: Number
    module: str
    name: str
    text: str
    args: list[str | int | float | bool | None] | None
    trace: str


class Shown(msgspec.Struct, tag="shown", tag_field="verb"):
    """Owner to client: JSON of what was asked for, an ActorInfo or a Simulation."""

    id: Number
    body: msgspec.Raw


class Listening(msgspec.Struct, tag="listening", tag_field="verb"):
    """Owner to client: from now on nothing is missed."""

    id: Number


class Fed(msgspec.Struct, tag="fed", tag_field="verb"):
    """Owner to client: this was published; ``dropped`` before it were not sent."""

    id: Number
    topic: str
    kind: str
    body: msgspec.Raw
    dropped: int = 0


ToOwner: TypeAlias = Ask | Drop | Listen | Leave | Said | Look | Rehearse
ToClient: TypeAlias = Answer | Failure | Listening | Fed | Shown

_encode = msgspec.json.Encoder().encode
read_to_owner = msgspec.json.Decoder(ToOwner).decode
read_to_client = msgspec.json.Decoder(ToClient).decode


class NoFrame(Exception):
    """What has come is no frame of ours."""


def pack(frame: ToOwner | ToClient) -> bytes:
    """Return a frame as it goes over the wire."""
    body = _encode(frame)
    return len(body).to_bytes(_HEAD, "big") + body


class Channel:
    """One connection: frames in, frames out. Any thread may send; one thread receives and flushes.

    Args:
        connection: a connected socket; it becomes non-blocking and belongs to the channel.

    Attributes:
        waiting: bytes that could not be sent yet.
        owes: since when the other end owes us the end of a frame (monotonic seconds), its first
            one from the beginning; None: it owes nothing.
        met: it has sent a whole frame.

    """

    def __init__(self, connection: socket.socket) -> None:
        """Take the socket."""
        connection.setblocking(False)
        self.socket = connection
        self.waiting = 0
        self.owes: float | None = monotonic()
        self.met = False
        self._in = bytearray()
        self._out: deque[memoryview] = deque()
        self._lock = threading.Lock()

    def receive(self) -> list[bytes]:
        """Return the frames that have come, bodies only; an empty one is a ring.

        Raises:
            EOFError: the other end has hung up.
            NoFrame: what came is no frame.
            OSError: the connection is broken.

        """
        try:
            data = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError
        buffer = self._in
        buffer += data
        frames, start = [], 0
        while len(buffer) - start >= _HEAD:
            length = int.from_bytes(buffer[start : start + _HEAD], "big")
            if length > LONGEST:
                msg = f"a frame of {length} bytes"
                raise NoFrame(msg)
            end = start + _HEAD + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + _HEAD : end]))
            start = end
        if start:
            del buffer[:start]
            self.met = True
        if not buffer and self.met:
            self.owes = None
        elif start or self.owes is None:
            self.owes = monotonic()
        return frames

    @property
    def unfinished(self) -> int:
        """How many bytes have come of a frame whose end has not."""
        return len(self._in)

    def send(self, data: bytes) -> bool:
        """Send a packed frame, as far as it goes; False: from now on a :meth:`flush` is wanted.

        Raises:
            OSError: the connection is broken.

        """
        with self._lock:
            idle = not self._out
            self._out.append(memoryview(data))
            self.waiting += len(data)
            return not idle or self._push()

    def flush(self) -> bool:
        """Go on sending; False: there is more, when the socket takes it.

        Raises:
            OSError: the connection is broken.

        """
        with self._lock:
            return self._push()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _push(self) -> bool:
        while self._out:
            part = self._out[0]
            try:
                sent = self.socket.send(part)
            except BlockingIOError:
                return False
            self.waiting -= sent
            if sent < len(part):
                self._out[0] = part[sent:]
            else:
                self._out.popleft()
        return True
