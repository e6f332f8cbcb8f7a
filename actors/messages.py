"""Kinds and bodies: how a message or a state becomes JSON text in the store and an object again.

A kind is a stable name (``@message("order.placed", version=2)``; by default the class's name),
never a class path, and a body is JSON: readable in the console, and nothing runs when it is loaded.
msgspec refuses a union of two dataclasses, so a union is decoded by the stored kind.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..errors import ConfigError, MessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

#: The kind of plain values: text, numbers, lists, dicts.
PLAIN = "json"
#: Limits, in bytes.
LARGEST_MESSAGE = 16 * 1024 * 1024
LARGEST_STATE = 64 * 1024 * 1024

_LINE = 80

# What is no record at a glance.
_BUILT_IN = frozenset([int, str, dict, list, type(None), float, bool, tuple])

_encode = msgspec.json.Encoder().encode
_kinds: dict[type, tuple[str, int]] = {}
_upcasts: dict[tuple[str, int], Callable[[Any], Any]] = {}


def message(name: str, *, version: int = 1) -> Callable[[type[T]], type[T]]:
    """Give a message or state type a stable name, and a version, in the store.

    Args:
        name: such as ``"order.placed"``; without the decorator it is the class's name.
        version: raise it when the fields change, and add an :func:`upcast` from the one before.

    Raises:
        ConfigError: the name is empty, or the version is no positive number.

    """
    if not name or not isinstance(name, str):
        msg = f"a kind needs a name, got {name!r}"
        raise ConfigError(msg)
    if name == PLAIN:
        msg = f"the kind {PLAIN!r} is that of plain values: choose another name"
        raise ConfigError(msg)
    if not isinstance(version, int) or version < 1:
        msg = f"version must be a positive number, got {version!r}"
        raise ConfigError(msg)

    def name_it(cls: type[T]) -> type[T]:
        _kinds[cls] = (name, version)
        return cls

    return name_it


def upcast(name: str, *, version: int) -> Callable[[Callable[[Any], Any]], Callable[[Any], Any]]:
    """Turn a body of an old version into one of the next: a function from plain data to plain data.

    Several chain: 1 to 2, 2 to 3. They serve messages and states alike, and run on the thread
    that decodes.

    Args:
        name: the kind.
        version: the version that the function takes.

    """

    def keep(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        _upcasts[name, version] = function
        return function

    return keep


def kind_of(cls: type) -> tuple[str, int]:
    """Return the kind and version of a type; plain types are all of one kind."""
    if not is_record(cls):
        return PLAIN, 1
    return _kinds.get(cls) or (cls.__name__, 1)


def is_record(cls: Any) -> bool:
    """Say whether a type has a kind of its own: a dataclass, a Struct, or a pydantic model."""
    return (
        isinstance(cls, type)
        and cls not in _BUILT_IN
        and (
            dataclasses.is_dataclass(cls)
            or issubclass(cls, msgspec.Struct)
            or hasattr(cls, "__pydantic_validator__")
        )
    )


def _fields(cls: Any) -> dict[str, str]:
    """Return a record's fields by their names in JSON, and their types; {}: it takes any."""
    if issubclass(cls, msgspec.Struct):
        found = {each.encode_name: each.type for each in msgspec.structs.fields(cls)}
    elif dataclasses.is_dataclass(cls):
        found = {each.name: each.type for each in dataclasses.fields(cls)}
    else:
        if cls.model_config.get("extra") == "allow":
            return {}
        fields: dict[str, Any] = cls.model_fields
        found = {each.alias or name: each.annotation for name, each in fields.items()}
    return {
        name: of.__name__ if isinstance(of, type) else str(of).replace("typing.", "")
        for name, of in found.items()
    }


class Unknown(Exception):
    """A kind or a version that the running code does not know."""


class Broken(MessageError):
    """A stored body that breaks its known kind: trying again would not help."""


class Accepts:
    """What a worker's annotation accepts, and how that is encoded and decoded.

    Args:
        annotation: a type, a union of such, or Any.
        what: for messages to people, such as ``"mailbox 'greetings'"``.

    Raises:
        ConfigError: the annotation is no schema, or two of its types have one kind.

    """

    def __init__(self, annotation: Any, what: str) -> None:
        """Build the decoders; they are used for as long as the worker lives."""
        self.what = what
        self.anything = annotation is Any
        parts = [object] if self.anything else list(_alternatives(annotation))
        self.records: dict[str, tuple[type, int, Callable[[bytes], Any]]] = {}
        plain = []
        for part in parts:
            if not is_record(part):
                plain.append(part)
                continue
            kind, version = kind_of(part)
            if kind in self.records and self.records[kind][0] is not part:
                msg = f"{what}: two types of one kind {kind!r}: name one with @message(...)"
                raise ConfigError(msg)
            self.records[kind] = (part, version, _decoder(part, what))
        self._plain = _plain_decoder(plain, what, anything=self.anything)
        self._by_type = {part: (kind, v, load) for kind, (part, v, load) in self.records.items()}
        if self._plain is not None:
            self._by_type.update(dict.fromkeys(_BUILT_IN, (PLAIN, 1, self._plain)))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that are accepted; empty when any is."""
        if self.anything:
            return ()
        return (*self.records, *((PLAIN,) if self._plain else ()))

    @property
    def versions(self) -> tuple[int, ...]:
        """The current version of each of :attr:`kinds`."""
        return tuple(self.records[k][1] if k in self.records else 1 for k in self.kinds)

    @property
    def fields(self) -> tuple[dict[str, str], ...]:
        """The fields of each of :attr:`kinds`, by the names they have in JSON, and their types."""
        return tuple(
            _fields(self.records[k][0]) if k in self.records else {} for k in self.kinds
        )  # fmt: skip

    def knows(self, kind: str, version: int) -> bool:
        """Say whether a stored kind and version can be decoded by the running code."""
        if kind == PLAIN:
            return self._plain is not None
        found = self.records.get(kind) or (self._registered(kind) if self.anything else None)
        if found is None:
            return self.anything
        return version <= found[1] and all((kind, v) in _upcasts for v in range(version, found[1]))

    def encode(self, value: Any) -> tuple[str, int, bytes, Any]:
        """Return (kind, version, body, value decoded again): what will be handed to the worker.

        Raises:
            MessageError: the worker does not accept it, or it is too large or no JSON.

        """
        kind, version, decoder = self._by_type.get(type(value)) or self._found(value)
        body = encode(value, self.what)
        return kind, version, body, self._checked(decoder, body)

    def encode_alike(self, values: Sequence[Any]) -> tuple[str, int, list[bytes], list[Any]] | None:
        """Encode many of one type, each step for all; returns kind, version, bodies and copies.

        None: they are of several types, or not each of them passes. :meth:`encode` then does what
        can be done, and says which one does not.
        """
        types = set(map(type, values))
        if len(types) != 1:
            return None
        cls = types.pop()
        found = self._by_type.get(cls)
        if found is None and self._plain is not None and not is_record(cls):
            found = PLAIN, 1, self._plain
        if found is None or hasattr(cls, "model_dump_json"):
            return None
        kind, version, decoder = found
        try:
            bodies = list(map(_encode, values))
            copies = list(map(decoder, bodies))
        except Exception:  # raised again by encode(), as an error of that one value
            return None
        return (kind, version, bodies, copies) if max(map(len, bodies)) <= LARGEST_MESSAGE else None

    def decode(self, kind: str, version: int, body: bytes) -> Any:
        """Decode a stored body.

        Raises:
            Unknown: no code here knows the kind or the version.
            MessageError: the kind is known and the body is broken.

        """
        found = self.records.get(kind)
        if found is not None and found[1] == version:
            return self._checked(found[2], body)
        if kind == PLAIN:
            if self._plain is None:
                raise Unknown(kind)
            return self._checked(self._plain, body)
        found = self.records.get(kind) or (self._registered(kind) if self.anything else None)
        if found is None:
            if self.anything and self._plain is not None:
                return self._checked(self._plain, body)
            raise Unknown(kind)
        cls, current, decoder = found
        if version == current:
            return self._checked(decoder, body)
        return self._raised(cls, kind, version, current, body)

    def _found(self, value: Any) -> tuple[str, int, Callable[[bytes], Any]]:
        """Return kind, version and decoder of a value whose type is not named."""
        cls = type(value)
        if self.anything and is_record(cls):
            return *kind_of(cls), _decoder(cls, self.what)
        if self._plain is None or is_record(cls):
            raise MessageError(self._refusal(value))
        return PLAIN, 1, self._plain

    def _registered(self, kind: str) -> tuple[type, int, Callable[[bytes], Any]] | None:
        for cls, (name, version) in _kinds.items():
            if name == kind:
                return cls, version, _decoder(cls, self.what)
        return None

    def _raised(self, cls: type, kind: str, version: int, current: int, body: bytes) -> Any:
        """Decode a body of another version through the chain of upcasts."""
        missing = next((v for v in range(version, current) if (kind, v) not in _upcasts), None)
        if version > current or missing is not None:
            msg = f"{kind} version {version}"
            raise Unknown(msg)
        try:
            data = msgspec.json.decode(body)
            for each in range(version, current):
                data = _upcasts[kind, each](data)
        except Exception as error:
            msg = f"{self.what}: upcast of {kind!r} version {version} failed: {error!r}"
            raise MessageError(msg) from error
        if isinstance(data, cls):
            return data
        return self._checked(_decoder(cls, self.what), encode(data, self.what, LARGEST_STATE))

    def _checked(self, decoder: Callable[[bytes], Any], body: bytes) -> Any:
        try:
            return decoder(body)
        except MemoryError:  # not the message's fault: another time there may be enough
            raise
        except Exception as error:  # a type's own checks may raise anything
            msg = f"{self.what} does not accept this message: {_first_line(error)}"
            raise MessageError(msg) from error

    def _refusal(self, value: Any) -> str:
        names = [cls.__name__ for cls, *_ in self.records.values()]
        names += ["plain JSON"] if self._plain else []
        got = f"{type(value).__name__}: {short(value)}"
        return f"{self.what} takes {' or '.join(names)}, got {got}"


def encode(value: Any, what: str, limit: int = LARGEST_MESSAGE) -> bytes:
    """Return a value's JSON text.

    Raises:
        MessageError: it is no JSON value, dataclass, Struct or pydantic model, or over the limit.

    """
    dump = getattr(value, "model_dump_json", None)
    try:
        body: bytes = dump().encode() if dump is not None else _encode(value)
    except (TypeError, ValueError, RecursionError, OverflowError) as error:
        msg = f"{what}: {short(value)} cannot be stored as JSON: {_first_line(error)}"
        raise MessageError(msg) from error
    if len(body) > limit:
        msg = (
            f"{what}: {len(body):,} bytes are over the limit of {limit // 1024 // 1024} MiB: "
            "store the bulk elsewhere and send its name"
        )
        raise MessageError(msg)
    return body


def plain(body: bytes) -> Any:
    """Return a stored body as plain data; one that is no JSON as text."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return bytes(body).decode("utf-8", "replace")


def _alternatives(annotation: Any) -> typing.Iterator[Any]:
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        for each in typing.get_args(annotation):
            yield from _alternatives(each)
    elif isinstance(annotation, typing.TypeAliasType if hasattr(typing, "TypeAliasType") else ()):
        yield from _alternatives(annotation.__value__)
    else:
        yield annotation


def _decoder(cls: Any, what: str) -> Callable[[bytes], Any]:
    load = getattr(cls, "model_validate_json", None)
    if load is not None:
        return typing.cast("Callable[[bytes], Any]", load)
    try:
        return msgspec.json.Decoder(cls).decode
    except (TypeError, NameError) as error:
        msg = f"{what}: {cls!r} is no message type: {_first_line(error)}"
        raise ConfigError(msg) from error


def _plain_decoder(plain: list[Any], what: str, *, anything: bool) -> Callable[[bytes], Any] | None:
    if anything:
        return msgspec.json.Decoder().decode
    if not plain:
        return None
    union = plain[0]
    for each in plain[1:]:
        union = union | each
    return _decoder(union, what)


def _first_line(error: BaseException) -> str:
    try:
        return (str(error) or type(error).__name__).splitlines()[0]
    except Exception:
        return type(error).__name__


def short(value: Any) -> str:
    """Return a value for one line of text to people."""
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= _LINE else text[: _LINE - 3] + "..."
