"""What can stand at the end of a line that somebody is typing.

All of it comes from the store, so that it is the same beside a running owner and with no process:
names of mailboxes and schedules, keys that have a state, numbers of messages, and the kinds and
fields that the owner's code declared. Only reads; callers give it a thread and a time.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from ..errors import CallboardError
from . import syntax as syntax  # noqa: PLC0414  (registers the commands)
from .grammar import Word, words
from .registry import COMMANDS, CONSENT, Command, Desk, Parameter
from .render import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..persistence.store import MailboxRow

#: The most that is offered, and read, of one sort.
MOST = 200
_FIRST = 20
_NOTE = 48
_KEYS = """
SELECT key FROM callboard_state WHERE mailbox = ? AND key BETWEEN ? AND ? AND key <> ''
UNION SELECT key FROM callboard_message WHERE mailbox = ? AND due IS NULL AND key BETWEEN ? AND ?
LIMIT ?"""
_FORMAT = Parameter("format", str, None, True, "how to show results.", choices=FORMATS)
_TIMES = ("5m", "1h", "1d", "tomorrow 09:00", "mon 09:00", "2030-01-31T09:00+01:00")


Found: TypeAlias = list[tuple[str, str]]
"""Texts, each with a note."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that fits.

    Attributes:
        text: it, quoted where it must be.
        start: where it begins in the line; what stands there goes.
        note: what it is, for people.

    """

    text: str
    start: int
    note: str = ""


def complete(desk: Desk, line: str) -> list[Candidate]:
    """Return all that can stand at the end of the line; who shows it chooses what fits.

    Runs: on any thread. What the store refuses is no candidate.
    """
    said = words(line)
    fresh = not said or (said[-1].start + len(said[-1].raw) < len(line))
    last = Word("", "", len(line)) if fresh else said.pop()
    while said and said[0] == "watch":  # what follows its number is another line
        del said[: 1 if len(said) == 1 else 2]
    if not said:
        return [Candidate(each.name, last.start, each.help.split("\n")[0])
                for each in COMMANDS.values() if not each.outer]  # fmt: skip
    found = COMMANDS.get(said[0])
    if found is None:
        return []
    return _in_command(desk, found, said[1:], last)


def outside(context: Any, parameter: Parameter, begun: str) -> list[Any]:
    """Return what bash, zsh and fish offer for a parameter of the command line."""
    from click.shell_completion import CompletionItem

    options = context.find_root().params
    desk = Desk(options.get("store"), "jsonl", options.get("app"))
    given = {name: str(value) for name, value in context.params.items() if value is not None}
    try:
        found = _meant(desk, parameter, given, begun)
    finally:
        desk.close()
    return [CompletionItem(text, help=note or None) for text, note in found
            if text.startswith(begun)]  # fmt: skip


def _in_command(desk: Desk, found: Command, said: list[Word], last: Word) -> list[Candidate]:
    options = [each for each in (*found.parameters, *(CONSENT if found.changes else ()), _FORMAT)
               if each.option]  # fmt: skip
    by_name = {each.typed: each for each in options}
    given, waits = _given(found, by_name, said)
    if waits is not None:
        return _candidates(_meant(desk, waits, given, last), last)
    if last.startswith("-"):
        return [Candidate(each.typed, last.start, each.help) for each in options
                if each.typed not in said]  # fmt: skip
    rest = [each for each in found.parameters
            if not each.option and (each.many or each.name not in given)]  # fmt: skip
    offered = _candidates(_meant(desk, rest[0], given, last), last) if rest else []
    if not last and not (rest and rest[0].default is ...):
        offered += [Candidate(each.typed, last.start, each.help) for each in options
                    if each.typed not in said]  # fmt: skip
    return offered


def _given(
    found: Command, options: dict[str, Parameter], said: list[Word]
) -> tuple[dict[str, str], Parameter | None]:
    """Return what is given by name, and the option whose value comes next."""
    places = iter([each for each in found.parameters if not each.option])
    given: dict[str, str] = {}
    waits: Parameter | None = None
    place: Parameter | None = None
    for word in said:
        if waits is not None:
            given[waits.name], waits = word, None
        elif (option := options.get(word)) is not None:
            waits = None if option.type is bool else option
        elif not word.startswith("-"):
            place = place if place is not None and place.many else next(places, None)
            if place is not None:
                given[place.name] = word
    return given, waits


def _candidates(found: Iterable[tuple[str, str]], last: Word) -> list[Candidate]:
    return [Candidate(_quoted(text), last.start, note) for text, note in found]


def _quoted(text: str) -> str:
    plain = text and not any(each.isspace() or each in "\"'\\|>" for each in text)
    if plain or text[:1] in "{[":
        return text
    return "'" + text.replace("'", "'\\''") + "'" if "'" not in text else f'"{text}"'


def _meant(desk: Desk, parameter: Parameter, given: dict[str, str], begun: str) -> Found:
    """Return what a parameter can be, each with a note."""
    if parameter.choices:
        return [(each, "") for each in parameter.choices]
    if parameter.meaning == "verb":
        return [(each.name, each.help.split("\n")[0]) for each in COMMANDS.values()]
    if parameter.meaning == "when":
        return [(each, "") for each in _TIMES]
    look = _LOOKS.get(parameter.meaning)
    if look is None:
        return []
    try:
        return look(_At(desk, given, begun))[:MOST]
    except CallboardError:
        return []


@dataclass(frozen=True, slots=True)
class _At:
    """Where in a line something is looked for: what is given before it, and how it begins."""

    desk: Desk
    given: dict[str, str]
    begun: str


def _mailboxes(at: _At) -> Found:
    return [(row.name, "paused" if row.paused else " or ".join(row.declaration.kinds))
            for row in _rows(at.desk)]  # fmt: skip


def _schedules(at: _At) -> Found:
    return [(each.name, each.expression) for each in at.desk.rt.schedules()]


def _targets(at: _At) -> Found:
    return _mailboxes(at) + _schedules(at)


def _actors(at: _At) -> Found:
    return [(each, "") for each in _names(at.desk.rt.tree())]


def _names(actor: Any) -> list[str]:
    return [name for each in actor.children if each.kind in ("supervisor", "mailbox")
            for name in (each.name, *_names(each))]  # fmt: skip


def _topics(at: _At) -> Found:
    return [(topic, row.name) for row in _rows(at.desk) for topic in row.declaration.topics]


def _keys(at: _At) -> Found:
    row = _row(at)
    if row is None:
        return []
    end = at.begun + chr(sys.maxunicode)
    found = _store(at.desk).query(_KEYS, (row.id, at.begun, end, row.id, at.begun, end, MOST))
    return [(key, "") for (key,) in found]


def _waiting(at: _At) -> Found:
    return _mailboxes(at) + _messages(at)


def _ids(at: _At) -> Found:
    return _messages(at) + ([] if "mailbox" in at.given else _dead(at))


def _messages(at: _At) -> Found:
    """Return the first messages of each mailbox, or of one, and the nearest that come later."""
    boxes = [at.given["mailbox"]] if "mailbox" in at.given else [row.name for row in _rows(at.desk)]
    found: Found = []
    for box in boxes:
        found += [(str(each.id), f"{box}: {_note(each.message)}")
                  for each in at.desk.rt.peek(box, _FIRST)]  # fmt: skip
    found += [(each.name or str(each.id), f"{each.mailbox}: due {each.due:%H:%M:%S}")
              for each in at.desk.rt.timers(at.given.get("mailbox"))[:MOST]]  # fmt: skip
    return found


def _dead(at: _At) -> Found:
    return [(str(each.id), f"{each.mailbox}: {each.error[:_NOTE]}")
            for each in at.desk.rt.dead(at.given.get("mailbox"))[:MOST]]  # fmt: skip


def _fields(at: _At) -> Found:
    """Return ``field=`` of each kind that the mailbox takes, or the whole message."""
    row = _row(at)
    if row is None:
        return []
    kinds = row.declaration.kinds
    found: Found = [
        (kind, "a kind") for kind in kinds if len(kinds) > 1 and "message" not in at.given
    ]
    for kind, fields in zip(row.declaration.kinds, row.declaration.fields, strict=False):
        if not fields:
            continue
        if not at.begun or at.begun[0] in "{\"'":
            shape = ", ".join(f"{msgspec.json.encode(name).decode()}: " for name in fields)
            found.append(("{" + shape + "}", kind))
        found += [(f"{name}=", f"{kind}: {kind_of}") for name, kind_of in fields.items()]
    return found


def _json(at: _At) -> Found:
    return [each for each in _fields(at) if each[0].startswith("{")]


_LOOKS: dict[str, Callable[[_At], Found]] = {
    "mailbox": _mailboxes, "schedule": _schedules, "target": _targets, "actor": _actors,
    "topic": _topics, "key": _keys, "id": _ids, "waiting": _waiting, "dead": _dead,
    "field": _fields, "json": _json,
}  # fmt: skip


def _note(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _NOTE else text[:_NOTE] + "\N{HORIZONTAL ELLIPSIS}"


def _store(desk: Desk) -> Any:
    return desk.rt._store  # noqa: SLF001  (of the same package)


def _rows(desk: Desk) -> list[MailboxRow]:
    found: list[MailboxRow] = _store(desk).mailboxes()
    return found


def _row(at: _At) -> MailboxRow | None:
    return next((row for row in _rows(at.desk) if row.name == at.given.get("mailbox")), None)
