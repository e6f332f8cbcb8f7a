"""The owner's Unix socket.

The socket is made with mode 0600 and the peer's user is checked, so only the owner's user (or root)
gets in. What goes over it is described in frames.py, and served by desk.py.
"""

from __future__ import annotations

import contextlib
import logging
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
# Seconds without looking who knocks, when the process has no descriptor left for one more.
_REST = 0.25
# Seconds that a peer may keep us waiting for its first frame, or for the end of one.
_PATIENCE = 30.0

logger = logging.getLogger("callboard")


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
        self._said = False
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._reactor = Reactor("callboard-bell", self._received, self._hung_up, _PATIENCE)
        try:
            server = _listen(path)
        except BaseException:
            self._reactor.forked()  # not started: only its descriptors are to be closed
            raise
        self._reactor.listen(server, self._accept)
        if desk is not None:
            desk.open(self._reactor.send, self._reactor.hang_up)
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
        except BlockingIOError:
            return
        except OSError as error:  # no descriptor left: it goes on knocking, so do not look
            if not self._said:
                logger.warning("no client can connect to %s: %s", self._path, error)
            self._said = True
            self._reactor.rest(server, _REST)
            return
        full = len(self._reactor.channels) >= _MOST_CLIENTS
        if not _same_user(client) or (full and not self._reactor.make_room()):
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


def _listen(path: Path) -> socket.socket:
    """Return a socket at that path, for this user alone."""
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        mask = os.umask(0o177)
        try:
            server.bind(str(path))
        finally:
            os.umask(mask)
        server.listen(64)
        server.setblocking(False)
    except BaseException:
        server.close()
        raise
    return server


def _same_user(client: socket.socket) -> bool:
    """Say whether the peer runs as our user, or as root."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:  # macOS and BSD: the socket's mode decides
        return True
    _, uid, _ = struct.unpack("3i", client.getsockopt(socket.SOL_SOCKET, option, 12))
    return uid in (os.getuid(), 0)
