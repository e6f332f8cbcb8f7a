"""What a schedule does when its time has come: ticks, lateness, what was missed. Pure."""

from __future__ import annotations

import heapq
from binascii import crc32
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from ..clock import SECOND
from .messages import message

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..persistence.store import Op
    from .schedule import Schedule

Missed: TypeAlias = Literal["last", "skip", "all"]
Overlap: TypeAlias = Literal["skip", "allow"]
#: The most ticks that missed="all" makes up for at once.
MOST_TICKS = 100
_LATE = 60 * SECOND


@message("callboard.tick")
@dataclass(frozen=True, slots=True)
class Tick:
    """What a schedule tells when its time has come.

    Attributes:
        schedule: its name.
        at: the instant that the tick is for, UTC; handlers may run later.
        missed: how many instants before this one it makes up for, because nothing could tick then.

    """

    schedule: str
    at: datetime
    missed: int = 0


class ScheduleSpec(msgspec.Struct, frozen=True):
    """A schedule as it was declared.

    Attributes:
        mailbox: name of the one that its ticks go to.
        missed: what is done about instants at which nothing could tick.
        overlap: whether a tick is told while the message of the one before waits.
        jitter: microseconds; each tick comes up to so much later.
        build: returns what tells a tick.
        message: the body that is told instead of ticks; None: ticks.

    """

    name: str
    schedule: Schedule
    expression: str
    tz: str
    mailbox: str
    missed: Missed
    overlap: Overlap
    jitter: int
    build: Callable[[Tick], list[Op]]
    message: bytes | None = None

    def fires(self, at: int) -> int:
        """Return when the tick for an instant comes: the same in every process and at every try."""
        return at + (crc32(f"{self.name} {at}".encode()) * (self.jitter + 1) >> 32)


class Plan(msgspec.Struct, frozen=True):
    """What is to be done at once.

    Attributes:
        ticks: instants, each with how many before it the tick makes up for.
        missed: how many instants passed too long ago to be merely late.
        first: the first of them.
        last: the last of them.
        next_at: the instant to wait for then.

    """

    ticks: tuple[tuple[int, int], ...]
    missed: int
    first: int
    last: int
    next_at: int


def plan(spec: ScheduleSpec, next_at: int, now: int) -> Plan:
    """Say what to do about a schedule that was to tick at ``next_at``.

    An instant is late, not missed, for 60 seconds or half the distance to the next one, whichever
    is less; a late tick is always made.
    """
    schedule = spec.schedule
    newest = schedule.previous(now + 1)
    while newest > next_at and spec.fires(newest) > now:
        newest = schedule.previous(newest)
    newest = max(newest, next_at)
    following = schedule.next(newest)
    late = now - spec.fires(newest) <= min(_LATE, (following - newest) // 2)
    count = 1 if newest == next_at else schedule.count(next_at, newest)
    last = schedule.previous(newest) if late else newest
    return Plan(_ticks(spec, next_at, newest, count, late=late), count - late, next_at, last,
                following)  # fmt: skip


def _ticks(
    spec: ScheduleSpec, first: int, newest: int, count: int, *, late: bool
) -> tuple[tuple[int, int], ...]:
    match spec.missed:
        case "last":
            return ((newest, count - 1),)
        case "skip":
            return ((newest, 0),) if late else ()
        case "all":
            found = [newest]
            while len(found) < MOST_TICKS and found[-1] > first:
                found.append(max(first, spec.schedule.previous(found[-1])))
            found.reverse()
            rest = count - len(found)
            return tuple((at, rest if at == found[0] else 0) for at in found)


class Agenda:
    """Names by the instant at which something is to be done about them, one each."""

    def __init__(self) -> None:
        """Start empty."""
        self._at: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []

    def put(self, name: str, at: int | None) -> None:
        """Set the instant of a name; None: it has none."""
        if at is None:
            self._at.pop(name, None)
        else:
            self._at[name] = at
            heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 64 + 2 * len(self._at):
            self._heap = [(at, name) for name, at in self._at.items()]
            heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget them all."""
        self._at.clear()
        self._heap.clear()

    def pop(self, now: int) -> list[str]:
        """Take the names whose instant has come, the earliest first."""
        found = []
        while (at := self.next) is not None and at <= now:
            name = heapq.heappop(self._heap)[1]
            del self._at[name]
            found.append(name)
        return found

    @property
    def next(self) -> int | None:
        """The earliest instant."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None
