"""Commit a group of units in one SQLite transaction.

The quick way writes the whole group with a handful of statements (``sqlite_unit.py``), in order
where order can matter.

When it does not come out (an acknowledgement finds no row, a statement of the user's ended the
transaction, COMMIT refuses), nothing of the group stays, and every unit is written by itself, in
order: in one transaction with a savepoint each, and if that fails too, in a transaction each.

A COMMIT that raises may be on disk all the same: sqlite_trace.py finds out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import StoreError, StoreOwned
from ._sqlite3 import sqlite3
from .sqlite_lone import LoneWriter
from .sqlite_open import refusal
from .sqlite_read import COLUMNS
from .sqlite_text import fetch
from .sqlite_trace import Trace, needed
from .sqlite_unit import Apart, UnitWriter, fault, forget, has_statements, taken, wanted
from .store import Lineage, Message, Outcome, Unit, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_OWNER = "UPDATE callboard_counter SET last = last + ? WHERE epoch = ? RETURNING last"
_CLIENT = "UPDATE callboard_counter SET last = last + ? RETURNING last"
# A foreign connection has written a message without taking a number for it. The bound keeps what
# can be counted to: no number beyond it is ever reached.
_STEP_OVER = """
UPDATE callboard_counter SET last = m.number
FROM (SELECT max(number) AS number FROM callboard_message WHERE number < 1 << 53) m
WHERE last < m.number"""
_LOOK = "SELECT last, epoch FROM callboard_counter"
_FOREIGN = f"""
SELECT {COLUMNS} FROM callboard_message WHERE number > ? AND number <= ? ORDER BY number LIMIT ?"""
#: More foreign messages than this are paged in instead of handed over.
FLOOD = 2000


class SqliteWriter:
    """Writes groups through the one writing connection; callers hold the gate.

    Args:
        connection: the writing connection, in autocommit.
        path: for messages.
        probe: called around a COMMIT; what it raises is as if SQLite had raised it.

    """

    def __init__(
        self, connection: sqlite3.Connection, path: Path, probe: Callable[[str], None]
    ) -> None:
        """Take over the connection."""
        self._connection = connection
        self._path = path
        self._probe = probe
        self._run = connection.execute
        self._trace = Trace(connection.execute, path, probe)
        self._units = UnitWriter(connection, connection.execute, path)
        self._lone = LoneWriter(connection)
        # What the COMMIT that is being tried will have shown: read when it is interrupted.
        self._ready: Written | None = None
        self._numbered = False
        self._version: int | None = None
        # A client: the counter as its last commit left it, and whether that had found it so too.
        self._left_at: int | None = None
        self._undisturbed = False

    def write(self, units: Sequence[Unit], epoch: int | None, seen: int | None) -> Written:
        """See Store.write."""
        known = seen if epoch is not None else self._left_at if self._undisturbed else None
        if known is not None:
            written = self._quickest(units, epoch, known)
            if written is not None:
                self._left_at = written.last
                return written
        for way in (self._together, self._apart):
            try:
                return self._through(way, units, epoch, seen)
            except Exception as error:  # noqa: BLE001  (what is nobody's fault yet is tried apart)
                self._undo(units)
                self._refuse(error)
                if taken(error) and self._run(_STEP_OVER).rowcount:
                    return self.write(units, epoch, seen)
            except BaseException as error:
                self._interrupt(units, error)
                raise
        return self._alone(units, epoch, seen)

    def look(self, epoch: int | None, seen: int) -> Written:
        """See Store.look."""
        last, found = self._run(_LOOK).fetchone()
        self._check_epoch(epoch, found)
        foreign, flood = self._foreign(seen, last)
        return Written(last, foreign, flood)

    def others_wrote(self) -> bool:
        """See Store."""
        before, self._version = self._version, self._run("PRAGMA data_version").fetchone()[0]
        return before is not None and before != self._version

    # --- four ways ---------------------------------------------------------------------------

    def _quickest(self, units: Sequence[Unit], epoch: int | None, seen: int) -> Written | None:
        """Write one message with a few acknowledgements in one statement; None: it did not fit."""
        lone = self._lone.fits(units)
        if lone is None or not lone.tells:
            return None
        before = self._connection.total_changes
        try:
            self._probe("commit")
            written = self._lone.write(units, lone, lone.tells[0], epoch, seen)
            self._probe("on disk")
        except Exception as error:  # noqa: BLE001  (the usual way finds out what it was)
            forget(units)
            if self._trace.stands(error, lone.tells[0], seen + 1):
                return self._lone.written(units, lone, seen + 1)
            self._refuse(error)
            return None
        except BaseException as error:
            if self._connection.total_changes != before:  # Ctrl-C came after its commit
                error.__dict__["written"] = self._lone.written(units, lone, seen + 1)
            else:
                forget(units)
            raise
        return written

    def _together(self, units: Sequence[Unit], epoch: int | None, seen: int | None) -> Written:
        """Write the whole group in one go."""
        last, before = self._begin(units, epoch)
        number = before
        plain: list[Unit] = []
        for unit in units:
            if unit.ops is None and unit.fate is None:
                plain.append(unit)
                continue
            if plain:
                number = self._units.plain(plain, number)
                plain = []
            number = self._units.one(unit, number, guarded=has_statements(unit))
        if plain:
            self._units.plain(plain, number)
        return self._commit(last, before, seen)

    def _apart(
        self,
        units: Sequence[Unit],
        epoch: int | None,
        seen: int | None,
        broken: set[Lineage] | None = None,
    ) -> Written:
        """Write each unit in a savepoint of its own, all in one transaction."""
        last, before = self._begin(units, epoch)
        number = before
        broken = set() if broken is None else broken
        for unit in units:
            number = self._units.one(unit, number, guarded=True, broken=broken)
        return self._commit(last, before, seen)

    def _alone(self, units: Sequence[Unit], epoch: int | None, seen: int | None) -> Written:
        """Write each unit in a transaction of its own: COMMIT itself says whose fault it is."""
        total = Written(seen or 0, [])
        broken: set[Lineage] = set()
        for index, unit in enumerate(units):
            try:
                since = None if seen is None else total.last
                part = self._through(self._apart, [unit], epoch, since, broken)
            except Exception as error:  # noqa: BLE001  (its own fault: it fails, the others go on)
                self._undo([unit])
                # What stands before it is on disk: the committer settles that part.
                self._refuse(error, total if index else None)
                unit.outcome, unit.error = Outcome.FAILED, fault(error)
                if unit.lineage is not None:
                    broken.add(unit.lineage)
            except BaseException as error:
                if (landed := self._interrupt([unit], error)) is not None:
                    _add(total, landed)
                error.__dict__["written"] = total
                raise
            else:
                _add(total, part)
        return total

    # --- the transaction ---------------------------------------------------------------------

    def _begin(self, units: Sequence[Unit], epoch: int | None) -> tuple[int, int]:
        """Begin; returns (last number after, last number before)."""
        self._ready = None
        self._run("BEGIN IMMEDIATE")
        return self._take_numbers(wanted(units) or needed(units), epoch)

    def _commit(self, last: int, before: int, seen: int | None) -> Written:
        foreign, flood = ([], None) if seen is None else self._foreign(seen, before)
        if not self._connection.in_transaction:
            raise Apart
        self._ready = Written(last, foreign, flood)
        self._numbered = last != before
        self._probe("commit")
        self._run("COMMIT")
        self._probe("on disk")
        self._undisturbed, self._left_at = before == self._left_at, last
        return self._ready

    def _through(self, way: Callable[..., Written], units: Sequence[Unit], *args: Any) -> Written:
        """Write in one of the ways; what raises at its COMMIT may have come through all the same.

        Raises:
            StoreError: with ``unclear``, that cannot be found out.

        """
        try:
            return way(units, *args)
        except Exception as error:
            # While the transaction is open nothing of it is on disk.
            ready = self._ready
            if ready is None or self._connection.in_transaction:
                raise
            if not self._trace.left_by(error, units, ready.last if self._numbered else None):
                raise
            return ready

    def _undo(self, units: Sequence[Unit]) -> None:
        """Leave no transaction open, and nothing on the units of what was tried."""
        if self._connection.in_transaction:
            self._run("ROLLBACK")
        forget(units)

    def _refuse(self, error: Exception, written: Written | None = None) -> None:
        """Raise what the store as a whole refused; return where a unit is to blame."""
        refused = error if isinstance(error, StoreError) else refusal(error, self._path)
        if refused is None:
            return
        refused.written = written
        if refused is error:
            raise refused
        raise refused from error

    def _interrupt(self, units: Sequence[Unit], error: BaseException) -> Written | None:
        """Undo what Ctrl-C interrupted, unless its COMMIT had come through already."""
        if self._ready is None or self._connection.in_transaction:
            self._undo(units)
            return None
        error.__dict__["written"] = self._ready
        return self._ready

    def _take_numbers(self, count: int, epoch: int | None) -> tuple[int, int]:
        """Return (last number after, last number before); the fence is checked on the way."""
        if count:
            found = (
                self._run(_CLIENT, (count,)) if epoch is None else self._run(_OWNER, (count, epoch))
            ).fetchall()
            if not found:
                self._check_epoch(epoch, None)
            return found[0][0], found[0][0] - count
        last, now = self._run(_LOOK).fetchone()
        self._check_epoch(epoch, now)
        return last, last

    def _check_epoch(self, epoch: int | None, found: int | None) -> None:
        if epoch is not None and epoch != found:
            msg = (
                f"{self._path} has another owner now (this one began epoch {epoch}): another path "
                "to the same file was started; this runtime has stopped and writes nothing more"
            )
            raise StoreOwned(msg)

    def _foreign(self, seen: int, before: int) -> tuple[list[Message], int | None]:
        if before <= seen:
            return [], None
        rows = fetch(self._connection, _FOREIGN, (seen, before, FLOOD + 1))
        if len(rows) > FLOOD:
            return [], seen
        return [Message(*row) for row in rows], None


class InsideWriter:
    """Writes a unit through the caller's own connection, inside the caller's transaction.

    Args:
        connection: the caller's; whatever its row factory.
        path: for messages.

    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        """Begin nothing yet."""
        self._connection = connection
        self._path = path
        self._units = UnitWriter(connection, self._run, path)

    def write(self, unit: Unit) -> None:
        """Write it inside the open transaction; where none is open, begin as the driver would.

        A connection in autocommit has no transaction that could be joined: it gets one of its own,
        committed when this returns.
        """
        ours = not self._connection.in_transaction
        try:
            if ours:
                self._run("BEGIN IMMEDIATE")
            count = wanted([unit])
            last = self._run(_CLIENT, (count,)).fetchall()[0][0] if count else 0
            self._units.one(unit, last - count, guarded=True)
            if unit.error is not None:
                raise unit.error
            if ours and _autocommits(self._connection):
                self._run("COMMIT")
        except BaseException as error:
            if ours and self._connection.in_transaction:
                self._run("ROLLBACK")
            self._blame(error)
            raise

    def _blame(self, error: BaseException) -> None:
        if isinstance(error, Apart):
            raise StoreError("the statement ended your transaction; nothing was told") from error
        refused = refusal(error, self._path)
        if refused is not None:
            raise refused from error

    def _run(self, sql: str, params: Any = ()) -> sqlite3.Cursor:
        cursor = self._connection.cursor()
        cursor.row_factory = None
        return cursor.execute(sql, params)


def _autocommits(connection: sqlite3.Connection) -> bool:
    """Say whether nobody but us would end a transaction on it (3.12 has ``autocommit`` too)."""
    return connection.isolation_level is None or getattr(connection, "autocommit", None) is True


def _add(total: Written, part: Written) -> None:
    total.last = part.last
    total.foreign += part.foreign
    if total.flood is None:
        total.flood = part.flood
