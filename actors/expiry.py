"""Messages whose time is over: removed when it is, whatever keeps them waiting.

A worker looks once more before it runs a message; here go those that no worker comes to, because
their mailbox is paused, their key blocked, or much waits before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .mail import Refill

if TYPE_CHECKING:
    from ..persistence.store import Message
    from .mailbox import MailboxActor

#: So many are removed at once.
_MOST = 500


class Expiry:
    """Removes what has expired in one mailbox.

    Args:
        mailbox: whose; its lock guards its window.

    Attributes:
        next: when to look; None: nothing waits that expires.

    """

    def __init__(self, mailbox: MailboxActor) -> None:
        """Look first of all: what waits is not known yet."""
        self.next: int | None = 0
        self._removing = False
        self._mailbox = mailbox

    def saw(self, messages: list[Message]) -> bool:
        """Note when what was told expires; says whether to look earlier than was known."""
        ends = [m.expires_at for m in messages if m.expires_at is not None]
        if not ends or (self.next is not None and self.next <= min(ends)):
            return False
        self.next = min(ends)
        return True

    def run(self) -> None:
        """Remove what has expired, if it is time to look. Runs: as the mailbox's actor."""
        mailbox = self._mailbox
        now, store = mailbox.environment.clock.now(), mailbox.environment.store
        with mailbox.lock:
            if self._removing or self.next is None or self.next > now:
                return
            self.next = None  # what is told from now on is noted anew
        found = store.expired(mailbox.id, now, _MOST)
        waiting = [message for message in found if self._take_out(message)]
        # What is in hand ends by itself; the next batch comes when this one is on disk.
        self._removing = bool(waiting) and len(found) == _MOST
        if not self._removing:
            self._look_at(store.next_expiry(mailbox.id, now))
        for message in waiting:
            last = self._removing and message is waiting[-1]
            mailbox.settling.expired(message, self._removed if last else None)

    def _take_out(self, message: Message) -> bool:
        with self._mailbox.lock:
            return self._mailbox.window.take_out(message)

    def _removed(self) -> None:
        """Go on with the next batch. Runs: on the committing thread."""
        self._removing = False
        self._look_at(0)
        self._mailbox.post(Refill())

    def _look_at(self, at: int | None) -> None:
        with self._mailbox.lock:
            if at is not None and (self.next is None or at < self.next):
                self.next = at
