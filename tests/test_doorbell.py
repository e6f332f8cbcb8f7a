"""The doorbell: what an asker waits on."""

from __future__ import annotations

import errno
import gc
import os
import threading

import pytest

from callboard.actors import doorbell as module
from callboard.actors.doorbell import Doorbell, doorbell
from callboard.persistence.hooks import ThreadWaiter

PATIENCE = 10.0


@pytest.fixture(autouse=True)
def none_spare() -> list[Doorbell]:
    module._spare.clear()
    return module._spare


def test_who_waits_is_woken_and_who_was_woken_before_does_not_wait() -> None:
    bell = doorbell()
    thread = threading.Thread(target=bell.wake)
    thread.start()
    assert bell.wait(PATIENCE)
    thread.join(PATIENCE)
    bell = doorbell()
    bell.wake()
    assert bell.wait()


def test_a_wait_that_nobody_ends_is_over_when_its_time_is() -> None:
    bell = doorbell()
    assert not bell.wait(0.001)
    bell.wake()
    assert bell.wait(PATIENCE)


def test_a_wait_may_take_longer_than_the_kernel_waits_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.001)
    bell = doorbell()
    assert not bell.wait(0.01)
    timer = threading.Timer(0.02, bell.wake)
    timer.start()
    assert bell.wait(PATIENCE)
    timer.join(PATIENCE)
    assert not Doorbell().wait(0.0005)


def test_a_bell_that_was_heard_is_used_again_and_one_that_was_not_is_closed(
    none_spare: list[Doorbell], monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[int] = []
    close = module._close

    def note(descriptor: int) -> None:
        close(descriptor)
        closed.append(descriptor)

    monkeypatch.setattr(module, "_close", note)
    heard, missed = Doorbell(), Doorbell()
    heard.wake()
    assert heard.wait(PATIENCE)
    assert not missed.wait(0.001)
    assert none_spare == [heard]
    assert doorbell() is heard
    assert not heard.wait(0.001)  # of the ring before nothing is left
    descriptor = missed._fd
    missed.wake()  # late: whoever answers still holds it
    del missed
    gc.collect()
    assert descriptor in closed  # another thread may have been given its number since


def test_no_more_are_kept_than_can_be_of_use(
    none_spare: list[Doorbell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SPARE", 2)
    for bell in [Doorbell() for _ in range(4)]:
        bell.wake()
        assert bell.wait(PATIENCE)
    assert len(none_spare) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_hears_nothing_that_its_parent_is_rung_for(
    none_spare: list[Doorbell],
) -> None:
    kept = Doorbell()
    none_spare.append(kept)
    child = os.fork()
    if child == 0:
        os._exit(1 if doorbell() is kept else 0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert doorbell() is kept


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many"), AttributeError("eventfd")])
def test_where_no_descriptor_is_to_be_had_it_is_a_lock(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object) -> int:
        raise error

    monkeypatch.setattr(os, "eventfd", none)
    bell = doorbell()
    assert isinstance(bell, ThreadWaiter)
    bell.wake()
    assert bell.wait(PATIENCE)
