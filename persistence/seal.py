"""A seal on writing: who carries it writes to no store, and everybody else goes on.

It is of one context: what is called there, the tasks that begin there, and what
:func:`asyncio.to_thread` runs for it. A thread started by hand begins with an empty context, so a
process that is there for a rehearsal alone is sealed as a whole.
"""

from __future__ import annotations

import contextlib
from contextvars import ContextVar
from typing import TYPE_CHECKING

from ..errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_sealed: ContextVar[bool] = ContextVar("callboard_sealed", default=False)
_everywhere = False


@contextlib.contextmanager
def sealed() -> Iterator[None]:
    """Seal the present context, and whatever is copied from it within the block, for good."""
    token = _sealed.set(True)
    try:
        yield
    finally:
        _sealed.reset(token)


@contextlib.contextmanager
def sealed_everywhere() -> Iterator[None]:
    """Seal the whole process until the block ends. For a process of our own."""
    global _everywhere  # noqa: PLW0603  (there is one process)
    _everywhere = True
    try:
        yield
    finally:
        _everywhere = False


def is_sealed() -> bool:
    """Say whether the caller may not write."""
    return _everywhere or _sealed.get()


def check() -> None:
    """Refuse the caller's write.

    Raises:
        StoreError: the caller carries a seal.

    """
    if _everywhere or _sealed.get():
        raise StoreError(
            "a simulated turn writes nothing: what does not join the turn (an ask, a pause, a "
            "mailbox that the store does not know yet) cannot be simulated"
        )
