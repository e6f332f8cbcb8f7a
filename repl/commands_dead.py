"""Commands that send dead letters again or delete them: some by number, or all of them."""

from __future__ import annotations

from ..errors import ConfigError
from .plain import parse, typed
from .progress import Progress
from .registry import Dead, Desk, Json, Mailbox, command
from .render import Listing, Said


@command(changes=True)
def requeue(
    desk: Desk,
    *ids: Dead,
    all: bool = False,  # noqa: A002  (the option's name)
    mailbox: Mailbox | None = None,
    edit: Json | None = None,
) -> Listing:
    """Send dead letters again, their attempts forgotten.

    Args:
        ids: their numbers; or --all and perhaps --mailbox.
        all: every dead letter.
        mailbox: with --all: those of this one only.
        edit: send this JSON instead of the message that failed.

    """
    if edit is not None and all and mailbox is None:
        msg = "--edit with --all needs --mailbox: one message does not fit every mailbox"
        raise ConfigError(msg)
    value = None if edit is None else parse(edit)
    count = _letters(desk, ids, mailbox, everything=all)
    desk.intend(f"requeue {_so_many(count, mailbox)}", count=count, danger=not ids)
    found: list[dict[str, int]] = []
    if not ids:
        change = {} if edit is None else {"edited": typed(desk.rt, str(mailbox), value)}
        with Progress(desk, "sent again", count) as done:

            def note(told: list[tuple[int, int]]) -> None:
                found.extend({"id": new, "was": was} for was, new in told)
                done.say(len(found))

            desk.rt.requeue_all(mailbox, progress=note, **change)
        return Listing(found, "no dead letters")
    for each in ids:
        change = {}
        if edit is not None and (letter := desk.rt.find(each)) is not None:
            change = {"edited": typed(desk.rt, letter.mailbox, value, letter.kind)}
        found.append({"id": desk.rt.requeue(each, **change), "was": each})
    return Listing(found, "no dead letters")


@command(changes=True)
def discard(
    desk: Desk,
    *ids: Dead,
    all: bool = False,  # noqa: A002  (the option's name)
    mailbox: Mailbox | None = None,
) -> Said:
    """Delete dead letters.

    Args:
        ids: their numbers; or --all and perhaps --mailbox.
        all: every dead letter.
        mailbox: with --all: those of this one only.

    """
    count = _letters(desk, ids, mailbox, everything=all)
    desk.intend(f"discard {_so_many(count, mailbox)}", count=count, danger=not ids)
    if not ids:
        with Progress(desk, "deleted", count) as done:
            count = desk.rt.discard_all(mailbox, progress=done.say)
        return Said(f"{_so_many(count, mailbox)} deleted", {"count": count})
    for each in ids:
        if not desk.rt.discard(each):
            msg = f"no dead letter {each}: 'dead' lists them"
            raise LookupError(msg)
    return Said(f"{_so_many(count, mailbox)} deleted", {"discarded": list(ids)})


def _letters(desk: Desk, ids: tuple[int, ...], mailbox: str | None, *, everything: bool) -> int:
    """Return how many dead letters are meant; refuses to guess."""
    if ids:
        if everything or mailbox is not None:
            msg = "give numbers, or --all with or without --mailbox, not both"
            raise ConfigError(msg)
        return len(ids)
    if not everything:
        msg = "which dead letters? give numbers, or --all with or without --mailbox"
        raise ConfigError(msg)
    if mailbox is not None:
        desk.rt.peek(mailbox, 0)  # which says so when there is no such mailbox
    return sum(each.dead for each in desk.rt.mailboxes() if mailbox in (None, each.name))


def _so_many(count: int, mailbox: str | None) -> str:
    what = "1 dead letter" if count == 1 else f"{count} dead letters"
    return what if mailbox is None else f"{what} of {mailbox!r}"
