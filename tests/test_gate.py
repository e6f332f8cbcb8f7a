"""The write gate: one at a time over all processes, in turn, and never for ever."""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import combinations, pairwise, product
from pathlib import Path
from typing import Any

import pytest

from callboard.clock import monotonic
from callboard.errors import StoreBusy, StoreError
from callboard.persistence import gate as module
from callboard.persistence.gate import Gate

from .processes import Child
from .small_disk import small_disk

PATIENCE = 20.0

# Takes the gate back to back, each time for a millisecond, until its standard input ends.
BUSY = """
import sys, threading
from pathlib import Path
from callboard.clock import monotonic
from callboard.persistence.gate import Gate
gate, stop = Gate(Path(".")), threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), stop.set())).start()
count = 0
while not stop.is_set():
    with gate:
        until = monotonic() + 0.001
        while monotonic() < until:
            pass
    count += 1
    if count == 20:
        print("busy", flush=True)
print("took", count, flush=True)
"""

# Takes the gate and keeps it until it is told, or killed.
HOLD = """
import sys
from pathlib import Path
from callboard.persistence.gate import Gate
with Gate(Path(".")):
    print("in", flush=True)
    sys.stdin.readline()
print("out", flush=True)
"""


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    gate = Gate(tmp_path)
    yield gate
    gate.close()


def impatient(folder: Path) -> Gate:
    return Gate(folder, patience=0.05)


@pytest.mark.alone
@pytest.mark.slow
def test_a_client_gets_in_beside_a_busy_owner(tmp_path: Path, gate: Gate) -> None:
    waits = []
    with Child(BUSY, cwd=tmp_path) as owner:
        owner.wait_for("busy")
        for _ in range(100):
            begun = monotonic()
            with gate:
                waits.append(monotonic() - begun)
        owner.say("stop")
        owner.wait_for("took")
    assert sorted(waits)[50] < 0.05, "half of them wait for a handful of the owner's turns at most"
    assert max(waits) < 1.0


def test_a_process_that_is_stopped_inside_is_named_and_not_waited_for(tmp_path: Path) -> None:
    waiting = impatient(tmp_path)
    with Child(HOLD, cwd=tmp_path) as child:
        child.wait_for("in")
        child.process.send_signal(signal.SIGSTOP)
        with pytest.raises(StoreBusy, match=r"another process that is writing.*SIGSTOP"), waiting:
            pytest.fail("two at once")
        child.process.send_signal(signal.SIGCONT)
        child.say("go")
        child.wait_for("out")
        with waiting:
            pass
    waiting.close()


def test_a_process_that_is_killed_inside_lets_go(tmp_path: Path, gate: Gate) -> None:
    with Child(HOLD, cwd=tmp_path) as child:
        child.wait_for("in")
        child.kill(signal.SIGKILL)
        with gate:
            pass


def test_who_waits_in_line_holds_up_those_behind(tmp_path: Path) -> None:
    """Else an owner that comes again and again would always be the next."""
    inside, first, second = Gate(tmp_path), Gate(tmp_path), impatient(tmp_path)
    passed = threading.Event()

    def wait() -> None:
        with first:
            passed.set()

    with inside:
        waiter = threading.Thread(target=wait)
        waiter.start()
        until = monotonic() + PATIENCE
        while module._try(second._next):  # until the waiter has it
            fcntl.flock(second._next, fcntl.LOCK_UN)
            assert monotonic() < until
        with pytest.raises(StoreBusy, match="waiting in line"), second:
            pytest.fail("overtaken")
        assert not passed.is_set()
    waiter.join(PATIENCE)
    assert passed.is_set()
    for each in (inside, first, second):
        each.close()


def test_threads_of_one_process_come_one_at_a_time(tmp_path: Path) -> None:
    gate = impatient(tmp_path)
    caught: list[StoreBusy] = []

    def enter() -> None:
        try:
            with gate:
                pass
        except StoreBusy as error:
            caught.append(error)

    with gate:
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join(PATIENCE)
    assert "another thread of this process" in str(caught[0])
    enter()
    assert len(caught) == 1
    gate.close()


def test_the_whole_turnstile_has_one_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]

    def nap(seconds: float) -> None:
        now[0] += seconds

    gate = Gate(tmp_path, patience=1.0)
    monkeypatch.setattr(module, "monotonic", lambda: now[0])
    monkeypatch.setattr(module, "sleep", nap)
    monkeypatch.setattr(module, "_try", lambda fd: fd == gate._next and now[0] >= 0.9)
    with pytest.raises(StoreBusy, match="writing"), gate:
        pytest.fail("nobody let us in")
    assert 1.0 <= now[0] < 1.01
    gate.close()


class Door:
    """The gate's door, which says who shuts it and who comes to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.shut, self.reached = threading.Event(), threading.Event()

    def acquire(self) -> None:
        self._lock.acquire()
        self.shut.set()

    def release(self) -> None:
        self._lock.release()

    def __enter__(self) -> None:
        self.reached.set()
        self._lock.acquire()

    def __exit__(self, *exc: object) -> None:
        self._lock.release()


def test_who_is_about_to_fork_goes_before_threads_that_come_later(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Busy threads could keep it out for as long as they like otherwise."""
    order: list[str] = []
    held = threading.Event()

    def fork() -> None:
        assert gate.hold()
        order.append("fork")
        held.set()

    def enter() -> None:
        with gate:
            order.append("late")

    with gate:
        door = Door()
        monkeypatch.setattr(gate, "_door", door)
        forking, late = threading.Thread(target=fork), threading.Thread(target=enter)
        forking.start()
        assert door.shut.wait(PATIENCE)
        late.start()
        assert door.reached.wait(PATIENCE)
    assert held.wait(PATIENCE)
    gate.let_go()
    for thread in (forking, late):
        thread.join(PATIENCE)
    assert order == ["fork", "late"]


def test_a_fork_does_not_wait_for_ever(tmp_path: Path) -> None:
    gate = impatient(tmp_path)
    with gate:
        assert not gate.hold()
    assert gate.hold()
    gate.let_go()
    with gate:
        pass
    gate.close()


def test_an_error_inside_lets_the_next_one_in(tmp_path: Path, gate: Gate) -> None:
    with pytest.raises(ZeroDivisionError), gate:
        raise ZeroDivisionError
    with impatient(tmp_path):
        pass


def test_a_closed_gate_says_so_and_touches_no_descriptor(gate: Gate) -> None:
    gate.close()
    gate.close()
    with pytest.raises(StoreError, match="closed meanwhile"), gate:
        pytest.fail("closed")


def next_descriptor() -> int:
    """Return the number that the next file would get: the lowest that is free."""
    number = os.open(os.devnull, os.O_RDONLY)
    os.close(number)
    return number


def test_no_descriptor_is_left_when_a_lock_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "gate").mkdir()
    before = next_descriptor()
    with pytest.raises(OSError, match="gate"):
        Gate(tmp_path)
    assert next_descriptor() == before


# --- how many passages others have made ----------------------------------------------------------


def test_what_is_said_of_others_changes_when_another_has_passed_and_at_nothing_else(
    tmp_path: Path,
) -> None:
    """Two gates pass in every order; what one has heard before is compared with what it hears."""
    for number, order in enumerate(product((0, 1), repeat=6)):
        folder = tmp_path / str(number)
        folder.mkdir()
        gates = Gate(folder), Gate(folder)
        for each in gates:
            with each:
                pass
        said = [[each.others()] for each in gates]
        for turn in order:
            with gates[turn]:
                pass
            for mine, each in zip(said, gates, strict=True):
                mine.append(each.others())
        for me, mine in enumerate(said):
            for start, end in combinations(range(len(mine)), 2):
                passed = any(turn != me for turn in order[start:end])
                assert (mine[start] != mine[end]) == passed, (order, me, start, end)
        for each in gates:
            each.close()


def test_a_disowned_passage_is_taken_for_anothers_and_the_next_one_is_not(gate: Gate) -> None:
    said = []
    for disowned in (False, False, True, False, True, True, False):
        with gate:
            if disowned:
                gate.disown()
        said.append(gate.others())
    changed = [one != two for one, two in pairwise(said)]
    assert changed == [False, True, False, True, True, False]


def test_a_passage_has_been_counted_when_the_other_process_goes_on(
    tmp_path: Path, gate: Gate
) -> None:
    with gate:
        pass
    with Child(HOLD, cwd=tmp_path) as child:
        child.wait_for("in")
        inside = gate.others()
        child.say("go")
        child.wait_for("out")
        assert gate.others() != inside


def test_threads_that_pass_meanwhile_are_not_taken_for_others(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gate:
        pass
    words: Any = gate._words
    heard = [gate.others()]

    class Word:
        """The count, where another thread asks in the middle of a passage: before and after."""

        def __getitem__(self, at: int) -> Any:
            return words[at]

        def __setitem__(self, at: int, count: int) -> None:
            heard.append(gate.others())
            words[at] = count
            heard.append(gate.others())

    monkeypatch.setattr(gate, "_words", Word())
    for _ in range(3):
        with gate:
            pass
    assert len(heard) == 7
    assert len(set(heard)) == 1


@pytest.mark.parametrize("size", [0, 4, 9, 23])
def test_a_gate_of_before_passages_were_counted_keeps_its_pause(tmp_path: Path, size: int) -> None:
    old = Gate(tmp_path)
    old.note_pause(used=True)
    old.close()
    os.truncate(tmp_path / "gate", size)
    one, other = Gate(tmp_path), Gate(tmp_path)
    with one:
        assert one.paused(PATIENCE) == (size >= 9)
        assert one.used == (size >= 9)
    before = one.others()
    with other:
        pass
    assert before is not None
    assert one.others() != before
    one.close()
    other.close()


def test_on_a_full_disk_nothing_is_said_of_others_until_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path) as disk:
        fill = disk / "fill"
        with suppress(OSError), fill.open("wb", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        one, other = Gate(disk), Gate(disk)
        for each in (one, other):
            with each:
                pass
            assert each.others() is None
        fill.unlink()
        with one:
            pass
        before = one.others()
        with other:
            pass
        assert before is not None
        assert one.others() != before
        one.close()
        other.close()


def test_who_cannot_count_its_passage_does_not_pass(
    tmp_path: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others would take it that nobody has been there."""

    def refuse(*_: object) -> mmap.mmap:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with gate:
        pass
    second = impatient(tmp_path)
    before = next_descriptor()
    with monkeypatch.context() as patch:
        patch.setattr(mmap, "mmap", refuse)
        with pytest.raises(StoreError, match="Cannot allocate memory; free some"), second:
            pytest.fail("uncounted")
    assert next_descriptor() == before
    with gate:
        pass
    with second:
        pass
    second.close()


def test_a_closed_gate_says_nothing_of_others_and_keeps_no_descriptor(tmp_path: Path) -> None:
    before = next_descriptor()
    gate = Gate(tmp_path)
    with gate:
        pass
    assert gate.others() is not None
    gate.close()
    assert gate.others() is None
    assert next_descriptor() == before
