"""What a fork does to open stores: they are quiet while it happens, and closed in the child.

SQLite keeps one record of its POSIX locks for each file of a process. A forked child inherits the
record but not the locks: a connection that it opened beside the inherited ones would take no lock
at all, and what it commits would be lost when the parent closes (tried: the parent removed the
write-ahead log under the child's feet). So the child closes what it inherited, and that is safe
only when none of our threads was inside SQLite as it was forked (sqlite.org/howtocorrupt.html,
2.6): each store is held first. Connections of the host's own are not ours to close.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forking(Protocol):
    """A store that can be forked."""

    def hold(self) -> None:
        """Keep every thread out of SQLite, until :meth:`let_go` or :meth:`forked`."""
        ...

    def let_go(self) -> None:
        """Go on, in the parent."""
        ...

    def forked(self) -> None:
        """Start afresh, in the child."""
        ...


_stores: weakref.WeakSet[Forking] = weakref.WeakSet()
_held: list[Forking] = []
_lock = threading.Lock()


def register(store: Forking) -> None:
    """Look after a store for as long as it lives."""
    with _lock:
        _stores.add(store)


def _before() -> None:
    with _lock:
        stores = list(_stores)
    for store in stores:
        store.hold()
        _held.append(store)


def _in_parent() -> None:
    while _held:
        _held.pop().let_go()


def _in_child() -> None:
    while _held:
        _held.pop().forked()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
