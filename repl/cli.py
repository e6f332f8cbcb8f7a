"""The command line: one command and its exit code, a script on standard input, or the console.

An error is one line on stderr. What the user's own code raises is shown with its traceback.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .answers import FAILED as FAILED  # noqa: PLC0414  (the exit codes of this program)
from .answers import INTERRUPTED as INTERRUPTED  # noqa: PLC0414
from .answers import NOT_FOUND as NOT_FOUND  # noqa: PLC0414
from .answers import OK as OK  # noqa: PLC0414
from .answers import PROBLEMS as PROBLEMS  # noqa: PLC0414
from .answers import TIMED_OUT as TIMED_OUT  # noqa: PLC0414
from .answers import UNREACHABLE as UNREACHABLE  # noqa: PLC0414
from .answers import USAGE as USAGE  # noqa: PLC0414
from .answers import answer, swallow_output
from .answers import exit_code as exit_code  # noqa: PLC0414
from .registry import COMMANDS, STORE, Desk, ReaderGone
from .render import default_format
from .syntax import Group, fill, format_option, unwrapped

if TYPE_CHECKING:
    from collections.abc import Sequence

_HELP = f"""Look into and steer the actors, messages and future calls of a store.

    callboard demo                 watch a service being killed and resuming
    callboard run app:rt           run the Runtime that module app calls rt
    callboard -s board.db          open the console on a store
    callboard -s board.db dead     list the dead letters of a store
    callboard -s board.db < FILE   run the commands of a file

Results are tables on a terminal and JSON lines otherwise.
The store is a path, {STORE} by default.
"""
_EPILOG = """Exit codes: 0 ok, 1 failed, 2 usage, 3 not found, 4 timed out,
5 store unreachable or owned, 6 a check found problems, 130 interrupted."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, or the console; returns the exit code.

    Args:
        arguments: default: those of the process.

    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def run() -> Any:
        try:
            return _group(shlex.join(given)).main(
                given, prog_name="callboard", standalone_mode=False
            )
        except ReaderGone:
            swallow_output()
            raise

    return answer(run)


def _group(line: str) -> click.Group:
    def begin(store: str | None, app: str | None, form: Any, keep_going: bool) -> None:  # noqa: FBT001  (click's)
        context = click.get_current_context()
        desk = Desk(store, form or default_format(), app)
        desk.line = line
        context.obj = desk
        context.call_on_close(desk.close)
        if context.invoked_subcommand is None:
            if sys.stdin.isatty() and (store, app) == (None, None) and not Path(STORE).exists():
                click.echo(context.get_help())
                return
            raise click.exceptions.Exit(_console(desk, form, keep_going=keep_going))

    group = Group(
        "callboard",
        callback=begin,
        help=unwrapped(_HELP),
        epilog=unwrapped(_EPILOG),
        invoke_without_command=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        params=_options(),
    )
    fill(group, [each for each in COMMANDS.values() if not each.inner])
    return group


def _options() -> list[click.Parameter]:
    return [
        click.Option(["-s", "--store"], metavar="STORE", help=f"The store; default {STORE}."),
        click.Option(
            ["-a", "--app"], metavar="MODULE:ATTR",
            help="The Runtime of your code, such as app:rt: its store, read with its types.",
        ),
        format_option(),
        click.Option(
            ["-k", "--keep-going"], is_flag=True,
            help="Go on after a command of standard input that failed.",
        ),
        click.Option(
            ["--version"], is_flag=True, expose_value=False, is_eager=True,
            callback=_show_version, help="Show the version and exit.",
        ),
    ]  # fmt: skip


def _console(desk: Desk, form: Any, *, keep_going: bool) -> int:
    """Open the console, or run the commands of standard input."""
    from .console import Console, Leave

    console = Console(desk, keep_going=keep_going)
    console.form = form
    try:
        desk.rt  # noqa: B018  (a store that is not there is said at once)
        if not sys.stdin.isatty():
            return console.script(sys.stdin)
        from .shell import Shell

        return Shell(console).run()
    except Leave as leave:
        return leave.code or OK


def _show_version(context: click.Context, _option: click.Parameter, wanted: object) -> None:
    if wanted and not context.resilient_parsing:
        from .. import __version__

        click.echo(f"callboard {__version__}")
        context.exit()
