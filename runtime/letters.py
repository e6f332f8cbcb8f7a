"""Dead letters as people deal with them: sent again or deleted, one or all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..persistence import sqlite_past
from .by_hand import ByHand
from .names import check_target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..persistence.store import Message

    Progress = Callable[[list[tuple[int, int]]], None]

#: So many are changed in one transaction: nobody else waits long for the write lock.
PAGE = 1000


class Letters(ByHand):
    """Sends dead letters again, and deletes them."""

    def requeue(self, number: int, edited: Any) -> int:
        """See Runtime.requeue."""
        check_target(number)
        told = self._again([number], edited)
        if not told:
            raise _none(number)
        return told[0][1]

    def discard(self, number: int) -> bool:
        """See Runtime.discard."""
        check_target(number)
        return bool(self._delete([number]))

    def requeue_all(self, mailbox: Any, edited: Any, progress: Progress | None) -> int:
        """See Runtime.requeue_all."""
        count = 0
        for numbers in self._pages(mailbox):
            told = self._again(numbers, edited)
            count += len(told)
            if progress is not None:
                progress(told)
        return count

    def discard_all(self, mailbox: Any, progress: Callable[[int], None] | None) -> int:
        """See Runtime.discard_all."""
        count = 0
        for numbers in self._pages(mailbox):
            count += len(self._delete(numbers))
            if progress is not None:
                progress(count)
        return count

    # --- inside ------------------------------------------------------------------------------

    def _pages(self, mailbox: Any) -> Iterator[list[int]]:
        """Page through the dead letters of now: one sent again may die again meanwhile."""
        wanted = None if mailbox is None else self._looking.row(mailbox).id
        until, after = self._store.heartbeat()[0], 0
        while numbers := sqlite_past.dead(self._store.query, wanted, after, until, PAGE):
            yield numbers
            after = numbers[-1]

    def _again(self, numbers: list[int], edited: Any) -> list[tuple[int, int]]:
        """Send letters again in one transaction; returns (number of then, number of now)."""
        instead = {} if edited is ... else {each: self._edited(each, edited) for each in numbers}
        told = self._store.requeue_many(numbers, self._clock.now(), instead)
        if told and self._events.on:
            names = self._names()
            for was, message in told:
                self._events.emit("message.requeued", mailbox=names.get(message.mailbox, "?"),
                                  id=message.number, was=was)  # fmt: skip
        if told:
            self._host.look_again()
        return [(was, message.number) for was, message in told]

    def _delete(self, numbers: list[int]) -> list[int]:
        found = {}
        if self._events.on:
            names, rows = self._names(), map(self._store.dead_letter, numbers)
            found = {row.number: names.get(row.mailbox, "?") for row in rows if row is not None}
        gone = self._store.discard_many(numbers)
        for number in gone if self._events.on else ():
            self._events.emit("message.discarded", mailbox=found.get(number, "?"), id=number)
        return gone

    def _edited(self, number: int, value: Any) -> Message:
        """Return the message that a dead letter is to be instead, checked as when it is told."""
        row = self._store.dead_letter(number)
        if row is None:
            raise _none(number)
        return self._sender.message(self._names()[row.mailbox], value, row.key)

    def _names(self) -> dict[int, str]:
        return {row.id: row.name for row in self._store.mailboxes()}


def _none(number: int) -> LookupError:
    return LookupError(f"no dead letter {number}: rt.dead() lists them")
