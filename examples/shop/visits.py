"""Visits: a campaign brings 50,000 in a moment; they wait on disk and are counted in order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from callboard import Runtime, WorkerActor, message


@message("shop.visit")
@dataclass(frozen=True)
class Visit:
    item: str


@message("shop.visits")
@dataclass
class Count:
    total: int = 0


class Visits(WorkerActor):
    """One actor for each item; its state is stored in the transaction that ends its messages."""

    state: Count

    def on_receive(self, visit: Visit) -> None:
        self.state.total += 1


class Counter:
    def __init__(self, rt: Runtime) -> None:
        self._rt = rt
        # They wait on disk; the rate leaves room for who orders meanwhile.
        rt.mailbox("visits", Visits, keyed=lambda visit: visit.item, rate="5000/s")

    def add(self, items: Iterable[str]) -> None:
        self._rt.tell_many(Visits, [Visit(item) for item in items])

    def total(self, item: str) -> int:
        count: Count = self._rt.state(Visits, item)
        return count.total
