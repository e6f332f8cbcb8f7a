"""Checks of content: decode every message, dead letter and state, and name what will not load.

Bounded, however much is wrong: rows are read one by one, and of each sort of fault (one mailbox,
kind and version) only a count and the first few are kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..actors.messages import Unknown
from ..clock import SECOND, instant
from ..errors import CallboardError
from ..persistence.store import State
from .records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..actors.mail import MailboxSpec
    from ..clock import Clock
    from ..persistence.store import MailboxRow

#: So many sorts of fault are listed for each check, and so many rows of each.
SORTS, EXAMPLES = 20, 3
#: A row's instant may be so much ahead: clocks are set by fractions of a second all the time.
AHEAD = 60 * SECOND
_LONGEST = 200
_UPCAST = "add the @upcast that is missing, or keep the code that knows it until none is left"
_MEND = "give new fields a default, or raise the version and add an @upcast"
_read = msgspec.json.Decoder(msgspec.Raw).decode


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row will not load, and what to do."""

    error: str
    advice: str


class Judge:
    """Decides of one row whether it will load: by the code at hand, else by what the store knows.

    Args:
        rows: mailboxes of the store.
        specs: those that the code declares; empty: there is no code.

    """

    def __init__(self, rows: Iterable[MailboxRow], specs: Mapping[str, MailboxSpec]) -> None:
        """Read nothing."""
        self.rows = {row.id: row for row in rows}
        self.names = {number: row.name for number, row in self.rows.items()}
        self._code = bool(specs)
        self._specs = {number: specs.get(name) for number, name in self.names.items()}

    def message(self, mailbox: int, kind: str, version: int, body: bytes) -> Fault | None:
        """Judge a message; None also where its mailbox is nobody's: that is another check's."""
        spec = self._specs.get(mailbox)
        if spec is not None:
            return _tried(lambda: spec.behaviour.accepts.decode(kind, version, body), kind, version)
        if self._code or mailbox not in self.rows:
            return None
        return self._declared(mailbox, kind, version) or _no_json(body)

    def state(self, mailbox: int, key: str, kind: str, version: int, body: bytes) -> Fault | None:
        """Judge a state; None also where its mailbox is nobody's."""
        spec = self._specs.get(mailbox)
        if spec is None:
            return None if self._code else _no_json(body)
        codec = spec.behaviour.state
        if codec is None:
            return Fault("the code keeps no state there", "if it is no longer wanted, leave it")
        if spec.keyed != bool(key):
            how = "keyed: no actor has none" if spec.keyed else "not keyed: its actor has no key"
            return Fault(f"the code declares the mailbox {how}", "move the state to its new key")
        stored = State(mailbox, key, kind, version, body)
        return _tried(lambda: codec.decode(stored), kind, version)

    def _declared(self, mailbox: int, kind: str, version: int) -> Fault | None:
        found = self.rows[mailbox].declaration
        if not found.kinds:
            return None
        newest = dict(zip(found.kinds, found.versions, strict=False)).get(kind)
        if kind in found.kinds and (newest is None or version <= newest):
            return None
        return Fault("the last owner's code does not know it", _UPCAST)


class Tally:
    """Counts faults by sort, and keeps the first of each."""

    def __init__(self) -> None:
        """Begin with none."""
        self._sorts: dict[tuple[str, str, int, str], list[dict[str, Any]]] = {}
        self._counts: dict[tuple[str, str, int, str], int] = {}
        self._beyond = 0

    def add(
        self, of: tuple[str, str, int], fault: Fault, *, id: int | None, key: str | None
    ) -> None:
        """Count one row of a (mailbox, kind, version)."""
        sort = (*of, fault.advice)
        if sort not in self._sorts:
            if len(self._sorts) == SORTS:
                self._beyond += 1
                return
            self._sorts[sort], self._counts[sort] = [], 0
        self._counts[sort] += 1
        if len(self._sorts[sort]) < EXAMPLES:
            self._sorts[sort].append({"id": id, "key": key, "error": fault.error})

    def findings(self, severity: Literal["error", "warning"], check: str) -> list[Finding]:
        """Return a finding for each sort."""
        found = []
        for sort, examples in self._sorts.items():
            mailbox, kind, version, advice = sort
            count = self._counts[sort]
            shown = kind if kind.isprintable() else ascii(kind)
            first = ", ".join(_named(each) for each in examples)
            more = ", …" if count > len(examples) else ""
            found.append(Finding(
                severity, check,
                f"{count:,} of mailbox {mailbox!r} will not load: {shown} version {version}, "
                f"{first}{more}: {examples[0]['error']}",
                advice, mailbox, kind, version, count, tuple(examples),
            ))  # fmt: skip
        if self._beyond:
            found.append(Finding(severity, check, f"{self._beyond:,} more, of other sorts",
                                 "mend these first", count=self._beyond))  # fmt: skip
        return found


class Ahead:
    """Notices rows that were written later than now."""

    def __init__(self, clock: Clock) -> None:
        """Begin with none."""
        self._clock = clock
        self._limit = 0
        self.count = 0
        self.furthest = 0

    def see(self, at: int) -> None:
        """Look at the instant of a row."""
        if at <= self._limit:
            return
        self._limit = self._clock.now() + AHEAD  # a living owner goes on while we read
        if at > self._limit:
            self.count += 1
            self.furthest = max(self.furthest, at)

    def finding(self) -> Finding:
        """Return what that says of the clock."""
        now, last = (
            f"{instant(at):%Y-%m-%d %H:%M:%S} UTC" for at in (self._clock.now(), self.furthest)
        )
        if not self.count:
            return Finding("ok", "clock", f"{now}, and nothing was told later")
        return Finding(
            "warning", "clock",
            f"{self.count:,} rows were told after now ({now}), the last at "
            f"{last}: this clock is behind, or another was ahead",
            "set the clock; a deadline is what the clock shows", count=self.count,
        )  # fmt: skip


def check_messages(rows: Iterable[tuple[Any, ...]], judge: Judge, ahead: Ahead) -> list[Finding]:
    """Decode every waiting message and every future call."""
    messages, timers = Tally(), Tally()
    told = later = 0
    for number, mailbox, kind, version, key, body, is_timer, at in rows:
        told, later = told + 1, later + is_timer
        ahead.see(at)
        fault = judge.message(mailbox, kind, version, body)
        if fault is not None:
            tally = timers if is_timer else messages
            tally.add((judge.names[mailbox], kind, version), fault, id=number, key=key)
    return [
        *_or_ok(messages.findings("error", "messages"), "messages", told - later),
        *_or_ok(timers.findings("error", "timers"), "timers", later),
    ]


def check_dead(rows: Iterable[tuple[Any, ...]], judge: Judge, ahead: Ahead) -> list[Finding]:
    """Decode every dead letter: one that will not load cannot be sent again."""
    tally, seen = Tally(), 0
    for number, mailbox, kind, version, key, body, _, at in rows:
        seen += 1
        ahead.see(at)
        fault = judge.message(mailbox, kind, version, body)
        if fault is not None:
            tally.add((judge.names[mailbox], kind, version), fault, id=number, key=key)
    return _or_ok(tally.findings("warning", "dead"), "dead", seen)


def check_states(rows: Iterable[tuple[Any, ...]], judge: Judge) -> list[Finding]:
    """Decode every state: an actor whose state will not load is faulted, and its messages wait."""
    tally, seen = Tally(), 0
    for mailbox, key, kind, version, body in rows:
        seen += 1
        fault = judge.state(mailbox, key, kind, version, body)
        if fault is not None and mailbox in judge.names:
            tally.add((judge.names[mailbox], kind, version), fault, id=None, key=key)
    return _or_ok(tally.findings("error", "states"), "states", seen)


def _or_ok(found: list[Finding], check: str, seen: int) -> list[Finding]:
    return found or [Finding("ok", check, f"{seen:,} will load", count=seen)]


def _tried(decode: Callable[[], Any], kind: str, version: int) -> Fault | None:
    try:
        decode()
    except Unknown:
        return Fault(f"this code does not know {kind} version {version}", _UPCAST)
    except CallboardError as error:
        return Fault(_line(error), _MEND)
    return None


def _no_json(body: bytes) -> Fault | None:
    try:
        _read(body)
    except (msgspec.DecodeError, RecursionError) as error:
        return Fault(f"its body is no JSON: {_line(error)}", "go back to a backup, or cancel it")
    return None


def _line(error: BaseException) -> str:
    text = " ".join((str(error) or type(error).__name__).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _named(example: dict[str, Any]) -> str:
    """Name a row as people look for it: by its number, and by its key."""
    number, key = example["id"], example["key"]
    if number is None:
        return f"key {key!r}" if key else "its state"
    return f"{number}" if key is None else f"{number} (key {key!r})"
