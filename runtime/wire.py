"""A client's ring on the owner's socket: "I have told something, look".

Nothing is answered to it, and nothing durable hangs on it: an owner looks four times a second by
itself. The owner's end is bell.py.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: An empty frame; see frames.py.
RING = b"\0\0\0\0"
# Seconds for which nobody is looked for again. An owner that begins meanwhile reads all there is.
_ABSENT = 0.005


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
        self._absent_until = 0.0

    def ring(self) -> None:
        """Ring, if somebody owns the store."""
        if self._socket is None and monotonic() < self._absent_until:
            return
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
        path = self._path()
        # A tenth of the cost of knocking in vain, for a client without an owner.
        if not os.path.exists(path):  # noqa: PTH110  (half the cost of Path.exists)
            self._absent_until = monotonic() + _ABSENT
            return False
        client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        client.setblocking(False)
        try:
            client.connect(str(path))
        except OSError:
            client.close()
            return False
        self._socket = client
        return True

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
