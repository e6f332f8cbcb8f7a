"""Sending: what ``tell``, ``cancel`` and ``transaction`` turn into units, and where those go.

Inside a handler of the same runtime they join its turn; with ``connection=`` they go into the
caller's own transaction; else they are committed at once.
"""

from __future__ import annotations

import contextlib
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ..actors.asks import Asked
from ..actors.messages import PLAIN, encode, is_record, kind_of
from ..actors.turn import Phase, current
from ..clock import LATEST, duration, micros, monotonic, sleep
from ..errors import ConfigError, MailboxFull, MessageError
from ..persistence.store import Cancel, Message, Op, Publish, Room, Tell, Unit
from .landing import Landings
from .names import check_target, check_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime, timedelta

    from ..actors.mail import MailboxSpec
    from ..clock import Clock
    from ..persistence.committer import Committer
    from ..persistence.store import IfExists, MailboxRow, Params, Store
    from .asking import Asking
    from .registry import Registry

    Delay: TypeAlias = float | str | timedelta | None

_OVERHEAD = 128
#: Of priorities, either way.
_MOST = 1_000_000_000
_FIRST_NAP, _LONGEST_NAP = 0.002, 0.05


class Sender:
    """Builds messages and has them committed.

    Args:
        home: the runtime, to know its own turns by.
        store: for ``connection=`` and for checking statements.
        committer: returns who commits now.
        registry: knows the mailboxes.
        clock: reads time.

    """

    def __init__(
        self,
        home: object,
        store: Store,
        committer: Callable[[], Committer],
        registry: Registry,
        clock: Clock,
    ) -> None:
        """Open nothing."""
        self._home = home
        self._store = store
        self._committer = committer
        self._registry = registry
        self._clock = clock
        self._landings = Landings()
        self.make_asking: Callable[[], Asking]

    @cached_property
    def asking(self) -> Asking:
        """The other way to send, which references offer too; made when it is first needed."""
        return self.make_asking()

    def tell(
        self, mailbox: Any, message: Any, *, key: str | int | None = None, after: Delay = None,
        at: datetime | None = None, id: str | None = None, if_exists: IfExists = "replace",
        dedupe: Delay = None, priority: int = 0, expires: Delay = None, connection: Any = None,
        timeout: float | None = None,
    ) -> int:  # fmt: skip
        """See Runtime.tell. Spelt out, as a dict of options would cost a microsecond."""
        ops = self.operations(
            mailbox, message, key=key, after=after, at=at, id=id, if_exists=if_exists,
            dedupe=dedupe, priority=priority, expires=expires,
        )  # fmt: skip
        results = self.run(ops, connection, timeout)
        return results[0] if results else 0

    async def tell_async(
        self,
        mailbox: Any,
        message: Any,
        *,
        timeout: float | None = None,
        connection: Any = None,
        **options: Any,
    ) -> int:
        """See Runtime.tell_async."""
        if not self._registry.has_row(self._registry.name_of(mailbox)):
            await self.know(mailbox)
        ops = self.operations(mailbox, message, **options)
        results = await self.run_async(ops, connection, timeout)
        return results[0] if results else 0

    async def know(self, mailbox: Any) -> None:
        """Look a mailbox up that this process has not sent to yet, without blocking the loop."""
        name = self._registry.name_of(mailbox)
        if not self._registry.has_row(name):
            import asyncio

            await asyncio.to_thread(self._registry.row, name)

    def tell_many(
        self,
        mailbox: Any,
        messages: Iterable[Any],
        *,
        key: str | int | None = None,
        after: Delay = None,
        at: datetime | None = None,
        priority: int = 0,
        expires: Delay = None,
        connection: Any = None,
        timeout: float | None = None,
    ) -> list[int]:
        """See Runtime.tell_many."""
        target = self._target(mailbox, key, self.due(after, at), priority, expires)
        ops = target.build_many(list(messages))
        if not ops:
            return []
        return list(self.run(target.with_room(ops), connection, timeout)) or [0] * len(ops)

    def publish(self, topic: str, message: Any) -> int:
        """See Runtime.publish."""
        count, ops = self.publishing(topic, message)
        self.run(ops, None)
        return count

    def cancel(self, mailbox: Any, target: str | int) -> bool:
        """See Runtime.cancel."""
        results = self.run([self.cancelling(mailbox, target)], None)
        return bool(results and results[0])

    # --- building ----------------------------------------------------------------------------

    def operations(
        self,
        mailbox: Any,
        message: Any = None,
        *,
        key: str | int | None = None,
        after: Delay = None,
        at: datetime | None = None,
        id: str | None = None,
        if_exists: IfExists = "replace",
        dedupe: Delay = None,
        priority: int = 0,
        expires: Delay = None,
    ) -> list[Op]:
        """Return what one tell does."""
        target = self._target(mailbox, key, self.due(after, at), priority, expires)
        built = target.build(message)
        if id is None:
            if dedupe is not None:
                msg = f"dedupe={dedupe!r} needs id=: the name by which it is known again"
                raise MessageError(msg)
            return target.with_room([built])
        check_text("id", id)
        if if_exists not in ("replace", "keep", "raise"):
            msg = f'if_exists must be "replace", "keep" or "raise", got {if_exists!r}'
            raise ConfigError(msg)
        built.name = id
        until = None if dedupe is None else built.told_at + _span("dedupe", dedupe)
        return target.with_room([Tell(built, if_exists, until)])

    def message(self, mailbox: Any, message: Any, key: str | int | None) -> Message:
        """Return a message that is not told."""
        return self._target(mailbox, key, None, 0, None).build(message)

    def asked(self, name: str, message: Any, key: str | int | None) -> Asked:
        """Return an ask; who waits for its answer, and since when, is to be said yet."""
        row, spec = self._registry.row(name), self._registry.specs.get(name)
        kind, version, body, decoded = _encoder(row, spec)(message)
        return Asked(
            row.id, kind, body, _key(spec, row, message, key), version=version, value=decoded,
            target=name,
        )  # fmt: skip

    def publishing(self, topic: str, message: Any) -> tuple[int, list[Op]]:
        """Return how many mailboxes subscribe, and what one publish does."""
        check_text("topic", topic)
        names = self._registry.subscribers(topic)
        ops: list[Op] = []
        for name in names:
            target = self._target(name, None, None, 0, None)
            ops += target.with_room([target.build(message)])
        kind = kind_of(type(message))[0] if is_record(type(message)) else PLAIN
        ops.append(Publish(topic, kind, encode(message, f"topic {topic!r}")))
        return len(names), ops

    def cancelling(self, mailbox: Any, target: str | int) -> Cancel:
        """Return what one cancel does."""
        check_target(target)
        return Cancel(self._registry.row(self._registry.name_of(mailbox)).id, target)

    def due(self, after: Delay, at: datetime | None) -> int | None:
        """Return the instant that ``after`` or ``at`` mean; None: at once."""
        if after is not None and at is not None:
            msg = "give after= or at=, not both"
            raise ConfigError(msg)
        try:
            if after is not None:
                due = self._clock.now() + duration(after)
            elif at is not None:
                due = micros(at)
            else:
                return None
        except (ValueError, AttributeError, TypeError) as error:
            which = "after" if after is not None else "at"
            msg = f"{which}= is not understood: {error}"
            raise MessageError(msg) from error
        return _in_time(due, "after" if at is None else "at", after if at is None else at)

    def _target(
        self, mailbox: Any, key: str | int | None, due: int | None, priority: int, expires: Delay
    ) -> _Target:
        """Return what turns values into messages for that mailbox."""
        registry = self._registry
        name = registry.name_of(mailbox)
        key = key_of(mailbox, key)
        if type(priority) is not int or not -_MOST <= priority <= _MOST:
            msg = f"priority is a whole number between -{_MOST} and {_MOST}, got {priority!r}"
            raise MessageError(msg)
        now = self._clock.now()
        expires_at = None
        if expires is not None:
            begins = now if due is None else due
            expires_at = _in_time(begins + _span("expires", expires), "expires", expires)
        return _Target(
            registry.row(name), registry.specs.get(name), key, due, now, priority, expires_at
        )

    # --- running -----------------------------------------------------------------------------

    def run(self, ops: list[Op], connection: Any, timeout: float | None = None) -> Sequence[Any]:
        """Join the turn, or write through the connection, or commit now; returns the results.

        Empty when they have joined a turn: nothing is known before its commit.

        Args:
            ops: all or none of them.
            connection: the caller's own, or None.
            timeout: seconds to wait for room, where a full mailbox says so; None: for ever.

        """
        if connection is not None:
            unit = unit_of(ops)
            self._store.tell_on(connection, unit)
            return unit.results
        turn = current(self._home)
        if turn is not None and turn.join(ops):
            return []
        unit = unit_of(ops)
        try:
            self._committer().commit(unit)
        except MailboxFull:
            rooms = [op for op in ops if isinstance(op, Room) and op.waits]
            if not rooms:
                raise
            return self._when_there_is_room(ops, rooms, timeout)
        return unit.results

    async def run_async(
        self, ops: list[Op], connection: Any, timeout: float | None = None
    ) -> Sequence[Any]:
        """Do what :meth:`run` does, without blocking the event loop."""
        turn = current(self._home)
        if connection is not None or (turn is not None and turn.phase is not Phase.SEALED):
            return self.run(ops, connection, timeout)  # nothing is committed here
        unit = unit_of(ops)
        try:
            await self._landings.commit(self._committer(), unit)
            if unit.error is not None:
                raise unit.error
        except MailboxFull:
            rooms = [op for op in ops if isinstance(op, Room) and op.waits]
            if not rooms:
                raise
            import asyncio

            return await asyncio.to_thread(self._when_there_is_room, ops, rooms, timeout)
        return unit.results

    def _when_there_is_room(
        self, ops: list[Op], rooms: list[Room], timeout: float | None
    ) -> Sequence[Any]:
        """Look for room now and then, and try again."""
        until = None if timeout is None else monotonic() + timeout
        nap = _FIRST_NAP
        while True:
            if until is not None and monotonic() >= until:
                msg = f"there was no room in the mailbox for {timeout:g} s: nothing was sent"
                raise MailboxFull(msg)
            sleep(nap)
            nap = min(_LONGEST_NAP, nap * 2)
            now = self._clock.now()
            for room in rooms:
                if room.count > room.capacity:
                    msg = f"{room.count} messages at once never fit a capacity of {room.capacity}"
                    raise MailboxFull(msg)
                room.now = now
            if all(self._store.room(r.mailbox, r.capacity, now) >= r.count for r in rooms):
                unit = unit_of(ops)
                with contextlib.suppress(MailboxFull):  # another sender was quicker
                    self._committer().commit(unit)
                    return unit.results

    def check(self, sql: str, params: Params) -> None:
        """Refuse a statement that may not run in a transaction of ours."""
        self._store.check(sql, params)


class _Target(msgspec.Struct, eq=False):
    """Turns values into messages for one mailbox, with what all of them share."""

    row: MailboxRow
    spec: MailboxSpec | None
    key: str | int | None
    due: int | None
    now: int
    priority: int
    expires_at: int | None

    def build(self, value: Any) -> Message:
        """Check a value, and make a message of it."""
        kind, version, body, decoded = _encoder(self.row, self.spec)(value)
        return Message(
            self.row.id, kind, body, _key(self.spec, self.row, value, self.key), self.due, None,
            version, self.now, priority=self.priority, expires_at=self.expires_at, value=decoded,
        )  # fmt: skip

    def build_many(self, values: list[Any]) -> list[Op]:
        """Do for each value what :meth:`build` does: in few steps, where all are of one type."""
        spec, row, key = self.spec, self.row, self.key
        alike = spec.behaviour.accepts.encode_alike(values) if spec is not None else None
        if spec is None or alike is None:
            return [self.build(value) for value in values]
        kind, version, bodies, copies = alike
        if spec.keyed and key is None:
            keys = [_key(spec, row, value, key) for value in values]
        else:
            keys = [_key(spec, row, None, key)] * len(values)
        number, due, now = row.id, self.due, self.now
        priority, expires_at = self.priority, self.expires_at
        return [
            Message(number, kind, body, key, due, None, version, now, priority=priority,
                    expires_at=expires_at, value=copy)
            for body, key, copy in zip(bodies, keys, copies, strict=True)
        ]  # fmt: skip

    def with_room(self, ops: list[Op]) -> list[Op]:
        """Return the operations with one that makes sure of room, where there is a capacity."""
        declared = self.row.declaration
        if declared.capacity is None or (self.due is not None and self.due > self.now):
            return ops
        return [
            Room(self.row.id, len(ops), declared.capacity, self.now,
                 drop_oldest=declared.overflow == "drop_oldest",
                 waits=declared.overflow == "wait"),
            *ops,
        ]  # fmt: skip


def unit_of(ops: list[Op]) -> Unit:
    """Return the unit for operations outside a turn."""
    if len(ops) == 1 and type(op := ops[0]) is Message:
        return Unit(tells=[op], size=_OVERHEAD + len(op.body) + 64)
    messages = [op for op in ops if isinstance(op, Message)]
    size = _OVERHEAD + sum([len(message.body) + 64 for message in messages])
    if len(messages) == len(ops):
        return Unit(tells=messages, size=size)
    return Unit(ops=ops, size=size)


def key_of(mailbox: Any, key: str | int | None) -> str | int | None:
    """Return the key that the caller gives, or else the one of the reference that it sends to."""
    if key is None and not isinstance(mailbox, (str, type)):
        return getattr(mailbox, "key", None)
    return key


def _encoder(
    row: MailboxRow, spec: MailboxSpec | None
) -> Callable[[Any], tuple[str, int, bytes, Any]]:
    """Return what checks and encodes a value: see Accepts.encode."""
    return spec.behaviour.accepts.encode if spec is not None else partial(_foreign, row)


def _foreign(row: MailboxRow, value: Any) -> tuple[str, int, bytes, None]:
    """Encode for a mailbox that only the store knows: its kinds are known, its types are not."""
    kind, version = kind_of(type(value)) if is_record(type(value)) else (PLAIN, 1)
    kinds = row.declaration.kinds
    if kinds and kind not in kinds:
        msg = f"mailbox {row.name!r} takes {' or '.join(kinds)}, got a message of kind {kind!r}"
        raise MessageError(msg)
    return kind, version, encode(value, f"mailbox {row.name!r}"), None


def _key(
    spec: MailboxSpec | None, row: MailboxRow, value: Any, key: str | int | None
) -> str | None:
    """Return the key that a message is for; MessageError where it is missing or has no place."""
    name = row.name
    if not (spec.keyed if spec is not None else row.declaration.keyed):
        if key is not None:
            msg = f"mailbox {name!r} is not keyed: tell without key={key!r}, or declare keyed=True"
            raise MessageError(msg)
        return None
    if key is None and spec is not None and spec.key is not None:
        try:
            key = spec.key(value)
        except Exception as error:
            msg = f"mailbox {name!r}: its key function raised {error!r} for {value!r}"
            raise MessageError(msg) from error
    if key is None:
        msg = f"mailbox {name!r} is keyed: say which actor the message is for with key=..."
        raise MessageError(msg)
    if isinstance(key, bool) or not isinstance(key, (str, int)):
        msg = f"mailbox {name!r}: a key is text or a whole number, got {key!r}"
        raise MessageError(msg)
    text = str(key)
    check_text("key", text)
    return text


def _span(what: str, value: Delay) -> int:
    try:
        return duration(value)
    except ValueError as error:
        msg = f"{what}= is not understood: {error}"
        raise MessageError(msg) from error


def _in_time(at: int, option: str, value: object) -> int:
    if not -LATEST <= at <= LATEST:
        msg = f"{option}={value!r} lies beyond the year 9999"
        raise MessageError(msg)
    return at
