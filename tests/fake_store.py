"""A store in memory that refuses, fails and dawdles as a test says, and hooks that take note."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import msgspec

from callboard.errors import StoreError, StoreFull, StoreOwned
from callboard.persistence.store import Lineage, Outcome, Store, Unit, Written

PATIENCE = 20.0
#: What one call of ``write`` does: returns, or raises after so many units were written.
Act = Callable[["FakeStore", Sequence[Unit]], Written]


class Job(Unit):
    """A unit with a label, which may be bound to fail or to be void."""

    label: object
    result: Outcome = Outcome.COMMITTED
    settled: list[Outcome | None] = msgspec.field(default_factory=list)

    def __post_init__(self) -> None:
        self.generation = self.lineage.generation if self.lineage is not None else 0
        self.settle = self.note

    def note(self, unit: Unit) -> None:
        """Be settled; as the runtime does, a turn that did not commit breaks its lineage."""
        self.settled.append(unit.outcome)
        if self.lineage is not None and unit.outcome in (Outcome.VOID, Outcome.FAILED):
            self.lineage.generation += 1


class FakeStore:
    """Writes units to a list; ``script`` says what the next calls do, after it all is well."""

    def __init__(self, *script: Act) -> None:
        self.script = deque(script)
        self.log: list[object] = []
        self.groups: list[list[object]] = []
        self.asked: list[tuple[int | None, int | None]] = []
        self.last = 0
        self.one_at_a_time = threading.Lock()

    def write(self, units: Sequence[Unit], *, epoch: int | None, seen: int | None) -> Written:
        assert self.one_at_a_time.acquire(blocking=False), "two leaders at once"
        try:
            self.asked.append((epoch, seen))
            self.groups.append([getattr(unit, "label", None) for unit in units])
            act = self.script.popleft() if self.script else well
            return act(self, units)
        finally:
            self.one_at_a_time.release()

    def others_wrote(self) -> bool:
        return False

    def breathe(self, pause: Callable[[], None], apart: float) -> bool:
        pause()
        return False

    def put(self, units: Sequence[Unit]) -> Written:
        """Write them, each with the outcome that it is bound to have."""
        broken: set[Lineage] = set()
        for unit in units:
            self.last += 1
            unit.outcome = unit.result if isinstance(unit, Job) else Outcome.COMMITTED
            if unit.lineage in broken:
                unit.outcome = Outcome.AGAIN
            if unit.outcome is Outcome.FAILED:
                unit.error = ValueError(getattr(unit, "label", None))
            if unit.outcome is not Outcome.COMMITTED and unit.lineage is not None:
                broken.add(unit.lineage)
            if isinstance(unit, Job):
                self.log.append(unit.label)
        return Written(self.last, [])


def well(store: FakeStore, units: Sequence[Unit]) -> Written:
    return store.put(units)


def full(_store: FakeStore, _units: Sequence[Unit]) -> Written:
    raise StoreFull("no room")


def owned(_store: FakeStore, _units: Sequence[Unit]) -> Written:
    raise StoreOwned("another owner")


def odd(_store: FakeStore, _units: Sequence[Unit]) -> Written:
    raise ZeroDivisionError


def half(count: int, error: type[BaseException] = StoreFull) -> Act:
    """Write so many units, then raise, saying what was written."""

    def act(store: FakeStore, units: Sequence[Unit]) -> Written:
        raised = error("interrupted")
        raised.__dict__["written"] = store.put(units[:count]) if count else None
        raise raised

    return act


def slow(then: Act = well) -> tuple[threading.Event, threading.Event, Act]:
    """Return two events, "inside" and "go on", and what waits between them."""
    inside, go = threading.Event(), threading.Event()

    def act(store: FakeStore, units: Sequence[Unit]) -> Written:
        inside.set()
        assert go.wait(PATIENCE)
        return then(store, units)

    return inside, go, act


class Told:
    """The hooks: notes what it is told, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.groups: list[list[object]] = []
        self.last: list[int] = []
        self.changed = threading.Condition()

    def _note(self, word: str) -> None:
        with self.changed:
            self.said.append(word)
            self.changed.notify_all()

    def wait_for(self, word: str, count: int = 1) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.said.count(word) >= count, PATIENCE), word

    def committed(self, units: Sequence[Unit], written: Written) -> None:
        self.groups.append([unit.label for unit in units if isinstance(unit, Job)])
        self.last.append(written.last)
        self._note("committed")

    def after(self) -> None:
        self._note("after")

    def room(self) -> None:
        self._note("room")

    def refused(self, error: StoreError) -> None:
        self._note("refused")

    def recovered(self, after: float) -> None:
        assert after >= 0
        self._note("recovered")

    def lost(self, error: StoreError) -> None:
        self._note("lost")


def as_store(store: FakeStore) -> Store:
    """Say to the type checker that writing is all the committer needs."""
    return cast("Store", store)
