"""The model that a simulation is checked against. It knows nothing of the runtime.

It keeps what the calls that returned have said, and reads what handlers wrote in the transactions
of their turns, and what waits or is dead in the store.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from callboard.clock import SECOND

if TYPE_CHECKING:
    from pathlib import Path

    from callboard import ManualClock

#: A name is not told again within so many seconds.
SPAN = 20
#: So many starts of the paced mailbox in so many seconds.
RATE, PERIOD = 2, 10


class Violated(AssertionError):
    """A promise was broken."""


@dataclass
class Told:
    """A call of tell that has returned, or whose process crashed in it (``sure``: returned)."""

    mailbox: str
    at: int
    sure: bool = True
    due: int | None = None
    expires: int | None = None
    copies: int = 1


@dataclass
class Model:
    """What was told, cancelled and run, and whether the store agrees."""

    clock: ManualClock
    told: dict[str, Told] = field(default_factory=dict)
    cancelled: set[str] = field(default_factory=set)
    #: Another of its id was told since: it may have been handled before that, and never after.
    replaced: set[str] = field(default_factory=set)
    #: May have been cancelled or replaced: the call did not return.
    perhaps: set[str] = field(default_factory=set)
    #: What was told under an id that is not to be told again within SPAN.
    once: dict[str, list[str]] = field(default_factory=dict)
    kept: int = 0
    starts: list[int] = field(default_factory=list)

    def telling_once(self, id_: str, name: str) -> None:
        """Hear that this is told now; what was told so long ago is replaced, where it waits."""
        names = self.once.setdefault(id_, [])
        if not any(self.told[each].sure for each in self._lately(id_, name)):
            self.perhaps.update(names)
        names.append(name)

    def kept_out(self, id_: str, name: str) -> None:
        """Hear that one was not told, because another was told within SPAN."""
        if not self._lately(id_, name):
            raise Violated(f"{name} was kept out, and none of {id_} was told within {SPAN} s")
        del self.told[name]
        self.kept += 1

    def _lately(self, id_: str, name: str) -> list[str]:
        since = self.told[name].at - SPAN * SECOND
        return [each for each in self.once[id_]
                if each != name and each in self.told and self.told[each].at > since]  # fmt: skip

    def started(self) -> None:
        """Hear that a handler of the paced mailbox begins."""
        now = self.clock.now()
        self.starts = [each for each in self.starts if each > now - PERIOD * SECOND] + [now]
        if len(self.starts) > RATE:
            raise Violated(f"{len(self.starts)} starts within {PERIOD} s, allowed are {RATE}")

    def ran(self, name: str, number: int, connection: sqlite3.Connection) -> None:
        """Hear that a handler begins."""
        (last,) = connection.execute("SELECT last FROM callboard_counter").fetchone()
        if number > last:
            raise Violated(f"{name} was handed over as {number}, and on disk is {last}")
        if connection.execute("SELECT 1 FROM effect WHERE number = ?", (number,)).fetchone():
            raise Violated(f"{name} was handed over again after it was handled")
        if name in self.cancelled:
            raise Violated(f"{name} was delivered after it was cancelled")
        if name in self.replaced:
            raise Violated(f"{name} was delivered after it was replaced")
        expires = self.told[name].expires if name in self.told else None
        if expires is not None and self.clock.now() >= expires:
            raise Violated(f"{name} was delivered after it had expired")

    def check(self, path: Path, *, ended: bool) -> None:
        """Compare with the store; ``ended``: nothing waits any more but what is dead."""
        connection = sqlite3.connect(path)
        try:
            self._once(connection)
            self._order(connection)
            self._money(connection)
            if ended:
                self._all_there(connection)
            else:
                self._none_lost(connection)
        finally:
            connection.close()

    def check_ticks(self, path: Path, apart: int) -> None:
        """See that no instant was left out of a schedule that was never paused."""
        connection = sqlite3.connect(path)
        found = connection.execute("SELECT at FROM tick ORDER BY at").fetchall()
        connection.close()
        at = [datetime.fromisoformat(text) for (text,) in found]
        gaps = [a for a, b in pairwise(at) if (b - a).total_seconds() != apart]
        if gaps or not at:
            raise Violated(f"ticks were left out after {gaps}, of {len(at)}")

    def _once(self, connection: sqlite3.Connection) -> None:
        for name, count in connection.execute("SELECT name, count(*) FROM effect GROUP BY name"):
            told = self.told.get(name)
            if told is None:
                raise Violated(f"{name} was handled, and never told")
            if count > told.copies:
                raise Violated(f"{name} was handled {count} times")
            if name in self.cancelled:
                raise Violated(f"{name} was handled although it was cancelled")
        for name, at in connection.execute("SELECT name, at FROM effect"):
            due = self.told[name].due
            if due is not None and at < due:
                raise Violated(f"{name} was handled {due - at} us early")
        twice = connection.execute("SELECT at FROM tick GROUP BY at HAVING count(*) > 1").fetchall()
        if twice:
            raise Violated(f"ticked twice for {twice}")

    def _order(self, connection: sqlite3.Connection) -> None:
        rows = connection.execute(
            "SELECT key, number, name FROM effect WHERE key IS NOT NULL ORDER BY id"
        )
        last: dict[str, tuple[int, str]] = {}
        for key, number, name in rows:
            before = last.get(key, (0, ""))
            if number <= before[0]:
                raise Violated(f"{name} of key {key} was handled after {before[1]}")
            last[key] = number, name
        for _, body in states(connection, "diary"):
            pages = [number for number, _ in body["pages"]]
            if pages != sorted(set(pages)):
                raise Violated(f"a diary's pages are {body['pages']}")

    def _money(self, connection: sqlite3.Connection) -> None:
        total = sum(body["balance"] for _, body in states(connection, "account"))
        for table in ("callboard_message", "callboard_dead"):
            for (amount,) in connection.execute(
                f"SELECT json_extract(body, '$.amount') FROM {table} "  # noqa: S608
                "WHERE json_extract(body, '$.what') = 'credit'"
            ):
                total += amount
        if total:
            raise Violated(f"transfers have made {total} of money")

    def _found(self, connection: sqlite3.Connection) -> dict[str, int]:
        found: dict[str, int] = {}
        for table in ("callboard_message", "callboard_dead"):
            for (name,) in connection.execute(
                f"SELECT json_extract(body, '$.name') FROM {table} "  # noqa: S608
                "WHERE json_type(body, '$.name') = 'text'"
            ):
                found[name] = found.get(name, 0) + 1
        for (name,) in connection.execute("SELECT name FROM effect"):
            found[name] = found.get(name, 0) + 1
        for _, body in states(connection, "diary"):
            for _, name in body["pages"]:
                found[name] = found.get(name, 0) + 1
        return found

    def _none_lost(self, connection: sqlite3.Connection) -> None:
        found = self._found(connection)
        for name, told in self.told.items():
            count = found.get(name, 0)
            if name in self.cancelled or name in self.perhaps:
                continue
            over = told.expires is not None and told.expires <= self.clock.now()
            if told.sure and count < told.copies and not over:
                raise Violated(f"{name} was told and is lost: {told}")
            if count > told.copies:
                raise Violated(f"{name} is there {count} times")

        for id_, names in self.once.items():
            times = [self.told[name].at for name in names if found.get(name)]
            if any(b - a < SPAN * SECOND for a, b in pairwise(sorted(times))):
                raise Violated(f"of {id_} two were told within {SPAN} s: {names}")

    def _all_there(self, connection: sqlite3.Connection) -> None:
        self._none_lost(connection)
        left = connection.execute("SELECT number, body FROM callboard_message").fetchall()
        if left:
            raise Violated(f"waiting for ever: {left}")


def states(connection: sqlite3.Connection, mailbox: str) -> list[tuple[str, Any]]:
    rows = connection.execute(
        "SELECT s.key, s.body FROM callboard_state s JOIN callboard_mailbox m ON m.id = s.mailbox "
        "WHERE m.name = ?", (mailbox,)
    )  # fmt: skip
    return [(key, json.loads(body)) for key, body in rows]
