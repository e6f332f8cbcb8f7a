"""The interactive console: a prompt with completion, history, colours and a status line.

Everything that reads the store for the prompt does so on threads of its own, so typing never waits.
What a line does is run on the calling thread, by console.py.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory, ThreadedAutoSuggest
from prompt_toolkit.completion import Completer, Completion, FuzzyCompleter, ThreadedCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory, ThreadedHistory
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style
from prompt_toolkit.validation import ValidationError, Validator

from ..errors import ConfigError
from . import completion
from .answers import INTERRUPTED, OK
from .console import Console, Leave, unfinished
from .grammar import Incomplete, parse, words
from .registry import COMMANDS, Desk
from .render import default_format
from .status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.formatted_text import StyleAndTextTuples
    from prompt_toolkit.key_binding import KeyPressEvent

    from ..runtime.runtime import Runtime

#: Of the history beside the store, in its companion folder.
HISTORY = "history"
_STYLE = Style.from_dict({
    "store": "bold", "live": "ansigreen", "offline": "ansiyellow",
    "command": "bold ansicyan", "option": "ansiblue", "text": "ansigreen",
    "number": "ansimagenta", "pipe": "ansiyellow",
    "bottom-toolbar": "noreverse", "bad": "ansired", "dim": "ansibrightblack",
})  # fmt: skip
_WELCOME = "'help' lists the commands, Tab completes, Ctrl-D leaves."


class Shell:
    """A person at a terminal.

    Args:
        console: that runs the lines.
        embedded: it shares the terminal with a program that may print.

    """

    def __init__(self, console: Console, *, embedded: bool = False) -> None:
        """Open the history; the store is looked at on threads."""
        self._console = console
        self._desk = console.desk
        self._embedded = embedded
        self._status = Status(self._desk)
        past = _history(self._desk.rt._store.companion.folder)  # noqa: SLF001  (of the same package)
        console.history = lambda: list(reversed(list(past.load_history_strings())))
        self._session: PromptSession[str] = PromptSession(
            history=ThreadedHistory(past),
            completer=None if plain() else FuzzyCompleter(ThreadedCompleter(Completing(console))),
            complete_in_thread=True,
            auto_suggest=None if plain() else ThreadedAutoSuggest(AutoSuggestFromHistory()),
            lexer=Colours(),
            style=_STYLE,
            color_depth=ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None,
            validator=Readable(),
            validate_while_typing=False,
            bottom_toolbar=None if plain() else self._toolbar,
            refresh_interval=0 if plain() else 1.0,
            key_bindings=_keys(),
            multiline=Condition(self._goes_on),
            prompt_continuation="... ",
        )

    def run(self) -> int:
        """Read and run lines until the end; returns the exit code. Blocks the calling thread."""
        print(_WELCOME, file=sys.stderr)  # noqa: T201  (talk)
        code = OK
        self._status.start()
        try:
            while (text := self._read()) is not None:
                code = self._console.run(text)
                self._status.look_now()
                if code == INTERRUPTED:
                    print(file=sys.stderr)  # noqa: T201  (after the ^C)
        except Leave as leave:
            return leave.code or OK
        finally:
            self._status.stop()
        return OK

    def _read(self) -> str | None:
        """Return the next line; None at Ctrl-D."""
        while True:
            try:
                if self._embedded:
                    with patch_stdout(raw=True):
                        return self._prompt()
                return self._prompt()
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None

    def _prompt(self) -> str:
        text: str = self._session.prompt(self._message, in_thread=_on_loop())
        return text

    def _message(self) -> StyleAndTextTuples:
        owner = self._status.owner
        state = ("class:live", f"live {owner}") if owner else ("class:offline", "offline")
        return [("class:store", self._desk.path.name), ("", " "), state, ("", " > ")]

    def _toolbar(self) -> StyleAndTextTuples:
        return [(f"class:{style}" if style else "", text) for style, text in self._status.parts()]

    def _goes_on(self) -> bool:
        """Say whether Enter begins a new line: a bracket or a quote is open."""
        return unfinished(self._session.default_buffer.text)


def poke(runtime: Runtime) -> None:
    """Open the console inside a program; see Runtime.repl."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        msg = "rt.repl() needs a terminal: use the command line, callboard -s STORE, from another"
        raise ConfigError(msg)
    desk = Desk(None, default_format(), runtime=runtime)
    Shell(Console(desk), embedded=True).run()


def plain() -> bool:
    """Say whether the terminal can do no more than print lines."""
    return os.environ.get("TERM", "dumb") in ("dumb", "unknown", "")


class Completing(Completer):
    """Offers what fits; what the store does not answer is not offered.

    Args:
        console: on whose desk.

    """

    def __init__(self, console: Console) -> None:
        """Take the desk."""
        self._desk = console.desk

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Completion]:
        """Return all candidates. Runs: on the completer's thread."""
        line = document.text_before_cursor
        for each in completion.complete(self._desk, line):
            # The fuzzy completer asks for the line without the word that is being typed.
            yield Completion(each.text, each.start - len(line), display_meta=each.note)


class Colours(Lexer):
    """Colours the words of a line by what they are."""

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        """Return what gives the parts of each line."""
        lines = document.lines

        def line(number: int) -> StyleAndTextTuples:
            return _coloured(lines[number], first=number == 0)

        return line


class Readable(Validator):
    """Refuses a line that is not read to its end, or whose JSON is broken, with the place."""

    def validate(self, document: Document) -> None:
        """Raise at the place where it stops to make sense."""
        try:
            line = parse(document.text)
        except Incomplete as error:
            raise ValidationError(error.at, str(error)) from error
        except ConfigError as error:
            raise ValidationError(len(document.text), str(error)) from error
        for word in line.words[1:]:
            if word.raw[:1] in "{[":
                wrong = broken(word.raw)
                if wrong is not None:
                    raise ValidationError(word.start + wrong[0], wrong[1])


def broken(text: str) -> tuple[int, str] | None:
    """Return where a text stops to be JSON, from 0, and why; None: it is JSON."""
    import json

    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.pos, f"no JSON: {error.msg[:1].lower()}{error.msg[1:]}"
    except (RecursionError, ValueError):
        return 0, "no JSON: too deep, or a number too long"
    return None


def _coloured(line: str, *, first: bool) -> StyleAndTextTuples:
    found: list[Any] = []
    at = 0
    for word in words(line):
        found.append(("", line[at : word.start]))
        at = word.start + len(word.raw)
        found.append((_style(word.raw, command=first and len(found) == 1), word.raw))
    found.append(("class:pipe", line[at:]))
    return found


def _style(raw: str, *, command: bool) -> str:
    if command:
        return "class:command" if raw in COMMANDS else ""
    if raw.startswith("-") and not raw[1:].isdigit():
        return "class:option"
    if raw[:1] in "\"'{[":
        return "class:text"
    return "class:number" if raw.isdigit() else ""


def _keys() -> KeyBindings:
    """Return the keys of our own: Esc Enter sends nothing that is open, Ctrl-D leaves anywhere."""
    keys = KeyBindings()

    @keys.add("c-d")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.delete()
        else:
            event.app.exit(exception=EOFError())

    return keys


def _history(folder: Path) -> History:
    """Return the store's history file, mode 0600; kept in memory where none can be made."""
    path = folder / HISTORY
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(path))


def _on_loop() -> bool:
    """Say whether an event loop runs on this thread: the prompt needs one of its own."""
    import asyncio

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
