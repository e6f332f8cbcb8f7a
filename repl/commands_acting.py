"""Commands that change something: each says first what it is about to do, and is audited."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import monotonic, sleep
from ..errors import CallboardError, ConfigError
from .ids import waiting
from .plain import body, spoken
from .progress import Progress
from .registry import (
    Desk,
    Field,
    Id,
    Key,
    Mailbox,
    Schedule,
    Target,
    Topic,
    Waiting,
    When,
    command,
)
from .render import Said, Value
from .times import moment, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ..runtime.records import MessageInfo

# Seconds between two looks at a mailbox that is being emptied, and between two lines about it.
_LOOK, _SAY = 0.1, 2.0


class NotEmpty(CallboardError, TimeoutError):
    """A mailbox was not empty in time."""


@command(changes=True)
def tell(
    desk: Desk,
    mailbox: Mailbox,
    *message: Field,
    key: Key | None = None,
    after: When | None = None,
    at: When | None = None,
    id: str | None = None,
    priority: int = 0,
) -> Said:
    """Send a message, durably; the process that owns the store handles it at once.

    Args:
        mailbox: its name.
        message: JSON, such as '"hello"', 3 or '{"n": 3}'; or its fields: item=nut count=3. Its
            kind may stand before it, where the mailbox takes several.
        key: for which actor, in a keyed mailbox.
        after: not before so long: 30 (seconds), 30m, 7d.
        at: not before then: 2030-01-31T09:00+01:00, or "tomorrow 09:00 Europe/Berlin".
        id: a name for it; one of that name that waits is replaced.
        priority: higher goes first.

    """
    value = spoken(desk.rt, mailbox, message)
    desk.intend(f"tell {mailbox!r} a message")
    told = desk.rt.tell(
        mailbox, value, key=key, after=_delay(after), at=None if at is None else moment(at), id=id,
        priority=priority,
    )  # fmt: skip
    later = after is not None or at is not None
    waits = desk.rt.find(told) if later else None
    due = None if waits is None else waits.due
    said = "" if due is None else f", due {shown(due)}"
    return Said(f"told {mailbox}: message {told}{said}", {
        "id": told, "mailbox": mailbox, **({"due": due} if later else {}),
    })  # fmt: skip


@command(changes=True, live=True)
def ask(
    desk: Desk, mailbox: Mailbox, *message: Field, key: Key | None = None, timeout: float = 5.0
) -> Value:
    """Ask an actor and show its answer; its handler runs in the owner.

    Args:
        mailbox: its name.
        message: as for tell.
        key: which actor, in a keyed mailbox.
        timeout: seconds to wait for the answer.

    """
    value = spoken(desk.rt, mailbox, message)
    desk.intend(f"ask {mailbox!r}")
    return Value(desk.rt.ref(mailbox, key).ask(value, timeout=timeout))


@command(changes=True)
def publish(desk: Desk, topic: Topic, *message: Field) -> Said:
    """Send a copy of a message to each mailbox that has subscribed to a topic, durably.

    Args:
        topic: such as order.placed.
        message: as for tell.

    """
    subscribed = desk.rt._registry.subscribers(topic)  # noqa: SLF001  (of the same package)
    value = spoken(desk.rt, subscribed[0], message) if subscribed else body(message)
    desk.intend(f"publish on {topic!r}")
    count = desk.rt.publish(topic, value)
    copies = "1 copy" if count == 1 else f"{count} copies"
    return Said(f"published on {topic}: {copies}", {"topic": topic, "copies": count})


@command(changes=True)
def cancel(desk: Desk, mailbox: Waiting, id: Id | None = None) -> Said:
    """Remove a waiting message or a future call.

    Args:
        mailbox: where it waits, with its id after it; or its number alone.
        id: its sender's id, or its number.

    """
    found = waiting(desk.rt, mailbox, id)
    desk.intend(f"cancel {_named(found)}", count=1)
    if not desk.rt.cancel(found.mailbox, found.id):
        msg = f"{_named(found)} was handled, cancelled or replaced just now"
        raise LookupError(msg)
    return Said(f"cancelled {_named(found)}", {
        "cancelled": found.id, "id": found.name, "mailbox": found.mailbox,
    })  # fmt: skip


@command(changes=True)
def reschedule(
    desk: Desk, mailbox: Waiting, id: Id | None = None, *, after: When | None = None,
    at: When | None = None,
) -> Said:  # fmt: skip
    """Move a future call or a retry to another time, durably; it gets a new number.

    Args:
        mailbox: where it waits, with its id after it; or its number alone.
        id: its sender's id, or its number.
        after: so long from now: 30 (seconds), 30m, 7d.
        at: at this time, as for tell.

    """
    if (after is None) == (at is None):
        msg = "reschedule takes --after or --at, one of the two"
        raise ConfigError(msg)
    when: datetime | None = None if at is None else moment(at)
    found = waiting(desk.rt, mailbox, id)
    desk.intend(f"move {_named(found)}", count=1)
    new = desk.rt.reschedule(found.id, after=_delay(after), at=when)
    moved = desk.rt.find(new)
    due = when if moved is None else moved.due
    said = "" if due is None else f", due {shown(due)}"
    return Said(f"{_named(found)} is now {new}{said}", {"id": new, "was": found.id, "due": due})


@command(changes=True)
def fire(desk: Desk, mailbox: Waiting, id: Id | None = None) -> Said:
    """Have a future call or a retry be due now; it gets a new number.

    Args:
        mailbox: where it waits, with its id after it; or its number alone.
        id: its sender's id, or its number.

    """
    found = waiting(desk.rt, mailbox, id)
    desk.intend(f"fire {_named(found)} now", count=1)
    new = desk.rt.fire(found.id)
    return Said(f"{_named(found)} is due now, as {new}", {"id": new, "was": found.id})


@command(changes=True)
def trigger(desk: Desk, schedule: Schedule) -> Said:
    """Have a schedule tick now; its next instant stays.

    Args:
        schedule: its name.

    """
    desk.intend(f"have {schedule!r} tick now")
    desk.rt.trigger(schedule)
    return Said(f"{schedule} ticks{_when(desk)}", {"schedule": schedule})


@command(changes=True)
def purge(desk: Desk, mailbox: Mailbox, *, older: str) -> Said:
    """Cancel what waits in a mailbox and was told so long ago; timers stay.

    Args:
        mailbox: its name.
        older: the age: 12h, 7d; 0 for all that waits.

    """
    age = _delay(older)
    count = desk.rt.purgeable(mailbox, older=age or 0.0)
    desk.intend(f"cancel {count} waiting messages of {mailbox!r}", count=count, danger=True)
    with Progress(desk, "cancelled", count) as done:
        gone = desk.rt.purge(mailbox, older=age or 0.0, progress=done.say)
    return Said(f"cancelled {gone} messages of {mailbox}", {"cancelled": gone, "mailbox": mailbox})


@command(live=True)
def drain(desk: Desk, mailbox: Mailbox, *, timeout: float = 60.0) -> Said:
    """Wait until nothing waits in a mailbox, and say how it goes.

    Args:
        mailbox: its name.
        timeout: seconds.

    """
    begun = monotonic()
    spoken = begun - _SAY
    while (left := _waiting(desk, mailbox)) > 0:
        now = monotonic()
        if now - begun > timeout:
            msg = f"{left} messages still wait in {mailbox!r} after {timeout:g} s"
            raise NotEmpty(msg)
        if now - spoken >= _SAY:
            desk.say(f"{left} wait in {mailbox}")
            spoken = now
        sleep(_LOOK)
    return Said(f"nothing waits in {mailbox}", {"mailbox": mailbox, "waiting": 0})


@command(changes=True)
def pause(desk: Desk, mailbox: Target) -> Said:
    """Have a mailbox take no new turns, or a schedule not tick, durably; what is told waits.

    Args:
        mailbox: its name, or that of a schedule.

    """
    return _steer(desk, "pause", mailbox, desk.rt.pause, said="is paused", paused=True)


@command(changes=True)
def resume(desk: Desk, mailbox: Target) -> Said:
    """Have a paused mailbox or schedule go on.

    Args:
        mailbox: its name.

    """
    return _steer(desk, "resume", mailbox, desk.rt.resume, said="goes on", paused=False)


@command(changes=True)
def restart(desk: Desk, mailbox: Mailbox, key: Key | None = None) -> Said:
    """Start an actor anew, faulted or not, its crashes forgotten; what waits stays.

    Args:
        mailbox: its name.
        key: one actor of a keyed mailbox alone.

    """
    whose = mailbox if key is None else f"{key} of {mailbox}"
    desk.intend(f"restart {whose}")
    desk.rt.restart(mailbox, key)
    return Said(f"{whose} starts anew{_when(desk)}", {"mailbox": mailbox, "key": key})


@command(changes=True)
def stop(desk: Desk, mailbox: Mailbox) -> Said:
    """Have a mailbox take no new turns, durably, and build its actors anew when it starts.

    Args:
        mailbox: its name.

    """
    acts = desk.rt.pause, desk.rt.restart
    return _steer(desk, "stop", mailbox, *acts, said="is stopped", paused=True)


@command(changes=True)
def start(desk: Desk, mailbox: Mailbox) -> Said:
    """Have a stopped mailbox go on, its actors built anew.

    Args:
        mailbox: its name.

    """
    acts = desk.rt.restart, desk.rt.resume
    return _steer(desk, "start", mailbox, *acts, said="goes on", paused=False)


@command(changes=True)
def backup(desk: Desk, file: Path) -> Said:
    """Copy the store as of one moment, beside whoever writes; the copy is checked.

    Args:
        file: the copy; nothing may be there.

    """
    desk.intend(f"copy the store to {file}")
    size = desk.rt.backup(file)
    return Said(f"{file}: {size:,} bytes", {"file": str(file), "bytes": size})


@command(changes=True)
def vacuum(desk: Desk) -> Said:
    """Make the store's file as small as what is in it; no owner may run."""
    desk.intend("write the store's file anew")
    freed = desk.rt.vacuum()
    return Said(f"{freed:,} bytes are free now", {"freed": freed})


def _steer(
    desk: Desk, verb: str, mailbox: str, *acts: Callable[[str], None], said: str, paused: bool
) -> Said:
    """Have a mailbox go on or not, and say how it is then."""
    desk.intend(f"{verb} {mailbox!r}")
    for act in acts:
        act(mailbox)
    return Said(f"{mailbox} {said}", {"mailbox": mailbox, "paused": paused})


def _when(desk: Desk) -> str:
    """Say when the owner does what only it can do."""
    return "" if desk.owner is not None else " as soon as an owner runs"


def _named(found: MessageInfo) -> str:
    name = "" if found.name is None else f" ({found.name!r})"
    return f"message {found.id}{name} of {found.mailbox!r}"


def _waiting(desk: Desk, mailbox: str) -> int:
    desk.rt.peek(mailbox, 0)  # which says so when there is no such mailbox
    return sum(each.waiting for each in desk.rt.mailboxes() if each.name == mailbox)


def _delay(text: str | None) -> float | str | None:
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        return text
