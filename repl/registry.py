"""The registry of commands: what a function's signature and docstring say of its syntax.

A command's positional parameters are arguments, its keyword-only ones options, and what its
docstring says under ``Args:`` is their help. The command line, the console and scripts are built
from it, so that there is one grammar and one function a command::

    @command                                    # looks only
    @command(changes=True)                      # gets --yes and --dry-run, and is audited
    @command(live=True)                         # needs a running owner
    @command(name="import")                     # a name that Python cannot spell

A function that changes something says so first with ``desk.intend(...)``. One that returns an
iterator is shown record by record, as they come, until Ctrl-C. ``*ids: int`` takes any number.
"""

from __future__ import annotations

import inspect
import types
import typing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, overload

from .desk import STORE as STORE  # noqa: PLC0414  (commands know the two together)
from .desk import Declined as Declined  # noqa: PLC0414
from .desk import Desk as Desk  # noqa: PLC0414
from .desk import Intended as Intended  # noqa: PLC0414
from .desk import Problems as Problems  # noqa: PLC0414
from .desk import ReaderGone as ReaderGone  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a parameter stands for, so that it can be completed.

    Attributes:
        of: ``"mailbox"``, ``"key"`` and so on.

    """

    of: str


# A function sees plain text or a number; completion and the grammar see the meaning.
Mailbox = Annotated[str, Meaning("mailbox")]
Key = Annotated[str, Meaning("key")]
Schedule = Annotated[str, Meaning("schedule")]
#: A mailbox or a schedule.
Target = Annotated[str, Meaning("target")]
#: A message's number, or its sender's id.
Id = Annotated[str, Meaning("id")]
#: A mailbox with an id after it, or a message's number or id alone.
Waiting = Annotated[str, Meaning("waiting")]
#: A dead letter's number.
Dead = Annotated[int, Meaning("dead")]
Actor = Annotated[str, Meaning("actor")]
Topic = Annotated[str, Meaning("topic")]
#: One JSON value.
Json = Annotated[str, Meaning("json")]
#: A JSON value, or a part such as ``name=value`` of a message.
Field = Annotated[str, Meaning("field")]
#: A time as people write it; see times.py.
When = Annotated[str, Meaning("when")]
#: The name of a command.
Verb = Annotated[str, Meaning("verb")]
#: A command with its arguments, as they were typed.
RestOfLine = Annotated[str, Meaning("line")]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument or option of a command.

    Attributes:
        name: of it in Python; ``from_`` is typed as ``from``.
        type: str, int, float, bool or Path.
        default: what it is when not given; ``...``: it must be given.
        option: it is an option, else an argument.
        help: what its line under ``Args:`` says.
        meaning: what it stands for; "": nothing that can be looked up.
        choices: the only texts that it takes; none: any.
        many: it takes all arguments that are left.

    """

    name: str
    type: type
    default: Any
    option: bool
    help: str
    meaning: str = ""
    choices: tuple[str, ...] = ()
    many: bool = False

    @property
    def typed(self) -> str:
        """How people write it: ``MAILBOX``, ``ID…``, ``-n``, ``--dry-run``."""
        name = self.name.rstrip("_").replace("_", "-")
        if self.option:
            return f"-{name}" if len(name) == 1 else f"--{name}"
        return name.upper() + ("\N{HORIZONTAL ELLIPSIS}" if self.many else "")


@dataclass(frozen=True, slots=True)
class Command:
    """A command as its function declares it.

    Attributes:
        name: that people type.
        run: the function; takes the desk, then the parameters.
        help: its docstring without ``Args:``.
        parameters: in order.
        changes: it changes the store.
        live: it needs a running owner.
        inner: it belongs to console lines and scripts alone.
        outer: it belongs to the command line alone.

    """

    name: str
    run: Callable[..., Any]
    help: str
    parameters: tuple[Parameter, ...]
    changes: bool = False
    live: bool = False
    inner: bool = False
    outer: bool = False


#: Every command, by name, in the order of the help.
COMMANDS: dict[str, Command] = {}

#: What the registry adds to each command that changes something; they belong to the desk.
CONSENT = (
    Parameter("yes", bool, False, True, "do not ask."),
    Parameter("dry_run", bool, False, True, "say what would happen, and change nothing."),
)


@overload
def command(function: F, /) -> F: ...
@overload
def command(
    *,
    name: str = ...,
    changes: bool = ...,
    live: bool = ...,
    inner: bool = ...,
    outer: bool = ...,
) -> Callable[[F], F]: ...
def command(
    function: Any = None,
    /,
    *,
    name: str = "",
    changes: bool = False,
    live: bool = False,
    inner: bool = False,
    outer: bool = False,
) -> Any:
    """Register a command.

    Args:
        function: that is one; returned unchanged.
        name: that people type; default: the function's own.
        changes: it changes the store: it gets ``--yes`` and ``--dry-run``, calls ``desk.intend``
            before it changes anything, and is noted in the audit table.
        live: it needs a running owner; without one it is refused in one line.
        inner: it is for console lines and scripts only.
        outer: it is for the command line only.

    """

    def register(found: F) -> F:
        known = name or found.__name__.rstrip("_")
        text, hints = _documentation(found)
        declared = tuple(_parameter(each, hints) for each in _parameters(found))
        COMMANDS[known] = Command(
            known, found, text, declared,
            changes=changes, live=live, inner=inner, outer=outer,
        )  # fmt: skip
        return found

    return register if function is None else register(function)


def perform(found: Command, desk: Desk, values: dict[str, Any]) -> None:
    """Run a command on the desk and show what it returns.

    Args:
        found: the command.
        desk: where.
        values: of its parameters by name, and of :data:`CONSENT` where it changes something.

    Raises:
        NotStarted: it needs a running owner, and there is none.
        ConfigError: it is dangerous, and nobody has said yes.
        Declined: somebody has said no.

    """
    named = {each.name: values[each.name] for each in found.parameters}
    given: list[Any] = []
    for each in found.parameters:
        if not each.option:
            value = named.pop(each.name)
            given += value if each.many else [value]
    if found.live:
        desk.need_owner(found.name)
    if not found.changes:
        desk.show(found.run(desk, *given, **named))
        return
    try:
        with desk.consent(yes=values["yes"], dry_run=values["dry_run"]):
            result = found.run(desk, *given, **named)
    except Intended as intended:
        result = intended.said
    desk.show(result)


def _parameters(function: Callable[..., Any]) -> list[tuple[inspect.Parameter, Any]]:
    hints = typing.get_type_hints(function, include_extras=True)
    found = list(inspect.signature(function).parameters.values())[1:]
    return [(each, hints[each.name]) for each in found]


def _parameter(declared: tuple[inspect.Parameter, Any], hints: dict[str, str]) -> Parameter:
    each, annotation = declared
    many = each.kind is each.VAR_POSITIONAL
    default = ... if each.default is each.empty else each.default
    return replace(
        _typed(Parameter(each.name, str, () if many else default,
                         each.kind is each.KEYWORD_ONLY, hints.get(each.name, "")), annotation),
        many=many,
    )  # fmt: skip


def _typed(parameter: Parameter, annotation: Any) -> Parameter:
    """Say what ``X``, ``X | None``, ``Annotated[X, Meaning()]`` and ``Literal[...]`` are."""
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        known = [each.of for each in inside[1:] if isinstance(each, Meaning)]
        return replace(_typed(parameter, inside[0]), meaning=known[0] if known else "")
    if origin is Literal:
        return replace(parameter, type=str, choices=tuple(inside))
    if origin in (typing.Union, types.UnionType):
        (annotation,) = (each for each in inside if each is not type(None))
        return _typed(parameter, annotation)
    return replace(parameter, type=annotation)


def _documentation(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """Return a docstring without its ``Args:``, and what those say by name."""
    text, _, rest = inspect.cleandoc(function.__doc__ or "").partition("\nArgs:\n")
    hints: dict[str, str] = {}
    name = ""
    for line in rest.splitlines():
        if not line.strip():
            break
        if line.startswith("        ") and name:  # goes on
            hints[name] += " " + line.strip()
        elif ": " in line:
            name, _, hint = line.strip().partition(": ")
            name = name.lstrip("*")
            hints[name] = hint
    return text.strip(), hints
