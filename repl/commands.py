"""The commands: one function each, whose docstring is its help and whose signature is its syntax.

A function takes the desk first and returns what :mod:`.render` can show; it prints nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .registry import Dead, Desk, Id, Json, Key, Mailbox, Schedule, Target, When, command
from .render import Listing, Said, Value


@command(outer=True)
def demo(
    desk: Desk,
    *,
    dir: Path | None = None,  # noqa: A002  (the option's name)
    kills: int = 5,
    store: Path | None = None,
    seed: int | None = None,
) -> None:
    """Count real source files while the counting service is killed again and again.

    Four workers measure each file and tell the actor of its package; a second process posts half of
    the files; the service is killed with SIGKILL at random moments. In the end every total is
    compared with a plain count of the same files: exit code 0 only if all are equal.

    Args:
        dir: whose .py files are counted; default: the standard library.
        kills: how often the service is killed.
        store: keep the store here; default: a temporary one.
        seed: make the same choices again; each run prints its seed.

    """
    from .demo import run_demo

    if store is None and desk.named is not None:
        store = Path(desk.named)
    run_demo(desk.show, folder=dir, kills=kills, store=store, seed=seed)


@command(outer=True)
def run(desk: Desk, target: str) -> None:
    """Run a Runtime of your code until Ctrl-C or SIGTERM; its log goes to stderr.

    Args:
        target: MODULE:ATTR, such as app:rt; modules are found from this folder too.

    """
    import logging

    from .target import load

    if desk.named is not None:
        msg = f"{target} says itself which store it uses: run it without -s"
        raise ConfigError(msg)
    runtime = load(target)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    runtime.run()


@command
def mailboxes(desk: Desk) -> Listing:
    """List the mailboxes: what waits, runs, is for later, is dead; age is in seconds."""
    return Listing(desk.rt.mailboxes(), "no mailboxes: no service has declared any here yet")


@command
def timers(desk: Desk, mailbox: Mailbox | None = None) -> Listing:
    """List future calls and retries that are not yet due, nearest first; times are UTC.

    Args:
        mailbox: of this one only.

    """
    return Listing(desk.rt.timers(mailbox), "no future calls and no retries")


@command
def schedules(desk: Desk) -> Listing:
    """List the schedules: when each ticks next and has ticked last, in UTC; paused or not."""
    return Listing(desk.rt.schedules(), "no schedules: no service has declared any here yet")


@command
def next(desk: Desk, schedule: Schedule, *, n: int = 10) -> Listing:  # noqa: A001  (its name)
    """Show the next instants of a schedule, in UTC and as the clock in its zone shows them.

    Args:
        schedule: its name.
        n: how many.

    """
    found = [
        {"at": at.astimezone(UTC), "there": at.isoformat(sep=" ")}
        for at in desk.rt.next_runs(schedule, n)
    ]
    return Listing(found, "none asked for")


@command
def dead(desk: Desk, mailbox: Mailbox | None = None) -> Listing:
    """List the dead letters, oldest first; as JSON with their tracebacks.

    Args:
        mailbox: of this one only.

    """
    return Listing(desk.rt.dead(mailbox), "no dead letters")


@command
def peek(desk: Desk, mailbox: Mailbox, *, n: int = 10) -> Listing:
    """Show the first messages of a mailbox without touching them.

    Args:
        mailbox: its name.
        n: how many.

    """
    return Listing(desk.rt.peek(mailbox, n), f"nothing waits in {mailbox!r}")


@command
def state(desk: Desk, mailbox: Mailbox, key: Key | None = None) -> Value:
    """Show an actor's committed state as JSON.

    Args:
        mailbox: its name.
        key: whose, in a keyed mailbox.

    """
    found = desk.rt.state(mailbox, key)
    if found is None:
        whose = f"{mailbox!r}" if key is None else f"{key!r} of {mailbox!r}"
        msg = f"no state of {whose} is stored: it has handled no message that made one"
        raise LookupError(msg)
    return Value(found)


@command
def find(desk: Desk, id: Id) -> Any:
    """Show one message, waiting or dead, by its number or, while it waits, by its sender's id.

    Args:
        id: the number or the id.

    """
    for target in _meanings(id):
        found = desk.rt.find(target)
        if found is not None:
            return found
    msg = f"no message {id!r} waits or is dead: it was handled, cancelled or never told"
    raise LookupError(msg)


@command
def tell(
    desk: Desk,
    mailbox: Mailbox,
    message: Json,
    *,
    key: Key | None = None,
    after: When | None = None,
    at: When | None = None,
    id: str | None = None,
) -> Said:
    """Send a message, durably; the process that owns the store handles it at once.

    Args:
        mailbox: its name.
        message: JSON, such as '"hello"', 3 or '{"n": 3}'.
        key: for which actor, in a keyed mailbox.
        after: not before so long: 30 (seconds), 30m, 7d.
        at: not before this instant, with its zone: 2030-01-31T09:00+01:00.
        id: a name for it; one of that name that waits is replaced.

    """
    from .plain import parse, typed

    value = typed(desk.rt, mailbox, parse(message))
    when = None if at is None else _instant(at)
    number = desk.rt.tell(mailbox, value, key=key, after=_delay(after), at=when, id=id)
    return Said(f"told {mailbox}: message {number}", {"id": number, "mailbox": mailbox})


@command
def cancel(desk: Desk, mailbox: Mailbox, id: Id) -> Said:
    """Remove a waiting message or a future call.

    Args:
        mailbox: its name.
        id: the message's number, or its sender's id.

    """
    if not any(desk.rt.cancel(mailbox, target) for target in _meanings(id)):
        msg = f"no message {id!r} waits in {mailbox!r}: 'timers' and 'peek' list what does"
        raise LookupError(msg)
    return Said(f"cancelled {id} of {mailbox}", {"cancelled": id, "mailbox": mailbox})


@command
def requeue(desk: Desk, id: Dead) -> Said:
    """Send a dead letter again, its attempts forgotten.

    Args:
        id: its number.

    """
    number = desk.rt.requeue(id)
    return Said(f"dead letter {id} waits again: message {number}", {"id": number, "was": id})


@command
def discard(desk: Desk, id: Dead) -> Said:
    """Delete a dead letter.

    Args:
        id: its number.

    """
    if not desk.rt.discard(id):
        msg = f"no dead letter {id}: 'dead' lists them"
        raise LookupError(msg)
    return Said(f"dead letter {id} is deleted", {"discarded": id})


@command
def pause(desk: Desk, mailbox: Target) -> Said:
    """Have a mailbox take no new turns, or a schedule not tick, durably; what is told waits.

    Args:
        mailbox: its name, or that of a schedule.

    """
    desk.rt.pause(mailbox)
    return Said(f"{mailbox} is paused", {"mailbox": mailbox, "paused": True})


@command
def resume(desk: Desk, mailbox: Target) -> Said:
    """Have a paused mailbox or schedule go on.

    Args:
        mailbox: its name.

    """
    desk.rt.resume(mailbox)
    return Said(f"{mailbox} goes on", {"mailbox": mailbox, "paused": False})


def _meanings(id: str) -> tuple[int | str, ...]:
    """Return what an id may mean: a number first, then a sender's text."""
    return (int(id), id) if id.isascii() and id.isdigit() and len(id) < 19 else (id,)  # noqa: PLR2004


def _delay(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        msg = f"--at takes an instant such as 2030-01-31T09:00+01:00, got {text!r}"
        raise ConfigError(msg) from error
