"""One thread that reads and writes the sockets of one end: the owner's many, or a client's one."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from collections import deque
from typing import TYPE_CHECKING

from ..clock import monotonic, sleep
from .frames import Channel, NoFrame

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("callboard")

# Seconds of rest after what could not be served.
_BREATH = 0.05
#: Bytes of frames whose end has not come yet, of all peers together, where there is patience.
MOST_UNFINISHED = 256 * 1024 * 1024

_READ, _BOTH = selectors.EVENT_READ, selectors.EVENT_READ | selectors.EVENT_WRITE


class Reactor:
    """Calls back for what comes in, and sends what did not go out at once.

    Args:
        name: of its thread.
        received: called with a channel and the frames that have come on it.
        closed: called when a channel's other end has hung up, or has sent what is no frame.
        patience: seconds that a peer may owe the end of a frame, its first one from the beginning;
            then it is hung up on. None: for ever.

    Both run on the reactor's thread; what they raise ends that connection.

    """

    def __init__(
        self,
        name: str,
        received: Callable[[Channel, list[bytes]], None],
        closed: Callable[[Channel], None],
        patience: float | None = None,
    ) -> None:
        """Make the pipe that wakes the thread; nothing runs before :meth:`start`."""
        self._received = received
        self._closed = closed
        self._patience = patience
        self._selector = selectors.DefaultSelector()
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._selector.register(self._wake, _READ)
        self._calls: deque[Callable[[], None]] = deque()
        self._servers: dict[socket.socket, Callable[[socket.socket], None]] = {}
        self._resting: dict[socket.socket, float] = {}
        # Peers that owe the end of a frame, while there is a limit to that.
        self._owing: set[Channel] = set()
        self._ending = False
        self.channels: set[Channel] = set()
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self.thread.start()

    def listen(self, server: socket.socket, accept: Callable[[socket.socket], None]) -> None:
        """Have ``accept`` called when a client knocks; before :meth:`start`."""
        self._servers[server] = accept
        self._selector.register(server, _READ)

    def rest(self, server: socket.socket, seconds: float) -> None:
        """Do not look for a while who knocks. Runs: on the reactor's thread."""
        self._selector.unregister(server)
        self._resting[server] = monotonic() + seconds

    def add(self, channel: Channel) -> None:
        """Look after a connection. Runs: on the reactor's thread, or before :meth:`start`."""
        self.channels.add(channel)
        self._note(channel)
        self._selector.register(channel.socket, _READ, channel)

    def make_room(self) -> bool:
        """Hang up on the peer that has kept us waiting longest for its first frame, if any has.

        Runs: on the reactor's thread.
        """
        silent = [each for each in self._owing if not each.met]
        if silent:
            self._drop(min(silent, key=_since))
        return bool(silent)

    def hang_up(self, channel: Channel) -> None:
        """End a connection, soon. Runs: on any thread."""
        self.call(lambda: self._drop(channel))

    def call(self, what: Callable[[], None]) -> None:
        """Have something called on the reactor's thread, soon."""
        self._calls.append(what)
        with contextlib.suppress(OSError):  # full of wake-ups, or closed
            self._waker.send(b"!")

    def send(self, channel: Channel, data: bytes) -> None:
        """Send a packed frame. Runs: on any thread; waits for nobody."""
        try:
            if not channel.send(data):
                self.call(lambda: self._modify(channel, _BOTH))
        except OSError:
            self.hang_up(channel)

    def close(self, patience: float = 5.0) -> None:
        """End the thread, after what can still be sent at once."""
        self.call(self._end)
        if self.thread.is_alive() and threading.current_thread() is not self.thread:
            self.thread.join(patience)

    def forked(self) -> None:
        """Close a forked child's copies of everything."""
        for each in (self._wake, self._waker, *self._servers):
            each.close()
        for channel in self.channels:
            channel.close()
        self._selector.close()

    # --- the thread --------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._ending:
            try:
                self._look()
            except Exception:  # no memory or no descriptor for it: nobody else serves clients
                logger.exception("the sockets could not be served; it is tried again")
                sleep(_BREATH)
        for channel in list(self.channels):
            with contextlib.suppress(OSError):
                channel.flush()
            self._drop(channel)
        self._selector.close()
        for each in (self._wake, self._waker, *self._servers):
            each.close()

    def _look(self) -> None:
        for key, events in self._selector.select(self._until()):
            if key.fileobj is self._wake:
                self._do_calls()
            elif isinstance(key.data, Channel):
                self._serve_one(key.data, events)
            elif isinstance(key.fileobj, socket.socket):
                self._servers[key.fileobj](key.fileobj)

    def _until(self) -> float | None:
        """Do what is to be done at its time; returns the seconds until the next."""
        ends = (self._wake_again(), self._lose_patience())
        return min((each for each in ends if each is not None), default=None)

    def _lose_patience(self) -> float | None:
        """Hang up on who has owed a frame too long; returns the seconds until the next has."""
        if not self._owing or self._patience is None:
            return None
        long_ago = monotonic() - self._patience
        for channel in [each for each in self._owing if _since(each) <= long_ago]:
            self._drop(channel)
        return min((_since(each) - long_ago for each in self._owing), default=None)

    def _note(self, channel: Channel) -> None:
        """Keep in mind who owes a frame, and keep what we hold of unfinished ones in bounds."""
        if channel.owes is None or self._patience is None:
            self._owing.discard(channel)
            return
        self._owing.add(channel)
        if channel.unfinished and sum(each.unfinished for each in self._owing) > MOST_UNFINISHED:
            begun = [each for each in self._owing if each.unfinished]
            self._drop(min(begun, key=_since))

    def _wake_again(self) -> float | None:
        """Listen again where the rest is over; returns the seconds until the next one's end."""
        if not self._resting:
            return None
        now = monotonic()
        for server in [each for each, until in self._resting.items() if until <= now]:
            self._selector.register(server, _READ)
            del self._resting[server]
        return min((until - now for until in self._resting.values()), default=None)

    def _serve_one(self, channel: Channel, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE and channel.flush():
                self._modify(channel, _READ)
            if events & selectors.EVENT_READ:
                frames = channel.receive()
                self._note(channel)
                if frames:
                    self._received(channel, frames)
        except (OSError, EOFError):
            self._drop(channel)
        except NoFrame as error:
            logger.warning("hung up on a peer that sent no frame of ours: %s", error)
            self._drop(channel)
        except Exception:
            logger.exception("hung up on a peer whose frames could not be served")
            self._drop(channel)

    def _do_calls(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._wake.recv(4096)
        while self._calls:
            self._calls.popleft()()

    def _modify(self, channel: Channel, events: int) -> None:
        if channel in self.channels:
            self._selector.modify(channel.socket, events, channel)

    def _drop(self, channel: Channel) -> None:
        if channel in self.channels:
            self.channels.discard(channel)
            self._owing.discard(channel)
            self._selector.unregister(channel.socket)
            channel.close()
            self._closed(channel)

    def _end(self) -> None:
        self._ending = True


def _since(channel: Channel) -> float:
    return channel.owes if channel.owes is not None else monotonic()
