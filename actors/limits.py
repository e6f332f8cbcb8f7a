"""What a mailbox is limited to: how many wait, how often handlers start, how long is kept."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..clock import SECOND, duration
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE = re.compile(r"\s*(\d+)\s*/\s*(\d*)\s*([a-z]+)\s*", re.ASCII)
_UNITS = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
    "d": 86400, "day": 86400,
}  # fmt: skip
_OVERFLOWS = ("reject", "wait", "drop_oldest")
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """So many starts at the most in any window of a length (microseconds)."""

    count: int
    period: int


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one mailbox, checked.

    Attributes:
        capacity: how many may wait; None: no limit.
        overflow: what a tell beyond it does: ``"reject"``, ``"wait"`` or ``"drop_oldest"``.
        rate: of handler starts; None: no limit.
        topics: what it subscribes to; ``*`` stands for any text.
        retain: microseconds that handled messages are kept; None: not at all.

    """

    capacity: int | None = None
    overflow: str = "reject"
    rate: Rate | None = None
    topics: tuple[str, ...] = ()
    retain: int | None = None

    @classmethod
    def of(  # noqa: PLR0917  (built by one caller)
        cls, name: str, capacity: Any, overflow: Any, rate: Any, topics: str | Sequence[str],
        retain: Any,
    ) -> Limits:  # fmt: skip
        """Check what a declaration says.

        Raises:
            ConfigError: one of them cannot work.

        """
        if capacity is not None and (
            not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1
        ):
            msg = f"mailbox {name!r}: capacity must be a number from 1, got {capacity!r}"
            raise ConfigError(msg)
        if overflow not in _OVERFLOWS:
            msg = f"mailbox {name!r}: overflow must be one of {_OVERFLOWS}, got {overflow!r}"
            raise ConfigError(msg)
        return cls(
            capacity, overflow, None if rate is None else _rate(name, rate), _topics(name, topics),
            None if retain is None else _retain(name, retain),
        )  # fmt: skip


def _rate(name: str, text: Any) -> Rate:
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    unit = _UNITS.get(found[3].removesuffix("s") or "s") if found else None
    if found is None or unit is None:
        msg = f'mailbox {name!r}: rate reads like "100/min", "5/s" or "10/30s", got {text!r}'
        raise ConfigError(msg)
    count, period = int(found[1]), int(found[2] or 1) * unit * SECOND
    if not 1 <= count <= _MOST or not 1 <= period <= 366 * 86400 * SECOND:
        msg = f"mailbox {name!r}: rate {text!r} is not between 1 a year and {_MOST} at once"
        raise ConfigError(msg)
    return Rate(count, period)


def _topics(name: str, topics: str | Sequence[str]) -> tuple[str, ...]:
    found = (topics,) if isinstance(topics, str) else tuple(topics)
    for topic in found:
        if not isinstance(topic, str) or not topic or not topic.isprintable():
            msg = f'mailbox {name!r}: a topic is a text such as "order.placed", got {topic!r}'
            raise ConfigError(msg)
    return found


def _retain(name: str, retain: Any) -> int:
    try:
        kept = duration(retain)
    except ValueError as error:
        msg = f"mailbox {name!r}: retain: {error}"
        raise ConfigError(msg) from error
    if kept <= 0:
        msg = f"mailbox {name!r}: retain must be positive, got {retain!r}"
        raise ConfigError(msg)
    return kept
