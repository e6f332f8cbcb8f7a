"""When the owner leaves the lock free for connections that cannot pass the gate."""

from __future__ import annotations

from callboard.persistence.breath import EVERY, LENGTH, OUT_OF, Breath


class Owner:
    """Commits on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []
        self.breath = Breath(self.pause, lambda: self.now)

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


def test_there_is_no_pause_before_it_is_out_of_breath() -> None:
    owner = Owner()
    owner.work(OUT_OF)
    assert owner.pauses == []


def test_a_saturated_owner_pauses_regularly() -> None:
    owner = Owner()
    owner.work(10.0)
    gaps = [b - a for a, b in zip(owner.pauses, owner.pauses[1:], strict=False)]
    assert owner.pauses[0] - 100.0 < OUT_OF + 0.02
    assert all(EVERY < gap < EVERY + LENGTH + 0.02 for gap in gaps)


def test_an_owner_that_leaves_the_lock_free_by_itself_never_pauses() -> None:
    owner = Owner()
    owner.work(10.0, gap=LENGTH + 0.001)
    assert owner.pauses == []


def test_a_pause_of_its_own_begins_anew() -> None:
    owner = Owner()
    for _ in range(5):
        owner.work(OUT_OF * 0.9)
        owner.now += 2 * LENGTH
    assert owner.pauses == []


def test_without_a_pause_nothing_is_waited_for() -> None:
    breath = Breath(None)
    breath.take()
    assert breath.ended() > 0
