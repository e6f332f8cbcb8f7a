"""The one subscriber that logs. Everything goes to the logger ``callboard``.

A hundred thousand failing messages log one line a second for each mailbox, with a count.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events import Event, Events

logger = logging.getLogger("callboard")
logger.addHandler(logging.NullHandler())

_LEVELS = {
    "runtime.": logging.INFO,
    "owner.": logging.INFO,
    "owner.lost": logging.ERROR,
    "store.": logging.WARNING,
    "message.failed": logging.WARNING,
    "message.dead": logging.ERROR,
    "message.unknown": logging.WARNING,
    "schedule.changed": logging.INFO,
    "schedule.stopped": logging.WARNING,
    "schedule.skipped": logging.WARNING,
    "schedule.missed": logging.WARNING,
    "schedule.paused": logging.INFO,
    "schedule.resumed": logging.INFO,
    "mailbox.paused": logging.INFO,
    "mailbox.resumed": logging.INFO,
    "mailbox.faulted": logging.ERROR,
    "actor.restarted": logging.WARNING,
    "actor.faulted": logging.ERROR,
    "actor.repaired": logging.INFO,
    "supervisor.failed": logging.ERROR,
    "handler.abandoned": logging.ERROR,
    "threads.short": logging.WARNING,
    "events.dropped": logging.WARNING,
}
_RARE = ("runtime.", "owner.", "store.")


class LogSubscriber:
    """Turns events into log lines, at most one a second for each event and mailbox."""

    def __init__(self, events: Events, store: str) -> None:
        """Subscribe to what is worth a line."""
        self._store = store
        self._last: dict[tuple[str, str], float] = {}
        self._held: dict[tuple[str, str], int] = {}
        self._offs: list[Callable[[], None]] = [
            events.subscribe(self._log, prefix) for prefix in _LEVELS if prefix != "owner.lost"
        ]

    def close(self) -> None:
        """End the subscriptions."""
        for off in self._offs:
            off()

    def _log(self, event: Event) -> None:
        level = _LEVELS.get(event.name) or _LEVELS[event.name.split(".", 1)[0] + "."]
        fields = " ".join(f"{name}={value!r}" for name, value in event.fields.items())
        if event.name.startswith(_RARE):
            logger.log(level, "%s %s %s", self._store, event.name, fields)
            return
        what = (
            event.name,
            str(
                event.fields.get("mailbox")
                or event.fields.get("actor")
                or event.fields.get("schedule")
                or ""
            ),
        )
        now = monotonic()
        if now - self._last.get(what, -1.0) < 1.0:
            self._held[what] = self._held.get(what, 0) + 1
            return
        self._last[what] = now
        more = self._held.pop(what, 0)
        also = f" (and {more} more since the last line)" if more else ""
        logger.log(level, "%s %s %s%s", self._store, event.name, fields, also)
