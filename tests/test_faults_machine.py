"""Faults of the machine: no descriptors, threads or memory left, and a clock that jumps."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from callboard import Context, Runtime, Tick
from callboard.clock import SECOND, SystemClock, micros

from .processes import PATIENCE, Child

if TYPE_CHECKING:
    from pathlib import Path

BEGIN = """
import gc, os, resource, sys, threading
from callboard import Runtime, StoreError
def begin(**options):
    global rt, handled, lock
    rt, handled, lock = Runtime("board.db", **options), [], threading.Condition()
    rt.mailbox("work", keep, workers=50)
def keep(n: int) -> None:
    with lock:
        handled.append(n)
        lock.notify_all()
def settled(count):
    with lock:
        assert lock.wait_for(lambda: len(handled) >= count, 15), (count, len(handled))
def limit(kind, soft):
    resource.setrlimit(kind, (soft, resource.getrlimit(kind)[1]))
def once(told):
    rt.stop()
    print("once", sorted(handled) == sorted(told), flush=True)
"""

DESCRIPTORS = """
begin()
rt.start()
rt.tell("work", 0)
settled(1)
taken = []
while True:
    try:
        taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        break
told = [0]
for n in range(1, 50):
    try:
        rt.tell("work", n)
    except StoreError as error:
        assert "\\n" not in str(error)
    else:
        told.append(n)
for each in taken:
    os.close(each)
rt.tell("work", 50)
told.append(50)
settled(len(told))
once(told)
"""

THREADS = """
real, given, most, refused = threading.Thread.start, 0, 0, threading.Semaphore(0)
def start(self):
    global most
    if self.name == "callboard-handler":
        there = sum(each.name == self.name for each in threading.enumerate())
        if there >= given:
            refused.release()
            raise RuntimeError("can't start new thread")
        most = max(most, there + 1)
    real(self)
threading.Thread.start = start
begin(threads=10_000)
rt.mailbox("slow", keep, workers=10_000)
rt.start()
rt.tell_many("slow", range(300))
assert refused.acquire(timeout=15)
given = 6
settled(300)
rt.tell_many("work", range(300, 400))
settled(400)
print("few", 0 < most <= 6)
once(range(400))
"""

MEMORY = """
begin()
rt.mailbox("text", len)
rt.start()
rt.tell("work", 0)
settled(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit(resource.RLIMIT_AS, used + 8_000_000)
told, refused = [0], 0
for n in range(1, 60):
    try:
        rt.tell("work", n, key=None) if n % 2 else rt.tell("text", "x" * 30_000_000)
    except (StoreError, MemoryError):
        refused += 1
    else:
        if n % 2:
            told.append(n)
limit(resource.RLIMIT_AS, resource.RLIM_INFINITY)
rt.tell("work", 60)
told.append(60)
settled(len(told))
print("refused", refused > 0, flush=True)
once(told)
"""


def ends_well(folder: Path, source: str) -> list[str]:
    """Run it; each message it was told is on disk is handled once."""
    with Child(BEGIN + source, cwd=folder) as child:
        assert child.end(40) == 0, child.lines
        assert "once True" in child.lines
        return child.lines


@pytest.mark.slow
def test_without_a_descriptor_left_nothing_ends_and_nothing_is_lost(tmp_path: Path) -> None:
    ends_well(tmp_path, "limit(resource.RLIMIT_NOFILE, 64)" + DESCRIPTORS)


@pytest.mark.slow
def test_ten_thousand_threads_of_which_the_machine_gives_six(tmp_path: Path) -> None:
    assert "few True" in ends_well(tmp_path, THREADS)


@pytest.mark.slow
def test_what_finds_no_memory_is_refused_and_the_rest_is_handled(tmp_path: Path) -> None:
    assert "refused True" in ends_well(tmp_path, MEMORY)


HOUR, YEAR = 3600 * SECOND, 365 * 86_400 * SECOND


class Jumping(SystemClock):
    """The machine's clock, set by somebody else: nobody is told of it."""

    def __init__(self) -> None:
        """Be right at first."""
        self.off = 0

    def now(self) -> int:
        """Return what is shown."""
        return super().now() + self.off


@pytest.mark.slow
def test_a_machine_whose_clock_jumps_by_an_hour_and_by_years_does_all_once(tmp_path: Path) -> None:
    clock, came, seen = Jumping(), threading.Condition(), list[str]()
    rt = Runtime(tmp_path / "board.db", clock=clock)

    def see(what: str) -> None:
        with came:
            seen.append(what)
            came.notify_all()

    def at_last(*names: str) -> None:
        with came:
            assert came.wait_for(lambda: sorted(seen) == sorted(names), PATIENCE), seen

    early: list[str] = []

    @rt.mailbox("jobs")
    def job(what: str, context: Context) -> None:
        if context.due is not None and clock.now() < micros(context.due):
            early.append(what)
        see(what)

    @rt.cron("0 0 1 1 *", name="yearly")
    def yearly(tick: Tick) -> None:
        see(f"ticks {1 + tick.missed}")

    with rt:
        rt.tell("jobs", "in an hour", after="1h")
        rt.tell("jobs", "in ten years", after=10 * 365 * 86_400)
        clock.off += HOUR
        at_last("in an hour")
        clock.off -= HOUR
        rt.tell("jobs", "an hour back")
        at_last("in an hour", "an hour back")
        clock.off -= 3 * YEAR
        rt.tell("jobs", "years back", after=0.1)
        at_last("in an hour", "an hour back", "years back")
        clock.off += 14 * YEAR
        ticks = "ticks 11"
        at_last("in an hour", "an hour back", "years back", "in ten years", ticks)
        clock.off -= 11 * YEAR
        rt.tell("jobs", "back again", after=0.3)
        at_last("in an hour", "an hour back", "years back", "in ten years", ticks, "back again")
    assert early == []
