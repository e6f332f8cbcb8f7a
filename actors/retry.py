"""When a failed message is tried again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..clock import LATEST, SECOND
from ..errors import ConfigError

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and when a message is tried again after its handler has raised.

    The default: 10 attempts, 1 s x 2, at most 10 minutes, +-10 %, then a dead letter that keeps
    error, traceback and attempts. ``RetryLater`` and an interruption by shutdown do not count.

    Attributes:
        attempts: how often a handler may fail before the message is a dead letter; 1: never again.
        delay: seconds before the second attempt.
        factor: each further delay is so much longer.
        limit: the longest delay, seconds.
        jitter: each delay is drawn from +- this part of itself, 0 to 1.
        never: exceptions after which it is not tried again: a dead letter at once.
        order: ``"aside"``: others go on while it waits; ``"block"``: strict order, nothing
            overtakes it (in a keyed mailbox: nothing of its key). Default: block when keyed, else
            aside.

    """

    attempts: int = 10
    delay: float = 1.0
    factor: float = 2.0
    limit: float = 600.0
    jitter: float = 0.1
    never: tuple[type[BaseException], ...] = ()
    order: Literal["aside", "block"] | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot work."""
        for name, value, least in (
            ("attempts", self.attempts, 1),
            ("delay", self.delay, 0),
            ("factor", self.factor, 1),
            ("limit", self.limit, 0),
            ("jitter", self.jitter, 0),
        ):
            if not isinstance(value, (int, float)) or not value >= least:  # NaN is refused too
                msg = f"{name} must be a number from {least}, got {value!r}"
                raise ConfigError(msg)
            if value == math.inf and name != "attempts":
                msg = f"{name} must be finite, got {value!r}"
                raise ConfigError(msg)
        if self.jitter > 1:
            msg = f"jitter must be a part from 0 to 1, got {self.jitter!r}"
            raise ConfigError(msg)
        if self.order not in (None, "aside", "block"):
            msg = f'order must be "aside" or "block", got {self.order!r}'
            raise ConfigError(msg)

    def wait(self, attempt: int, random: random.Random) -> int:
        """Return microseconds to wait after failure number ``attempt`` (from 1)."""
        try:
            seconds = min(self.limit, self.delay * self.factor ** (attempt - 1))
        except OverflowError:
            seconds = self.limit
        spread = 1 + self.jitter * (2 * random.random() - 1)
        return round(min(seconds, LATEST / SECOND) * spread * SECOND)
