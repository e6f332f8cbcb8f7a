"""JSON that somebody types, as a message that a mailbox accepts."""

from __future__ import annotations

import re
from dataclasses import make_dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.messages import PLAIN, message
from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..runtime.runtime import Runtime

_FIELD = re.compile(r"[A-Za-z_]\w*=")
_TEXT = ("str", "str | None", "Optional[str]")
_NO_TEXT = (int, float, bool)


class Typed(dict[str, Any]):
    """A message typed field by field.

    Attributes:
        said: each value as it was typed.

    """

    def __init__(self) -> None:
        """Have no field yet."""
        super().__init__()
        self.said: dict[str, str] = {}

    def of(self, known: dict[str, str]) -> dict[str, Any]:
        """Return the message for these types: where text is wanted, ``zip=75001`` is text."""
        return {
            name: self.said[name] if known.get(name) in _TEXT and type(value) in _NO_TEXT else value
            for name, value in self.items()
        }


def parse(text: str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ConfigError: it is none.

    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        msg = f"""the message is not JSON ({error}): text needs quotes, '"{text}"'"""
        raise ConfigError(msg) from error


def body(words: Sequence[str]) -> Any:
    """Return the message that was typed: one JSON value, or fields as ``name=value``.

    A field's value is JSON where it can be read as such, else text.

    Raises:
        ConfigError: it is neither; which word is wrong is said.

    """
    if not words:
        return None
    if len(words) == 1 and not _FIELD.match(words[0]):
        return parse(words[0])
    found = Typed()
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not _FIELD.match(word):
            msg = f"{word!r} is no field: write name=value, or the whole message as one JSON value"
            raise ConfigError(msg)
        if name in found:
            msg = f"field {name!r} is given twice"
            raise ConfigError(msg)
        found.said[name] = value
        try:
            found[name] = msgspec.json.decode(value)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            found[name] = value
    return found


def typed(rt: Runtime, mailbox: str, value: Any) -> Any:
    """Give plain data the kind that the mailbox takes, where it takes exactly one.

    Raises:
        ConfigError: it takes several, and JSON does not say which is meant.
        MailboxNotFound: the store does not know the mailbox.

    """
    declared = rt._registry.row(mailbox).declaration  # noqa: SLF001  (what the owner has declared)
    if not declared.kinds or PLAIN in declared.kinds or not isinstance(value, dict):
        return value
    if len(declared.kinds) > 1:
        msg = (
            f"mailbox {mailbox!r} takes {' or '.join(declared.kinds)}, and JSON does not say "
            "which: tell it from code"
        )
        raise ConfigError(msg)
    known = declared.fields[0] if declared.fields else {}  # an older owner has stored none
    names = [name for name in value if not _is_name(name) or (known and name not in known)]
    if names:
        hint = f": it has {', '.join(known)}" if known else ""
        msg = (
            f"mailbox {mailbox!r} takes {declared.kinds[0]}, which has no field {names[0]!r}{hint}"
        )
        raise ConfigError(msg)
    if isinstance(value, Typed):
        value = value.of(known)
    kind, version = declared.kinds[0], next(iter(declared.versions), 1)
    record = make_dataclass(kind, list(value))
    return (record if version == 1 else message(kind, version=version)(record))(**value)


def _is_name(text: str) -> bool:
    return text.isidentifier() and not iskeyword(text)
