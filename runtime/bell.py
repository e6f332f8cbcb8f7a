"""The owner's Unix socket.

The socket is made with mode 0600 and the peer's user is checked, so only the owner's user (or root)
gets in. What goes over it is described in frames.py, and served by desk.py.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from typing import TYPE_CHECKING

from .frames import Channel
from .reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .desk import Desk

_MOST_CLIENTS = 256


class Bell:
    """The owner's end.

    Args:
        path: where the socket is; a stale one is removed, as this process holds the owner's lock.
        ring: called on the socket's thread when a client has told something.
        desk: serves every other frame; None: those who send one are hung up on.

    """

    def __init__(self, path: Path, ring: Callable[[], None], desk: Desk | None = None) -> None:
        """Listen, and start the socket's thread."""
        self._path = path
        self._ring = ring
        self._desk = desk
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            server.bind(str(path))
        finally:
            os.umask(mask)
        server.listen(64)
        server.setblocking(False)
        self._reactor = Reactor("callboard-bell", self._received, self._hung_up)
        self._reactor.listen(server, self._accept)
        if desk is not None:
            desk.open(self._reactor.send)
        self._reactor.start()

    def close(self) -> None:
        """Stop listening and remove the socket."""
        self._reactor.close()
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()

    def forked(self) -> None:
        """Close a forked child's copies; the owner's socket stays where it is."""
        self._reactor.forked()

    def _accept(self, server: socket.socket) -> None:
        try:
            client, _ = server.accept()
        except OSError:
            return
        if len(self._reactor.channels) >= _MOST_CLIENTS or not _same_user(client):
            client.close()
            return
        self._reactor.add(Channel(client))

    def _received(self, channel: Channel, frames: list[bytes]) -> None:
        if not all(frames):
            self._ring()
        for frame in frames:
            if frame:
                if self._desk is None:
                    raise EOFError
                self._desk.serve(channel, frame)

    def _hung_up(self, channel: Channel) -> None:
        if self._desk is not None:
            self._desk.hung_up(channel)


def _same_user(client: socket.socket) -> bool:
    """Say whether the peer runs as our user, or as root."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # macOS and BSD: the socket's mode decides
        return True
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, option, 12))
    return uid in (os.getuid(), 0)
