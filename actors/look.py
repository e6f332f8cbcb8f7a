"""The look at the store before a future call's handler runs.

Another process may have cancelled it, and it may have been read from the store before its timer was
heard of, and be done. So each is looked up; but one look serves many, for as long as no other
process has written since (:meth:`Store.others`): a page of due messages is such a look, and who has
to be looked up takes along those that stand next.

What was seen is noted on the message, while it is *loaded* in the window. From then on until it is
taken this process runs and settles no other copy of it, and whoever cancels it here marks it as
gone; a cancel that was begun as a client counts as another process's. The note goes when it is
taken: a copy that comes from elsewhere, and one that comes again for its retry, have none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..persistence.store import Message
    from .mailbox import MailboxActor

#: So many that stand next are looked up together with one.
AHEAD = 32


class Look:
    """One look at the store; what bears it was there.

    Attributes:
        others: what :meth:`Store.others` said before it; None: it is not over, or stands for
            nothing.

    """

    __slots__ = ("others",)

    def __init__(self, others: int | None = None) -> None:
        """Begin to look."""
        self.others = others


def still_there(mailbox: MailboxActor, message: Message) -> bool:
    """Say whether a message that was taken from the window is in the store.

    One with an id is looked up by itself, always. Without one it may have been seen before: then
    nobody who has cancelled it since has been told so. Runs: on a handler thread.
    """
    look, message.look = message.look, None
    store = mailbox.environment.store
    others = None if message.name is not None else store.others()
    if others is None:
        return bool(store.present([message.number]))
    if look is not None and look.others == others:
        return True
    return message.number in _look_ahead(mailbox, message, others)


def _look_ahead(mailbox: MailboxActor, message: Message, others: int) -> set[int]:
    """Look up a message and those that stand next; returns the numbers that are there."""
    look = Look()
    with mailbox.lock:
        ahead = [each for each in mailbox.window.upcoming(AHEAD) if each.name is None]
        # Now, and not when they are found: who is taken meanwhile loses it, and looks by itself.
        for each in ahead:
            each.look = look
    there = mailbox.environment.store.present([message.number, *[each.number for each in ahead]])
    for each in ahead:
        if each.number not in there:
            each.look = None
    look.others = others
    return there
