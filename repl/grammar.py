r"""The grammar of a console line: words, JSON as it stands, ``| less`` and ``> file``.

A word ends at a blank. Quotes keep blanks, ``\\`` keeps the next character; JSON that begins a
word, or follows ``=`` in it, goes on to its last bracket: ``tell shop {"item": "nut"}`` needs no
quotes. A line whose quote or bracket is open goes on in the next one. ``#`` at its start: a remark.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..errors import ConfigError

_PAIRS = {"{": "}", "[": "]"}


class Incomplete(ConfigError):
    """A quote or a bracket is open: there is more to come.

    Args:
        what: is open.
        at: where it began, from 0.

    Attributes:
        word: where the word began in which it stands.

    """

    def __init__(self, what: str, at: int) -> None:
        """Say where."""
        super().__init__(f"the {what} at character {at + 1} is never closed")
        self.at = at
        self.word = at


class Word(str):
    """A word without its quotes.

    Attributes:
        raw: with them, as it was typed: ``"x"`` is JSON where JSON is wanted.
        start: where it begins in the line.

    """

    __slots__ = ("raw", "start")
    raw: str
    start: int

    def __new__(cls, text: str, raw: str, start: int) -> Self:
        """Keep both."""
        word = super().__new__(cls, text)
        word.raw, word.start = raw, start
        return word

    @property
    def json(self) -> str:
        """What it is where JSON is wanted: double quotes are part of it then."""
        return self.raw if self.raw.startswith('"') else str(self)


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says.

    Attributes:
        words: the command and its arguments; none: nothing is to be done.
        pipe: the shell command that the output goes to.
        file: that the output goes to.
        append: to its end.
        text: the command itself, as it was typed.

    """

    words: tuple[Word, ...]
    pipe: str = ""
    file: str = ""
    append: bool = False
    text: str = ""


def parse(text: str) -> Line:
    """Read a line.

    Raises:
        Incomplete: a quote or a bracket is open.
        ConfigError: a pipe or a redirection leads nowhere, or there is no command before it.

    """
    if text.lstrip().startswith("#"):
        return Line(())
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"the line is no UTF-8 text at character {error.start + 1}"
        raise ConfigError(msg) from error
    words: list[Word] = []
    at = _words(text, words)
    said = text[:at].strip()
    if at == len(text):
        return Line(tuple(words), text=said)
    if not words:
        msg = f"there is no command before {text[at]!r}"
        raise ConfigError(msg)
    if text[at] == "|":
        pipe = text[at + 1 :].strip()
        if not pipe:
            msg = "there is no program after '|': write COMMAND | less"
            raise ConfigError(msg)
        return Line(tuple(words), pipe=pipe, text=said)
    append = text.startswith(">>", at)
    rest = text[at + 1 + append :]
    names: list[Word] = []
    end = _words(rest, names)
    if len(names) != 1 or end != len(rest):
        msg = "one file comes after '>', and nothing after it: write COMMAND > file"
        raise ConfigError(msg)
    return Line(tuple(words), file=str(names[0]), append=append, text=said)


def words(text: str) -> list[Word]:
    """Return the words of a line that somebody is typing; what is open ends with it."""
    found: list[Word] = []
    try:
        _words(text, found)
    except Incomplete as error:
        last = text[error.word :]
        found.append(Word(last.lstrip("\"'"), last, error.word))
    return found


def _words(text: str, found: list[Word]) -> int:
    """Read words up to a pipe or a redirection; returns where that stands, or the end."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
        elif text[at] in "|>":
            return at
        else:
            try:
                word, at = _word(text, at)
            except Incomplete as error:
                error.word = at
                raise
            found.append(word)
    return at


def _word(text: str, start: int) -> tuple[Word, int]:
    parts: list[str] = []
    at, fresh = start, True  # fresh: JSON may begin here
    while at < len(text) and not text[at].isspace():
        char = text[at]
        if fresh and char in _PAIRS:
            end = _json(text, at)
            parts.append(text[at:end])
        elif char in "\"'":
            inside, end = _quoted(text, at)
            parts.append(inside)
        elif char == "\\" and at + 1 < len(text):
            parts.append(text[at + 1])
            end = at + 2
        else:
            parts.append(char)
            end = at + 1
        fresh = char == "="
        at = end
    return Word("".join(parts), text[start:at], start), at


def _quoted(text: str, start: int) -> tuple[str, int]:
    quote = text[start]
    parts: list[str] = []
    at = start + 1
    while at < len(text):
        char = text[at]
        if char == quote:
            return "".join(parts), at + 1
        if char == "\\" and quote == '"' and text[at + 1 : at + 2] in ('"', "\\"):
            at += 1
            char = text[at]
        parts.append(char)
        at += 1
    raise Incomplete("quote", start)


def _json(text: str, start: int) -> int:
    """Return where the brackets that open here are closed."""
    wanted: list[str] = []
    at = start
    while at < len(text):
        char = text[at]
        if char == '"':
            at = _quoted(text, at)[1]
            continue
        if char in _PAIRS:
            wanted.append(_PAIRS[char])
        elif wanted and char == wanted[-1]:
            wanted.pop()
            if not wanted:
                return at + 1
        elif char in "}]":  # the wrong one: who reads the JSON says so, with the place
            return at + 1
        at += 1
    raise Incomplete("bracket", start)
