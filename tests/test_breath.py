"""When the owner leaves the lock free for connections that cannot pass the gate."""

from __future__ import annotations

from pathlib import Path

from callboard.persistence.breath import EVERY, LENGTH, OUT_OF, RARELY, REMEMBERED, Breath
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Unit


class Owner:
    """Commits on a clock of its own."""

    def __init__(self, *, others: bool = False) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.others = others
        self.breath = Breath(self.pause, lambda: self.others, lambda: self.now)

    def pause(self, seconds: float) -> None:
        assert seconds == LENGTH
        self.pauses.append(self.now)
        self.now += seconds

    def work(self, seconds: float, gap: float = 0.0001) -> None:
        """Commit back to back, 5 ms each, for so long."""
        until = self.now + seconds
        while self.now < until:
            self.breath.take()
            self.now += 0.005
            self.breath.ended()
            self.now += gap

    @property
    def gaps(self) -> list[float]:
        return [b - a for a, b in zip(self.pauses, self.pauses[1:], strict=False)]


def test_there_is_no_pause_before_it_is_out_of_breath() -> None:
    owner = Owner(others=True)
    owner.work(OUT_OF)
    assert owner.pauses == []


def test_a_saturated_owner_beside_others_pauses_often() -> None:
    owner = Owner(others=True)
    owner.work(10.0)
    assert owner.pauses[0] - 100.0 < OUT_OF + EVERY
    assert all(EVERY < gap < EVERY + LENGTH + 0.02 for gap in owner.gaps)


def test_a_saturated_owner_that_is_alone_pauses_rarely() -> None:
    owner = Owner()
    owner.work(20.0)
    assert owner.pauses[0] - 100.0 < OUT_OF + EVERY
    assert all(RARELY < gap < RARELY + EVERY + LENGTH for gap in owner.gaps)


def test_it_pauses_often_from_the_first_commit_of_others_on_and_for_a_while() -> None:
    owner = Owner()
    owner.work(5.0)
    owner.others = True
    owner.work(EVERY)
    owner.others = False
    begun = owner.now
    owner.work(2 * REMEMBERED)
    often = [a for a, gap in zip(owner.pauses, owner.gaps, strict=False) if gap < 2 * EVERY]
    assert begun - RARELY - EVERY < often[0] < begun + EVERY
    assert begun + REMEMBERED - 1 < often[-1] < begun + REMEMBERED + 1


def test_an_owner_that_leaves_the_lock_free_by_itself_never_pauses() -> None:
    for gap in (LENGTH + 0.001, 0.005):
        owner = Owner(others=True)
        owner.work(10.0, gap=gap)
        assert owner.pauses == []


def test_a_pause_of_its_own_begins_anew() -> None:
    owner = Owner(others=True)
    for _ in range(5):
        owner.work(OUT_OF * 0.9)
        owner.now += 2 * LENGTH
    assert owner.pauses == []


def test_without_a_pause_nothing_is_waited_for() -> None:
    breath = Breath(None, lambda: True)
    breath.take()
    assert breath.ended() > 0


def test_the_store_tells_its_own_commits_from_those_of_others(tmp_path: Path) -> None:
    store, other = SqliteStore(tmp_path / "board.db"), SqliteStore(tmp_path / "board.db")
    assert not store.others_wrote()
    store.write([Unit()], epoch=None, seen=None)
    store.pause(1, paused=True)
    assert not store.others_wrote()
    other.pause(1, paused=False)
    assert store.others_wrote()
    assert not store.others_wrote()
    store.close()
    other.close()
