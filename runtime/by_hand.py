"""What changes that people ask for have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..clock import Clock
    from ..events import Events
    from ..persistence.sqlite import SqliteStore
    from .host import Host
    from .looking import Looking
    from .sender import Sender


class ByHand:
    """The parts that a change by hand needs.

    Args:
        home: the runtime.
        store: read for what is to be changed.
        host: whose committer writes, and who is told of it.
        sender: reads delays, and checks what is sent.
        looking: finds mailboxes.
        clock: reads time.
        events: told here.

    """

    def __init__(  # noqa: PLR0917  (built by one caller)
        self, home: object, store: SqliteStore, host: Host, sender: Sender, looking: Looking,
        clock: Clock, events: Events,
    ) -> None:  # fmt: skip
        """Do nothing yet."""
        self._home = home
        self._store = store
        self._host = host
        self._sender = sender
        self._looking = looking
        self._clock = clock
        self._events = events
