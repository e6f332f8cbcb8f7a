"""The window against a model of mailbox and store: nothing lost, nothing twice, order, bounds."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)  # fmt: skip

from callboard.persistence.store import Message

from .window_model import UNKNOWN, Fate, Model

WORKERS, STAGED = 4, 6
KEYS = st.sampled_from(["a", "b", "c", "d", None])
FATES: st.SearchStrategy[Fate] = st.sampled_from(["done", "done", "aside", "block"])


class WindowMachine(RuleBasedStateMachine):
    """Small sizes, so that most of what is told spills into the store."""

    model: Model

    @initialize(kind=st.sampled_from(["keyed", "exclusive", "plain"]), backlog=st.integers(0, 30))
    def start(self, kind: str, backlog: int) -> None:
        self.model = Model(keyed=kind == "keyed", exclusive=kind == "exclusive")
        for number in range(backlog):
            self.model.insert("abcd"[number % 4], 0, None, "json")

    # --- at any time -------------------------------------------------------------------------

    @rule(key=KEYS, priority=st.sampled_from([0, 0, 0, 5]), count=st.integers(1, 12))
    def tell(self, key: str | None, priority: int, count: int) -> None:
        for _ in range(count):
            self.model.offer(self.model.insert(key, priority, None, "json").number)

    @rule(key=KEYS, after=st.integers(1, 30))
    def tell_later(self, key: str | None, after: int) -> None:
        self.model.insert(key, 0, self.model.upto + after, "json")

    @rule(key=KEYS)
    def tell_what_no_code_knows(self, key: str | None) -> None:
        self.model.offer(self.model.insert(key, 0, None, UNKNOWN).number)

    @precondition(lambda self: len(self.model.in_hand) < WORKERS)
    @rule()
    def take(self) -> None:
        before = self._runnable()
        message = self.model.take()
        if message is not None and message.due is None:
            same = [n for n in before if self._kin(self.model.rows[n], message)]
            assert message.number == min(same), "it has overtaken another of its key"

    @precondition(lambda self: self.model.in_hand and len(self.model.staged) < STAGED)
    @rule(data=st.data(), fate=FATES)
    def finish(self, data: st.DataObject, fate: Fate) -> None:
        self.model.finish(data.draw(st.sampled_from(sorted(self.model.in_hand))), fate)

    @precondition(lambda self: self.model.in_hand)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        self.model.give_back(data.draw(st.sampled_from(sorted(self.model.in_hand))))

    @precondition(lambda self: self.model.staged)
    @rule(again=st.sampled_from([False, False, False, True]))
    def commit(self, again: bool) -> None:  # noqa: FBT001  (drawn)
        self.model.commit(again=again)

    @precondition(lambda self: self.model.rows)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.model.cancel(data.draw(st.sampled_from(sorted(self.model.rows))))

    # --- by the actor, between two pages ------------------------------------------------------

    @precondition(lambda self: self.model.reading is None and self.model.window.hungry)
    @rule()
    def ask_for_a_page(self) -> None:
        self.model.read()

    @precondition(lambda self: self.model.reading is not None)
    @rule()
    def take_the_page(self) -> None:
        self.model.apply()

    @precondition(lambda self: self.model.reading is None)
    @rule()
    def read_all(self) -> None:
        self.model.read_all()

    @precondition(lambda self: self.model.reading is None)
    @rule(by=st.integers(0, 40), near=st.integers(0, 10))
    def time_passes(self, by: int, near: int) -> None:
        self.model.become_due(self.model.upto + by, near)

    @precondition(lambda self: self.model.reading is None)
    @rule(key=KEYS, before=st.integers(0, 30), count=st.integers(1, 12))
    def tell_overdue(self, key: str | None, before: int, count: int) -> None:
        due = self.model.upto - before
        for _ in range(count):
            self.model.offer(self.model.insert(key, 0, due, "json").number)

    @rule()
    def read_the_due_again(self) -> None:
        self.model.window.due_in_store()

    @precondition(lambda self: self.model.reading is None)
    @rule(keys=st.lists(KEYS, max_size=20))
    def flood(self, keys: list[str | None]) -> None:
        seen = self.model.last
        for key in keys:
            self.model.insert(key, 0, None, "json")
        self.model.window.flood((0, seen))

    @precondition(lambda self: self.model.reading is None and self.model.waits_for_retry)
    @rule(data=st.data())
    def unblock(self, data: st.DataObject) -> None:
        names = sorted(self.model.waits_for_retry, key=str)
        self.model.unblock(data.draw(st.sampled_from(names)))

    @precondition(lambda self: self.model.in_hand)
    @rule()
    def crash(self) -> None:
        self.model.restart()

    @precondition(lambda self: self.model.reading is None)
    @rule()
    def reset(self) -> None:
        self.model.window.reset()

    # --- what holds ---------------------------------------------------------------------------

    @invariant()
    def memory_is_bounded(self) -> None:
        window = self.model.window
        given_back = WORKERS + STAGED
        assert window.loaded <= window.size + window.per_key + given_back
        assert len(window.held) <= window.loaded + given_back
        loaded = [len(k.due) + len(k.waiting) for k in window._keys.values()]
        assert window.loaded == sum(loaded)
        if self.model.keyed:
            of_one_key = [
                len(k.due) + len(k.waiting) for n, k in window._keys.items() if n is not None
            ]
            assert max(of_one_key, default=0) <= 2 * (2 * window.per_key - 1) + given_back

    @invariant()
    def it_is_hungry_when_it_would_read(self) -> None:
        window = self.model.window
        if self.model.reading is None and not window.hungry and window.loaded < window.size:
            assert window._next_page() is None

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        model.drain()
        left = [row for row in model.rows.values() if row.kind != UNKNOWN]
        assert not [row for row in left if row.due is None or row.due <= model.upto], "lost"
        model.become_due(model.upto + 1000, 3)
        model.drain()
        assert all(row.kind == UNKNOWN for row in model.rows.values()), "lost"
        assert (model.window.loaded, model.window.held) == (0, {})

    def _runnable(self) -> list[int]:
        """Return the waiting rows that no worker has."""
        model = self.model
        busy = {*model.in_hand, *(turn.message.number for turn in model.staged)}
        return [n for n, row in model.rows.items()
                if n not in busy and row.due is None and row.kind != UNKNOWN]  # fmt: skip

    def _kin(self, row: Message, message: Message) -> bool:
        return self.model.key(row) == self.model.key(message) and row.priority == message.priority


TestWindow = WindowMachine.TestCase
TestWindow.settings = settings(max_examples=150, stateful_step_count=60, deadline=None)
