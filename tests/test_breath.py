"""When the owner leaves the lock free for connections that cannot pass the gate."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from callboard.errors import StoreBusy
from callboard.persistence.breath import EVERY, LENGTH, OUT_OF, RARELY, REMEMBERED, SOON, Breath
from callboard.persistence.gate import Gate
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Unit


class Owner:
    """Commits on a clock of its own."""

    def __init__(self, *, others: bool = False) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.others = others
        self.used = False
        self.apart: list[float] = []
        self.breath = Breath(self.pause, lambda: self.others, self.hold, lambda: self.now)

    def hold(self, pause: Callable[[], None], apart: float) -> bool:
        self.apart.append(apart)
        pause()
        return self.used

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
    assert owner.pauses[0] - 100.0 < OUT_OF + SOON
    assert all(EVERY < gap < 1.0 for gap in owner.gaps)
    assert set(owner.apart) == {EVERY}


def test_a_pause_that_was_used_is_followed_by_another_soon() -> None:
    owner = Owner(others=True)
    owner.used = True
    owner.work(10.0)
    assert all(SOON < gap < SOON + LENGTH + 0.02 for gap in owner.gaps)
    assert 2 * max(owner.gaps) < 1.0, "who has met another in one pause has the next"
    assert owner.apart[-1] == SOON
    owner.used = False
    owner.work(2.0)
    assert owner.apart[-1] == EVERY


def test_a_saturated_owner_that_is_alone_pauses_rarely() -> None:
    owner = Owner()
    owner.work(20.0)
    assert owner.pauses[0] - 100.0 < RARELY + SOON
    assert all(RARELY < gap < RARELY + SOON + LENGTH + 0.02 for gap in owner.gaps)
    assert max(owner.gaps) < 4.0, "a newcomer waits 5 s"


def test_a_burst_that_a_newcomer_can_wait_for_has_no_pause() -> None:
    owner = Owner()
    for _ in range(5):
        owner.work(RARELY)
        owner.now += 2 * LENGTH
    assert owner.pauses == []


def test_it_pauses_often_from_the_first_commit_of_others_on_and_for_a_while() -> None:
    owner = Owner()
    owner.work(5.0)
    owner.others = True
    owner.work(SOON + 0.01)
    owner.others = False
    begun = owner.now
    owner.work(2 * REMEMBERED)
    often = [a for a, gap in zip(owner.pauses, owner.gaps, strict=False) if gap < 2 * EVERY]
    assert begun - RARELY - EVERY < often[0] < begun + EVERY
    assert begun + REMEMBERED - 2 < often[-1] < begun + REMEMBERED


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
    breath = Breath(None, lambda: True, lambda _pause, _apart: True)
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


def test_a_pause_is_longer_than_the_sleeps_of_who_waits() -> None:
    """https://sqlite.org/src/file/src/main.c: sqliteDefaultBusyCallback sleeps 100 ms at most."""
    assert LENGTH > 0.1


def test_a_pause_keeps_every_process_of_ours_out(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "board.db")
    gate = Gate(store.companion.make(), patience=0.05)
    store.open()

    def pause() -> None:
        with pytest.raises(StoreBusy), gate:
            pass

    assert not store.breathe(pause, EVERY)
    with gate:
        pass
    gate.close()
    store.close()


def test_one_pause_serves_all_processes(tmp_path: Path) -> None:
    """Twenty clients that pause each for itself would leave no time between them."""
    one, two = SqliteStore(tmp_path / "board.db"), SqliteStore(tmp_path / "board.db")
    pauses: list[str] = []

    def pause(who: str) -> None:
        pauses.append(who)

    one.breathe(lambda: pause("one"), EVERY)
    two.breathe(lambda: pause("two"), EVERY)
    assert pauses == ["one"]
    two.breathe(lambda: pause("two"), 0.0)
    assert pauses == ["one", "two"]
    one.close()
    two.close()


def test_all_processes_know_whether_a_foreign_connection_has_used_the_pause(tmp_path: Path) -> None:
    one, two = SqliteStore(tmp_path / "board.db"), SqliteStore(tmp_path / "board.db")
    assert not one.others_wrote()
    host = sqlite3.connect(tmp_path / "board.db", isolation_level=None)
    two.pause(1, paused=True)  # ours: it does not count
    assert not one.breathe(lambda: None, 0.0)
    assert one.breathe(lambda: host.execute("CREATE TABLE mine (n)").close(), 0.0)
    assert two.breathe(lambda: pytest.fail("there was one just now"), EVERY)
    assert not two.breathe(lambda: None, 0.0)
    host.close()
    one.close()
    two.close()
