"""A committer on a bench: its store, its hooks, and senders on threads of their own."""

from __future__ import annotations

import threading
from typing import Any

from callboard.persistence.committer import Committer, ThreadWaiter

from .fake_store import PATIENCE, Act, FakeStore, Job, Told, as_store, slow


class Bench:
    """A committer with its store and hooks, and senders on threads of their own."""

    def __init__(self) -> None:
        self.store, self.told = FakeStore(), Told()
        self.queued = threading.Semaphore(0)
        self.errors: dict[object, BaseException | None] = {}
        self._threads: list[threading.Thread] = []
        self.committer = self.make()

    def make(self, **options: Any) -> Committer:
        self.committer = Committer(
            as_store(self.store), self.told, **({"waiter": self.waiter} | options)
        )
        return self.committer

    def waiter(self) -> ThreadWaiter:
        self.queued.release()  # called under the lock: the unit is in the queue
        return ThreadWaiter()

    def send(self, unit: Job) -> None:
        """Commit it on a thread; what that raised is in ``errors``."""

        def run() -> None:
            try:
                self.committer.commit(unit)
            except BaseException as error:  # noqa: BLE001  (all that a sender may see)
                self.errors[unit.label] = error
            else:
                self.errors[unit.label] = None

        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()

    def send_behind(self, *units: Job) -> None:
        """Send them one by one while somebody leads: each is queued when this returns."""
        for unit in units:
            self.send(unit)
            assert self.queued.acquire(timeout=PATIENCE)

    def busy(self, then: Act | None = None) -> threading.Event:
        """Send one that stays inside the store; returns the event that lets it go on."""
        inside, go, act = slow(then) if then is not None else slow()
        self.store.script.append(act)
        self.send(Job("first"))
        assert inside.wait(PATIENCE)
        return go

    def join(self) -> None:
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a sender waits for ever"

    def done(self) -> None:
        """Wait for all of it."""
        self.join()
        assert self.committer.flush(PATIENCE)
