"""Ids, keys and topics: what the store can hold, and what is refused with one line."""

from __future__ import annotations

from typing import Any

from ..actors.messages import short
from ..errors import MessageError

_LONGEST = 1000
#: Of what SQLite calls an integer.
_MOST = (1 << 63) - 1


def check_text(what: str, text: Any) -> None:
    """Refuse what cannot be an id, a key or a topic."""
    if not isinstance(text, str) or not text or len(text) > _LONGEST:
        size = f", {len(text):,} characters" if isinstance(text, str) and text else ""
        msg = f"{what} is a text of 1 to {_LONGEST} characters, got {short(text)}{size}"
        raise MessageError(msg)
    _check_utf8(what, text)


def check_target(target: Any) -> None:
    """Refuse what names no message: neither a caller's id nor a number."""
    if isinstance(target, bool) or not isinstance(target, (str, int)):
        msg = f"a message is named by its caller's id or its number, got {short(target)}"
        raise MessageError(msg)
    if isinstance(target, str):
        _check_utf8("id", target)
    elif abs(target) > _MOST:
        msg = f"a message's number is at most {_MOST}, got {short(target)}"
        raise MessageError(msg)


def check_key(key: str | int | None) -> None:
    """Refuse a key that no actor can have."""
    if key is not None:
        check_text("key", str(key))


def _check_utf8(what: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        msg = f"{what} must be text that UTF-8 can hold, got {short(text)}"
        raise MessageError(msg) from error
