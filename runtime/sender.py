"""Sending: what ``tell``, ``cancel`` and ``transaction`` turn into units, and where those go.

Inside a handler of the same runtime they join its turn; with ``connection=`` they go into the
caller's own transaction; else they are committed at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from ..actors.messages import PLAIN, encode, is_record, kind_of
from ..actors.turn import current
from ..clock import LATEST, duration, micros
from ..errors import ConfigError, MessageError, TurnEnded
from ..persistence.store import Cancel, Execute, Message, Op, Tell, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from ..actors.mail import MailboxSpec
    from ..clock import Clock
    from ..persistence.committer import Committer
    from ..persistence.store import IfExists, MailboxRow, Params, Store
    from .registry import Registry

_LONGEST_ID = 1000
_OVERHEAD = 128


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

    def tell(
        self,
        mailbox: Any,
        message: Any,
        *,
        key: str | int | None,
        after: float | str | timedelta | None,
        at: datetime | None,
        id: str | None,
        if_exists: IfExists,
        connection: Any,
    ) -> int:
        """See Runtime.tell."""
        op = self.operation(mailbox, message, key, self.due(after, at), id, if_exists)
        results = self.run([op], connection)
        return results[0] if results else 0

    def tell_many(
        self,
        mailbox: Any,
        messages: Iterable[Any],
        *,
        key: str | int | None,
        after: float | str | timedelta | None,
        at: datetime | None,
        connection: Any,
    ) -> list[int]:
        """See Runtime.tell_many."""
        due = self.due(after, at)
        build = self._builder(mailbox, key, due)
        ops: list[Op] = [build(message) for message in messages]
        if not ops:
            return []
        return self.run(ops, connection) or [0] * len(ops)

    def cancel(self, mailbox: Any, target: str | int) -> bool:
        """See Runtime.cancel."""
        results = self.run([self.cancelling(mailbox, target)], None)
        return bool(results and results[0])

    # --- building ----------------------------------------------------------------------------

    def operation(  # noqa: PLR0917  (built by one caller)
        self, mailbox: Any, message: Any, key: str | int | None, due: int | None,
        name: str | None, if_exists: IfExists,
    ) -> Message | Tell:  # fmt: skip
        """Return what one tell does."""
        built = self._builder(mailbox, key, due)(message)
        if name is None:
            return built
        _check_text("id", name)
        if if_exists not in ("replace", "keep", "raise"):
            msg = f'if_exists must be "replace", "keep" or "raise", got {if_exists!r}'
            raise ConfigError(msg)
        built.name = name
        return Tell(built, if_exists)

    def cancelling(self, mailbox: Any, target: str | int) -> Cancel:
        """Return what one cancel does."""
        if isinstance(target, bool) or not isinstance(target, (str, int)):
            msg = f"cancel takes the caller's id or a message's number, got {target!r}"
            raise MessageError(msg)
        return Cancel(self._registry.row(self._registry.name_of(mailbox)).id, target)

    def due(self, after: float | str | timedelta | None, at: datetime | None) -> int | None:
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
        if not -LATEST <= due <= LATEST:
            msg = f"after={after!r} lies beyond the year 9999"
            raise MessageError(msg)
        return due

    def _builder(
        self, mailbox: Any, key: str | int | None, due: int | None
    ) -> Callable[[Any], Message]:
        """Return what turns a value into a message for that mailbox."""
        registry = self._registry
        name = registry.name_of(mailbox)
        if key is None:
            key = getattr(mailbox, "key", None) if not isinstance(mailbox, (str, type)) else None
        spec = registry.specs.get(name)
        row = registry.row(name)
        now = self._clock.now()

        def build(value: Any) -> Message:
            if spec is not None:
                kind, version, body, decoded = spec.behaviour.accepts.encode(value)
            else:
                kind, version, body, decoded = *_encode_for(row, value), None
            return Message(
                row.id, kind, body, _key(name, spec, row, value, key), due, None, version, now,
                value=decoded,
            )  # fmt: skip

        return build

    # --- running -----------------------------------------------------------------------------

    def run(self, ops: list[Op], connection: Any) -> list[Any]:
        """Join the turn, or write through the connection, or commit now; returns the results.

        Empty when they have joined a turn: nothing is known before its commit.
        """
        unit = unit_of(ops)
        if connection is not None:
            self._store.tell_on(connection, unit)
            return unit.results
        turn = current(self._home)
        if turn is not None and turn.join(ops):
            return []
        self._committer().commit(unit)
        return unit.results

    def check(self, sql: str, params: Params) -> None:
        """Refuse a statement that may not run in a transaction of ours."""
        self._store.check(sql, params)


class Transaction:
    """Several operations, all or none; see :meth:`Runtime.transaction`.

    Inside a handler it joins the handler's turn when the block ends; outside it is committed then.
    If the block raises, nothing of it happens.
    """

    def __init__(self, sender: Sender) -> None:
        """Start empty."""
        self._sender = sender
        self._ops: list[Op] = []
        self._open = False

    def __enter__(self) -> Self:
        """Begin to collect."""
        self._open = True
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Commit, or join the turn; forget everything when the block raised."""
        self._open = False
        if error is None and self._ops:
            self._sender.run(self._ops, None)

    def tell(
        self,
        mailbox: Any,
        message: Any,
        *,
        key: str | int | None = None,
        after: float | str | timedelta | None = None,
        at: datetime | None = None,
        id: str | None = None,
        if_exists: IfExists = "replace",
    ) -> int:
        """Send a message at the commit; returns 0, as numbers are given then.

        It takes what :meth:`Runtime.tell` takes.
        """
        due = self._sender.due(after, at)
        self._add(self._sender.operation(mailbox, message, key, due, id, if_exists))
        return 0

    def cancel(self, mailbox: Any, id: str | int) -> None:
        """Remove a waiting message at the commit; see :meth:`Runtime.cancel`."""
        self._add(self._sender.cancelling(mailbox, id))

    def execute(self, sql: str, params: Params = (), *, expect: int | None = None) -> None:
        """Run a statement of your own at the commit, in order with the rest.

        Args:
            sql: one statement; transaction words, ATTACH, PRAGMA and writes to callboard's tables
                are refused here.
            params: the values.
            expect: so many rows must change, else all of the transaction is undone and ValueError
                raised.

        """
        self._sender.check(sql, params)
        self._add(Execute(sql, params, expect))

    def _add(self, op: Op) -> None:
        if not self._open:
            msg = "the transaction has ended: use it inside its with block"
            raise TurnEnded(msg)
        self._ops.append(op)


def unit_of(ops: list[Op]) -> Unit:
    """Return the unit for operations outside a turn."""
    messages = [op for op in ops if isinstance(op, Message)]
    size = _OVERHEAD + sum(len(message.body) + 64 for message in messages)
    if len(messages) == len(ops):
        return Unit(tells=messages, size=size)
    return Unit(ops=ops, size=size)


def _encode_for(row: MailboxRow, value: Any) -> tuple[str, int, bytes]:
    """Encode for a mailbox that only the store knows: its kinds are known, its types are not."""
    kind, version = kind_of(type(value)) if is_record(type(value)) else (PLAIN, 1)
    kinds = row.declaration.kinds
    if kinds and kind not in kinds:
        msg = f"mailbox {row.name!r} takes {' or '.join(kinds)}, got a message of kind {kind!r}"
        raise MessageError(msg)
    return kind, version, encode(value, f"mailbox {row.name!r}")


def _key(
    name: str, spec: MailboxSpec | None, row: MailboxRow, value: Any, key: str | int | None
) -> str | None:
    """Return the key that a message is for; MessageError where it is missing or has no place."""
    keyed = spec.keyed if spec is not None else row.declaration.keyed
    if not keyed:
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
    _check_text("key", text)
    return text


def _check_text(what: str, text: Any) -> None:
    if not isinstance(text, str) or not text or len(text) > _LONGEST_ID:
        msg = f"{what} is a text of 1 to {_LONGEST_ID} characters, got {text!r}"
        raise MessageError(msg)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} must be text that UTF-8 can hold, got {text!r}"
        raise MessageError(msg) from error
