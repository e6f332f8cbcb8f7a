"""A mailbox around a window, and the store below it, as plain data: for property tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from callboard.actors.window import Page, Window
from callboard.persistence.store import Message

Fate = Literal["done", "aside", "block"]
UNKNOWN = "a kind that no code knows"


@dataclass
class Turn:
    """A message whose handler has ended; its turn is not committed yet."""

    message: Message
    fate: Fate


@dataclass
class Model:
    """What the mailbox does with its window, one step at a time.

    Arrivals, takes and commits come at any time, also while a page is being read; what the actor
    itself does (due messages, floods, unblocking) comes between two pages.
    """

    keyed: bool
    exclusive: bool
    size: int = 8
    per_key: int = 3
    rows: dict[int, Message] = field(default_factory=dict)
    in_hand: dict[int, Message] = field(default_factory=dict)
    staged: list[Turn] = field(default_factory=list)
    handed: list[Message] = field(default_factory=list)
    reading: tuple[Page, list[Message]] | None = None
    retries: set[int] = field(default_factory=set)
    upto: int = 0
    last: int = 0

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Lose all memory, as a crash does: the rows are what is left."""
        self.in_hand.clear()
        self.staged.clear()
        self.reading = None
        self.window = Window(
            keyed=self.keyed, exclusive=self.exclusive, size=self.size, per_key=self.per_key
        )

    # --- senders and the committer -----------------------------------------------------------

    def insert(self, key: str | None, priority: int, due: int | None, kind: str) -> Message:
        self.last += 1
        message = Message(1, kind, b"1", key, due, priority=priority, number=self.last)
        self.rows[self.last] = message
        return message

    def offer(self, number: int) -> None:
        message = copy(self.rows[number])
        if message.kind == UNKNOWN or (message.due is not None and message.due > self.upto):
            return
        self.window.offer_all([message], due=message.due is not None)

    def cancel(self, number: int) -> None:
        del self.rows[number]
        self.window.drop(number)

    def commit(self, *, again: bool) -> None:
        turn = self.staged.pop(0)
        message, number = turn.message, turn.message.number
        if number not in self.rows:  # cancelled while it ran: the turn is void
            self.window.settled(message)
        elif again:
            self.window.again(message)
        elif turn.fate == "done":
            del self.rows[number]
            self.window.settled(message)
        elif turn.fate == "aside":
            self.rows[number].due = self.upto + number % 3  # some are due at once
            self.window.settled(message)
            self.offer(number)
        else:
            self.retries.add(number)
            self.window.settled(message)

    # --- workers -----------------------------------------------------------------------------

    def take(self) -> Message | None:
        message = self.window.take()
        if message is None:
            return None
        number = message.number
        assert number in self.rows, f"{number} is gone from the store"
        assert number not in self.in_hand, f"{number} is in hand already"
        assert all(number != turn.message.number for turn in self.staged), f"{number} runs again"
        if self.keyed or self.exclusive:
            runs = {self.key(each) for each in self.in_hand.values()}
            assert self.key(message) not in runs, "two of a key at once"
        self.in_hand[number] = message
        self.handed.append(message)
        return message

    def finish(self, number: int, fate: Fate) -> None:
        message = self.in_hand.pop(number)
        if fate == "block":
            self.window.block(self.key(message))
        self.staged.append(Turn(message, fate))
        self.window.finished(message)

    def give_back(self, number: int) -> None:
        message = self.in_hand.pop(number)
        self.window.again(message)
        self.window.finished(message)

    # --- the actor ---------------------------------------------------------------------------

    def read(self) -> bool:
        """Ask for a page and read its rows; they are taken by :meth:`apply`."""
        page = self.window.pages()
        if page is None:
            return False
        found = [row for row in self.rows.values() if self._in_page(row, page)]
        found.sort(key=lambda row: row.due_sort if page.due else row.sort)
        self.reading = page, [copy(row) for row in found[: page.limit]]
        return True

    def apply(self) -> None:
        assert self.reading is not None
        page, rows = self.reading
        self.reading = None
        self.window.paged(
            page,
            rows,
            lambda row: row.kind != UNKNOWN,
            lambda row: 1 if row.number in self.retries else None,
        )

    @property
    def waits_for_retry(self) -> set[str | None]:
        """The keys that are blocked and whose failed turn has been committed."""
        failing = {self.key(turn.message) for turn in self.staged if turn.fate == "block"}
        return self.window.blocked - failing

    def unblock(self, name: str | None) -> None:
        """Let the time come until which a key had to wait."""
        self.retries -= {row.number for row in self.rows.values() if self.key(row) == name}
        self.window.unblock(name)

    def become_due(self, upto: int, kept_near: int) -> None:
        """Move time; the timers hold the first few that become due, the store holds the rest."""
        now_due = [row for row in self.rows.values() if self.upto < (row.due or 0) <= upto]
        now_due.sort(key=lambda row: row.due_sort)
        self.upto = max(self.upto, upto)
        if len(now_due) > kept_near:
            self.window.due_in_store()
        for row in now_due[:kept_near]:
            self.offer(row.number)

    def key(self, message: Message) -> str | None:
        return message.key if self.keyed else None

    def drain(self) -> None:
        """Do all there is to do; reads pages only when the window says that it is hungry."""
        self.read_all()
        while True:
            while self.take() is not None:
                pass
            if not (self.in_hand or self.staged or self.window.blocked or self.window.hungry):
                return
            for number in list(self.in_hand):
                self.finish(number, "done")
            while self.staged:
                self.commit(again=False)
            for name in list(self.window.blocked):
                self.unblock(name)
            self.read_all()

    def read_all(self) -> None:
        if self.reading is not None:
            self.apply()
        while self.window.hungry and self.read():
            self.apply()

    def _in_page(self, row: Message, page: Page) -> bool:
        if (row.due is not None) != page.due or (row.due is not None and row.due > self.upto):
            return False
        if page.key is not None:
            if row.key != page.key:
                return False
        elif row.key in page.skip:
            return False
        place = row.due_sort if page.due else row.sort
        return page.after is None or place > page.after


def copy(message: Message) -> Message:
    """Return what another read of the same row gives."""
    return msgspec.structs.replace(message)
