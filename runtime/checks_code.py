"""Checks of declarations: what the store knows against what the code at hand declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import BadSchedule, CallboardError
from .records import Finding

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from ..actors.ticks import ScheduleSpec
    from ..persistence.store import MailboxRow, ScheduleRow
    from .schedules import Schedules

_DECLARE = "declare it, or move what is in it to another mailbox; 'callboard cancel' removes"


def check_code(declared: Collection[str], schedules: Schedules) -> Finding:
    """Say whether there is code to judge by, and whether it would start."""
    if not declared:
        return Finding(
            "note", "code", "no code at hand: bodies are judged as JSON, and by what the last "
            "owner declared; nothing is decoded by its type",
            "callboard -a MODULE:ATTR doctor judges by your code",
        )  # fmt: skip
    try:
        schedules.check()
    except CallboardError as error:
        return Finding("error", "code", f"it would not start: {' '.join(str(error).split())}",
                       "mend the declaration")  # fmt: skip
    return Finding("ok", "code", f"{len(declared):,} mailboxes are declared")


def check_mailboxes(
    rows: Iterable[MailboxRow], held: Mapping[int, tuple[int, int, int]], declared: Collection[str]
) -> list[Finding]:
    """Find mailboxes of the store that this code does not declare."""
    rows = list(rows)
    found = []
    for row in rows if declared else ():
        if row.name in declared:
            continue
        messages, states, dead = held.get(row.id, (0, 0, 0))
        text = f"mailbox {row.name!r} is not declared by this code"
        if messages:
            found.append(Finding("error", "mailboxes", f"{text}, and {messages:,} messages wait in "
                                 "it for ever", _DECLARE, row.name, count=messages))  # fmt: skip
        elif states or dead:
            found.append(Finding(
                "warning", "mailboxes",
                f"{text}; it has {states:,} states and {dead:,} dead letters",
                "declare it, if they are still wanted", row.name, count=states + dead,
            ))  # fmt: skip
        else:
            found.append(Finding("note", "mailboxes", f"{text}; it is empty", "", row.name))
    return found or [Finding("ok", "mailboxes", f"{len(rows):,} in the store")]


def check_schedules(
    rows: Iterable[ScheduleRow],
    specs: Mapping[str, ScheduleSpec],
    mailboxes: Collection[str],
    *,
    code: bool,
) -> list[Finding]:
    """Find schedules that cannot be read, that no code declares, or whose mailbox is not there.

    Args:
        rows: of the store.
        specs: that this code declares.
        mailboxes: that are known: to this code, or without code to the store.
        code: there is code to judge by.

    """
    rows = list(rows)
    found = [finding for row in rows if (finding := _unread(row)) is not None]
    if code:
        found += [_undeclared(row) for row in rows if row.name not in specs]
    targets = {spec.name: spec.mailbox for spec in specs.values()}
    if not code:
        targets = {row.name: row.mailbox for row in rows if row.declared_at}
    found += [
        Finding(
            "error", "schedules",
            f"schedule {name!r} ticks into mailbox {mailbox!r}, which is not declared",
            "declare that mailbox, or give the schedule another to=", mailbox,
        )
        for name, mailbox in sorted(targets.items()) if mailbox not in mailboxes
    ]  # fmt: skip
    return found or [Finding("ok", "schedules", f"{len(rows):,} in the store")]


def _unread(row: ScheduleRow) -> Finding | None:
    from ..actors.schedule import Schedule  # with croniter, which only schedules need

    try:
        Schedule(row.expression, row.tz)
    except BadSchedule as error:
        return Finding(
            "error" if row.declared_at else "warning", "schedules",
            f"schedule {row.name!r} cannot be read here: {' '.join(str(error).split())}",
            "mend its expression, or bring the zone: pip install -U tzdata",
        )  # fmt: skip
    return None


def _undeclared(row: ScheduleRow) -> Finding:
    text = f"schedule {row.name!r} ({row.expression}) is not declared by this code"
    if not row.declared_at:
        return Finding("note", "schedules", f"{text}, nor by the last owner's: it does not tick")
    return Finding("warning", "schedules", f"{text}: it will tick no more",
                   "declare it, if it is still wanted")  # fmt: skip
