"""Results as people and programs read them: a table on a terminal, JSON lines otherwise.

``table`` is for people; ``json`` one value, ``jsonl`` one a line, and ``csv`` are for programs, and
shorten nothing.
"""

from __future__ import annotations

import dataclasses
import sys
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TextIO

from .times import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

Format = Literal["table", "json", "jsonl", "csv"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv")

# Smaller numbers are shown to the thousandth: seconds, above all.
_EXACT = 10
#: The longest text in a cell of a table; JSON lines are never shortened.
LONGEST = 60
#: What a table leaves out because it fills the screen, and one record shows below the rest.
_LEFT_OUT = ("traceback",)
#: How a table becomes narrower than the terminal: shorter texts, at last times without "1m ago".
_TIGHTER = ((30, True), (15, True), (30, False), (15, False))
#: What may have to be typed again is not cut.
_TYPED = ("name", "mailbox", "key", "actor", "to", "command")
#: Numbers that name something, to be typed again: without separators.
_NAMES = ("id", "was", "cancelled", "owner", "runs")
#: What a line of one record shows without its name.
_SPEAK_FOR_THEMSELVES = ("event", "at")
_NOTHING: tuple[Any, ...] = (None, "", (), [])


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence for people, and the same as fields for programs."""

    text: str
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Listing:
    """Records of one kind.

    Attributes:
        records: they.
        empty: what to say to people when there are none.
        whole: a table has columns too in which nothing stands.
        longest: of a text in a table; with one of its own a wide table is not made to fit.

    """

    records: Sequence[Any]
    empty: str
    whole: bool = False
    longest: int = LONGEST


@dataclass(frozen=True, slots=True)
class Value:
    """Plain data or a state, shown as JSON: indented for people, one line for programs."""

    value: Any


def default_format(stream: TextIO | None = None) -> Format:
    """Return ``"table"`` for a terminal, ``"jsonl"`` for a pipe or a file."""
    return "table" if (stream or sys.stdout).isatty() else "jsonl"


def render(result: Any, form: Format) -> str:
    """Return a command's result as text, without the last newline; "" when there is nothing."""
    if result is None:
        return ""
    if form != "table":
        return _FOR_PROGRAMS[form](result)
    if isinstance(result, Said):
        return result.text
    if isinstance(result, Listing):
        return _table(result) if result.records else result.empty
    if isinstance(result, Value):
        import msgspec

        return msgspec.json.format(_json(result.value), indent=2)
    return _record(fields(result))


def each_line(record: Any, form: Format, *, first: bool) -> str:
    """Return one record of many that come one by one, as text.

    Args:
        record: it, or a :class:`Said` for people.
        form: ``"json"`` gives lines, as there is no end to close a list at.
        first: it opens the output, which in CSV needs a head.

    """
    if form == "csv" and not isinstance(record, str):
        return _csv_rows([_named(record)], head=first)
    if form != "table":
        return _lines(record)
    if isinstance(record, (str, Said)):
        return record if isinstance(record, str) else record.text
    found = fields(record)
    return "  ".join(
        _to_the_millisecond(value) if isinstance(value, datetime)
        else str(cell(value)) if name in _SPEAK_FOR_THEMSELVES
        else f"{name}={_numbered(name, value)}"
        for name, value in found.items()
        if value not in _NOTHING and name not in _LEFT_OUT
    )  # fmt: skip


def columns(rows: Sequence[Sequence[object]], headers: Sequence[str] = ()) -> str:
    """Lay rows out in columns: text to the left, numbers to the right and with separators."""
    from tabulate import tabulate  # type: ignore[import-untyped]

    shown = [[_text(cell) for cell in row] for row in rows]
    align = ["right" if all(_is_number(cell) for cell in column) else "left"
             for column in zip(*rows, strict=True)]  # fmt: skip
    if headers:  # tabulate's own make every column two wider than it need be
        widths = [max(map(len, column)) for column in zip(headers, *shown, strict=True)]
        shown = [[*headers], ["-" * width for width in widths], *shown]
    laid: str = tabulate(
        shown, tablefmt="plain", colalign=align, disable_numparse=True, preserve_whitespace=True
    )
    return "\n".join(line.rstrip() for line in laid.splitlines())


def fields(record: Any) -> dict[str, Any]:
    """Return a record's fields by name, without copying what is in them."""
    if isinstance(record, dict):
        return record
    return {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}


def cell(value: Any, longest: int = LONGEST) -> object:
    """Return what a table shows of a value: one line, not too long."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= _EXACT else f"{value:.3f}"
    if isinstance(value, datetime):
        return shown(value)
    text = value if isinstance(value, str) else _json(value)
    text = _clean(text)
    return text if len(text) <= longest else text[: longest - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _record(found: dict[str, Any]) -> str:
    """Show one record in full, what is long below the rest."""
    rows = [[name, _numbered(name, value)] for name, value in found.items()
            if name not in _LEFT_OUT]  # fmt: skip
    below = [_clean(line) for name in _LEFT_OUT if found.get(name)
             for line in str(found[name]).splitlines()]  # fmt: skip
    return "\n".join([columns(rows), *below])


def _clean(text: str) -> str:
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def _table(listing: Listing) -> str:
    """Lay records out; a column in which nothing stands would only make the lines too long."""
    records = [*map(fields, listing.records)]
    names = [name for name in records[0] if listing.whole or name not in _LEFT_OUT]
    if not listing.whole:
        names = [name for name in names if any(each[name] not in _NOTHING for each in records)]
    width, rows = _width(), list[list[object]]()
    tighter = _TIGHTER if listing.longest == LONGEST else ()
    for longest, far in ((listing.longest, True), *tighter):
        rows = [[_numbered(name, each[name], listing.longest if name in _TYPED else longest, far)
                 for name in names] for each in records]  # fmt: skip
        if _wide(rows, names) <= width:
            break
    return columns(rows, [name.replace("_", " ") for name in names])


def _width() -> int:
    """Return how many characters a line has; very many where it is no terminal."""
    import shutil

    return shutil.get_terminal_size((sys.maxsize, 0)).columns


def _wide(rows: Sequence[Sequence[object]], names: Sequence[str]) -> int:
    """Return how many characters the table's lines have."""
    columns = zip(names, *rows, strict=True)
    return sum(2 + max(len(_text(cell)) for cell in column) for column in columns) - 2


def _text(cell: object) -> str:
    return f"{cell:,}" if _is_number(cell) else str(cell)


def _numbered(name: str, value: Any, longest: int = LONGEST, far: bool = True) -> object:  # noqa: FBT001, FBT002
    if name in _NAMES and isinstance(value, int):
        return str(value)
    return (
        cell(value, longest) if far or not isinstance(value, datetime) else shown(value, far=False)
    )


def _to_the_millisecond(at: datetime) -> str:
    return f"{shown(at, far=False)[:-1]}.{at.microsecond // 1000:03d}Z"


def _lines(result: Any) -> str:
    if isinstance(result, Said):
        return _json(result.fields)
    if isinstance(result, Listing):
        return "\n".join(_json(fields(each)) for each in result.records)
    if isinstance(result, Value):
        return _json(result.value)
    return _json(fields(result))


def _named(result: Any) -> dict[str, Any]:
    """Return a record's fields, those of a sentence, or a bare value as one field."""
    if isinstance(result, Said):
        return result.fields
    if isinstance(result, Value):
        return result.value if isinstance(result.value, dict) else {"value": result.value}
    return fields(result)


def _one(result: Any) -> str:
    """Return the result as one JSON value, indented."""
    import msgspec

    if isinstance(result, Listing):
        text = _json([fields(each) for each in result.records])
    else:
        text = _json(result.value if isinstance(result, Value) else _named(result))
    return msgspec.json.format(text, indent=2)


def _csv(result: Any) -> str:
    records = result.records if isinstance(result, Listing) else [result]
    return _csv_rows([_named(each) for each in records], head=True)


def _csv_rows(records: Sequence[dict[str, Any]], *, head: bool) -> str:
    """Return rows of RFC 4180 with a head of names; what is nested as JSON."""
    import csv
    import io

    text = io.StringIO()
    if records:
        writer = csv.writer(text, lineterminator="\n")
        if head:
            writer.writerow(records[0])
        writer.writerows([_csv_cell(value) for value in each.values()] for each in records)
    return text.getvalue().removesuffix("\n")


def _csv_cell(value: Any) -> object:
    if value is None or isinstance(value, (str, int, float)):
        return value
    return _json(value).strip('"') if isinstance(value, datetime) else _json(value)


_FOR_PROGRAMS = {"json": _one, "jsonl": _lines, "csv": _csv}


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _json(value: Any) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()
