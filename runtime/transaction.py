"""Several operations in one transaction: what ``with rt.transaction()`` gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, Unpack, overload

from ..errors import TurnEnded
from ..persistence.store import Execute

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..persistence.store import Op, Params
    from .mailbox_ref import MailboxRef
    from .options import Class, Function, PartOptions
    from .sender import Sender

M = TypeVar("M")


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

    @overload
    def tell(self, mailbox: str, message: Any = ..., **options: Unpack[PartOptions]) -> int: ...
    @overload
    def tell(
        self, mailbox: MailboxRef[M, Any] | Class[M, Any], message: M,
        **options: Unpack[PartOptions],
    ) -> int: ...  # fmt: skip
    @overload
    def tell(
        self, mailbox: Function[M, Any], message: M, **options: Unpack[PartOptions]
    ) -> int: ...
    @overload
    def tell(
        self, mailbox: MailboxRef[None, Any] | Callable[[], Any], message: None = ...,
        **options: Unpack[PartOptions],
    ) -> int: ...  # fmt: skip
    def tell(self, mailbox: Any, message: Any = None, **options: Any) -> int:
        """Send a message at the commit; returns 0, as numbers are given then.

        It takes what :meth:`Runtime.tell` takes, but for ``connection`` and ``timeout``.
        """
        self._add(*self._sender.operations(mailbox, message, **options))
        return 0

    def publish(self, topic: str, message: Any) -> int:
        """Publish at the commit; returns how many mailboxes subscribe.

        It takes what :meth:`Runtime.publish` takes.
        """
        count, ops = self._sender.publishing(topic, message)
        self._add(*ops)
        return count

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

    def _add(self, *ops: Op) -> None:
        if not self._open:
            msg = "the transaction has ended: use it inside its with block"
            raise TurnEnded(msg)
        self._ops += ops
