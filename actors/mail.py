"""What a mailbox is declared as, and what its actor is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from ..persistence.store import Message
from .inbox import Control
from .limits import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from .retry import RetryPolicy
    from .worker import Behaviour


@dataclass(frozen=True, slots=True)
class MailboxSpec:
    """A mailbox as it was declared.

    Attributes:
        key: returns a message's key; None: not keyed, or the sender gives it.
        order: of retries, decided: ``"aside"`` or ``"block"``.
        timeout: seconds, of each handler run; None: none.
        limits: how much, how often, how long.
        supervisor: the name of its own; None: the one above all that users declare.
        index: place among all declarations: the order of siblings.

    """

    name: str
    worker: Any
    behaviour: Behaviour
    workers: int
    keyed: bool
    key: Callable[[Any], Any] | None
    retry: RetryPolicy
    order: str
    timeout: float | None
    limits: Limits = Limits()
    supervisor: str | None = None
    index: int = 0


class DueNow(msgspec.Struct, gc=False):
    """Messages that have become due; with ``behind`` there are more of them in the store."""

    messages: list[Message]
    upto: int
    behind: bool = False


class Flood(msgspec.Struct, gc=False):
    """Others have told more than was handed over: page it in, from this number on."""

    number: int


class Refill(Control):
    """The window runs low."""

    __slots__ = ()


class SetPaused(Control):
    """Take no new turns, or take them again."""

    __slots__ = ("paused",)

    def __init__(self, *, paused: bool) -> None:
        """Say which."""
        self.paused = paused


class Blocked(Control):
    """Unblock a key at an instant; None: now."""

    __slots__ = ("key", "until")

    def __init__(self, key: str | None, until: int | None) -> None:
        """Say which key and until when."""
        self.key = key
        self.until = until
