"""Changes to what waits and what is dead, as people ask for them: by owner, client and offline.

What waits is changed through the same units as a cancel, so an owner drops from memory what is gone
and a turn that runs for it is void.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import msgspec

from ..actors.turn import current
from ..clock import duration
from ..errors import CallboardError, MessageError, StoreOwned
from ..persistence import sqlite_past
from ..persistence.byline import signing
from ..persistence.store import Audit, Cancel, Move, Note, Outcome, Unit
from .by_hand import ByHand
from .names import check_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ..persistence.store import Message, Op
    from .sender import Delay

# So many are changed in one transaction: nobody else waits long for the write lock.
_PAGE = 500


class Acting(ByHand):
    """Moves timers, empties mailboxes, notes who has changed what."""

    def reschedule(self, number: int, after: Delay, at: datetime | None) -> int:
        """See Runtime.reschedule."""
        self._outside("reschedule")
        check_target(number)
        due = self._sender.due(after, at)
        if due is None:
            msg = "reschedule takes after= or at=: when is it to be due?"
            raise MessageError(msg)
        return self._move(number, due)

    def fire(self, number: int) -> int:
        """See Runtime.fire."""
        self._outside("fire")
        check_target(number)
        return self._move(number, self._clock.now())

    def purge(self, mailbox: Any, older: Delay, progress: Callable[[int], None] | None) -> int:
        """See Runtime.purge."""
        self._outside("purge")
        row = self._looking.row(mailbox)
        gone = 0
        for numbers in self._older(row.id, older):
            ops: list[Op] = [Cancel(row.id, number) for number in numbers]
            unit = Unit(ops=[*ops, *self._tell_owner(row.name, numbers)])
            self._host.committer.commit(unit)
            gone += sum(unit.results)
            if progress is not None:
                progress(gone)
        return gone

    def purgeable(self, mailbox: Any, older: Delay) -> int:
        """See Runtime.purgeable."""
        now = self._clock.now()
        row = self._looking.row(mailbox)
        return sqlite_past.how_many_old(self._store.query, row.id, _before(now, older), now)

    def vacuum(self) -> int:
        """See Runtime.vacuum."""
        if self._host.owned():
            msg = (
                f"{self._store.path} is owned by process {self._host.owner()}, which would stand "
                "still meanwhile: stop it first"
            )
            raise StoreOwned(msg)
        self._store.open()
        before = self._store.path.stat().st_size
        self._store.vacuum()
        return before - self._store.path.stat().st_size

    def audit(self, command: str, who: str | None) -> None:
        """See Runtime.audit."""
        self._host.committer.commit(Unit(ops=[self._note(command, who)]))

    @contextlib.contextmanager
    def signing(self, command: str, who: str | None) -> Iterator[None]:
        """See Runtime.signing."""
        with signing(self._note(command, who)) as byline:
            yield
        if not byline.taken:
            self._host.committer.commit(Unit(ops=[byline.audit]))

    # --- inside ------------------------------------------------------------------------------

    def _note(self, command: str, who: str | None) -> Audit:
        import getpass

        said = f"{getpass.getuser()} ({os.getpid()})" if who is None else who
        return Audit(self._clock.now(), said, command)

    def _move(self, number: int, due: int) -> int:
        found = self._store.find(None, number)
        if found is None or found.due is None:
            what = f"no message {number} waits" if found is None else (
                f"message {number} waits already, it is no future call and no retry"
            )  # fmt: skip
            msg = f"{what}: rt.timers() lists those"
            raise LookupError(msg)
        name = next(row.name for row in self._store.mailboxes() if row.id == found.mailbox)
        told = self._tell_owner(name, [number])
        unit = Unit(ops=[Move(number, _moved(found, due)), *told])
        self._host.committer.commit(unit)
        if unit.outcome is not Outcome.COMMITTED:
            msg = f"message {number} was handled, cancelled or replaced just now"
            raise LookupError(msg)
        return int(unit.results[0])

    def _tell_owner(self, mailbox: str, numbers: list[int]) -> list[Op]:
        """Have the owner in another process forget what it may hold in memory.

        It would find out when a turn commits, which is void then, but only after its handler ran.
        """
        if self._host.engine is not None:
            return []
        return [Note(msgspec.json.encode({"actor": mailbox, "gone": numbers}).decode())]

    def _older(self, mailbox: int, older: Delay) -> Iterator[list[int]]:
        """Page through what waits and was told so long ago."""
        now, after = self._clock.now(), 0
        before = _before(now, older)
        while numbers := sqlite_past.old(self._store.query, mailbox, before, now, after, _PAGE):
            yield numbers
            after = numbers[-1]

    def _outside(self, verb: str) -> None:
        if current(self._home) is not None:
            msg = f"{verb}() inside a handler: it does not join a turn; do it from outside"
            raise CallboardError(msg)


def _before(now: int, older: Delay) -> int:
    try:
        return now - duration(older)
    except ValueError as error:
        msg = f"older= is not understood: {error}"
        raise MessageError(msg) from error


def _moved(message: Message, due: int) -> Message:
    """Return the message as it is due at another instant; its time to live moves with it."""
    expires = message.expires_at
    if expires is not None:
        expires += due - (message.due or 0)
    return msgspec.structs.replace(
        message, due=due, expires_at=expires, number=0, value=None, gone=False
    )
