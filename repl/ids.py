"""What a typed id may mean."""

from __future__ import annotations

from ..errors import ConfigError

# A message's number has fewer digits than this.
_DIGITS = 19


def meanings(id: str) -> tuple[int | str, ...]:
    """Return what an id may mean: a number first, then a sender's text."""
    if id.isascii() and id.isdigit() and len(id) < _DIGITS:
        return int(id), id
    return (id,)


def number(id: str) -> int:
    """Return the number that was typed.

    Raises:
        ConfigError: it is none.

    """
    found = meanings(id)[0]
    if isinstance(found, str):
        msg = f"a message's number is needed, got {id!r}: 'timers', 'peek' and 'dead' list them"
        raise ConfigError(msg)
    return found
