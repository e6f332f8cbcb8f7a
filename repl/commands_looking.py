"""Commands that look, and change nothing."""

from __future__ import annotations

import typing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from ..clock import monotonic, sleep
from ..errors import ConfigError, NotStarted
from ..events import EVENTS
from ..runtime.looking import MOST
from .ids import meanings, number
from .registry import Desk, Id, Key, Mailbox, Schedule, command
from .render import Listing, Value, fields
from .times import moment, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from ..runtime.records import ActorInfo, MailboxInfo

By = typing.Literal["depth", "age", "later", "dead", "rate", "errors"]
_BY: dict[str, Callable[[MailboxInfo], float]] = {
    "depth": lambda found: found.waiting,
    "age": lambda found: found.oldest_age or 0.0,
    "later": lambda found: found.later,
    "dead": lambda found: found.dead,
}
# Seconds between two looks at the owner's counters, at most.
_LONGEST_LOOK = 60.0
# Of what a runtime says of itself: the console's own part is nobody's question.
_OF_THE_CONSOLE = ("role", "commits")
_ACTORS = """
SELECT b.name AS mailbox, s.key, s.kind AS state, length(s.body) AS bytes
FROM callboard_state s JOIN callboard_mailbox b ON b.id = s.mailbox
ORDER BY b.name, s.key"""


@command
def status(desk: Desk) -> Any:
    """Show the store and its owner in numbers: handled and failed runs since that has started."""
    found = {name: value for name, value in fields(desk.rt.stats()).items()
             if name not in _OF_THE_CONSOLE}  # fmt: skip
    counts = [] if desk.owner is None else list(_counts(desk, patient=True).values())
    sums = [sum(each) for each in zip(*counts, strict=True)] or [None, None]
    return found | dict(zip(("handled", "failed"), sums, strict=True))


@command
def top(desk: Desk, *, by: By = "depth", n: int = 10, over: float = 1.0) -> Listing:
    """List the mailboxes that have most of something.

    What is handled and fails a second is what the running owner has counted in between two looks
    at it.

    Args:
        by: what waits, how old the oldest of it is, what is for later, what is dead; or what is
            handled a second, or fails a second.
        n: how many.
        over: with rate and errors: seconds between the two looks.

    """
    if by in ("rate", "errors"):
        desk.need_owner(f"top --by {by}")
        pace = sorted(_paces(desk, over), key=lambda found: found[by], reverse=True)
        return Listing(pace[: max(0, n)], "no mailboxes live in the owner")
    found = sorted(desk.rt.mailboxes(), key=_BY[by], reverse=True)
    return Listing(found[: max(0, n)], "no mailboxes: no service has declared any here yet")


@command
def tree(desk: Desk) -> Listing:
    """Show the supervision tree: state, restarts, depth, and what each worker runs since when."""
    depths = {each.name: each.waiting for each in desk.rt.mailboxes()}
    return Listing(list(_branches(desk.rt.tree(), 0, depths)), "nothing is declared")


@command
def mailboxes(desk: Desk) -> Listing:
    """List the mailboxes: what waits, runs, is for later, is dead; age is in seconds."""
    return Listing(desk.rt.mailboxes(), "no mailboxes: no service has declared any here yet")


@command
def actors(desk: Desk, *, n: int = 100) -> Listing:
    """List the actors that have a stored state, by mailbox and key.

    Args:
        n: how many.

    """
    return _answer(desk, _ACTORS, max(0, n), "no actor has a state yet")


@command
def timers(desk: Desk, mailbox: Mailbox | None = None, *, n: int = MOST) -> Listing:
    """List future calls and retries that are not yet due, nearest first; times are UTC.

    Args:
        mailbox: of this one only.
        n: how many.

    """
    return _first(desk, desk.rt.timers(mailbox), n, "no future calls and no retries")


@command
def schedules(desk: Desk) -> Listing:
    """List the schedules: when each ticks next and has ticked last, in UTC; paused or not."""
    return Listing(desk.rt.schedules(), "no schedules: no service has declared any here yet")


@command
def next(desk: Desk, schedule: Schedule, *, n: int = 10) -> Listing:  # noqa: A001  (its name)
    """Show the next instants of a schedule, in UTC and as the clock in its zone shows them.

    Where that clock is put forward or back between two of them, ``clocks`` says so.

    Args:
        schedule: its name.
        n: how many.

    """
    found: list[dict[str, Any]] = []
    before: Any = None
    for at in desk.rt.next_runs(schedule, n):
        offset = at.utcoffset()
        moved = None if before is None or offset is None else offset - before
        turned = ""
        if moved:
            turned = "put forward before this" if moved.total_seconds() > 0 else "put back before"
        found.append({"at": at.astimezone(UTC), "there": at.isoformat(sep=" "), "clocks": turned})
        before = offset
    return Listing(found, "none asked for")


@command
def dead(desk: Desk, mailbox: Mailbox | None = None, *, n: int = MOST) -> Listing:
    """List the dead letters, oldest first; as JSON with their tracebacks.

    Args:
        mailbox: of this one only.
        n: how many.

    """
    return _first(desk, desk.rt.dead(mailbox), n, "no dead letters")


@command
def peek(desk: Desk, mailbox: Mailbox, *, n: int = 10) -> Listing:
    """Show the first messages of a mailbox without touching them.

    Args:
        mailbox: its name.
        n: how many.

    """
    return Listing(desk.rt.peek(mailbox, n), f"nothing waits in {mailbox!r}")


@command
def state(desk: Desk, mailbox: Mailbox, key: Key | None = None, *, at: str | None = None) -> Value:
    """Show an actor's committed state as JSON.

    Args:
        mailbox: its name.
        key: whose, in a keyed mailbox.
        at: the state that it had then, where the mailbox retains: yesterday 18:00, 5m ago.

    """
    if key is None and desk.rt._looking.row(mailbox).declaration.keyed:  # noqa: SLF001
        msg = f"mailbox {mailbox!r} is keyed: write state {mailbox} KEY; 'actors' lists the keys"
        raise ConfigError(msg)
    whose = f"{mailbox!r}" if key is None else f"{key!r} of {mailbox!r}"
    if at is not None:
        return _state_at(desk, mailbox, key, whose, moment(at))
    found = desk.rt.state(mailbox, key)
    if found is None:
        msg = f"no state of {whose} is stored: it has handled no message that made one"
        raise LookupError(msg)
    return Value(found)


def _state_at(desk: Desk, mailbox: str, key: str | None, whose: str, at: datetime) -> Value:
    found = desk.rt._past.state_at(mailbox, key, at)  # noqa: SLF001  (of the same package)
    since = shown(found.at)
    if found.state is None:
        msg = f"{whose} had no state then: it was reset by hand at {since}"
        raise LookupError(msg)
    if found.by == "message":
        desk.say(f"as message {found.message} has left it at {since}")
    elif found.by == "ask":
        desk.say(f"as an ask has left it at {since}")
    else:
        desk.say(f"as it was written by hand at {since}")
    return Value(found.state)


@command
def show(desk: Desk, id: Id) -> Any:
    """Show one message in full, by its number or its sender's id; or an actor, by its name.

    An actor is named as MAILBOX, or MAILBOX/KEY in a keyed mailbox.

    Args:
        id: the number, the id or the name; they are tried in this order.

    """
    for target in meanings(id):
        found = desk.rt.find(target)
        if found is not None:
            return found
    known = {each.name for each in desk.rt.mailboxes()}
    if id in known:
        return desk.rt.actor(id)
    for at, char in enumerate(id):
        if char == "/" and id[:at] in known:
            return desk.rt.actor(id[:at], id[at + 1 :])
    msg = (
        f"no message {id!r} waits, is kept or is dead: it was handled, cancelled or never told; "
        "and no mailbox has that name"
    )
    raise LookupError(msg)


@command
def why(desk: Desk, id: Id) -> Listing:
    """Show the chain that led to a message: itself, what told it, what told that.

    It ends at what was told from outside, or is lost where a handled message was not retained.

    Args:
        id: its number.

    """
    return Listing(desk.rt.why(number(id)), "")


@command
def history(
    desk: Desk, mailbox: Mailbox | None = None, key: Key | None = None, *, n: int = 20
) -> Listing:
    """List what a mailbox has handled and retains, newest first; without one, what was typed.

    The lines that were typed in this console are listed oldest first.

    Args:
        mailbox: its name; left out: the lines typed before.
        key: of this actor only.
        n: how many.

    """
    if mailbox is not None:
        found = desk.rt.history(mailbox, key, n)
        return Listing(found, f"nothing that {mailbox!r} handled is kept")
    if desk.console is None:
        msg = "history of which mailbox? the lines that were typed are known to the console alone"
        raise ConfigError(msg)
    past = desk.console.history()
    first = max(0, len(past) - n)
    return Listing(
        [{"line": number, "command": text} for number, text in enumerate(past[first:], first + 1)],
        "nothing was typed yet",
    )


@command
def audit(desk: Desk, *, n: int = 20) -> Listing:
    """List the changes that were made by hand, newest first: when, who, and what was typed.

    Args:
        n: how many.

    """
    return Listing(desk.rt.audits(n), "nothing was changed by hand")


@command
def events(desk: Desk) -> Listing:
    """List the events by which a runtime says what happens, and what each says."""
    del desk  # they are the same for every store
    return Listing([{"event": name, "says": says} for name, says in EVENTS.items()], "")


@command
def sql(desk: Desk, select: str, *, n: int = 1000, timeout: float = 5.0) -> Listing:
    """Ask the store in SQL, on a connection that can only read.

    Args:
        select: one SELECT, in quotes.
        n: at most so many rows.
        timeout: seconds.

    """
    return _answer(desk, select, max(0, n), "no rows", timeout)


def _answer(desk: Desk, select: str, n: int, empty: str, timeout: float = 5.0) -> Listing:
    names, rows, more = desk.rt.select(select, limit=n, timeout=timeout)
    if more:
        desk.say(f"there are more than these {n}: -n shows more")
    return Listing(
        [dict(zip(names, map(_plain, row), strict=True)) for row in rows], empty, whole=True
    )


def _first(desk: Desk, found: Sequence[Any], n: int, empty: str) -> Listing:
    """Show the first of what was found, and say where that is not all."""
    shown = found[: max(0, n)]
    if len(shown) < len(found) or len(found) == MOST:
        desk.say(f"only the first {len(shown):,} are listed")
    return Listing(shown, empty)


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _paces(desk: Desk, over: float) -> list[dict[str, Any]]:
    """Return what each living mailbox has handled a second, and how many of its runs failed."""
    if not 0 < over <= _LONGEST_LOOK:
        msg = f"--over must be over 0 and at most {_LONGEST_LOOK:g} seconds, got {over:g}"
        raise ConfigError(msg)
    begun, before = monotonic(), _counts(desk)
    sleep(over)
    after = _counts(desk)
    passed = monotonic() - begun
    if any(now < was for name in before for now, was in zip(
        after.get(name, before[name]), before[name], strict=True)
    ):  # fmt: skip
        raise NotStarted("the owner has changed between the two looks: try again")
    depths = {each.name: each for each in desk.rt.mailboxes()}
    found = []
    for name, (handled, failed) in after.items():
        was = before.get(name, (0, 0))
        found.append({
            "name": name, "rate": (handled - was[0]) / passed, "errors": (failed - was[1]) / passed,
            "waiting": depths[name].waiting if name in depths else 0,
        })  # fmt: skip
    return found


def _counts(desk: Desk, *, patient: bool = False) -> dict[str, tuple[int, int]]:
    """Return what each living mailbox has handled, and its failed runs, as the owner counts them.

    Args:
        desk: of its store.
        patient: an owner that does not answer is none.

    Raises:
        NotStarted: the owner does not answer, or has ended.

    """
    found: dict[str, tuple[int, int]] = {}
    left = [desk.rt.tree()]
    while left:
        actor = left.pop()
        left += actor.children
        if actor.handled is not None:
            found[actor.name] = (actor.handled, actor.failed or 0)
        elif actor.kind == "mailbox" and not patient:
            raise NotStarted("the owner does not answer within a second: is it stuck, or new?")
    return found


def _branches(actor: ActorInfo, level: int, depths: dict[str, int]) -> Iterator[dict[str, Any]]:
    """Return the tree as lines, each a little further in than the one above it."""
    yield {
        "actor": "  " * level + actor.name, "kind": actor.kind, "state": actor.state,
        "restarts": actor.restarts,
        "depth": depths.get(actor.name) if actor.kind == "mailbox" else None,
        "runs": actor.message, "since": actor.since, "until": actor.until, "error": actor.error,
    }  # fmt: skip
    for each in actor.children:
        yield from _branches(each, level + 1, depths)
