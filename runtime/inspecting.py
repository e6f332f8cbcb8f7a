"""One actor in full: what waits for it, what it runs, whether it is well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import MessageError
from ..persistence import sqlite_past
from .names import check_key
from .records import ActorDetail, ActorInfo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..clock import Clock
    from ..persistence.sqlite import SqliteStore
    from .looking import Looking


class Inspecting:
    """Puts together what the store and the living tree say of one actor.

    Args:
        store: what waits, and what state is stored.
        looking: finds mailboxes.
        tree: shows the supervision tree.
        clock: says what is due.

    """

    def __init__(
        self, store: SqliteStore, looking: Looking, tree: Callable[[], ActorInfo], clock: Clock
    ) -> None:
        """Look at nothing yet."""
        self._store = store
        self._looking = looking
        self._tree = tree
        self._clock = clock

    def actor(self, mailbox: Any, key: str | int | None) -> ActorDetail:
        """See Runtime.actor."""
        check_key(key)
        row = self._looking.row(mailbox)
        name = None if key is None else str(key)
        if name is not None and not row.declaration.keyed:
            msg = f"mailbox {row.name!r} is not keyed: name it without a key"
            raise MessageError(msg)
        depth = sqlite_past.depth(self._store.query, row.id, name, self._clock.now())
        whole = row.declaration.keyed and name is None
        stored = None if whole else self._store.state(row.id, name or "")
        box = next((each for each in _all(self._tree()) if _is(each, row.name)), None)
        box = box or ActorInfo(row.name, "mailbox", "paused" if row.paused else "declared")
        own = box if name is None else _below(box, name)
        busy = [each for each in box.children
                if each.message is not None and (name is None or each.key == name)]  # fmt: skip
        held = depth.waiting + depth.later + depth.dead
        if own is None and stored is None and not busy and not held:
            msg = f"nothing is known of {name!r} of {row.name!r}: no state, no message, no failure"
            raise LookupError(msg)
        # A mailbox that does not run has no actor that does.
        ill = own if own is not None and box.state == "running" else box
        return ActorDetail(
            row.name, name, ill.state, depth.waiting, depth.later, depth.dead,
            restarts=0 if own is None else own.restarts,
            runs=tuple(each.message for each in busy if each.message is not None),
            since=min((each.since for each in busy if each.since is not None), default=None),
            until=ill.until, error=ill.error, kind=None if stored is None else stored.kind,
            bytes=None if stored is None else len(stored.body),
        )  # fmt: skip


def _below(box: ActorInfo, key: str) -> ActorInfo | None:
    """Return the actor of a key that has crashed lately; None: it is well."""
    return next((a for a in box.children if a.kind == "actor" and a.name == key), None)


def _is(actor: ActorInfo, mailbox: str) -> bool:
    return actor.kind == "mailbox" and actor.name == mailbox


def _all(actor: ActorInfo) -> Iterator[ActorInfo]:
    yield actor
    for each in actor.children:
        yield from _all(each)
