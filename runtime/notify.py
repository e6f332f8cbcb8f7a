"""What systemd asks of a daemon: ready, stopping, alive, and a line of status.

`rt.run()` says it where ``NOTIFY_SOCKET`` is set (``Type=notify`` in the unit), and costs nothing
elsewhere. The protocol is one datagram for each thing said:
https://www.freedesktop.org/software/systemd/man/latest/sd_notify.html
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..events import Event

logger = logging.getLogger("callboard")


class Notifier:
    """The service manager's ear; says nothing where there is none.

    Args:
        environment: where ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID`` are looked for.

    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        """Read the environment; open nothing where no manager listens."""
        self._address = _address(environment.get("NOTIFY_SOCKET", ""))
        self._every = _every(environment) if self._address else None
        self._socket: socket.socket | None = None
        self._ended = threading.Event()
        self._watchdog: threading.Thread | None = None
        if self._address:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def say(self, *lines: str) -> None:
        """Send lines such as ``READY=1``; a manager that does not listen is logged, no more."""
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            logger.warning("the service manager at NOTIFY_SOCKET did not listen: %s", error)

    def tell_role(self, event: Event) -> None:
        """Say as the status which role the runtime has taken. Runs: on the events thread."""
        if event["role"] == "owner":
            self.say("STATUS=owner: handles messages")
        else:
            self.say(f"STATUS=standby: takes over when process {event['owner']} ends")

    def watch(self, alive: Callable[[], bool]) -> None:
        """Pet the watchdog, twice in its time, for as long as ``alive()`` says so."""
        if self._every is None:
            return
        self._watchdog = threading.Thread(
            target=self._pet, args=(self._every, alive), name="callboard-watchdog", daemon=True
        )
        self._watchdog.start()

    def close(self) -> None:
        """End the watchdog's thread and close the socket."""
        self._ended.set()
        if self._watchdog is not None:
            self._watchdog.join(5.0)
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _pet(self, every: float, alive: Callable[[], bool]) -> None:
        while True:
            if alive():
                self.say("WATCHDOG=1")
            if self._ended.wait(every):
                return


def _address(found: str) -> str:
    """Return the socket's address, of which ``@`` marks an abstract one; empty when there is none.

    systemd also knows ``vsock:`` for whole virtual machines, and a service never sees that.
    """
    if not found.startswith(("/", "@")):
        if found:
            logger.warning("NOTIFY_SOCKET=%s is neither a path nor an abstract socket", found)
        return ""
    return "\0" + found[1:] if found.startswith("@") else found


def _every(environment: Mapping[str, str]) -> float | None:
    """Return the seconds between two signs of life: half of what the manager waits for."""
    given = environment.get("WATCHDOG_USEC", "")
    if not given.isdigit() or int(given) == 0:
        return None
    # Set for another process of the unit: it is that one's watchdog.
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(given) / 2e6
