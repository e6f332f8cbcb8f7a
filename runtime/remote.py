"""Exceptions between processes: what a handler raised in the owner, raised again in a client.

No code runs and nothing is imported for it. An exception is rebuilt only when its class is loaded
here already, it is an ``Exception``, its arguments are plain values, and the rebuilt one reads as
the original did. Attributes beside its arguments are not carried. Everything else is a RemoteError.
Both carry the owner's traceback: the rebuilt one as a note.
"""

from __future__ import annotations

import sys
import traceback

from ..errors import RemoteError
from .frames import Failure

_LONGEST = 20_000


def describe(number: int, error: BaseException) -> Failure:
    """Put an exception into a frame."""
    cls = type(error)
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  (the user's)
        text = "(its text could not be made)"
    args = error.args
    if isinstance(error, OSError) and isinstance(error.filename, str):
        args = (*args, error.filename)  # which it keeps apart
    plain = all(type(each) in (str, int, float, bool, type(None)) for each in args)
    plain = plain and sum(len(str(each)) for each in args) <= _LONGEST
    trace = "".join(traceback.format_exception(error))[-_LONGEST:]
    return Failure(
        number, cls.__module__, cls.__qualname__, _storable(text[:_LONGEST]),
        [_storable(each) if isinstance(each, str) else each for each in args]
        if plain and isinstance(error, Exception) else None,
        _storable(trace),
    )  # fmt: skip


def rebuild(failure: Failure) -> Exception:
    """Return an exception that reads as the owner's did."""
    cls = _loaded(failure.module, failure.name)
    if cls is not None and failure.args is not None:
        try:
            error = cls.__new__(cls, *failure.args)
            if not isinstance(error, OSError):
                error.args = tuple(failure.args)
            same = str(error) == failure.text
        except Exception:  # noqa: BLE001  (whatever a class does that is built half)
            same = False
        if same:
            if failure.trace:
                error.add_note(f"In the process that owns the store:\n{failure.trace.rstrip()}")
            return error
    kind = failure.name if failure.module == "builtins" else f"{failure.module}.{failure.name}"
    return RemoteError(kind, failure.text, failure.trace)


def _loaded(module: str, name: str) -> type[Exception] | None:
    found: object = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and issubclass(found, Exception):
        return None if issubclass(found, (StopIteration, StopAsyncIteration)) else found
    return None


def _storable(text: str) -> str:
    """Return text that UTF-8 can hold: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()
