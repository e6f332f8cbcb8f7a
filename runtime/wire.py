"""The owner's Unix socket, and the bell that clients ring on it.

The socket is made with mode 0600 and the peer's user is checked, so only the owner's user (or root)
gets in. Frames are four bytes of length, big-endian, and so many bytes; an empty frame is a ring:
"I have told something, look". Nothing is answered to it, and nothing durable hangs on it: an owner
looks four times a second by itself.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import struct
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RING = b"\0\0\0\0"
_MOST_CLIENTS = 256
_CHUNK = 65_536


class Bell:
    """The owner's end.

    Args:
        path: where the socket is; a stale one is removed, as this process holds the owner's lock.
        ring: called on the socket's thread when a client has told something.

    """

    def __init__(self, path: Path, ring: Callable[[], None]) -> None:
        """Listen, and start the socket's thread."""
        self._path = path
        self._ring = ring
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            self._server.bind(str(path))
        finally:
            os.umask(mask)
        self._server.listen(64)
        self._server.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._wake, self._waker = socket.socketpair()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._clients: set[socket.socket] = set()
        self._thread = threading.Thread(target=self._serve, name="callboard-bell", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        with contextlib.suppress(OSError):
            self._waker.send(b"!")
        if threading.current_thread() is not self._thread:
            self._thread.join(5.0)
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def forked(self) -> None:
        """Close a forked child's copies; the owner's socket stays where it is."""
        for each in (self._server, self._wake, self._waker, *self._clients):
            each.close()

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._wake:
                    self._end()
                    return
                if key.fileobj is self._server:
                    self._accept()
                elif isinstance(key.fileobj, socket.socket):
                    self._read(key.fileobj)

    def _accept(self) -> None:
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        if len(self._clients) >= _MOST_CLIENTS or not _same_user(client):
            client.close()
            return
        client.setblocking(False)
        self._clients.add(client)
        self._selector.register(client, selectors.EVENT_READ)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        # Rings are all there is: anything else ends the connection, it cannot be of ours.
        if not data or data.strip(b"\0"):
            self._selector.unregister(client)
            self._clients.discard(client)
            client.close()
        if data:
            self._ring()

    def _end(self) -> None:
        self._selector.close()
        for each in (self._server, self._wake, self._waker, *self._clients):
            each.close()


class Ringer:
    """A client's end: rings after its commits, and never waits for the owner.

    Args:
        path: returns where the socket is.

    """

    def __init__(self, path: Callable[[], Path]) -> None:
        """Connect with the first ring."""
        self._path = path
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()

    def ring(self) -> None:
        """Ring, if somebody owns the store."""
        with self._lock:
            for _ in range(2):
                if self._socket is None and not self._connect():
                    return
                try:
                    if self._socket is not None:
                        self._socket.send(RING)
                except BlockingIOError:
                    return  # its buffer is full of rings: it will look
                except OSError:
                    self._drop()
                else:
                    return

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._drop()

    def forked(self) -> None:
        """Use a connection of one's own in a forked child."""
        self._lock = threading.Lock()
        self._drop()

    def _connect(self) -> bool:
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(str(self._path()))
        except OSError:
            client.close()
            return False
        self._socket = client
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _same_user(client: socket.socket) -> bool:
    """Say whether the peer runs as our user, or as root."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # macOS and BSD: the socket's mode decides
        return True
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, option, 12))
    return uid in (os.getuid(), 0)
