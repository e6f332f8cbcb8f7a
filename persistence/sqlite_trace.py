"""Has a COMMIT that raised come through? Each group leaves something to know it by.

That is the number that it has taken, which nobody takes twice; where it takes none, a message that
it has removed. What does neither takes a number for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ._sqlite3 import sqlite3
from .sqlite_open import is_full
from .store import Outcome, Retry, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from .store import Message

_LEFT = """
SELECT last, EXISTS (SELECT 1 FROM callboard_message WHERE number = ?) FROM callboard_counter"""
_STANDS = """
SELECT EXISTS (SELECT 1 FROM callboard_message WHERE number = ? AND mailbox = ? AND body = ?)"""


class Trace:
    """Looks for what a commit has left; the caller holds the gate, so none of us has written since.

    Args:
        run: executes one statement, outside of any transaction.
        path: for messages.
        probe: called before each look; what it raises is as if SQLite had raised it.

    """

    def __init__(
        self, run: Callable[..., sqlite3.Cursor], path: Path, probe: Callable[[str], None]
    ) -> None:
        """Look for nothing yet."""
        self._run = run
        self._path = path
        self._probe = probe

    def left_by(self, error: Exception, units: Sequence[Unit], last: int | None) -> bool:
        """Say whether these units are on disk, although their COMMIT has raised an error.

        Args:
            error: where it says that there was no room, nothing is.
            units: with the outcomes that they were to have.
            last: the last number that was taken for them; None: none was.

        Raises:
            StoreError: with ``unclear``, it cannot be found out.

        """
        if is_full(error):
            return False
        gone = next((u.ack.number for u in units
                     if u.ack is not None and u.outcome is Outcome.COMMITTED), None)  # fmt: skip
        found, waits = self._look(_LEFT, gone)
        if last is not None:
            return bool(found == last)
        return not waits  # with neither, nothing was to be written

    def stands(self, error: Exception, message: Message, number: int) -> bool:
        """Say whether a lone message is on disk whose statement has raised an error.

        Raises:
            StoreError: with ``unclear``, it cannot be found out.

        """
        if is_full(error) or isinstance(error, sqlite3.IntegrityError):
            return False  # the latter is our own trigger: somebody else may have taken the number
        return bool(self._look(_STANDS, number, message.mailbox, message.body)[0])

    def _look(self, sql: str, *params: Any) -> Any:
        try:
            self._probe("look")
            return self._run(sql, params).fetchone()
        except sqlite3.Error as error:
            unclear = StoreError(
                f"{self._path}: {error}: whether this was written is not known; with id= and "
                "dedupe= it can be told again"
            )
            unclear.unclear = True
            raise unclear from error


def needed(units: Sequence[Unit]) -> int:
    """Return 1 where units that take no number do more than remove their own messages."""
    return int(any(
        isinstance(unit.fate, Retry) or (unit.ack is None and (unit.ops or unit.state))
        for unit in units
    ))  # fmt: skip
