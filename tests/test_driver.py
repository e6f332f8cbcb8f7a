"""The drivers: one thread in a seed's order, and a pool with a clock."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest

from callboard.actors import driver as driver_module
from callboard.actors.cell import BUDGET, Cell
from callboard.actors.driver import Deadlines, Driver, ThreadDriver
from callboard.actors.retry import RetryPolicy
from callboard.actors.seeded_driver import SeededDriver
from callboard.actors.turn import current
from callboard.clock import SECOND, ManualClock, SystemClock, monotonic
from callboard.events import Events
from callboard.persistence.committer import Committer
from callboard.persistence.slots import Slots
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Message, Unit
from callboard.runtime.engine import Engine
from callboard.runtime.hub import Hub
from callboard.runtime.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.clock import Clock

PATIENCE = 10.0
MESSAGES = 50


# --- the seeded driver with everything real beneath it ------------------------------------------


class World:
    """An owner without threads: two mailboxes, the first of which tells the second."""

    def __init__(self, path: Path, seed: int) -> None:
        self.first: list[int] = []
        self.second: list[int] = []
        self.clock = ManualClock()
        self.driver = SeededDriver(self.clock, seed)
        self.store = SqliteStore(path, durability="normal")
        self.store.open()
        self.registry = Registry(self.store)
        for name, worker in (("first", self.pass_on), ("second", self.second.append)):
            self.registry.declare(name, worker, workers=3, keyed=False, retry=RetryPolicy(),
                                  timeout=None, scope={})  # fmt: skip
        self.slots = Slots(self.store.companion.slots)
        epoch, last, _ = self.store.take_over([], self.clock.now())
        self.committer = Committer(
            self.store, cast("Any", None), waiter=self.driver.waiter, background=False
        )
        self.failures: list[BaseException] = []
        self.engine = Engine(
            self, store=self.store, committer=self.committer, clock=self.clock,
            driver=cast("ThreadDriver", self.driver), events=Events(self.clock.now),
            slots=self.slots, host_loop=None, hub=Hub(Events(self.clock.now)),
            give_up=self.failures.append,
        )  # fmt: skip
        self.committer.become(self.engine, epoch, last)
        for spec, row in self.registry.store_all():
            self.engine.add(spec, row)
        self.driver.also(self.committer.pump)
        self.engine.start()

    def pass_on(self, number: int) -> None:
        self.first.append(number)
        turn = current(self)
        assert turn is not None
        assert turn.join([self.message("second", number)])

    def message(self, mailbox: str, number: int, due: int | None = None) -> Message:
        return Message(self.registry.row(mailbox).id, "json", b"%d" % number, due=due)

    def tell(self, number: int, due: int | None = None) -> None:
        self.committer.commit(Unit(tells=[self.message("first", number, due)]))

    def close(self) -> None:
        assert self.engine.stop(PATIENCE) == []
        self.committer.close()
        self.slots.close()
        self.store.close()

    def rows(self) -> int:
        (found,) = self.store.query("SELECT count(*) FROM callboard_message", ())
        return cast("int", found[0])


def fifty(path: Path, seed: int) -> list[str]:
    """Tell fifty messages, some between steps; returns the order in which things were done."""
    world = World(path, seed)
    try:
        for number in range(MESSAGES):
            world.tell(number)
            if number % 3 == 0:
                world.driver.step()
        world.driver.run()
        assert sorted(world.first) == [*range(MESSAGES)]
        assert sorted(world.second) == [*range(MESSAGES)]
        assert world.rows() == 0
        assert not world.failures
        assert world.engine.quiet
        return world.driver.trace
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(5))
def test_every_message_is_handled_exactly_once_in_any_order(tmp_path: Path, seed: int) -> None:
    fifty(tmp_path / "a.db", seed)


def test_the_seed_decides_the_order(tmp_path: Path) -> None:
    one = fifty(tmp_path / "a.db", 1)
    assert fifty(tmp_path / "b.db", 1) == one
    assert fifty(tmp_path / "c.db", 2) != one


def test_what_is_due_later_comes_when_the_clock_is_moved(tmp_path: Path) -> None:
    world = World(tmp_path / "a.db", 0)
    try:
        world.tell(7, world.clock.now() + 60 * SECOND)
        world.driver.run()
        assert world.first == []
        world.clock.shift(59)
        world.driver.run()
        assert world.first == []
        world.clock.shift(1)
        world.driver.run()
        assert world.first == world.second == [7]
        assert world.rows() == 0
    finally:
        world.close()


# --- the seeded driver alone --------------------------------------------------------------------


class Note(Cell):
    """Calls back with what it is told."""

    def __init__(self, driver: Driver, name: str, told: Callable[[Any], object]) -> None:
        super().__init__(driver, name)
        self.told = told

    def on_receive(self, message: Any) -> None:
        self.told(message)


class Work(Note):
    """The same on the pool."""

    system = False


def test_a_cell_that_keeps_itself_ready_is_found() -> None:
    driver = SeededDriver(ManualClock(), 0)

    def again(message: object) -> None:
        cell.post(message)

    cell = Note.launch(driver, "busy", again)
    again("and")
    with pytest.raises(RuntimeError, match="still busy after 100 steps"):
        driver.run(100)


def test_a_seeded_waiter_steps_until_it_is_woken() -> None:
    driver = SeededDriver(ManualClock(), 0)
    waiter = driver.waiter()
    assert not waiter.wait()  # nothing is ready that could wake it
    Note.launch(driver, "waker", lambda _: waiter.wake()).post("go")
    assert waiter.wait()


def test_a_deadline_counts_only_while_the_cell_wants_it() -> None:
    driver = SeededDriver(ManualClock(), 0)
    cell = Note.launch(driver, "cell", lambda _: None)
    deadlines = Deadlines()
    cell.due = 10
    assert deadlines.add(10, cell)
    cell.due = 20
    assert not deadlines.add(20, cell)
    assert deadlines.earliest() == 20
    assert deadlines.pop(19) == []
    assert deadlines.pop(20) == [cell]
    assert deadlines.earliest() is None


# --- threads ------------------------------------------------------------------------------------


def handlers() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("callboard-handler")]


def test_no_more_threads_than_asked_run_and_all_of_them_do() -> None:
    short = threading.Event()
    driver = ThreadDriver(ManualClock(), 3, on_short=short.set)
    before = set(handlers())
    together = threading.Barrier(4)
    gate = threading.Event()
    done = threading.Semaphore(0)

    def hold(message: int) -> None:
        if message < 3:
            together.wait(PATIENCE)
        gate.wait(PATIENCE)
        done.release()

    driver.start()
    try:
        cells = [Work.launch(driver, f"work {n}", hold) for n in range(12)]
        for number, cell in enumerate(cells):
            cell.post(number)
        together.wait(PATIENCE)  # three run at once
        assert short.wait(PATIENCE)
        assert len(set(handlers()) - before) == 3
        assert driver.busy
        gate.set()
        for _ in cells:
            assert done.acquire(timeout=PATIENCE)
        assert len(set(handlers()) - before) == 3
    finally:
        gate.set()
        assert driver.stop(PATIENCE) == []
    assert not set(handlers()) - before


def test_a_cell_that_is_ready_again_as_its_step_ends_wakes_no_other_thread() -> None:
    driver = ThreadDriver(ManualClock(), 4)
    ran_on: list[int] = []
    done = threading.Event()

    def note(message: int) -> None:
        ran_on.append(threading.get_ident())
        if message == 10 * BUDGET:
            done.set()

    cell = Work(driver, "busy", note)
    for number in range(10 * BUDGET + 1):
        cell.post(number)
    before = set(handlers())
    driver.start()
    try:
        cell._start_actor_loop()
        assert done.wait(PATIENCE)
        assert len(set(handlers()) - before) == 1
        assert len(set(ran_on)) == 1
    finally:
        assert driver.stop(PATIENCE) == []


def test_a_cell_that_is_ready_again_does_not_wait_while_its_thread_steps_a_system_cell() -> None:
    driver = ThreadDriver(ManualClock(), 2)
    held, gate, done = threading.Event(), threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        gate.wait(PATIENCE)

    def note(message: int) -> None:
        if message == 0:
            slow.post("go")
        elif message == BUDGET:
            done.set()

    try:  # without a clock thread, which would come to relieve it
        slow = Note.launch(driver, "slow", hold)
        cell = Work(driver, "busy", note)
        for number in range(BUDGET + 1):
            cell.post(number)
        cell._start_actor_loop()
        assert held.wait(PATIENCE)
        assert done.wait(PATIENCE)  # on another thread: the first is held
        assert not gate.is_set()
    finally:
        gate.set()
        assert driver.stop(PATIENCE) == []


def test_a_thread_that_was_left_behind_hands_on_the_cell_it_had_to_step_again() -> None:
    driver = ThreadDriver(ManualClock(), 1)
    done = threading.Event()

    def note(message: int) -> None:
        if message == 0:
            driver.leave_behind(threading.current_thread())
        elif message == BUDGET:
            done.set()

    try:  # without a clock thread, which would come to relieve it
        cell = Work(driver, "left", note)
        for number in range(BUDGET + 1):
            cell.post(number)
        cell._start_actor_loop()
        assert done.wait(PATIENCE)
    finally:
        assert driver.stop(PATIENCE) == []


def until_seated(driver: ThreadDriver, threads: int) -> None:
    """Wait until so many threads have nothing to do."""
    pause = threading.Event()
    for _ in range(4000):
        if len(driver._seats) == threads:
            return
        pause.wait(0.0025)
    pytest.fail(f"{len(driver._seats)} threads have nothing to do, not {threads}")


def test_what_becomes_ready_behind_a_rouse_wakes_no_second_thread() -> None:
    driver = ThreadDriver(ManualClock(), 2)
    seats = [threading.Lock(), threading.Lock()]  # of threads that take their time to get up
    for seat in seats:
        assert seat.acquire()
    driver._seats += seats
    driver.rouse()
    driver.rouse()
    Work.launch(driver, "cell", print).post("go")
    assert [seat.locked() for seat in seats] == [True, False]
    Work.launch(driver, "other", print).post("go")
    assert [seat.locked() for seat in seats] == [False, False]


def test_a_thread_that_was_roused_for_nothing_is_woken_again() -> None:
    driver = ThreadDriver(ManualClock(), 1)
    done = threading.Event()
    try:  # without a clock thread, which would come to relieve it
        Work.launch(driver, "first", lambda _: None).post("go")
        until_seated(driver, 1)
        driver.rouse()
        until_seated(driver, 1)
        Work.launch(driver, "cell", lambda _: done.set()).post("go")
        assert done.wait(PATIENCE)
    finally:
        assert driver.stop(PATIENCE) == []


class Seats(list[threading.Lock]):
    """Idle threads; whoever chooses one while it is armed is interrupted before it can wake it."""

    armed = False

    def pop(self, *_: Any) -> threading.Lock:
        seat = super().pop()
        if self.armed:
            raise KeyboardInterrupt
        return seat


def test_a_thread_whose_choice_was_interrupted_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "_IDLE", 0.02)
    driver = ThreadDriver(ManualClock(), 1)
    driver._seats = seats = Seats()
    pause, done = threading.Event(), threading.Event()

    def interrupt() -> None:
        for _ in range(4000):  # it leaves when it has nothing to do
            Work.launch(driver, "first", lambda _: None).post("go")
            pause.wait(0.0025)
            seats.armed = True
            driver.rouse()
            seats.armed = False

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupt()
        seats.armed = False
        Work.launch(driver, "cell", lambda _: done.set()).post("go")
        assert done.wait(PATIENCE)
    finally:
        assert driver.stop(PATIENCE) == []


def test_what_is_ready_while_its_thread_was_not_woken_is_taken_with_the_next_pulse() -> None:
    driver = ThreadDriver(ManualClock(), 2)
    driver._seats = seats = Seats([threading.Lock(), threading.Lock()])
    left = seats[0]
    for seat in seats:
        assert seat.acquire()
    seats.armed = True
    with pytest.raises(KeyboardInterrupt):
        Work.launch(driver, "cell", print).post("go")
    seats.armed = False
    assert left.locked()
    driver._relieve()
    assert not left.locked()


@pytest.mark.parametrize("kind", [ManualClock, SystemClock])
def test_a_deadline_wakes_a_cell(kind: Callable[[], Clock]) -> None:
    clock = kind()
    driver = ThreadDriver(clock, 1)
    woken = threading.Event()
    at: list[int] = []

    def wake(_: object) -> None:
        at.append(clock.now())
        woken.set()

    driver.start()
    try:
        cell = Note.launch(driver, "cell", wake)
        due = clock.now() + SECOND // 20
        cell.wake_at(due)
        assert driver.next_deadline() in {due, None}
        if isinstance(clock, ManualClock):
            clock.set(due - 1)
            assert not woken.is_set()
            clock.set(due)
        assert woken.wait(PATIENCE)
        assert at[0] >= due
        assert cell.due is None
        assert len(at) == 1
    finally:
        assert driver.stop(PATIENCE) == []


def test_a_deadline_that_was_put_off_wakes_once_at_the_later_instant() -> None:
    clock = ManualClock()
    driver = ThreadDriver(clock, 1)
    woken = threading.Semaphore(0)
    driver.start()
    try:
        cell = Note.launch(driver, "cell", lambda _: woken.release())
        start = clock.now()
        cell.wake_at(start + 10)
        cell.wake_at(start + 20)
        clock.set(start + 10)
        clock.set(start + 20)
        assert woken.acquire(timeout=PATIENCE)
        clock.set(start + 10)  # back: nothing comes twice
        clock.set(start + 20)
    finally:
        assert driver.stop(PATIENCE) == []
    assert not woken.acquire(blocking=False)


def test_watch_calls_back_and_a_call_that_raises_does_not_end_the_clock(
    caplog: pytest.LogCaptureFixture,
) -> None:
    driver = ThreadDriver(ManualClock(), 1)
    called = threading.Event()

    def fail() -> None:
        msg = "no"
        raise ValueError(msg)

    driver.start()
    try:
        driver.watch(0.0, fail)
        driver.watch(0.01, called.set)
        assert called.wait(PATIENCE)
    finally:
        assert driver.stop(PATIENCE) == []
    assert "failed on the clock thread" in caplog.text


def test_stop_joins_and_names_the_threads_that_run_on() -> None:
    driver = ThreadDriver(ManualClock(), 2)
    running, gate = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        running.set()
        gate.wait(PATIENCE)

    driver.start()
    Work.launch(driver, "quick", lambda _: None).post("go")
    Work.launch(driver, "slow", hold).post("go")
    assert running.wait(PATIENCE)
    (left,) = driver.stop(0.05)
    assert left.is_alive()
    assert driver._clock_thread is not None
    assert not driver._clock_thread.is_alive()
    gate.set()
    left.join(PATIENCE)
    assert not left.is_alive()


def test_system_cells_are_stepped_by_whoever_drains() -> None:
    driver = ThreadDriver(ManualClock(), 1)
    seen: list[str] = []
    cell = Note.launch(driver, "cell", lambda _: seen.append(threading.current_thread().name))
    cell.post("go")
    assert seen == []  # ready() steps nothing: the caller may hold locks
    driver.drain()
    assert seen == [threading.current_thread().name]


class Overslept:
    """A condition on which every sleep ends so many seconds late; nobody notifies it."""

    def __init__(self) -> None:
        self.now, self.late = 0.0, 0.0

    def wait(self, seconds: float) -> bool:
        self.now += seconds + self.late
        return False


def test_the_clock_thread_learns_how_late_the_machine_wakes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver, machine = ThreadDriver(SystemClock(), 1), Overslept()
    monkeypatch.setattr(driver, "_ticking", machine)
    monkeypatch.setattr(driver_module, "monotonic", lambda: machine.now)
    monkeypatch.setattr(driver._clock, "slice", lambda _: 0.1)

    def ahead_after(late: float, seconds: float = 0.05) -> float:
        machine.late = late
        for _ in range(200):
            driver._sleep(seconds)
        return driver._ahead

    assert 0.0003 <= ahead_after(0.0003) + 0.00002 <= 0.00034
    assert driver._patience(machine.now + 1) == pytest.approx(0.1 - driver._ahead)
    assert ahead_after(0.9) == pytest.approx(0.0004)  # what oversleeps by more is not waited for
    assert ahead_after(0.0) == pytest.approx(0.00005)
    assert ahead_after(0.0003, seconds=0.0001) == pytest.approx(0.00005)  # too short to tell


def test_who_rests_takes_no_notice_from_the_clock_thread() -> None:
    driver = ThreadDriver(ManualClock(), 1)
    driver._beat = monotonic() + PATIENCE  # nothing but the notice ends the clock thread's sleep
    driver.start()
    called, resting = threading.Event(), threading.Thread(target=driver.rest, args=(PATIENCE,))
    resting.start()
    try:
        for _ in range(20):  # whoever waits first is the first to be notified
            called.clear()
            driver.watch(0.0, called.set)
            assert called.wait(PATIENCE / 4)
    finally:
        driver.stop(PATIENCE)
        resting.join(PATIENCE)
    assert not resting.is_alive()
