"""The registry of commands, and the desk that they work on.

The command line is built from it: a function's positional parameters are arguments, its
keyword-only ones options, and what its docstring says under ``Args:`` is their help.
"""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import ConfigError, StoreError
from .render import Format, render

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..runtime.runtime import Runtime

F = TypeVar("F", bound="Callable[..., Any]")

#: The store that is meant when none is named.
STORE = "callboard.db"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option of a command.

    Attributes:
        name: of it in Python.
        type: str, int, float, bool or Path.
        default: what it is when not given; ``...``: it must be given.
        option: it is an option, else an argument.
        help: what its line under ``Args:`` says.

    """

    name: str
    type: type
    default: Any
    option: bool
    help: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its function declares it.

    Attributes:
        name: that people type.
        run: the function; takes the desk, then the parameters.
        help: its docstring without ``Args:``.
        parameters: in order.

    """

    name: str
    run: Callable[..., Any]
    help: str
    parameters: tuple[Parameter, ...]


class ReaderGone(Exception):
    """Who read the output has gone, as ``head`` does: nobody is left to tell."""


class Desk:
    """What commands work on: one store, through a client that is made when it is first needed.

    Args:
        store: as the user named it; None: not named.
        form: how results are shown.
        app: MODULE:ATTR of the Runtime whose code is at hand; None: no code.

    """

    def __init__(self, store: str | None, form: Format, app: str | None = None) -> None:
        """Open nothing, import nothing."""
        self.named = store
        self.form = form
        self.app = app
        self._runtime: Runtime | None = None

    @property
    def rt(self) -> Runtime:
        """A client of the store; with ``-a`` the user's own Runtime, never started by us.

        Raises:
            ConfigError: both a store and a Runtime are named, or what is named is no Runtime.
            LookupError: there is no such module or name.
            StoreError: there is no such file; looking at a store never makes one.

        """
        if self._runtime is None:
            found = self._load() if self.app is not None else self._client()
            path = found._config.path  # noqa: SLF001  (the path as the runtime understands it)
            if not path.exists():
                msg = f"there is no store {path}: name one with -s, before the command"
                raise StoreError(msg)
            self._runtime = found
        return self._runtime

    def _load(self) -> Runtime:
        from .target import load

        if self.named is not None:
            msg = f"{self.app} says itself which store it uses: give -s or -a, not both"
            raise ConfigError(msg)
        return load(str(self.app))

    def _client(self) -> Runtime:
        from ..runtime.runtime import Runtime

        return Runtime(self.named or STORE)

    def show(self, result: Any) -> None:
        """Print a result; only commands that go on working afterwards need it."""
        text = render(result, self.form)
        if text:
            try:
                print(text, flush=True)  # noqa: T201  (the command line's output)
            except BrokenPipeError:
                raise ReaderGone from None

    def close(self) -> None:
        """Close the store."""
        if self._runtime is not None:
            self._runtime.stop()


#: Every command, by name, in the order of the help.
COMMANDS: dict[str, Command] = {}


def command(function: F) -> F:
    """Register a command."""
    text, hints = _documentation(function)
    types = typing.get_type_hints(function)
    parameters = tuple(
        Parameter(
            each.name,
            _plain_type(types[each.name]),
            ... if each.default is each.empty else each.default,
            each.kind is each.KEYWORD_ONLY,
            hints.get(each.name, ""),
        )
        for each in list(inspect.signature(function).parameters.values())[1:]
    )
    name = function.__name__
    COMMANDS[name] = Command(name, function, text, parameters)
    return function


def _documentation(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return a docstring without its ``Args:``, and what those say by name."""
    text, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    hints = dict(line.strip().split(": ", 1) for line in rest.splitlines() if ": " in line)
    return text.strip(), hints


def _plain_type(annotation: Any) -> type:
    """Return X for X and for ``X | None``."""
    found = [each for each in typing.get_args(annotation) if each is not type(None)]
    kind: type = found[0] if found else annotation
    return kind
