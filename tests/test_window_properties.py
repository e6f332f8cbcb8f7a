"""Whatever happens to a window, and in whatever order: each row is handed out, and only once."""

from __future__ import annotations

import copy
import threading
from typing import TYPE_CHECKING, Literal

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from callboard.actors.window import Page, Window
from callboard.persistence.store import Message

if TYPE_CHECKING:
    from callboard.runtime.testing import Board

PATIENCE = 10.0
SIZE, PER_KEY = 8, 3
KEYS = st.sampled_from("abcd")
PICK = st.integers(0, 1_000)
DUES = st.integers(1, 50)
#: A message in hand: its handler runs; it is staged; it has failed and keeps its place.
Stage = Literal["runs", "staged", "failed"]


class Handling(RuleBasedStateMachine):
    """A window and the rows of its mailbox, with the freedom that the threads have.

    While a page is read (asked for, read, given), only what other threads do may happen: the
    mailbox itself, which announces due rows, unblocks and resets, is the one that reads.
    """

    keyed = True
    exclusive = False

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(keyed=self.keyed, exclusive=self.exclusive, size=SIZE, per_key=PER_KEY)
        self.rows: dict[int, Message] = {}
        self.last = 0
        self.unseen: list[int] = []  # committed, not yet offered
        self.hand: dict[int, tuple[Message, Stage]] = {}
        self.page: Page | None = None
        self.read: list[Message] | None = None
        self.extra = 0
        self.upto = 0  # the latest deadline that was ever seen, also of what was cancelled since

    # --- what is told ------------------------------------------------------------------------

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5))
    def commit(self, keys: list[str]) -> None:
        for key in keys:
            self.unseen.append(self.add(key).number)

    @rule()
    def arrive(self) -> None:
        self.offer_all()

    @rule(keys=st.lists(KEYS, min_size=1, max_size=5))
    def tell(self, keys: list[str]) -> None:
        self.commit(keys)
        self.offer_all()

    @precondition(lambda self: self.page is None)
    @rule(keys=st.lists(KEYS, min_size=1, max_size=20))
    def flood(self, keys: list[str]) -> None:
        self.offer_all()
        last = self.last
        for key in keys:
            self.add(key)
        self.window.flood((0, last))

    @precondition(lambda self: self.page is None)
    @rule(fired=st.lists(st.tuples(KEYS, DUES), min_size=1, max_size=5), in_order=st.booleans())
    def fire(self, fired: list[tuple[str, int]], in_order: bool) -> None:  # noqa: FBT001
        rows = [self.copy(self.add(key, due)) for key, due in fired]
        if in_order:
            rows.sort(key=lambda row: row.due_sort)
        self.offer(rows, due=True)

    @precondition(lambda self: self.page is None)
    @rule(keys=st.lists(KEYS, min_size=1, max_size=20))
    def fire_unseen(self, keys: list[str]) -> None:
        """They are due later than all that was: so it is when the timers were beyond memory."""
        self.upto += 1
        for key in keys:
            self.add(key, self.upto)
        self.window.due_in_store()

    # --- turns -------------------------------------------------------------------------------

    @rule(times=st.integers(1, 4))
    def take(self, times: int) -> None:
        if self.page is None and self.window.hungry:
            self.fill()
        for _ in range(times):
            self.take_one()

    @precondition(lambda self: self.those("runs"))
    @rule(pick=PICK)
    def finish(self, pick: int) -> None:
        message = self.choose(pick, "runs")
        self.window.finished(message)
        self.hand[message.number] = message, "staged"

    @precondition(lambda self: self.those("staged"))
    @rule(pick=PICK)
    def settle(self, pick: int) -> None:
        message = self.choose(pick, "staged")
        self.offer_all()  # its own arrival is told before its turn is committed
        self.settled(message)

    @precondition(lambda self: self.those("runs"))
    @rule(pick=PICK)
    def settle_then_finish(self, pick: int) -> None:
        message = self.choose(pick, "runs")
        self.offer_all()
        self.settled(message)
        self.window.finished(message)

    @precondition(lambda self: self.those("runs", "staged"))
    @rule(pick=PICK)
    def again(self, pick: int) -> None:
        message = self.choose(pick, "runs", "staged")
        _, stage = self.hand.pop(message.number)
        self.window.again(message)
        self.extra += 1
        if stage == "runs":
            self.window.finished(message)

    @precondition(lambda self: self.page is None and self.those("staged"))
    @rule(pick=PICK, due=DUES)
    def retry_in_time(self, pick: int, due: int) -> None:
        """Its turn has failed, and it has come back as a due row under its number."""
        message = self.choose(pick, "staged")
        self.offer_all()
        self.window.settled(message)
        del self.hand[message.number]
        row = self.rows.get(message.number)
        if row is not None:
            row.due = due
            self.upto = max(self.upto, due)
            self.window.offer(self.copy(row), due=True)

    @precondition(lambda self: self.those("runs"))
    @rule(pick=PICK)
    def fail_in_place(self, pick: int) -> None:
        message = self.choose(pick, "runs")
        self.window.block(self.key(message))
        self.window.finished(message)
        self.hand[message.number] = message, "failed"

    @precondition(lambda self: self.page is None and self.window.blocked)
    @rule(pick=PICK)
    def unblock(self, pick: int) -> None:
        names = sorted(self.window.blocked, key=str)
        self.go_on(names[pick % len(names)])

    @precondition(lambda self: self.rows)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self.offer_all()
        number = list(self.rows)[pick % len(self.rows)]
        del self.rows[number]
        self.window.drop(number)

    # --- pages -------------------------------------------------------------------------------

    @precondition(lambda self: self.page is None)
    @rule()
    def ask(self) -> None:
        self.page = self.window.pages()

    @precondition(lambda self: self.page is not None and self.read is None)
    @rule()
    def read_rows(self) -> None:
        assert self.page is not None
        self.read = self.serve(self.page)

    @precondition(lambda self: self.read is not None)
    @rule()
    def give(self) -> None:
        assert self.page is not None
        assert self.read is not None
        page, rows = self.page, self.read
        self.page = self.read = None
        self.window.paged(page, rows)

    @precondition(lambda self: self.page is None)
    @rule()
    def fill(self) -> None:
        while (page := self.window.pages()) is not None:
            self.window.paged(page, self.serve(page))

    @precondition(lambda self: self.page is None)
    @rule()
    def reset(self) -> None:
        self.window.reset()

    # --- what holds --------------------------------------------------------------------------

    @invariant()
    def one_at_a_time(self) -> None:
        running = [self.key(message) for message in self.those("runs")]
        if self.keyed or self.exclusive:
            assert len(running) == len(set(running))

    @invariant()
    def memory_is_bounded(self) -> None:
        if self.window.loaded <= SIZE and self.page is None:
            self.extra = 0
        assert self.window.loaded <= SIZE + PER_KEY + self.extra

    @invariant()
    def what_is_held_is_loaded_or_in_hand(self) -> None:
        assert self.hand.keys() <= self.window.held.keys()
        assert len(self.window.held) == self.window.loaded + len(self.hand)

    @invariant()
    def it_is_hungry_when_there_is_something_to_read(self) -> None:
        if self.window.loaded < SIZE and self.window._next_page() is not None:
            assert self.window.hungry

    def teardown(self) -> None:
        self.offer_all()
        if self.page is not None:
            self.window.paged(self.page, self.serve(self.page) if self.read is None else self.read)
        for message in self.those("runs"):
            self.window.finished(message)
            self.settled(message)
        for message in self.those("staged"):
            self.settled(message)
        for name in list(self.window.blocked):
            self.go_on(name)
        left, done = set(self.rows), self.drain()
        assert {message.number for message in done} == left
        for key in {self.key(message) for message in done}:
            waiting = [m.number for m in done if self.key(m) == key and m.due is None]
            assert waiting == sorted(waiting)

    # --- inside ------------------------------------------------------------------------------

    def drain(self) -> list[Message]:
        done: list[Message] = []
        while True:
            if self.window.hungry:  # only then does a mailbox look
                while (page := self.window.pages()) is not None:
                    self.window.paged(page, self.serve(page))
            message = self.take_one()
            if message is None:
                if self.window.hungry:
                    continue
                return done
            done.append(message)
            self.window.finished(message)
            self.settled(message)

    def take_one(self) -> Message | None:
        message = self.window.take()
        if message is not None:
            assert message.number in self.rows
            assert message.number not in self.hand
            assert not self.window.is_blocked(self.key(message))
            self.hand[message.number] = message, "runs"
        return message

    def add(self, key: str, due: int | None = None) -> Message:
        self.upto = max(self.upto, due or 0)
        self.last += 1
        row = Message(1, "json", b"1", key if self.keyed else None, due, number=self.last)
        self.rows[self.last] = row
        return row

    def copy(self, row: Message) -> Message:
        """Return what is read: the store shares no object with the window."""
        return msgspec.structs.replace(row)

    def offer_all(self) -> None:
        before = self.window.loaded
        self.offer([self.copy(self.rows[number]) for number in self.unseen], due=False)
        if self.page is not None:
            self.extra += self.window.loaded - before
        self.unseen.clear()

    def offer(self, messages: list[Message], *, due: bool) -> None:
        """Offer all at once, which leaves what offering one by one does."""
        twin = copy.deepcopy(self.window)
        for message in messages:
            twin.offer(message, due=due)
        self.window.offer_all(messages, due=due)
        assert seen(self.window) == seen(twin)

    def settled(self, message: Message) -> None:
        self.window.settled(message)
        self.rows.pop(message.number, None)
        del self.hand[message.number]

    def go_on(self, name: str | None) -> None:
        """Let what has failed be committed, then unblock."""
        for message in self.those("failed"):
            if self.key(message) == name:
                self.offer_all()
                self.window.settled(message)
                del self.hand[message.number]
        self.window.unblock(name)

    def serve(self, page: Page) -> list[Message]:
        """Read as the store does."""
        found = []
        for row in self.rows.values():
            place = row.due_sort if page.due else row.sort
            if (
                (row.due is not None) == page.due
                and (page.key is None or row.key == page.key)
                and row.key not in page.skip
                and (page.after is None or place > page.after)
            ):
                found.append((place, row))
        found.sort(key=lambda each: each[0])
        return [self.copy(row) for _, row in found[: page.limit]]

    def those(self, *stages: Stage) -> list[Message]:
        return [message for message, stage in self.hand.values() if stage in stages]

    def choose(self, pick: int, *stages: Stage) -> Message:
        found = self.those(*stages)
        return found[pick % len(found)]

    def key(self, message: Message) -> str | None:
        return message.key if self.keyed else None


def seen(window: Window) -> object:
    """Return all that decides on what a window does next."""
    lanes = [(lane.complete, lane.tail, lane.missed, lane.behind)
             for lane in (window.due, window.waiting)]  # fmt: skip
    keys = {name: ([m.number for m in key.due], [m.number for m in key.waiting], key.queued)
            for name, key in window._keys.items()}  # fmt: skip
    ready = [key.name for key in window._ready]
    return lanes, keys, ready, sorted(window.held), window.loaded, window.hungry


class HandlingUnkeyed(Handling):
    """Without keys: several at a time, in the order of their places."""

    keyed = False


class HandlingAlone(Handling):
    """Without keys, one at a time."""

    keyed = False
    exclusive = True


QUICK = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestKeyed = Handling.TestCase
TestKeyed.settings = QUICK
TestUnkeyed = HandlingUnkeyed.TestCase
TestUnkeyed.settings = QUICK
TestAlone = HandlingAlone.TestCase
TestAlone.settings = QUICK


def test_a_key_with_a_long_backlog_that_is_stuck_keeps_no_other_waiting(board: Board) -> None:
    stuck, go_on, cold = threading.Event(), threading.Event(), threading.Event()

    def work(number: int) -> None:
        if number < 0:
            cold.set()
            return
        stuck.set()
        assert go_on.wait(PATIENCE)

    board.rt.mailbox("jobs", work, keyed=lambda n: "cold" if n < 0 else "hot", workers=2)
    board.rt.tell_many("jobs", range(20_000))
    try:
        board.start()
        assert stuck.wait(PATIENCE)
        board.rt.tell("jobs", -1)
        assert cold.wait(PATIENCE)
        assert not go_on.is_set()
        mailbox = board.rt._host.engine.mailbox("jobs")  # type: ignore[union-attr]
        assert mailbox is not None
        assert mailbox.window.loaded <= 32
    finally:
        go_on.set()
