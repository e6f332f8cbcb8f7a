"""Who changes something by hand: the note that goes into the transaction of the change itself.

A byline is of one thread and what it calls. The first change that commits takes it along: a unit of
the committer, or one of the store's own transactions that people ask for.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from .store import Advance, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .store import Audit, Unit

_present: ContextVar[Byline | None] = ContextVar("callboard_byline", default=None)


class Byline:
    """One note, written once.

    Attributes:
        audit: the note.
        taken: a transaction has it, or is about to.

    """

    __slots__ = ("audit", "taken")

    def __init__(self, audit: Audit) -> None:
        """Be written by nobody yet."""
        self.audit = audit
        self.taken = False

    def sign(self, unit: Unit) -> None:
        """Have it written with a unit, as the last thing: one that is void has not come so far."""
        unit.ops = [*(unit.tells or unit.ops or ()), self.audit]
        unit.tells = None

    def settle(self, unit: Unit) -> None:
        """Be taken only if the unit has committed a change; else the next change takes it."""
        self.taken = unit.outcome is Outcome.COMMITTED and unit.changed


@contextlib.contextmanager
def signing(audit: Audit) -> Iterator[Byline]:
    """Hold a byline for the first change within the block."""
    byline = Byline(audit)
    token = _present.set(byline)
    try:
        yield byline
    finally:
        _present.reset(token)


def take(unit: Unit | None = None) -> Byline | None:
    """Return the byline that nobody has taken yet, and take it; None: there is none.

    Args:
        unit: what it is for; one that moves a schedule on may end early, so it takes none.

    """
    byline = _present.get()
    if byline is None or byline.taken:
        return None
    if unit is not None and any(isinstance(op, Advance) for op in unit.ops or ()):
        return None
    byline.taken = True
    return byline
