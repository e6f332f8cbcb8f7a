"""Commands that show what happens while it happens, from the owner's events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..clock import instant
from ..errors import ConfigError
from .registry import Desk, Key, Mailbox, command
from .render import Listing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..events import Event
    from ..runtime.feed import Feed

#: Events that speak of something that went wrong.
ERRORS = (
    "message.failed", "message.dead", "message.expired", "message.dropped", "message.unknown",
    "ask.failed", "mailbox.faulted", "actor.restarted", "actor.faulted", "supervisor.failed",
    "handler.abandoned", "threads.short", "store.refused", "owner.lost", "events.dropped",
)  # fmt: skip
#: How a turn may end, by the event that says so.
_ENDS = {
    "message.handled": "handled", "message.failed": "failed", "message.later": "later",
    "message.dead": "dead", "message.void": "void",
}  # fmt: skip


@command
def tail(
    desk: Desk,
    mailbox: Mailbox | None = None,
    *,
    errors: bool = False,
    f: bool = False,
    n: int = 10,
    max: int = 0,  # noqa: A002  (the option's name)
) -> Any:
    """Show what was handled or given up last; with -f what happens, as it happens.

    Without -f it shows what the store keeps: dead letters, and handled messages where they are
    retained. With -f events come from the owner, at most 2,000 a second; where some are left out,
    that is said.

    Args:
        mailbox: of this one only.
        errors: only what went wrong.
        f: go on, until Ctrl-C.
        n: without -f: how many.
        max: with -f: end after so many.

    """
    if not f:
        return Listing(_last(desk, mailbox, n, errors=errors), "the store keeps nothing of it")
    desk.need_owner("tail -f")
    if mailbox is not None:
        desk.rt.peek(mailbox, 0)  # which says so when there is no such mailbox
    return _follow(desk, mailbox, max, errors=errors)


@command(live=True)
def trace(
    desk: Desk,
    mailbox: Mailbox,
    key: Key | None = None,
    *,
    max: int = 100,  # noqa: A002  (the option's name)
) -> Any:
    """Show the next turns of an actor as they end: message, outcome, seconds, what it told.

    Args:
        mailbox: its name.
        key: of this actor only.
        max: end after so many turns.

    """
    desk.rt.peek(mailbox, 0)  # which says so when there is no such mailbox
    if max < 1:
        msg = f"--max must be a number from 1, got {max}"
        raise ConfigError(msg)
    return _turns(desk, mailbox, key, max)


def _follow(desk: Desk, mailbox: str | None, most: int, *, errors: bool) -> Iterator[Any]:
    shown = 0
    with desk.rt.watch() as feed:
        for event in _spoken(desk, feed):
            if errors and event.name not in ERRORS:
                continue
            if mailbox is not None and event.fields.get("mailbox") != mailbox:
                continue
            yield {"event": event.name, "at": instant(event.at), **event.fields}
            shown += 1
            if shown == most:
                return


def _turns(desk: Desk, mailbox: str, key: str | None, most: int) -> Iterator[Any]:
    shown = 0
    with desk.rt.watch("message.") as feed:
        for event in _spoken(desk, feed):
            fields = event.fields
            outcome = _ENDS.get(event.name)
            if outcome is None or fields["mailbox"] != mailbox:
                continue
            if key is not None and fields.get("key") != key:
                continue
            yield {
                "at": instant(event.at), "id": fields["id"], "key": fields.get("key"),
                "outcome": outcome, "took": fields.get("took"),
                "told": fields.get("told", ()), "error": fields.get("error"),
            }  # fmt: skip
            shown += 1
            if shown == most:
                return


def _spoken(desk: Desk, feed: Feed[Event]) -> Iterator[Event]:
    """Hand on the events of a feed, and say where some are missing."""
    dropped = gaps = 0
    for event in feed:
        if feed.dropped != dropped:
            desk.say(f"{feed.dropped - dropped} events were left out here: they came too fast")
            dropped = feed.dropped
        if feed.gaps != gaps:
            desk.say("the owner has changed here: what happened meanwhile is missing")
            gaps = feed.gaps
        yield event


def _last(desk: Desk, mailbox: str | None, n: int, *, errors: bool) -> list[Any]:
    """Return the last dead letters and kept messages, the oldest first."""
    found: list[dict[str, Any]] = [
        {"event": "message.dead", "at": each.failed_at, "mailbox": each.mailbox, "id": each.id,
         "key": each.key, "error": each.error}
        for each in desk.rt.dead(mailbox)
    ]  # fmt: skip
    names = [each.name for each in desk.rt.mailboxes()] if mailbox is None else [mailbox]
    for name in () if errors else names:
        try:
            kept = desk.rt.history(name, n=n)
        except ConfigError:
            continue  # it keeps nothing
        found += [
            {"event": "message.handled", "at": each.handled_at, "mailbox": name, "id": each.id,
             "key": each.key, "error": None}
            for each in kept
        ]  # fmt: skip
    found.sort(key=lambda each: each["at"])
    return found[-n:] if n > 0 else []
