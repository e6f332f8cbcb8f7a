"""Click's commands, built from the registry: one for the command line, one for console lines."""

from __future__ import annotations

import difflib
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import builtins as builtins  # noqa: PLC0414  (registers them)
from . import commands as commands  # noqa: PLC0414  (the same)
from . import commands_doctor as commands_doctor  # noqa: PLC0414  (the same)
from .grammar import Word
from .registry import COMMANDS, CONSENT, Command, Desk, Parameter, perform
from .render import FORMATS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HELP: dict[str, Any] = {"help_option_names": ["-h", "--help"]}
#: What follows the first argument is another command's.
_UNREAD: dict[str, Any] = {"allow_interspersed_args": False}


class Group(click.Group):
    """Lists commands in the registry's order, and names the nearest one for an unknown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a line."""
        name = str(args[0])
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, self.commands, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        msg = f"there is no command {name!r}{hint}"
        raise click.UsageError(msg)


class Lenient(click.Command):
    """A command; where the shell asks for an option's value, it reads what stands before it."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments."""
        if ctx.resilient_parsing and args and args[-1] in self._waiting:
            args = args[:-1]
        return super().parse_args(ctx, args)

    @property
    def _waiting(self) -> set[str]:
        """The options that a value follows."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        return {name for each in options if not each.is_flag for name in each.opts}


def fill(group: click.Group, found: Iterable[Command]) -> None:
    """Put commands into a group; its context's object is the desk that they work on."""
    for each in found:
        group.add_command(_command(each))


def lines() -> click.Group:
    """Return the group that runs a console line."""
    group = Group("", add_help_option=False)
    fill(group, [each for each in COMMANDS.values() if not each.outer])
    return group


def format_option() -> click.Option:
    """Return the option that says how results are shown."""
    return click.Option(
        ["--format", "form"], type=click.Choice(FORMATS),
        help="How to show results; default: table on a terminal, else jsonl.",
    )  # fmt: skip


def _command(found: Command) -> click.Command:
    def call(form: Any, **values: Any) -> None:
        desk: Desk = click.get_current_context().obj
        before = desk.form
        desk.form = form or before
        try:
            perform(found, desk, values)
        finally:
            desk.form = before

    parameters = (*found.parameters, *(CONSENT if found.changes else ()))
    listed = "\n".join(f"{metavar(each)}  {sentence(each.help)}" for each in found.parameters
                       if not each.option and each.help)  # fmt: skip
    return Lenient(
        found.name,
        callback=call,
        help=found.help + (f"\n\n{unwrapped(listed)}" if listed else ""),
        short_help=summary(found),
        params=[*map(_parameter, parameters), format_option()],
        context_settings=_HELP | _UNREAD
        if "line" in [each.meaning for each in parameters]
        else _HELP,
    )


def _parameter(each: Parameter) -> click.Parameter:
    shape: dict[str, Any] = {"type": _kind(each), "shell_complete": _completed(each)}
    if each.many:
        return click.Argument([each.name], nargs=-1, metavar=f"[{each.typed}]", **shape)
    if each.option and each.type is bool:
        return click.Option([each.typed, each.name], is_flag=True, default=each.default,
                            help=sentence(each.help))  # fmt: skip
    shape["required"] = each.default is ...
    if each.default is not ...:  # to click a default of None is one too
        shape["default"] = each.default
    if not each.option:
        return click.Argument([each.name], metavar=metavar(each), **shape)
    return click.Option(
        [each.typed, each.name], help=sentence(each.help),
        show_default=each.default not in (..., None), **shape,
    )  # fmt: skip


def _kind(each: Parameter) -> Any:
    if each.choices:
        return click.Choice(each.choices)
    if each.type is Path:
        return click.Path(path_type=Path)
    if each.meaning == "line":
        return _AsTyped()
    return _JsonText() if each.meaning in ("json", "field") else each.type


class _JsonText(click.types.StringParamType):
    """Text that may be JSON: what a console line quoted with ``"`` keeps its quotes."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        return value.json if isinstance(value, Word) else str(value)


class _AsTyped(click.types.StringParamType):
    """A word with its quotes, to be part of another line."""

    name = "line"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text."""
        return value.raw if isinstance(value, Word) else shlex.quote(str(value))


def _completed(each: Parameter) -> Callable[..., Any] | None:
    """Return what completes a value in bash, zsh and fish; None: click does it by its type."""
    if not each.meaning:
        return None

    def complete(context: click.Context, _: click.Parameter, begun: str) -> Any:
        from .completion import outside

        return outside(context, each, begun)

    return complete


def summary(found: Command) -> str:
    """Return what a command does in a few words."""
    return re.split("[.:;]", found.help, maxsplit=1)[0]


def sentence(text: str) -> str:
    """Return a text with a capital."""
    return text[:1].upper() + text[1:]


def unwrapped(text: str) -> str:
    """Mark each paragraph so that click keeps its lines."""
    return "\n\n".join("\b\n" + part for part in text.strip().split("\n\n"))


def metavar(each: Parameter) -> str:
    """Return how an argument is shown: in brackets where it may be left out."""
    return each.typed if each.default is ... else f"[{each.typed}]"
