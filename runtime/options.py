"""What several calls take, for type checkers: workers, and their keyword arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from ..actors.retry import RetryPolicy
    from ..actors.ticks import Missed, Overlap
    from ..actors.turn import Context
    from ..persistence.store import IfExists
    from .mailbox_ref import Receives
    from .supervisor_ref import SupervisorRef

    M = TypeVar("M")
    R = TypeVar("R")

    # What a mailbox's worker may be: its message and its result are read off it.
    Function = Callable[[M], R] | Callable[[M, Context], R]
    Class = type[Receives[M, R]]
    Key = str | int | None

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
    supervisor: SupervisorRef | None


class CronOptions(TypedDict, total=False):
    """Of :meth:`Runtime.cron`."""

    name: str | None
    message: Any
    tz: str
    missed: Missed
    overlap: Overlap
    jitter: float | str | timedelta


class _AllOptions(TypedDict, total=False):
    key: str | int | None
    after: float | str | timedelta | None
    at: datetime | None
    priority: int
    expires: float | str | timedelta | None


class ManyOptions(_AllOptions, total=False):
    """Of :meth:`Runtime.tell_many`."""

    connection: Any
    timeout: float | None


class PartOptions(_AllOptions, total=False):
    """Of :meth:`Transaction.tell`."""

    id: str | None
    if_exists: IfExists
    dedupe: float | str | timedelta | None


class TellOptions(ManyOptions, PartOptions, total=False):
    """Of :meth:`Runtime.tell`."""
