"""A lock that nobody stands in line for."""

from __future__ import annotations

import resource
import threading
from typing import TYPE_CHECKING

import pytest

from callboard import Runtime
from callboard.persistence import courtesy

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE, LAST = 30.0, 29_999


def test_a_lock_is_taken_as_soon_as_it_is_free() -> None:
    lock, took = threading.Lock(), threading.Event()

    def take() -> None:
        courtesy.take(lock)
        took.set()

    with lock:
        thread = threading.Thread(target=take)
        thread.start()
        assert not took.is_set()
    assert took.wait(PATIENCE)
    thread.join()
    assert lock.locked()


@pytest.mark.slow
def test_many_workers_with_little_to_do_do_not_wake_each_other(tmp_path: Path) -> None:
    """In a convoy each message costs two context switches; here a hundred share one."""
    rt, done = Runtime(tmp_path / "board.db"), threading.Event()

    @rt.mailbox("work", workers=16)
    def work(number: int) -> None:
        if number == LAST:
            done.set()

    for start in range(0, LAST + 1, 1000):
        rt.tell_many(work, range(start, start + 1000))
    before = resource.getrusage(resource.RUSAGE_SELF)
    with rt:
        assert done.wait(PATIENCE)
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert after.ru_nvcsw - before.ru_nvcsw < LAST / 2
