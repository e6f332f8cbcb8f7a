"""Write single units, and runs of plain ones, inside a transaction that somebody else has begun.

Consecutive plain units (an acknowledgement, a state, messages without a name) are written together,
acknowledgements first, with a constant number of statements. A unit with names, cancels or
statements of the user's is written by itself, in its order.
"""

from __future__ import annotations

from functools import cache
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import AlreadyTold, MailboxFull, MessageError
from ._sqlite3 import sqlite3
from .shapes import chunks, flat, numbered, padded, values
from .sqlite_kept import remember
from .sqlite_open import refusal
from .sqlite_repair import repair
from .sqlite_schedule import advance
from .store import (
    Advance,
    Audit,
    Cancel,
    Dead,
    Done,
    Edit,
    Execute,
    Lineage,
    Message,
    Move,
    Note,
    Noted,
    Outcome,
    Progress,
    Publish,
    Remember,
    Reserve,
    Retry,
    Room,
    Tell,
    Unit,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


_FIELDS = (
    "number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers, "
    "retain, priority, expires_at"
)
_WIDTH = 15
# Listed where nothing differs: the body.
_BODY = 4
_INSERT = f"INSERT INTO callboard_message ({_FIELDS}) VALUES "
_INSERT_ONE = _INSERT + values(1, _WIDTH)
# Of many rows most columns are the same in all: what differs is listed, the rest is bound once.
# Behind the last row there may be empty ones.
_INSERT_MANY = f"""
WITH row (i, {{listed}}) AS (VALUES {{rows}})
INSERT INTO callboard_message ({_FIELDS}) SELECT ? + i, {{columns}} FROM row LIMIT ?"""
_DELETE_ONE = "DELETE FROM callboard_message WHERE number = ?"
_DELETE_RANGE = "DELETE FROM callboard_message WHERE number BETWEEN ? AND ?"
_DELETE_SET = """
DELETE FROM callboard_message WHERE number IN (SELECT value FROM json_each(?))"""
_DELETE_NAMED = "DELETE FROM callboard_message WHERE mailbox = ? AND name = ? RETURNING number"
_DELETE_IN = "DELETE FROM callboard_message WHERE mailbox = ? AND number = ? RETURNING number"
_NAMESAKE = "SELECT number FROM callboard_message WHERE mailbox = ? AND name = ?"
_STATE = "INSERT INTO callboard_state (mailbox, key, kind, version, body) VALUES {rows}"
_STATE_SET = """
ON CONFLICT (mailbox, key) DO UPDATE
SET kind = excluded.kind, version = excluded.version, body = excluded.body"""
_RETRY = """
UPDATE callboard_message SET attempt = ?, due = ifnull(?, due), retry_at = ?, error = ?
WHERE number = ?"""
_TRIED = "UPDATE callboard_message SET attempt = ?, deliveries = ?, error = ? WHERE number = ?"
_BURY = """
INSERT OR REPLACE INTO callboard_dead
  (number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers, retain,
   priority, deliveries, error, traceback, attempts, failed_at)
SELECT number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers,
   retain, priority, deliveries, ?, ?, ?, ?
FROM callboard_message WHERE number = ?"""
_KEEP = """
INSERT OR REPLACE INTO callboard_done
  (number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers, priority,
   attempts, handled_at, took, result, until)
SELECT number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers,
   priority, attempt + 1, ?, ?, ?, ?
FROM callboard_message WHERE number = ?"""
_TOLD = "SELECT 1 FROM callboard_told WHERE mailbox = ? AND name = ? AND until > ?"
_NOTE_TOLD = "INSERT OR REPLACE INTO callboard_told (mailbox, name, until) VALUES (?, ?, ?)"
_PROGRESS = """
INSERT OR REPLACE INTO callboard_progress (number, fraction, note, at)
SELECT number, ?, ?, ? FROM callboard_message WHERE number = ?"""
_RESERVE = """
INSERT INTO callboard_rate (mailbox, at, count) VALUES (?, ?, ?)
ON CONFLICT (mailbox, at) DO UPDATE SET count = count + excluded.count"""
# A batch was used up when the next one was reserved: those before the last such instant are over.
_FORGET = """
DELETE FROM callboard_rate WHERE mailbox = ? AND at <
  (SELECT max(at) FROM callboard_rate WHERE mailbox = ? AND at <= ?)"""
#: How many more a mailbox takes; what is due and was never tried is not in its counter.
ROOM = """
SELECT :capacity - ifnull((SELECT held FROM callboard_level WHERE mailbox = :mailbox), 0)
  - (SELECT count(*) FROM (SELECT 1 FROM callboard_message WHERE mailbox = :mailbox
       AND due IS NOT NULL AND due <= :now AND attempt = 0 LIMIT :capacity))"""
_DROP = """
DELETE FROM callboard_message WHERE number IN (SELECT number FROM callboard_message
  WHERE mailbox = ? AND (due IS NULL OR due <= ?) ORDER BY number LIMIT ?) RETURNING number"""


class Apart(Exception):
    """The group cannot be written together; inside the store only."""


class UnitWriter:
    """Writes units through one connection, inside the transaction that is open on it.

    Args:
        connection: whose transaction it is.
        run: executes one statement on it.
        path: for messages.

    """

    def __init__(
        self, connection: sqlite3.Connection, run: Callable[..., sqlite3.Cursor], path: Path
    ) -> None:
        """Write nothing yet."""
        self._connection = connection
        self._run = run
        self._path = path

    # --- consecutive plain units -------------------------------------------------------------

    def plain(self, units: list[Unit], number: int) -> int:
        """Write consecutive plain units: acknowledgements, states, messages."""
        acks = [unit.ack.number for unit in units if unit.ack is not None]
        if acks:
            self._acknowledge(acks)
        states = {(s.mailbox, s.key): s for unit in units if (s := unit.state) is not None}
        if states:
            self._store_states(
                [(s.mailbox, s.key, s.kind, s.version, s.body) for s in states.values()]
            )
        tells: list[Message] = []
        committed = Outcome.COMMITTED
        for unit in units:
            unit.outcome = committed
            if unit.tells:
                unit.results = list(range(number + 1, number + 1 + len(unit.tells)))
                number += len(unit.tells)
                tells.extend(unit.tells)
        if tells:
            self._insert(tells, number - len(tells) + 1)
        return number

    def _acknowledge(self, numbers: list[int]) -> None:
        count = len(numbers)
        if count == 1:
            gone = self._run(_DELETE_ONE, numbers).rowcount
        elif max(numbers) - min(numbers) == count - 1 and len(set(numbers)) == count:
            gone = self._run(_DELETE_RANGE, (min(numbers), max(numbers))).rowcount
        else:
            gone = self._run(_DELETE_SET, (msgspec.json.encode(numbers).decode(),)).rowcount
        if gone != count:
            raise Apart

    def _store_states(self, rows: list[tuple[int, str, str, int, bytes]]) -> None:
        for start, length in chunks(len(rows)):
            self._run(
                _STATE.format(rows=values(length, 5)) + _STATE_SET,
                flat(rows[start : start + length]),
            )

    def _insert(self, tells: list[Message], number: int) -> None:
        for offset, message in enumerate(tells):
            message.number = number + offset
        if len(tells) == 1:
            self._run(_INSERT_ONE, _row(tells[0]))
            return
        for start, length in padded(len(tells)):
            self._insert_many(tells[start : start + length], length)

    def _insert_many(self, tells: list[Message], length: int) -> None:
        columns = _columns(tells)
        listed = tuple(n for n, each in enumerate(columns) if each.count(each[0]) != len(each))
        listed = listed or (_BODY,)
        params: list[Any] = list(
            chain.from_iterable(zip(*[columns[n] for n in listed], strict=True))
        )
        params += [None] * ((length - len(tells)) * len(listed))
        params.append(tells[0].number)
        params += [each[0] for n, each in enumerate(columns) if n not in listed]
        params.append(len(tells))
        self._run(_insert_many(length, listed), params)

    # --- one unit ----------------------------------------------------------------------------

    def one(
        self, unit: Unit, number: int, *, guarded: bool, broken: set[Lineage] | None = None
    ) -> int:
        """Write one unit in its order; returns the last number that it used."""
        if broken and unit.lineage in broken:
            unit.outcome = Outcome.AGAIN
            return number
        end = number + wanted([unit])
        if guarded:
            self._run("SAVEPOINT callboard_turn")
        try:
            unit.outcome = self._steps(unit, number)
        except Exception as error:
            forget([unit])
            if not guarded or refusal(error, self._path) is not None or taken(error):
                raise
            if not self._connection.in_transaction:
                raise Apart from error
            self._run("ROLLBACK TO callboard_turn")
            unit.outcome, unit.error = Outcome.FAILED, error
        if guarded:
            if not self._connection.in_transaction:
                raise Apart
            self._run("RELEASE callboard_turn")
        if unit.outcome is not Outcome.COMMITTED and unit.lineage is not None:
            if broken is None:
                raise Apart
            broken.add(unit.lineage)
        return end

    def _steps(self, unit: Unit, number: int) -> Outcome:
        if unit.ack is not None and not self._settle_own(unit.ack.number, unit.fate):
            return Outcome.VOID
        if unit.state is not None:
            s = unit.state
            self._store_states([(s.mailbox, s.key, s.kind, s.version, s.body)])
        return self._operations(unit, number)

    def _operations(self, unit: Unit, number: int) -> Outcome:
        results: list[Any] = []
        for op in unit.tells or unit.ops or ():
            match op:
                case Message():
                    number += 1
                    self._insert([op], number)
                    results.append(number)
                case Tell():
                    number += 1
                    results.append(self._tell_named(unit, op, number))
                case Move():
                    number += 1
                    if not self._move(unit, op, number):
                        return Outcome.VOID
                    results.append(number)
                case Cancel() | Execute():
                    results.append(
                        self._cancel(unit, op) if isinstance(op, Cancel) else self._execute(op)
                    )
                case Advance():
                    moved = advance(self._run, op, number)
                    if moved is None:
                        return Outcome.VOID
                    if not moved:
                        break
                case _:
                    unit.results = results
                    self._aside(unit, op)
        unit.results = results
        return Outcome.COMMITTED

    def _settle_own(self, number: int, fate: Retry | Dead | Done | None) -> bool:
        """Remove the turn's own message, or do instead what its fate says; False: it is gone."""
        match fate:
            case None:
                return self._run(_DELETE_ONE, (number,)).rowcount == 1
            case Retry(attempt, due, retry_at, error):
                changed = self._run(_RETRY, (attempt, due, retry_at, error, number))
                return changed.rowcount == 1
            case Dead(error, traceback, attempts, failed_at):
                self._run(_BURY, (error, traceback, attempts, failed_at, number))
                return self._run(_DELETE_ONE, (number,)).rowcount == 1

            case Done(handled_at, took, result, until):
                self._run(_KEEP, (handled_at, took, result, until, number))
                return self._run(_DELETE_ONE, (number,)).rowcount == 1

    def _aside(
        self, unit: Unit,
        op: Room | Progress | Publish | Reserve | Remember | Edit | Note | Noted | Audit,
    ) -> None:  # fmt: skip
        """Do what gives no result; what is published is not written."""
        if isinstance(op, Room):
            self._make_room(unit, op)
        elif isinstance(op, Progress):
            self._run(_PROGRESS, (op.fraction, op.note, op.at, op.number))
        elif isinstance(op, Reserve):
            self._run(_RESERVE, (op.mailbox, op.at, op.count))
            self._run(_FORGET, (op.mailbox, op.mailbox, op.forget))
        elif isinstance(op, Remember):
            remember(self._run, op)
        elif isinstance(op, (Edit, Note, Noted)) or (isinstance(op, Audit) and unit.changed):
            repair(self._run, op)

    def _make_room(self, unit: Unit, op: Room) -> None:
        asked = {"mailbox": op.mailbox, "capacity": op.capacity, "now": op.now}
        lacking = op.count - self._run(ROOM, asked).fetchone()[0]
        if lacking <= 0:
            return
        if not op.drop_oldest or op.count > op.capacity:
            msg = (
                f"the mailbox takes {op.capacity} waiting messages and has room for "
                f"{max(0, op.count - lacking)} more, not for {op.count}: tell later, or raise its "
                "capacity"
            )
            raise MailboxFull(msg)
        rows = self._run(_DROP, (op.mailbox, op.now, lacking)).fetchall()
        dropped = [row[0] for row in rows]
        unit.removed = [*unit.removed, *dropped]
        unit.dropped = [*unit.dropped, *dropped]

    def _tell_named(self, unit: Unit, op: Tell, number: int) -> int:
        message = op.message
        if op.until is not None:
            told = (message.mailbox, message.name, message.told_at)
            if self._run(_TOLD, told).fetchone() is not None:
                unit.kept = [*unit.kept, message]
                message.number = 0
                return 0
            self._run(_NOTE_TOLD, (message.mailbox, message.name, op.until))
        here = self._run(_NAMESAKE, (message.mailbox, message.name)).fetchone()
        if here is not None:
            if op.if_exists == "keep":
                unit.kept = [*unit.kept, message]
                message.number = 0
                return 0
            if op.if_exists == "raise":
                msg = (
                    f"id {message.name!r} is waiting already as message {here[0]}: cancel it, or "
                    'tell with if_exists="replace" or "keep"'
                )
                raise AlreadyTold(msg)
            self._run(_DELETE_ONE, here)
            unit.removed = [*unit.removed, here[0]]
        self._insert([message], number)
        return number

    def _move(self, unit: Unit, op: Move, number: int) -> bool:
        """Tell a message again under a new number; False: it is gone."""
        message = op.message
        if not self._run(_DELETE_IN, (message.mailbox, op.was)).fetchall():
            message.number = 0
            return False
        unit.removed = [*unit.removed, op.was]
        self._insert([message], number)
        self._run(_TRIED, (message.attempt, message.deliveries, message.error, number))
        return True

    def _cancel(self, unit: Unit, op: Cancel) -> bool:
        statement = _DELETE_NAMED if isinstance(op.target, str) else _DELETE_IN
        rows = self._run(statement, (op.mailbox, op.target)).fetchall()
        unit.removed = [*unit.removed, *(row[0] for row in rows)]
        return bool(rows)

    def _execute(self, op: Execute) -> int:
        before = self._connection.total_changes
        cursor = self._run(op.sql, op.params)
        if cursor.description is not None:
            cursor.fetchall()
        count = cursor.rowcount
        if count < 0:  # the driver counts only what begins with INSERT, UPDATE, DELETE, REPLACE
            changed = self._connection.total_changes != before
            count = self._run("SELECT changes()").fetchone()[0] if changed else 0
        if op.expect is not None and count != op.expect:
            msg = f"expected {op.expect} rows to change, {count} did: {op.sql!r}"
            raise ValueError(msg)
        return count


def wanted(units: Sequence[Unit]) -> int:
    """Count the numbers that the units may need."""
    count = 0
    for unit in units:
        if unit.tells:
            count += len(unit.tells)
        elif unit.ops:
            count += sum(isinstance(op, (Message, Tell, Move)) for op in unit.ops)
    return count


def has_statements(unit: Unit) -> bool:
    """Say whether a failure of the unit is its own: then it needs a savepoint."""
    return unit.ops is not None and any(
        isinstance(op, (Execute, Room)) or (isinstance(op, Tell) and op.if_exists == "raise")
        for op in unit.ops
    )


def forget(units: Sequence[Unit]) -> None:
    """Undo what a rolled-back try noted on its units and their messages."""
    for unit in units:
        for message in unit.told:
            message.number = 0
        unit.outcome, unit.error = None, None
        unit.results = unit.removed = unit.kept = unit.dropped = ()


def taken(error: Exception) -> bool:
    """Say whether the next number stands in the store already: nobody's turn is to blame."""
    return isinstance(error, sqlite3.IntegrityError) and "callboard_message.number" in str(error)


def fault(error: Exception) -> BaseException:
    """Return what a unit that failed by itself is to say."""
    if not isinstance(error, Apart):
        return error
    return error.__cause__ or MessageError(
        "execute() ran a statement that ended the transaction of the turn; nothing was written"
    )


def _columns(tells: list[Message]) -> list[list[Any]]:
    """Return what many messages have in each column, from mailbox on; spelt out for speed."""
    return [
        [m.mailbox for m in tells], [m.kind for m in tells], [m.version for m in tells],
        [m.key for m in tells], [m.body for m in tells], [m.due for m in tells],
        [m.name for m in tells], [m.told_at for m in tells], [m.cause for m in tells],
        [m.sender for m in tells], [m.headers for m in tells], [m.retain for m in tells],
        [m.priority for m in tells], [m.expires_at for m in tells],
    ]  # fmt: skip


@cache
def _insert_many(length: int, listed: tuple[int, ...]) -> str:
    """Return the statement for so many rows that differ in these columns, counted from mailbox."""
    return _INSERT_MANY.format(
        listed=", ".join(f"c{n}" for n in listed),
        rows=numbered(length, len(listed)),
        columns=", ".join(f"c{n}" if n in listed else "?" for n in range(_WIDTH - 1)),
    )


_row: Callable[[Message], tuple[Any, ...]] = attrgetter(
    "number", "mailbox", "kind", "version", "key", "body", "due", "name", "told_at", "cause",
    "sender", "headers", "retain", "priority", "expires_at",
)  # fmt: skip
