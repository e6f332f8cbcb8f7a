"""The keyword arguments that several calls share, for type checkers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from ..actors.retry import RetryPolicy
    from ..persistence.store import IfExists

Overflow: TypeAlias = Literal["reject", "wait", "drop_oldest"]


class MailboxOptions(TypedDict, total=False):
    """Of :meth:`Runtime.mailbox`."""

    workers: int
    keyed: bool | Callable[[Any], Any]
    retry: RetryPolicy
    timeout: float | None
    capacity: int | None
    overflow: Overflow
    rate: str | None
    topics: str | Sequence[str]
    retain: float | str | timedelta | None


class ManyOptions(TypedDict, total=False):
    """Of :meth:`Runtime.tell_many`."""

    key: str | int | None
    after: float | str | timedelta | None
    at: datetime | None
    priority: int
    expires: float | str | timedelta | None
    connection: Any
    timeout: float | None


class TellOptions(ManyOptions, total=False):
    """Of :meth:`Runtime.tell`."""

    id: str | None
    if_exists: IfExists
    dedupe: float | str | timedelta | None
