"""The command line: builds click's commands from the registry, and turns errors into exit codes.

An error is one line on stderr. What the user's own code raises is shown with its traceback.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import CallboardError, ConfigError, StoreError
from . import commands as commands  # noqa: PLC0414  (registers them)
from .registry import COMMANDS, STORE, Command, Desk, Parameter, ReaderGone
from .render import default_format

if TYPE_CHECKING:
    from collections.abc import Sequence

OK, FAILED, USAGE, NOT_FOUND, TIMED_OUT, UNREACHABLE, PROBLEMS = range(7)
INTERRUPTED = 130

_HELP = f"""Look into and steer the actors, messages and future calls of a store.

    callboard demo                 watch a service being killed and resuming
    callboard run app:rt           run the Runtime that module app calls rt
    callboard -s board.db dead     list the dead letters of a store

Results are tables on a terminal and JSON lines otherwise.
The store is a path, {STORE} by default.
"""
_EPILOG = """Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 timed out,
5 store unreachable or owned, 6 a check found problems, 130 interrupted."""
_FORMATS = click.Choice(["table", "jsonl"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    Args:
        arguments: default: those of the process.

    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = _group().main(given, prog_name="callboard", standalone_mode=False)
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ReaderGone:
        # What is still buffered goes nowhere when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            hint = f" (see {error.ctx.command_path} --help)"
        return _fail(error.format_message().rstrip(".") + hint, USAGE)
    except (CallboardError, LookupError) as error:
        if not isinstance(error, CallboardError) and type(error) is not LookupError:
            raise  # a KeyError or IndexError is a fault, not an answer
        return _fail(str(error), exit_code(error))
    return code if isinstance(code, int) else OK


def exit_code(error: BaseException) -> int:
    """Return what an error means to the shell."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, LookupError):
        return NOT_FOUND
    if isinstance(error, StoreError):
        return UNREACHABLE
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    return FAILED


def _fail(text: str, code: int) -> int:
    sys.stdout.flush()
    print("callboard:", " ".join(text.split()), file=sys.stderr)  # noqa: T201  (one line)
    return code


class _Group(click.Group):
    """Lists commands in the registry's order, and names the nearest one for an unknown."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in self.commands or name.startswith("-"):
            return super().resolve_command(ctx, args)
        near = difflib.get_close_matches(name, self.commands, n=1)
        hint = f": did you mean {near[0]!r}?" if near else ""
        msg = f"there is no command {name!r}{hint}"
        raise click.UsageError(msg)


def _group() -> click.Group:
    def begin(store: str | None, app: str | None, form: str | None) -> None:
        context = click.get_current_context()
        desk = Desk(store, _form(form), app)
        context.obj = desk
        context.call_on_close(desk.close)
        if context.invoked_subcommand is None:
            if not sys.stdout.isatty():
                msg = "which command?"
                raise click.UsageError(msg)
            click.echo(context.get_help())

    group = _Group(
        "callboard",
        callback=begin,
        help=_unwrapped(_HELP),
        epilog=_unwrapped(_EPILOG),
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        params=[
            click.Option(["-s", "--store"], metavar="STORE", help=f"The store; default {STORE}."),
            click.Option(
                ["-a", "--app"], metavar="MODULE:ATTR",
                help="The Runtime of your code, such as app:rt: its store, read with its types.",
            ),
            _format_option(),
            click.Option(
                ["--version"], is_flag=True, expose_value=False, is_eager=True,
                callback=_show_version, help="Show the version and exit.",
            ),
        ],
    )  # fmt: skip
    for command in COMMANDS.values():
        group.add_command(_click_command(command))
    return group


def _click_command(command: Command) -> click.Command:
    def call(form: str | None, **values: Any) -> None:
        desk: Desk = click.get_current_context().obj
        desk.form = _form(form) if form else desk.form
        named = {each.name: values[each.name] for each in command.parameters}
        desk.show(command.run(desk, *_positional(command, named), **_options(command, named)))

    lines = [f"{_metavar(each)}  {_sentence(each.help)}" for each in command.parameters
             if not each.option and each.help]  # fmt: skip
    listed = "\n\n" + _unwrapped("\n".join(lines)) if lines else ""
    return click.Command(
        command.name,
        callback=call,
        help=command.help + listed,
        short_help=re.split("[.:;]", command.help, maxsplit=1)[0],
        params=[*map(_click_parameter, command.parameters), _format_option()],
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def _click_parameter(each: Parameter) -> click.Parameter:
    kind = click.Path(path_type=Path) if each.type is Path else each.type
    if each.default is ...:
        return click.Argument([each.name], type=kind)
    if not each.option:
        return click.Argument([each.name], type=kind, required=False, default=each.default)
    flag = f"-{each.name}" if len(each.name) == 1 else f"--{each.name.replace('_', '-')}"
    return click.Option(
        [flag, each.name], type=kind, default=each.default, help=_sentence(each.help),
        show_default=each.default is not None,
    )  # fmt: skip


def _positional(command: Command, values: dict[str, Any]) -> list[Any]:
    return [values[each.name] for each in command.parameters if not each.option]


def _options(command: Command, values: dict[str, Any]) -> dict[str, Any]:
    return {each.name: values[each.name] for each in command.parameters if each.option}


def _format_option() -> click.Option:
    return click.Option(
        ["--format", "form"], type=_FORMATS,
        help="How to show results; default: table on a terminal, else jsonl.",
    )  # fmt: skip


def _form(given: str | None) -> Any:
    return given or default_format()


def _metavar(each: Parameter) -> str:
    return each.name.upper() if each.default is ... else f"[{each.name.upper()}]"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _unwrapped(text: str) -> str:
    """Mark each paragraph so that click keeps its lines."""
    return "\n\n".join("\b\n" + part for part in text.strip().split("\n\n"))


def _show_version(context: click.Context, _option: click.Parameter, wanted: object) -> None:
    if wanted and not context.resilient_parsing:
        from .. import __version__

        click.echo(f"callboard {__version__}")
        context.exit()
