"""The quickest way: one message, and the acknowledgements it takes along, in one statement.

Each statement gives up the GIL several times, and beside four computing threads each of those can
cost a teller milliseconds. So what one teller commits by itself is a single autocommit statement:
an insert into a view whose trigger checks the fence and the counter, acknowledges, counts and
inserts. View and trigger are temporary, on the writing connection: nothing of them is in the file.

The number is the one after the last that this process has seen. When another one has told
something meanwhile the trigger refuses, nothing is written, and the usual way finds out the rest.
A client sees nothing of others: it tries when nobody has told between its last two commits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from .store import Outcome, Written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._sqlite3 import sqlite3
    from .store import Message, Unit

_VIEW = """
CREATE TEMP VIEW callboard_lone AS SELECT
  0 AS number, 0 AS epoch, NULL AS acks, 0 AS mailbox, '' AS kind, 0 AS version, NULL AS key,
  x'' AS body, NULL AS due, 0 AS told_at, NULL AS cause, NULL AS sender, NULL AS headers,
  NULL AS retain, 0 AS priority, NULL AS expires_at"""
_TRIGGER = """
CREATE TEMP TRIGGER callboard_lone_insert INSTEAD OF INSERT ON callboard_lone BEGIN
  SELECT RAISE(ABORT, 'callboard: the counter has moved') WHERE NOT EXISTS
    (SELECT 1 FROM callboard_counter
     WHERE last = NEW.number - 1 AND (NEW.epoch IS NULL OR epoch = NEW.epoch));
  SELECT RAISE(ABORT, 'callboard: an acknowledged message is gone') WHERE NEW.acks IS NOT NULL
    AND json_array_length(NEW.acks) != (SELECT count(*) FROM callboard_message
      WHERE number IN (SELECT value FROM json_each(NEW.acks)));
  DELETE FROM callboard_message WHERE NEW.acks IS NOT NULL
    AND number IN (SELECT value FROM json_each(NEW.acks));
  UPDATE callboard_counter SET last = NEW.number;
  INSERT INTO callboard_message (number, mailbox, kind, version, key, body, due, told_at, cause,
    sender, headers, retain, priority, expires_at)
  VALUES (NEW.number, NEW.mailbox, NEW.kind, NEW.version, NEW.key, NEW.body, NEW.due, NEW.told_at,
    NEW.cause, NEW.sender, NEW.headers, NEW.retain, NEW.priority, NEW.expires_at);
END"""
_INSERT = f"INSERT INTO callboard_lone VALUES ({', '.join('?' * 16)})"
#: More acknowledgements than this are worth a transaction of several statements.
MOST_ACKS = 64


class LoneWriter:
    """Writes a group of one told message and a few acknowledgements.

    Args:
        connection: the writing connection, in autocommit.

    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Make nothing before the first such group."""
        self._connection = connection
        self._made = False

    def fits(self, units: Sequence[Unit]) -> Unit | None:
        """Return the unit with the one message; None when the group is of another form."""
        lone: Unit | None = None
        if len(units) > MOST_ACKS:
            return None
        for unit in units:
            if unit.ops is not None or unit.fate is not None or unit.state is not None:
                return None
            if unit.tells:
                if lone is not None or len(unit.tells) != 1 or unit.tells[0].name is not None:
                    return None
                lone = unit
        return lone

    def write(
        self, units: Sequence[Unit], lone: Unit, message: Message, epoch: int | None, seen: int
    ) -> Written:
        """Write the group; any error leaves nothing of it. A client has no epoch."""
        if not self._made:
            self._connection.execute(_VIEW)
            self._connection.execute(_TRIGGER)
            self._made = True
        acks = [unit.ack.number for unit in units if unit.ack is not None]
        number = seen + 1
        self._connection.execute(
            _INSERT,
            (
                number, epoch, msgspec.json.encode(acks).decode() if acks else None,
                message.mailbox, message.kind, message.version, message.key, message.body,
                message.due, message.told_at, message.cause, message.sender, message.headers,
                message.retain, message.priority, message.expires_at,
            ),
        )  # fmt: skip
        return self.written(units, lone, number)

    @staticmethod
    def written(units: Sequence[Unit], lone: Unit, number: int) -> Written:
        """Note on the units that they are on disk."""
        for message in lone.told:
            message.number = number
        lone.results = [number]
        for unit in units:
            unit.outcome = Outcome.COMMITTED
        return Written(number, [])
