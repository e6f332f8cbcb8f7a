"""How much is held in memory: what every part is built with, and a simulation makes small."""

from __future__ import annotations

from dataclasses import dataclass

WINDOW = 1000
PER_KEY = 32


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is held in memory; small in simulations, where it is to be paged all the time.

    Attributes:
        window: messages of a mailbox.
        per_key: those of one key.
        near: timers of all mailboxes.
        least: those of each at least.

    """

    window: int = WINDOW
    per_key: int = PER_KEY
    near: int = 8192
    least: int = 16
