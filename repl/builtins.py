"""What belongs to the console itself: commands of console lines and scripts, not of the shell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from ..clock import sleep
from ..errors import ConfigError
from .registry import COMMANDS, Desk, RestOfLine, Verb, command
from .render import Format, Listing, Said

if TYPE_CHECKING:
    from .console import Console

#: Seconds: a shorter watch would only make the store busy.
_FASTEST = 0.1
#: Characters of a line of help.
_LINE = 100
_CLEAR = "\x1b[H\x1b[2J\x1b[3J"


@command(inner=True)
def help(_desk: Desk, command: Verb | None = None) -> Any:  # noqa: A001  (its name)
    """List the commands, or explain one.

    Args:
        command: to explain.

    """
    from .syntax import lines, metavar, summary

    group = lines()
    if command is None:
        known = [each for each in COMMANDS.values() if not each.outer]
        return Listing([
            {"command": each.name,
             "arguments": " ".join(metavar(one) for one in each.parameters if not one.option),
             "what": summary(each)}
            for each in known
        ], "no commands", longest=_LINE)  # fmt: skip
    with click.Context(group, info_name="") as context:
        _, found, _ = group.resolve_command(context, [command])
        assert found is not None  # noqa: S101  (resolve_command raises for an unknown name)
        with click.Context(found, info_name=command) as inner:
            text = found.get_help(inner)
    return Said(text, {"command": command, "help": text})


@command(name="set", inner=True)
def set_(
    desk: Desk,
    name: Literal["format"] | None = None,
    value: Literal["table", "json", "jsonl", "csv", "auto"] | None = None,
) -> Any:
    """Choose how results are shown; without a value show what is chosen.

    Args:
        name: of the setting.
        value: table, json, jsonl or csv; auto: a table on a terminal, else jsonl.

    """
    console = _console(desk)
    if value is not None:
        form: Format | None = None if value == "auto" else value
        console.form = form
    chosen = console.form or "auto"
    known = name or "format"  # the only setting yet
    return Said(f"{known} {chosen}", {known: chosen})


@command(inner=True)
def watch(desk: Desk, seconds: float, *line: RestOfLine, n: int | None = None) -> None:
    """Run a command again and again, until Ctrl-C or until it fails.

    Args:
        seconds: between two runs.
        line: the command with its arguments.
        n: stop after so many runs.

    """
    if seconds < _FASTEST:
        msg = f"watch takes {_FASTEST} seconds or more, got {seconds:g}"
        raise ConfigError(msg)
    if not line:
        msg = "watch which command? write: watch 2 status"
        raise ConfigError(msg)
    text, console, runs = " ".join(line), _console(desk), 0
    while n is None or runs < n:
        if runs:
            sleep(seconds)
        if desk.form == "table" and desk.on_terminal:
            desk.show(Said(f"{_CLEAR}every {seconds:g} s: {text}   (Ctrl-C ends it)\n"))
        code = console.run(text)
        if code:
            raise click.exceptions.Exit(code)
        runs += 1


@command(inner=True)
def source(desk: Desk, file: Path) -> None:
    """Run the commands of a file, line by line, and stop at the first that fails.

    Args:
        file: its path.

    """
    try:
        text = file.expanduser().read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        msg = f"cannot read {file}: {getattr(error, 'strerror', None) or 'it is no UTF-8 text'}"
        raise ConfigError(msg) from error
    code = _console(desk).script(text.splitlines(keepends=True), str(file))
    if code:
        raise click.exceptions.Exit(code)


@command(inner=True)
def exit(_desk: Desk, code: int | None = None) -> None:  # noqa: A001  (its name)
    """Leave the console; so does Ctrl-D.

    Args:
        code: the exit code, from 0 to 255; default: that of the first failure in a script.

    """
    from .console import Leave

    raise Leave(None if code is None else code & 0xFF)


def _console(desk: Desk) -> Console:
    assert desk.console is not None  # noqa: S101  (the command line does not offer these)
    return desk.console
