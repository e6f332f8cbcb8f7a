"""The supervision tree as records: as it lives in the owner, or as the store knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..actors.mailbox import MailboxActor
from ..actors.supervisor import Supervisor
from ..clock import instant
from .records import ActorInfo

if TYPE_CHECKING:
    from datetime import datetime

    from ..actors.cell import Cell
    from ..persistence.store import MailboxRow, Store
    from .engine import Engine

#: The names under which every runtime's own actors are shown.
ROOT, TIMERS, SCHEDULES, MAILBOXES = "root", "timers", "schedules", "mailboxes"


def show(store: Store, engine: Engine | None, now: int) -> ActorInfo:
    """See Runtime.tree.

    Args:
        store: what is declared there is shown by a client.
        engine: the living parts; None in a client.
        now: for the restarts within a period.

    """
    if engine is not None:
        return _cell(engine.root, None, now)
    below = _declared(store.mailboxes(), 0)
    return ActorInfo(ROOT, "supervisor", "declared", children=(
        ActorInfo(TIMERS, "timers", "declared"),
        ActorInfo(SCHEDULES, "schedules", "declared"),
        ActorInfo(MAILBOXES, "supervisor", "declared", children=below),
    ))  # fmt: skip


def _declared(rows: list[MailboxRow], depth: int) -> tuple[ActorInfo, ...]:
    """Group mailboxes by the supervisor at a depth; those that have none there are shown first."""
    found = []
    groups: dict[str, list[MailboxRow]] = {}
    for row in rows:
        if len(row.declaration.supervisors) > depth:
            groups.setdefault(row.declaration.supervisors[depth], []).append(row)
        else:
            found.append(ActorInfo(row.name, "mailbox", "paused" if row.paused else "declared"))
    found += [ActorInfo(name, "supervisor", "declared", children=_declared(group, depth + 1))
              for name, group in groups.items()]  # fmt: skip
    return tuple(found)


def _cell(cell: Cell, above: Supervisor | None, now: int) -> ActorInfo:
    """Describe a child of a supervisor, and all below it."""
    state, until, error, restarts = "running", None, None, 0
    if above is not None:
        restarts = above.restarts.count(cell.name, now)
        until = above.until(cell)
        fault = above.faulted.get(cell.name)
        if fault is not None:
            state, error = "faulted", repr(fault)
        elif until is not None or cell.suspended or cell.crashed:
            state = "restarting"
    if isinstance(cell, MailboxActor):
        return _mailbox(cell, state, until, error, restarts, now)
    if isinstance(cell, Supervisor):
        below = tuple(_cell(child, cell, now) for child in cell.children)
        return ActorInfo(_short(cell), "supervisor", state, restarts, _at(until), error,
                         cell.strategy, children=below)  # fmt: skip
    return ActorInfo(cell.name, cell.name, state, restarts, _at(until), error)


def _mailbox(  # noqa: PLR0917  (called once)
    cell: MailboxActor, state: str, until: int | None, error: str | None, restarts: int, now: int
) -> ActorInfo:
    recovery = cell.recovery
    with cell.lock:
        faulted, waiting = dict(recovery.faulted), dict(recovery.until)
        workers = list(cell.cells)
        keys = {*faulted, *waiting, *recovery.restarts.children(now)}
        counts = {key: recovery.restarts.count(key, now) for key in (None, *keys)}
    if None in faulted and state != "faulted":
        state, error = "faulted", faulted[None]
    elif None in waiting and state == "running":
        state, until = "restarting", waiting[None]
    elif cell.paused and state == "running":
        state = "paused"
    below = []
    for number, worker in enumerate(workers, 1):
        turn = worker.turn
        below.append(ActorInfo(
            str(number), "worker", "restarting" if worker.crashed else "running",
            message=None if turn is None else turn.message.number,
            since=None if turn is None else instant(turn.now),
            key=None if turn is None else turn.message.key,
        ))  # fmt: skip
    for key in sorted(key for key in keys if key is not None):
        ill = "faulted" if key in faulted else "restarting" if key in waiting else "running"
        below.append(ActorInfo(
            key, "actor", ill, counts[key],
            _at(waiting[key]) if ill == "restarting" else None, faulted.get(key),
        ))  # fmt: skip
    return ActorInfo(cell.spec.name, "mailbox", state, restarts + counts[None], _at(until), error,
                     handled=cell.settling.handled, failed=cell.settling.failures,
                     children=tuple(below))  # fmt: skip


def _at(until: int | None) -> datetime | None:
    return None if until is None else instant(until)


def _short(cell: Cell) -> str:
    return cell.name.removeprefix("supervisor ")
