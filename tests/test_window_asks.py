"""What is parked in a window (asks: not in the store) keeps its place, whatever happens to it."""

from __future__ import annotations

import random

import pytest

from callboard.actors.asks import Asked
from callboard.actors.window import Page, Window
from callboard.persistence.store import Message


class Play:
    """A window over a small store, played at random; each hand-out is checked."""

    def __init__(self, seed: int, *, keyed: bool) -> None:
        self.random = random.Random(seed)
        self.keyed = keyed
        self.window = Window(keyed=keyed, exclusive=True, size=8, per_key=3)
        self.rows: dict[int, Message] = {}
        self.asks: dict[int, Asked] = {}
        self.running: list[Message] = []
        self.pages: list[tuple[Page, list[Message]]] = []
        self.last = 0
        self.answered = 0

    def key(self) -> str | None:
        return self.random.choice("abcdefghij") if self.keyed else None

    # --- what may happen ---------------------------------------------------------------------

    def tell(self) -> None:
        self.last += 1
        message = Message(1, "json", b"", self.key(), number=self.last)
        self.rows[self.last] = message
        self.window.offer(message, due=False)

    def ask(self) -> None:
        number = -len(self.asks) - self.answered - 1000 * self.random.randrange(1, 10**6)
        ask = Asked(1, "json", b"", self.key(), number=number, after=self.last)
        self.asks[number] = ask
        self.window.park(ask)

    def withdraw(self) -> None:
        idle = [ask for ask in self.asks.values() if ask not in self.running]
        if idle:
            ask = self.random.choice(idle)
            del self.asks[ask.number]
            self.window.withdraw(ask)

    def read(self) -> None:
        if not self.pages and self.window.hungry and (page := self.window.pages()) is not None:
            rows = [
                row for number, row in sorted(self.rows.items())
                if not page.due and (page.after is None or row.sort > page.after)
                and (row.key == page.key if page.key is not None else row.key not in page.skip)
            ]  # fmt: skip
            self.pages.append((page, rows[: page.limit]))

    def paged(self) -> None:
        if self.pages:
            self.window.paged(*self.pages.pop())

    def take(self) -> None:
        message = self.window.take()
        if message is None:
            return
        assert all(other.key != message.key for other in self.running)
        mine = message.key
        if message.number > 0:
            overtaken = [
                a for a in self.asks.values() if a.key == mine and a.after < message.number
            ]
            assert not [a for a in overtaken if a.number not in self.held]
        else:
            assert message.number in self.asks
            assert not [n for n, r in self.rows.items() if r.key == mine and n <= message.sort[1]]
        self.running.append(message)

    @property
    def held(self) -> set[int]:
        return {message.number for message in self.running}

    def end(self) -> None:
        """Let a turn end: well, or again, or with a failure that blocks its key."""
        if not self.running:
            return
        message = self.running.pop(self.random.randrange(len(self.running)))
        how = self.random.choice(["well", "well", "again", "block"])
        if how == "well":
            if message.number > 0:
                del self.rows[message.number]
            else:
                del self.asks[message.number]
                self.answered += 1
            self.window.settled(message)
        elif how == "again":
            self.window.again(message)
        elif message.number > 0:
            self.window.block(message.key)
            self.window.settled(message)
        else:
            self.window.block(message.key)
            self.window.again(message)
        self.window.finished(message)

    def unblock(self) -> None:
        if self.pages:  # the mailbox does both, one after the other
            return
        for name in list(self.window.blocked):
            self.window.unblock(name)

    def reset(self) -> None:
        if not self.pages and self.random.random() < 0.2:
            self.window.reset()

    def play(self, steps: int) -> None:
        acts = [self.tell, self.tell, self.ask, self.take, self.take, self.end, self.end, self.read,
                self.paged, self.unblock, self.withdraw, self.reset]  # fmt: skip
        for _ in range(steps):
            self.random.choice(acts)()

    def drain(self) -> None:
        for _ in range(20 * (self.last + len(self.asks)) + 100):
            for act in (self.unblock, self.read, self.paged, self.take, self.end):
                act()


@pytest.mark.parametrize("keyed", [True, False])
def test_an_ask_runs_once_in_its_place_and_is_never_lost(keyed: bool) -> None:  # noqa: FBT001  (pytest's)
    answered = 0
    for seed in range(60):
        play = Play(seed, keyed=keyed)
        play.play(400)
        play.drain()
        assert (play.rows, play.asks, play.running) == ({}, {}, [])
        assert (play.window.held, play.window.loaded, play.window._parked) == ({}, 0, {})
        answered += play.answered
    assert answered > 60
