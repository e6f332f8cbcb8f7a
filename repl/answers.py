"""What an error means: one line on standard error, and an exit code."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from ..errors import CallboardError, ConfigError, NotStarted, StoreError
from .registry import Problems, ReaderGone

if TYPE_CHECKING:
    from collections.abc import Callable

OK, FAILED, USAGE, NOT_FOUND, TIMED_OUT, UNREACHABLE, PROBLEMS = range(7)
INTERRUPTED = 130


def answer(run: Callable[[], object], where: str = "") -> int:
    """Run something; what goes wrong becomes one line and an exit code.

    A number that it returns is the code. What the user's own code raises, and a fault of ours, is
    passed on.

    Args:
        run: what to run.
        where: it comes from, to open an error with.

    """
    try:
        code = run()
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except ReaderGone:
        return OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        hint = ""
        if isinstance(error, click.UsageError) and error.ctx is not None:
            path = error.ctx.command_path.strip()
            hint = f" (see {path} --help)" if path else " (see help)"
        return fail(where + error.format_message().rstrip(".") + hint, USAGE)
    except (CallboardError, LookupError) as error:
        if not isinstance(error, CallboardError) and type(error) is not LookupError:
            raise  # a KeyError or IndexError is a fault, not an answer
        return fail(where + str(error), exit_code(error))
    return code if isinstance(code, int) else OK


def exit_code(error: BaseException) -> int:
    """Return what an error means to the shell."""
    if isinstance(error, ConfigError):
        return USAGE
    if isinstance(error, LookupError):
        return NOT_FOUND
    if isinstance(error, (StoreError, NotStarted)):
        return UNREACHABLE
    if isinstance(error, TimeoutError):
        return TIMED_OUT
    if isinstance(error, Problems):
        return PROBLEMS
    return FAILED


def fail(text: str, code: int) -> int:
    """Say in one line what is wrong; returns the code."""
    sys.stdout.flush()
    shown = "".join(each if each.isprintable() else " " for each in " ".join(text.split()))
    print("callboard:", shown, file=sys.stderr)  # noqa: T201  (one line)
    return code


def swallow_output() -> None:
    """Have what is still buffered for a reader that is gone go nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
