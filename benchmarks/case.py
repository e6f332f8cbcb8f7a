"""What a workload is made of: sides that are measured in turn, and targets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    #: Runs in a process of its own, in an empty folder; says what it measured, by name.
    Side = Callable[[Path, int], dict[str, float]]

OURS, BARE = "callboard", "bare"


class WrongResultError(Exception):
    """A run did not do what it was measured for: its time means nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """What callboard must reach.

    Args:
        figure: of callboard's side.
        limit: the number to reach.
        most: it may be at most this much; else it must be at least this much.
        over: the side whose figure it is divided by, in the same pair; None: the figure itself.
        below: that side's figure, where its name is another one.

    """

    figure: str
    limit: float
    most: bool = False
    over: str | None = None
    below: str | None = None

    def met(self, value: float) -> bool:
        """Say whether a measured value reaches it."""
        return value <= self.limit if self.most else value >= self.limit

    def text(self) -> str:
        """Return it as a table shows it."""
        sign = "<=" if self.most else ">="
        if self.over is None:
            return f"{self.figure} {sign} {self.limit:,g}"
        below = "" if self.below in (None, self.figure) else f" {self.below}"
        return f"{self.figure} {sign} {self.limit:,g}x {self.over}{below}"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that is measured.

    Args:
        name: ``W4-keyed``: the workload, and which of its cases.
        what: for the reader of the table.
        size: how many of whatever it is; 0: the case has no size.
        quick: the same in the short run; None: it has no short form.
        sides: by name; callboard's is measured against each of the others.
        targets: what callboard must reach.
        pairs: how many times each side is run, at least.
        slow: sides with another size, because they would take minutes.
        long: only where the long run was asked for.

    """

    name: str
    what: str
    size: int
    quick: int | None
    sides: dict[str, Side]
    targets: tuple[Target, ...] = ()
    pairs: int = 5
    slow: dict[str, int] = field(default_factory=dict)
    long: bool = False

    def sized(self, side: str, *, quick: bool) -> int:
        """Return how many a side is given."""
        size = self.quick if quick and self.quick is not None else self.size
        return min(size, self.slow.get(side, size))


def expect(what: str, got: object, wanted: object) -> None:
    """Refuse a run whose result is wrong: no wrong run may be a fast one."""
    if got != wanted:
        raise WrongResultError(f"{what}: {got!r} instead of {wanted!r}")
