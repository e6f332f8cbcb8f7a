"""What is due in the store and held by nobody: for tests that wait until all is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .window import MOST_BLOCKED

if TYPE_CHECKING:
    from ..persistence.store import Message, Place
    from .mailbox import MailboxActor

_PAGE = 500


def overlooked(mailbox: MailboxActor) -> Message | None:
    """Return a message that could run now, but that its mailbox has not loaded.

    Such a one has just been told by another process, or is on its way from the timers; else it was
    forgotten. Reads the store, so ask only when nothing else is left to be done.
    """
    with mailbox.lock:
        blocked = set(mailbox.window.blocked)
        held = set(mailbox.window.held)
        if mailbox.held_back or mailbox.window.loaded:
            return None
    if None in blocked or len(blocked) >= MOST_BLOCKED:
        return None
    skip = tuple(name for name in blocked if name is not None)
    store, now = mailbox.environment.store, mailbox.environment.clock.now()
    for due in (True, False):
        after: Place | None = None
        rows: list[Message] | None = None
        while rows is None or len(rows) == _PAGE:
            if due:
                rows = store.due(mailbox.id, upto=now, after=after, limit=_PAGE, skip=skip)
            else:
                rows = store.waiting(mailbox.id, after=after, limit=_PAGE, skip=skip)
            for row in rows:
                after = row.due_sort if due else row.sort
                if row.number not in held and _may_run(mailbox, row, now):
                    return row
    return None


def _may_run(mailbox: MailboxActor, row: Message, now: int) -> bool:
    if row.retry_at is not None and row.retry_at > now:
        return False
    accepts = mailbox.spec.behaviour.accepts
    return accepts.knows(row.kind, row.version)
