"""What every peer is asked to do; a peer leaves out what it has no means for."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Peer:
    """A durable queue of somebody else's, opened on a folder with its own defaults.

    Args:
        folder: where its file goes.
        handler: called with each number, once :meth:`start` was called.

    """

    #: What it is called in the tables, and the distribution that brings it.
    name: ClassVar[str]
    package: ClassVar[str]
    #: What a returned post has done, besides what :meth:`pragmas` shows; "" if nothing is to say.
    remark: ClassVar[str] = ""

    def __init__(self, folder: Path, handler: Callable[[int], None]) -> None:
        """Open it; nothing is handled yet."""
        self.folder, self.handler = folder, handler

    @classmethod
    def version(cls) -> str:
        """Return what is installed; PackageNotFoundError where it is not."""
        return version(cls.package)

    def pragmas(self) -> tuple[str, int]:
        """Return journal mode and synchronous setting, as its own connection has them now."""
        raise NotImplementedError

    def post(self, number: int) -> None:
        """Post one; returns when the peer calls it stored."""
        raise NotImplementedError

    def start(self) -> None:
        """Have what is posted handled."""
        raise NotImplementedError

    def left(self) -> int:
        """Return how many it still has on disk that are not done."""
        raise NotImplementedError

    def close(self) -> None:
        """End its threads."""


class Timed(Peer):
    """A peer that can post for later."""

    def post_at(self, number: int, at: float) -> None:
        """Post one that is due at an instant, in seconds since 1970."""
        raise NotImplementedError


def pragmas_of(execute: Callable[[str], Any]) -> tuple[str, int]:
    """Ask a connection of the peer's for its two settings."""
    journal = execute("PRAGMA journal_mode").fetchone()[0]
    return str(journal), int(execute("PRAGMA synchronous").fetchone()[0])
