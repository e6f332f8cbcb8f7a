"""JSON that somebody types, as a message that a mailbox accepts."""

from __future__ import annotations

import re
from dataclasses import make_dataclass
from keyword import iskeyword
from typing import TYPE_CHECKING, Any, NamedTuple

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


def spoken(rt: Runtime, mailbox: str, words: Sequence[str]) -> Any:
    """Return the message that was typed for a mailbox; its kind may stand before it.

    Raises:
        ConfigError: the words are no message, or several kinds may be meant.
        MessageError: the code at hand does not accept it.
        MailboxNotFound: the store does not know the mailbox.

    """
    if words and words[0] in _shape(rt, mailbox).kinds:
        return typed(rt, mailbox, {} if len(words) == 1 else body(words[1:]), words[0])
    return typed(rt, mailbox, body(words))


def typed(rt: Runtime, mailbox: str, value: Any, kind: str | None = None) -> Any:
    """Give plain data the kind that the mailbox takes, as the code at hand declares it.

    Args:
        rt: which knows the mailbox.
        mailbox: its name.
        value: what was typed.
        kind: that is meant, where the mailbox takes it; None: the only one that has these fields.

    Raises:
        ConfigError: several kinds may be meant, or the kind has no such field.
        MessageError: the code at hand does not accept it.
        MailboxNotFound: the store does not know the mailbox.

    """
    shape = _shape(rt, mailbox)
    if kind is None and (not shape.kinds or PLAIN in shape.kinds):
        return value
    if kind == PLAIN or not isinstance(value, dict):
        return value
    kind = kind if kind in shape.kinds else _meant(mailbox, shape, value)
    at = shape.kinds.index(kind)
    known = shape.fields[at] if at < len(shape.fields) else {}  # an older owner has stored none
    version = shape.versions[at] if at < len(shape.versions) else 1
    if known and (strange := [name for name in value if name not in known]):
        raise _no_field(mailbox, kind, strange[0], known)
    if isinstance(value, Typed):
        value = value.of(known)
    spec = rt._registry.specs.get(mailbox)  # noqa: SLF001  (of the same package)
    if spec is not None:
        return spec.behaviour.accepts.decode(kind, version, msgspec.json.encode(value))
    if strange := [name for name in value if not _is_name(name)]:
        raise _no_field(mailbox, kind, strange[0], known)
    record = make_dataclass(kind, list(value))
    return (record if version == 1 else message(kind, version=version)(record))(**value)


class _Shape(NamedTuple):
    """What a mailbox takes: kinds, and of each its fields and its version."""

    kinds: tuple[str, ...]
    fields: tuple[dict[str, str], ...]
    versions: tuple[int, ...]


def _shape(rt: Runtime, mailbox: str) -> _Shape:
    """Return what the code at hand declares, else what the owner has."""
    spec = rt._registry.specs.get(mailbox)  # noqa: SLF001
    declared = rt._registry.row(mailbox).declaration if spec is None else spec.behaviour.accepts  # noqa: SLF001
    return _Shape(tuple(declared.kinds), tuple(declared.fields), tuple(declared.versions))


def _meant(mailbox: str, shape: _Shape, value: dict[str, Any]) -> str:
    """Return the only kind, or the only one that has all the fields."""
    if len(shape.kinds) == 1:
        return shape.kinds[0]
    pairs = zip(shape.kinds, shape.fields, strict=False)
    fitting = [kind for kind, fields in pairs if fields.keys() >= value.keys()]
    if len(fitting) == 1:
        return fitting[0]
    msg = (
        f"mailbox {mailbox!r} takes {' or '.join(shape.kinds)}, and the fields do not say which: "
        f"write the kind before them, as in tell {mailbox} {shape.kinds[0]} ..."
    )
    raise ConfigError(msg)


def _no_field(mailbox: str, kind: str, name: str, known: dict[str, str]) -> ConfigError:
    hint = f": it has {', '.join(known)}" if known else ""
    return ConfigError(f"mailbox {mailbox!r} takes {kind}, which has no field {name!r}{hint}")


def _is_name(text: str) -> bool:
    return text.isidentifier() and not iskeyword(text)
