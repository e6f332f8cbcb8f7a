"""What clients wrote down and what stands in the store, read for the checker."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from callboard.clock import micros

from .invariants import Dead, Effect, Line, Name, Seen, Waiting
from .load_app import STORE

if TYPE_CHECKING:
    from pathlib import Path

_WAITING = """
SELECT b.name, m.number, CAST(m.body AS TEXT) FROM callboard_message AS m
JOIN callboard_mailbox AS b ON b.id = m.mailbox"""
_DEAD = """
SELECT b.name, d.number, CAST(d.body AS TEXT), d.kind, d.attempts, d.error
FROM callboard_dead AS d JOIN callboard_mailbox AS b ON b.id = d.mailbox"""
_STATES = """
SELECT s.key, CAST(s.body AS TEXT) FROM callboard_state AS s
JOIN callboard_mailbox AS b ON b.id = s.mailbox WHERE b.name = 'accounts'"""
_LEVELS = """
SELECT b.name, l.held, (SELECT count(*) FROM callboard_message AS m
    WHERE m.mailbox = l.mailbox AND (m.due IS NULL OR m.attempt > 0))
FROM callboard_level AS l JOIN callboard_mailbox AS b ON b.id = l.mailbox"""
_KIND = "SELECT m.number, m.kind FROM callboard_message AS m"


def read_ledgers(folder: Path) -> list[Line]:
    """Read what all clients wrote; to be done before the store is read."""
    found = []
    for path in sorted((folder / "ledger").glob("*")):
        for text in _lines(path):
            raw = json.loads(text)
            name = Name(raw["box"], raw["tag"])
            number, due, fails = raw.get("number"), raw.get("due"), raw.get("fails", 0)
            found.append(Line(raw["what"], name, raw["at"], number, due, fails))
    return found


def _lines(path: Path) -> list[str]:
    """Return the whole lines of a file; what has no end yet is being written just now."""
    return path.read_text().rpartition("\n")[0].splitlines()


def read_store(
    folder: Path, *, store: Path | None = None, ticked: int | None = None, runs: bool = True
) -> Seen:
    """Read a store in one transaction, beside whoever uses it.

    Args:
        folder: of the load.
        store: another file than the folder's own: a copy of it.
        ticked: see Seen.
        runs: read also how often handlers ran; only while the store is that of the runs.

    """
    path = store or folder / STORE
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
    try:
        connection.execute("BEGIN")
        effects = [
            Effect(row, Name(box, tag), number, key, began, attempt, amount)
            for row, box, tag, number, key, began, attempt, amount in connection.execute(
                "SELECT row, box, tag, number, key, began, attempt, amount FROM effects"
            )
        ]
        kinds = dict(connection.execute(_KIND).fetchall())
        waiting = [
            Waiting(_name(box, body), number, _amount(kinds[number], body))
            for box, number, body in connection.execute(_WAITING)
        ]
        dead = [
            Dead(_name(box, body), number, attempts, error, _amount(kind, body))
            for box, number, body, kind, attempts, error in connection.execute(_DEAD)
        ]
        states = {key: json.loads(body)["balance"] for key, body in connection.execute(_STATES)}
        levels = {box: (held, there) for box, held, there in connection.execute(_LEVELS)}
        (integrity,) = connection.execute("PRAGMA integrity_check").fetchone()
    finally:
        connection.close()
    ran = _runs(folder) if runs else Counter[Name]()
    return Seen(effects, waiting, dead, states, levels, integrity, ticked, ran)


def waiting(folder: Path) -> int:
    """Return how many messages and future calls are in the store."""
    connection = sqlite3.connect(f"file:{folder / STORE}?mode=ro", uri=True)
    try:
        (count,) = connection.execute("SELECT count(*) FROM callboard_message").fetchone()
    finally:
        connection.close()
    return int(count)


def began(folder: Path, box: str, tag: str) -> int | None:
    """Return when the handler of a message began whose effect is in the store."""
    connection = sqlite3.connect(f"file:{folder / STORE}?mode=ro", uri=True)
    try:
        row = connection.execute(
            "SELECT began FROM effects WHERE box = ? AND tag = ?", (box, tag)
        ).fetchone()
    finally:
        connection.close()
    return None if row is None else int(row[0])


def _runs(folder: Path) -> Counter[Name]:
    path = folder / "runs"
    if not path.exists():
        return Counter()
    return Counter(Name(*line.split(" ", 1)) for line in _lines(path))


def _name(box: str, body: str) -> Name:
    raw = json.loads(body)
    if box == "beat":
        return Name(box, str(micros(datetime.fromisoformat(raw["at"]))))
    return Name(box, raw["tag"])


def _amount(kind: str, body: str) -> int:
    return int(json.loads(body)["amount"]) if kind == "Credit" else 0
