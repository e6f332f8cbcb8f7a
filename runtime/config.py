"""What a Runtime is built with, checked where it is written."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..clock import Clock, SystemClock
from ..errors import ConfigError

_SQLITE = "sqlite:///"
#: More handler threads than this are a mistake.
_MOST = 10_000


@dataclass(frozen=True, slots=True)
class Config:
    """The options of a Runtime, decided.

    Attributes:
        path: the SQLite file.
        durability: ``"full"`` or ``"normal"``.
        clock: reads time.
        threads: the most threads that run handlers.
        network_ok: trust a network file system.

    """

    path: Path
    durability: str
    clock: Clock
    threads: int
    network_ok: bool


def configure(
    store: str | Path, *, durability: str, clock: Clock | None, threads: int, network_ok: bool
) -> Config:
    """Check the options.

    Raises:
        ConfigError: one of them cannot work.

    """
    if durability not in ("full", "normal"):
        msg = f'durability must be "full" or "normal", got {durability!r}'
        raise ConfigError(msg)
    if not isinstance(threads, int) or isinstance(threads, bool) or not 1 <= threads <= _MOST:
        msg = f"threads must be a number from 1 to {_MOST}, got {threads!r}"
        raise ConfigError(msg)
    return Config(_path(store), durability, clock or SystemClock(), threads, network_ok)


def _path(store: str | Path) -> Path:
    text = str(store)
    if text.startswith(_SQLITE):
        text = text[len(_SQLITE):]  # fmt: skip
    elif "://" in text:
        scheme = text.split("://", 1)[0]
        msg = f"store must be a path or sqlite:///path, got a {scheme}:// address"
        raise ConfigError(msg)
    if text in ("", ":memory:") or "\0" in text:
        msg = f"store must be the path of a file that survives, got {text!r}"
        raise ConfigError(msg)
    return Path(text)
