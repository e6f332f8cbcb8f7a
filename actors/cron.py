"""Schedules: the CronActor, which ticks.

A tick's message and the schedule's new ``next_at`` are one transaction, which checks that the
schedule still is as it was read: no tick is told twice, whoever else may try. The actor's memory is
a copy of the store's rows; whenever it is in doubt it reads them again::

    waiting --time--> staged --committed--> waiting for the next instant
       ^                |--found changed (paused, another owner)--> read again
       |                '--the tick cannot be told (mailbox full)--> staged without it
       '-- resumed, declared anew: read again
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from ..clock import SECOND, instant
from ..errors import CallboardError, StoreError
from ..persistence.store import Advance, Message, Outcome, Tell, Unit
from .cell import Cell
from .ticks import Agenda, Plan, ScheduleSpec, Tick, plan

if TYPE_CHECKING:
    from ..persistence.store import Op, ScheduleRow
    from .environment import Environment

_UNIT_SIZE = 512


class Job:
    """A live schedule: its declaration and what the store says of it."""

    __slots__ = ("busy", "paused", "row", "spec")

    def __init__(self, spec: ScheduleSpec, row: ScheduleRow) -> None:
        """Begin with what the store says."""
        self.spec = spec
        self.row = row
        self.paused = row.paused
        #: A transaction of it is under way.
        self.busy = False

    @property
    def due(self) -> int | None:
        """When to act next; None: not before the row has changed."""
        if self.busy or self.row.paused or self.row.next_at is None:
            return None
        return self.spec.fires(self.row.next_at)


class Staged(msgspec.Struct):
    """A transaction of a schedule, and why it tells nothing although it was to.

    It is part of a cycle (its unit settles through the actor that holds it in its inbox), so the
    garbage collector has to track it.
    """

    job: Job
    planned: Plan
    move: Advance
    unit: Unit
    reason: str | None


class CronActor(Cell):
    """Ticks the schedules that this process declares.

    Args:
        environment: store, committer, clock, driver, events.
        supervisor: restarts it; then it reads all rows again.

    """

    def __init__(self, environment: Environment, supervisor: Cell) -> None:
        """Start with no schedule; see :meth:`attach`."""
        super().__init__(environment.driver, "schedules", supervisor)
        self.environment = environment
        self.halted = False
        self._jobs: dict[str, Job] = {}
        self._agenda = Agenda()

    def attach(self, spec: ScheduleSpec, row: ScheduleRow) -> None:
        """Serve a schedule from now on."""
        self.post(Job(spec, row))

    def reread(self) -> None:
        """Read the rows again: somebody may have paused one, or let it go on."""
        if self._jobs:
            self.post("reread")

    def by_hand(self, name: str) -> tuple[Tick, list[Op]] | None:
        """Return a tick of now that moves nothing, and what tells it; None: it is not served here.

        Runs: on any thread.

        Raises:
            CallboardError: its message cannot be told.

        """
        job = self._jobs.get(name)
        if job is None:
            return None
        tick = Tick(name, instant(self.environment.clock.now()))
        return tick, job.spec.build(tick)

    def halt(self) -> None:
        """Tick no more: the runtime stops."""
        self.halted = True

    def reload(self) -> None:
        """Begin anew from the store."""
        rows = {row.name: row for row in self.environment.store.schedules()}
        self._agenda.clear()
        for name, job in self._jobs.items():
            if not job.busy and name in rows:
                self._read(job, rows[name])
            self._agenda.put(name, job.due)
        self._fire()

    def on_receive(self, message: Any) -> None:
        """Take a schedule, or what became of a tick; then tick what is due."""
        match message:
            case Job():
                self._jobs[message.spec.name] = message
                self._agenda.put(message.spec.name, message.due)
            case "reread":
                self.reload()
            case Staged():
                self._settled(message)
        self._fire()

    # --- ticking -----------------------------------------------------------------------------

    def _fire(self) -> None:
        if self.halted:
            return
        now = self.environment.clock.now()
        for name in self._agenda.pop(now):
            self._tick(self._jobs[name], now)
        self.wake_at(self._agenda.next)

    def _tick(self, job: Job, now: int) -> None:
        if job.row.next_at is None:
            return
        planned = plan(job.spec, job.row.next_at, now)
        try:
            ops = [
                op
                for at, missed in planned.ticks
                for op in job.spec.build(Tick(job.spec.name, instant(at), missed))
            ]
        except StoreError:
            raise
        except CallboardError as error:
            self._stage(job, job.row.next_at, planned, [], str(error))
        else:
            self._stage(job, job.row.next_at, planned, ops)

    def _stage(
        self, job: Job, was: int, planned: Plan, ops: list[Op], reason: str | None = None
    ) -> None:
        """Have the ticks and the new instant written, both or neither."""
        count = sum(isinstance(op, (Message, Tell)) for op in ops)
        at = planned.ticks[-1][0] if count else None
        alone = job.spec.overlap == "skip"
        move = Advance(job.spec.name, was, planned.next_at, at, count, alone)
        job.busy = True
        self.environment.committer.stage(Unit(
            ops=[move, *ops], size=_UNIT_SIZE * (1 + len(ops)),
            settle=lambda unit: self.post(Staged(job, planned, move, unit, reason)),
        ))  # fmt: skip

    def _settled(self, done: Staged) -> None:
        """Go on after a transaction."""
        job, move, unit = done.job, done.move, done.unit
        job.busy = False
        if self._jobs.get(job.spec.name) is not job:
            return  # it was declared anew meanwhile
        if unit.outcome is Outcome.FAILED and move.count:
            self._stage(job, move.was, done.planned, [], str(unit.error))
            return
        if unit.outcome is Outcome.COMMITTED:
            self._announce(done, [message.number for message in unit.told])
        else:  # it has changed: read it again
            rows = {row.name: row for row in self.environment.store.schedules()}
            self._read(job, rows[job.spec.name])
        self._agenda.put(job.spec.name, job.due)

    # --- saying so ---------------------------------------------------------------------------

    def _read(self, job: Job, row: ScheduleRow) -> None:
        job.row = row
        if row.paused == job.paused:
            return
        job.paused = row.paused
        events = self.environment.events
        if events.on and row.paused:
            events.emit("schedule.paused", schedule=row.name)
        elif events.on:
            events.emit("schedule.resumed", schedule=row.name, next_at=row.next_at)

    def _announce(self, done: Staged, numbers: list[int]) -> None:
        """Take note of what was committed, and tell the events."""
        job, planned, reason = done.job, done.planned, done.reason
        if done.move.count and not numbers:
            reason = f"message {job.row.last_number} of its last tick waits"
        last_number = numbers[-1] if numbers else job.row.last_number
        job.row = msgspec.structs.replace(job.row, next_at=planned.next_at, last_number=last_number)
        events, name = self.environment.events, job.spec.name
        if not events.on:
            return
        if planned.missed:
            events.emit("schedule.missed", schedule=name, count=planned.missed,
                        first=planned.first, last=planned.last, ticks=len(numbers))  # fmt: skip
        if reason is not None:
            events.emit("schedule.skipped", schedule=name, reason=reason,
                        at=planned.ticks[-1][0], count=len(planned.ticks))  # fmt: skip
        now = self.environment.clock.now()
        for number, (at, missed) in zip(numbers, planned.ticks, strict=False):
            events.emit("schedule.ticked", schedule=name, mailbox=job.spec.mailbox, id=number,
                        at=at, missed=missed, late=(now - job.spec.fires(at)) / SECOND)  # fmt: skip
