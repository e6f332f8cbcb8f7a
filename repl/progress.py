"""How far a change in many transactions has come, for who looks on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from ..clock import monotonic

if TYPE_CHECKING:
    from .desk import Desk

# Seconds between two lines about it.
_SAY = 2.0


class Progress:
    """Says now and then how much is done, and how much was when Ctrl-C came.

    Args:
        desk: where it is said.
        what: is done to each.
        count: of all.

    """

    def __init__(self, desk: Desk, what: str, count: int) -> None:
        """Say nothing yet."""
        self._desk = desk
        self._what = what
        self._count = count
        self._done = 0
        self._spoken = monotonic()

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def say(self, done: int) -> None:
        """Learn how many are done."""
        self._done = done
        if monotonic() - self._spoken >= _SAY:
            self._spoken = monotonic()
            self._desk.say(f"{done:,} of {self._count:,} {self._what}")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Say what is done where the rest is not."""
        if kind is not None:
            text = f"{self._done:,} of {self._count:,} {self._what}, the rest is as it was"
            self._desk.say(text)
