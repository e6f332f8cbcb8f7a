"""What a typed id may mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..runtime.records import MessageInfo
    from ..runtime.runtime import Runtime

# A message's number has fewer digits than this.
_DIGITS = 19
_WAIT = ("waiting", "running", "later")


def meanings(id: str) -> tuple[int | str, ...]:
    """Return what an id may mean: a number first, then a sender's text."""
    if id.isascii() and id.isdigit() and len(id) < _DIGITS:
        return int(id), id
    return (id,)


def number(id: str) -> int:
    """Return the number that was typed.

    Raises:
        ConfigError: it is none.

    """
    found = meanings(id)[0]
    if isinstance(found, str):
        msg = f"a message's number is needed, got {id!r}: 'timers', 'peek' and 'dead' list them"
        raise ConfigError(msg)
    return found


def waiting(rt: Runtime, mailbox: str, id: str | None) -> MessageInfo:
    """Return the one message that waits, or comes later, under what was typed.

    Args:
        rt: in whose store.
        mailbox: where it waits; with no ``id`` its number, or an id that one mailbox alone has.
        id: its number, or its sender's id.

    Raises:
        LookupError: nothing waits under it.
        ConfigError: several mailboxes have the id.
        MailboxNotFound: nobody declares the mailbox.

    """
    if id is not None:
        found = [rt.find(each, mailbox=mailbox) for each in meanings(id)]
    else:
        target = meanings(mailbox)[0]
        boxes = [each.name for each in rt.mailboxes()] if isinstance(target, str) else [None]
        found = [rt.find(target, mailbox=box) for box in boxes]
    those = [each for each in found if each is not None and each.state in _WAIT]
    typed, where = (mailbox, "") if id is None else (id, f" in {mailbox!r}")
    if not those:
        msg = f"no message {typed!r} waits{where}: 'timers' and 'peek' list what does"
        raise LookupError(msg)
    if id is None and len(those) > 1:
        names = " and ".join(each.mailbox for each in those)
        msg = f"{typed!r} waits in {names}: name the mailbox before it"
        raise ConfigError(msg)
    return those[0]
