"""Each of our threads survives a round for which there was no memory, descriptor or thread."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import MessageError, Runtime, StoreError
from callboard.actors.driver import ThreadDriver
from callboard.actors.mailbox import MailboxActor
from callboard.actors.messages import Accepts
from callboard.clock import SystemClock
from callboard.persistence.committer import Committer
from callboard.runtime.ownership import Ownership
from callboard.runtime.reactor import Reactor

from .committer_bench import Bench
from .fake_store import Job

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 10.0
NO_DESCRIPTOR = OSError(24, "Too many open files")
NO_THREAD = RuntimeError("can't start new thread")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.committer.close()
    bench.join()


class Short:
    """Makes calls of a method fail as long as the machine is short of something."""

    def __init__(self, patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
        self.error: BaseException | None = None
        self.failed = threading.Event()
        real = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            error, self.error = self.error, None
            if error is not None:
                self.failed.set()
                raise error
            return real(*args, **kwargs)

        patch.setattr(owner, name, call)

    def once(self, error: BaseException) -> None:
        """Fail the next call."""
        self.error = error


# --- descriptors ---------------------------------------------------------------------------------


def test_the_owner_answers_after_its_sockets_found_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = Short(monkeypatch, Reactor, "_look")
    owner, client = (Runtime(tmp_path / "board.db") for _ in range(2))
    owner.mailbox("double", lambda n: 2 * n)
    client.mailbox("double", lambda n: 2 * n)
    with owner:
        short.once(NO_DESCRIPTOR)
        client.tell("double", 1)  # it rings, which the owner's thread looks at
        assert short.failed.wait(PATIENCE)
        assert client.ask("double", 21, timeout=PATIENCE) == 42
        client.stop()


def test_a_standby_goes_on_trying_after_it_found_no_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, standby = Ownership(tmp_path / "owner"), Ownership(tmp_path / "owner")
    assert owner.take()
    short, taken = Short(monkeypatch, standby, "take"), threading.Event()
    short.once(NO_DESCRIPTOR)
    standby.stand_by(taken.set)
    assert short.failed.wait(PATIENCE)
    owner.release()
    assert taken.wait(PATIENCE)
    standby.release()


# --- threads -------------------------------------------------------------------------------------


def test_what_is_staged_while_no_thread_can_be_started_is_committed_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, turn = Short(monkeypatch, threading.Thread, "start"), Job("turn")
    short.once(NO_THREAD)
    bench.committer.stage(turn)
    assert short.failed.is_set()
    assert bench.committer.pending == 1
    bench.committer.nudge()
    bench.told.wait_for("committed")
    assert bench.store.log == ["turn"]


def test_a_start_that_finds_no_thread_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rt = Runtime(tmp_path / "board.db")
    short = Short(monkeypatch, ThreadDriver, "drain")
    before = set(threading.enumerate())
    lasting = ("callboard-clock", "callboard-handler", "callboard-bell", "callboard-commit")
    short.once(NO_THREAD)
    with pytest.raises(StoreError, match="can't start new thread"):
        rt.start()
    left = [each.name for each in set(threading.enumerate()) - before if each.name in lasting]
    assert left == []
    rt.start()
    assert rt.role == "owner"
    rt.stop()


# --- memory --------------------------------------------------------------------------------------


def test_the_commit_thread_goes_on_after_it_found_no_memory(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, turn = Short(monkeypatch, Committer, "_take"), Job("turn")
    short.once(MemoryError())
    bench.committer.stage(turn)
    bench.done()
    assert short.failed.is_set()
    assert bench.store.log == ["turn"]


@pytest.mark.parametrize(("owner", "name"), [(MailboxActor, "next"), (ThreadDriver, "_turn")])
def test_a_future_call_comes_after_a_thread_found_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """The worker's, when it takes a message; or the clock's, in a round."""
    short, came = Short(monkeypatch, owner, name), threading.Event()
    rt = Runtime(tmp_path / "board.db")
    rt.mailbox("jobs", lambda _: came.set())
    with rt:
        short.once(MemoryError())
        for _ in range(2):  # the clock's thread may be in the middle of a round at the first
            rt.tell("jobs", 1, after=0.01)
            assert came.wait(PATIENCE)
            assert short.failed.wait(PATIENCE)
            came.clear()


@dataclass
class Large:
    """One for which there may be no memory."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise MemoryError


def test_a_message_is_not_to_blame_where_there_was_no_memory_to_decode_it() -> None:
    accepts = Accepts(Large, "mailbox 'jobs'")
    kind, version, body, _ = accepts.encode(Large(1))
    assert accepts.decode(kind, version, body) == Large(1)
    with pytest.raises(MemoryError):
        accepts.decode(kind, version, body.replace(b"1", b"-1"))
    with pytest.raises(MessageError):
        accepts.decode(kind, version, body.replace(b"1", b"x"))


def test_the_machine_s_clock_is_looked_at_at_least_each_second() -> None:
    """A jump of it shows within a slice, however far the deadline is."""
    clock = SystemClock()
    assert clock.slice(clock.now() + 10**15) == 1.0
    assert clock.slice(clock.now() - 1) == 0.0
