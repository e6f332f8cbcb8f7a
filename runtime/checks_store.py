"""Checks of a store's bones: its file, schema and counters, and rows that belong to nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..persistence.store import SCHEMA
from .records import Finding

if TYPE_CHECKING:
    from ..persistence.sqlite_check import Reading

_BACKUP = "stop all processes, keep a copy of all its files, and go back to a backup"
_NAMED = 10


def check_integrity(reading: Reading) -> list[Finding]:
    """Have SQLite check the whole file, and every foreign key in it."""
    broken = [
        Finding("error", "integrity", f"the file is damaged: {' '.join(each.split())}", _BACKUP)
        for each in reading.complaints()
    ]
    if broken:
        return broken
    count, first = reading.dangling()
    if count:
        return [Finding(
            "error", "integrity",
            f"{count:,} rows have a foreign key that leads nowhere: {'; '.join(first)}",
            "mend those rows: a handler that touches them fails", count=count,
        )]  # fmt: skip
    return [Finding("ok", "integrity", "the file is whole, and so are its foreign keys")]


def check_schema(found: tuple[int, int] | None) -> Finding:
    """Judge whether this callboard can own the store, or be its client."""
    if found is None:
        return Finding(
            "warning", "schema", "there is no store in this database yet",
            "the first start makes one; if there was one, this is another file",
        )  # fmt: skip
    schema, oldest = found
    if oldest > SCHEMA:
        return Finding(
            "error", "schema",
            f"schema {schema}, written by a newer callboard: this one knows {SCHEMA}, and even a "
            f"client has to know {oldest}", "upgrade callboard here",
        )  # fmt: skip
    if schema > SCHEMA:
        return Finding(
            "error", "schema",
            f"schema {schema}, written by a newer callboard: this one knows {SCHEMA}, it may send "
            "as a client and never own the store", "upgrade callboard here",
        )  # fmt: skip
    if schema < SCHEMA:
        return Finding(
            "note", "schema", f"schema {schema}: the next start brings it to {SCHEMA}, for good",
            "make a backup before",
        )  # fmt: skip
    return Finding("ok", "schema", f"schema {schema}, as this callboard writes it")


def check_numbers(reading: Reading) -> list[Finding]:
    """Judge whether the next message would get a number that is in use."""
    last, highest = reading.numbers()
    if last < highest:
        return [Finding(
            "error", "numbers",
            f"the counter stands at {last}, but message {highest} is there: a number would be used "
            "twice, and tells be refused", _BACKUP,
        )]  # fmt: skip
    return [Finding("ok", "numbers", f"{last:,} were given")]


def check_orphans(reading: Reading) -> list[Finding]:
    """Find rows of mailboxes that have no row themselves: nothing will ever come to them."""
    found = reading.orphans()
    if not found:
        return [Finding("ok", "orphans", "every message and state belongs to a mailbox")]
    listed = [
        Finding(
            "error", "orphans",
            f"{count:,} rows of {table} are of mailbox number {mailbox}, which has no row",
            "somebody deleted it by hand: go back to a backup, or delete those rows too",
            count=count,
        )
        for table, mailbox, count in found[:_NAMED]
    ]  # fmt: skip
    if len(found) > _NAMED:
        listed.append(Finding("error", "orphans", f"{len(found) - _NAMED:,} more mailboxes so"))
    return listed


def check_levels(reading: Reading) -> list[Finding]:
    """Compare the counters of mailboxes with a capacity with what waits in them."""
    names = {row.id: row.name for row in reading.mailboxes()}
    wrong = reading.levels()
    if not wrong:
        return [Finding("ok", "levels", "each capacity is counted right")]
    return [
        Finding(
            "error", "levels",
            f"mailbox {names.get(box, box)!r} has a capacity and counts {held:,} waiting messages, "
            f"but {there:,} are there: it takes too many, or too few",
            "start its owner once without capacity= and then with it: that counts anew",
            names.get(box),
            count=there,
        )
        for box, held, there in wrong[:_NAMED]
    ]  # fmt: skip
