"""Schedules of a runtime: declaring them, storing what is declared, and looking at them."""

from __future__ import annotations

import threading
from functools import partial
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from ..actors.messages import encode
from ..actors.retry import RetryPolicy
from ..actors.ticks import Missed, Overlap, ScheduleSpec, Tick
from ..clock import SECOND, duration, instant
from ..errors import ConfigError, MailboxNotFound
from ..persistence.store import ScheduleRow
from .mailbox_ref import MailboxRef
from .registry import check_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..actors.schedule import Schedule
    from ..clock import Clock
    from ..events import Events
    from ..persistence.store import Op, Store
    from .host import Host
    from .looking import Looking
    from .records import ScheduleInfo
    from .registry import Registry
    from .sender import Sender

#: The most instants that one call returns.
MOST = 10_000
#: So many instants tell how close they come.
_LOOKED_AT = 100


class Schedules:
    """Declared schedules by name, and the store's rows of all that ever were.

    Args:
        store: holds the rows.
        registry: knows the mailboxes.
        sender: builds what is told.
        clock: reads time.
        events: told here.

    """

    def __init__(
        self, store: Store, registry: Registry, sender: Sender, clock: Clock, events: Events
    ) -> None:
        """Start with nothing declared."""
        self._store = store
        self._registry = registry
        self._sender = sender
        self._clock = clock
        self._events = events
        self._lock = threading.Lock()
        self.specs: dict[str, ScheduleSpec] = {}
        # What is told, and to what, by name: the mailbox may be declared after the schedule.
        self._targets: dict[str, tuple[Any, Any]] = {}

    # --- declaring ---------------------------------------------------------------------------

    def cron(
        self, expression: str, *, name: str | None, to: Any, message: Any, tz: str, missed: Missed,
        overlap: Overlap, jitter: object, retry: RetryPolicy | None, timeout: float | None,
        scope: Mapping[str, Any], host: Host,
    ) -> Any:  # fmt: skip
        """See Runtime.cron."""
        from ..actors.schedule import Schedule  # with croniter, which only schedules need

        schedule = Schedule(expression, tz)  # refused where it is written, not where it decorates

        def declare(mailbox: str, called: str, to: Any) -> None:
            spec = ScheduleSpec(
                name=called, schedule=schedule, expression=expression, tz=tz, mailbox=mailbox,
                missed=missed, overlap=overlap, jitter=_jitter(called, jitter),
                build=partial(self._build, to, message),
                message=None if message is None else encode(message, f"schedule {called!r}"),
            )  # fmt: skip
            _check_options(spec)
            self._check_jitter(spec)
            value = Tick(called, instant(0)) if message is None else message
            self._check_target(spec, to, value)
            self._keep(spec, to, value)
            host.schedule(spec)

        def decorate(worker: Any) -> Any:
            own = getattr(worker, "__name__", "") if name is None else name
            self._check_free(own)
            host.declare(self._registry.declare(
                own, worker, workers=1, keyed=False, retry=retry or RetryPolicy(), timeout=timeout,
                scope=scope,
            ))  # fmt: skip
            declare(own, own, worker)
            return worker

        if to is None:
            return decorate
        mailbox = self._registry.name_of(to)
        called = mailbox if name is None else name
        if retry is not None or timeout is not None:
            msg = f"schedule {called!r}: retry and timeout belong to the mailbox {mailbox!r}"
            raise ConfigError(msg)
        declare(mailbox, called, to)
        return called

    def check(self) -> None:
        """Check again, before a start, what was declared before its mailbox.

        Raises:
            ConfigError: the mailbox is keyed, and nothing says for which actor the ticks are.
            MessageError: the mailbox does not accept what it would be told.

        """
        for name, (to, value) in self._targets.items():
            self._check_target(self.specs[name], to, value)

    def _keep(self, spec: ScheduleSpec, to: Any, value: Any) -> None:
        with self._lock:
            self._check_free(spec.name)
            self.specs[spec.name] = spec
            self._targets[spec.name] = (to, value)

    def _check_free(self, name: str) -> None:
        check_name(name)
        if name in self.specs:
            msg = f"schedule {name!r} is declared already: choose another name with name=..."
            raise ConfigError(msg)

    def _check_jitter(self, spec: ScheduleSpec) -> None:
        """Refuse a tick that might come when the next one is due: one of them would be left out."""
        if not spec.jitter:
            return
        instants = islice(spec.schedule.iterate(self._clock.now()), _LOOKED_AT)
        least = min(after - before for before, after in pairwise(instants))
        if spec.jitter >= least:
            msg = (
                f"schedule {spec.name!r}: jitter must be below the {least / SECOND:g} s between "
                f"its instants, got {spec.jitter / SECOND:g} s"
            )
            raise ConfigError(msg)

    def _check_target(self, spec: ScheduleSpec, to: Any, value: Any) -> None:
        found = self._registry.specs.get(spec.mailbox)
        if found is None:
            return  # another process declares it, or this one will
        found.behaviour.accepts.encode(value)
        key = to.key if isinstance(to, MailboxRef) else None
        if found.keyed and found.key is None and key is None:
            msg = (
                f"schedule {spec.name!r}: mailbox {spec.mailbox!r} is keyed: say for which actor "
                f"its ticks are with to=rt.ref({spec.mailbox!r}, key)"
            )
            raise ConfigError(msg)

    def _build(self, to: Any, message: Any, tick: Tick) -> list[Op]:
        """Return what tells one tick. Runs: where the owner's schedules tick."""
        value = tick if message is None else message
        key = to.key if isinstance(to, MailboxRef) else None
        return self._sender.operations(to, value, key=key)

    # --- storing -----------------------------------------------------------------------------

    def store_all(self) -> list[tuple[ScheduleSpec, ScheduleRow]]:
        """Store what this owner declares, and note what it declares no longer."""
        specs = list(self.specs.values())
        if not specs and not self._store.schedules():
            return []
        return self._declare(specs, rest=True)

    def store_one(self, spec: ScheduleSpec) -> ScheduleRow:
        """Store one that was declared after the start."""
        return self._declare([spec], rest=False)[0][1]

    def _declare(
        self, specs: list[ScheduleSpec], *, rest: bool
    ) -> list[tuple[ScheduleSpec, ScheduleRow]]:
        now = self._clock.now()
        before: dict[str, ScheduleRow] = {}
        names = {spec.name for spec in specs}

        def decide(rows: list[ScheduleRow]) -> list[ScheduleRow]:
            before.update({row.name: row for row in rows})
            found = [reconcile(spec, before.get(spec.name), now) for spec in specs]
            left = [row for row in rows if rest and row.name not in names and row.declared_at]
            return found + [msgspec.structs.replace(row, declared_at=0) for row in left]

        decided = self._store.declare_schedules(decide)
        for row in decided if self._events.on else ():
            self._announce(before.get(row.name), row)
        return list(zip(specs, decided, strict=False))

    def _announce(self, was: ScheduleRow | None, row: ScheduleRow) -> None:
        if not row.declared_at:
            self._events.emit("schedule.stopped", schedule=row.name)
            return
        if was is not None and was.next_at != row.next_at:
            self._events.emit("schedule.changed", schedule=row.name, was=was.next_at,
                              next_at=row.next_at)  # fmt: skip
        self._events.emit(
            "schedule.declared", schedule=row.name, expression=row.expression, tz=row.tz,
            mailbox=row.mailbox, next_at=row.next_at,
        )  # fmt: skip

    # --- looking -----------------------------------------------------------------------------

    def infos(self) -> list[ScheduleInfo]:
        """See Runtime.schedules."""
        return [_info(row) for row in self._store.schedules()]

    def next_runs(self, schedule: Any, n: int) -> list[datetime]:
        """See Runtime.next_runs."""
        from ..actors.zones import zone

        found, tz = self._find(self._registry.name_of(schedule))
        instants = islice(found.iterate(self._clock.now()), max(0, min(n, MOST)))
        where = zone(tz)
        return [instant(at).astimezone(where) for at in instants]

    def ticking(self, schedule: Any) -> str:
        """Return the name of a schedule that the owner's code declares.

        Raises:
            LookupError: there is none of that name, or no code declares it any more.

        """
        name = self._registry.name_of(schedule)
        self._find(name)
        rows = {row.name: row for row in self._store.schedules()}
        if name in rows and not rows[name].declared_at:
            msg = f"schedule {name!r} is declared by no code any more, so nothing can tick it"
            raise LookupError(msg)
        return name

    def pause(self, target: Any, mailboxes: Looking, *, paused: bool) -> None:
        """See Runtime.pause: a schedule, a mailbox, or both of one name."""
        found = self._pause(self._registry.name_of(target), paused=paused)
        try:
            mailboxes.pause(target, paused=paused)
        except MailboxNotFound:
            if not found:
                raise

    def _pause(self, name: str, *, paused: bool) -> bool:
        rows = {row.name: row for row in self._store.schedules()}
        if name not in rows:
            if name not in self.specs:
                return False
            rows[name] = self.store_one(self.specs[name])
        if paused:
            return self._store.pause_schedule(name, None)
        from ..actors.schedule import Schedule

        row = rows[name]
        # From now on: what came while it was paused is nothing that was missed.
        next_at = Schedule(row.expression, row.tz).next(self._clock.now())
        return self._store.pause_schedule(name, next_at)

    def _find(self, name: str) -> tuple[Schedule, str]:
        spec = self.specs.get(name)
        if spec is not None:
            return spec.schedule, spec.tz
        rows = {row.name: row for row in self._store.schedules()}
        if name not in rows:
            import difflib

            near = difflib.get_close_matches(name, [*self.specs, *rows], n=3)
            near_ones = " or ".join(map(repr, near))
            hint = f"did you mean {near_ones}?" if near else "rt.schedules() lists them"
            msg = f"no schedule {name!r}: {hint}"
            raise LookupError(msg)
        from ..actors.schedule import Schedule

        row = rows[name]
        return Schedule(row.expression, row.tz), row.tz


def reconcile(spec: ScheduleSpec, row: ScheduleRow | None, now: int) -> ScheduleRow:
    """Return what the store is to hold of a declared schedule. Pure.

    A new expression or zone is reckoned from now. So are new zone data, unless the instant that is
    waited for is the right one by them too.
    """
    from ..actors.zones import fingerprint

    mark = fingerprint(spec.tz)
    next_at = None if row is None else row.next_at
    if row is not None and next_at is not None:
        if (row.expression, row.tz) != (spec.expression, spec.tz):
            next_at = None
        elif row.zone != mark:
            start = min(next_at - 1, now)
            next_at = next_at if spec.schedule.next(start) == next_at else None
    options = {"missed": spec.missed, "overlap": spec.overlap, "jitter": spec.jitter / SECOND}
    return ScheduleRow(
        name=spec.name, expression=spec.expression, tz=spec.tz, mailbox=spec.mailbox,
        options=msgspec.json.encode(options).decode(), message=spec.message,
        next_at=spec.schedule.next(now) if next_at is None else next_at,
        last_at=None if row is None else row.last_at,
        last_number=None if row is None else row.last_number,
        paused=row is not None and row.paused, zone=mark,
        declared_at=row.declared_at if row is not None and row.declared_at else now,
    )  # fmt: skip


def _info(row: ScheduleRow) -> ScheduleInfo:
    from .records import ScheduleInfo

    runs = row.next_at is not None and not row.paused and row.declared_at > 0
    return ScheduleInfo(
        row.name, row.expression, row.tz, row.mailbox,
        instant(row.next_at) if runs and row.next_at is not None else None,
        None if row.last_at is None else instant(row.last_at), row.paused,
    )  # fmt: skip


def _check_options(spec: ScheduleSpec) -> None:
    for option, value, known in (
        ("missed", spec.missed, get_args(Missed)), ("overlap", spec.overlap, get_args(Overlap)),
    ):  # fmt: skip
        if value not in known:
            choice = " or ".join(f'"{each}"' for each in known)
            msg = f"schedule {spec.name!r}: {option} is {choice}, got {value!r}"
            raise ConfigError(msg)


def _jitter(name: str, jitter: object) -> int:
    try:
        return duration(jitter)
    except ValueError as error:
        msg = f"schedule {name!r}: jitter: {error}"
        raise ConfigError(msg) from error
