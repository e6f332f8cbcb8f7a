"""A whole runtime in one thread: its order, its crashes and its failed commits come from a seed.

::

    owner = Runtime(path, clock=ManualClock(), durability="normal")
    declare(owner)
    with Simulation(7, owner) as simulation:
        for number in range(20):
            simulation.call(owner, lambda: owner.tell("orders", number))
            simulation.run(10)
        simulation.settle()

What runs is the runtime itself on its real store; only who steps, who commits and what is random
are others (parts.py). Each step does one thing: a step of an actor, a commit, a look at the store,
a move of the clock to the next deadline, a crash. A commit is two things, and others go on between
its write and its hand-over. Nothing depends on real time, so a seed always gives the same run.
"""

from __future__ import annotations

import hashlib
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any, Self, TypeVar

from ..clock import ManualClock, duration
from ..errors import ConfigError, StoreBusy, StoreError, StoreFull
from ..persistence._sqlite3 import sqlite3
from .simulated import Process

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from .runtime import Runtime

R = TypeVar("R")

#: So many steps may be taken until all is settled.
MOST = 200_000
_DEEPEST = 2
# How often, by refusals, SQLite fails just before its COMMIT is on disk, just after, and when
# whoever wants to know which it was looks for it.
_FAILING = {"commit": 0.5, "on disk": 0.5, "look": 30.0}


class Crashed(Exception):
    """The process that was to make this call has crashed in it, and was started again.

    Whether the call has happened is not known, as it is not after a real crash.
    """


class Crash(BaseException):
    """One simulated process ends here."""

    def __init__(self, process: Process) -> None:
        """Say which."""
        super().__init__(repr(process.rt))
        self.process = process


class Simulation:
    """Runs runtimes on one store in one thread, in an order that a seed decides.

    The first becomes the owner; each of the others is a client or a standby, as the seed says, and
    takes over when the owner crashes. ``async def`` handlers and handler timeouts are not
    simulated: they belong to real time.

    Args:
        seed: the same seed, with the same calls, gives the same run.
        runtimes: built with the same store and the same ``clock=ManualClock(...)``, not started.
        crashes: chance of a crash at each of the points before, in and after a commit.
        refusals: chance that the store refuses a commit (full, or busy); and that its COMMIT fails,
            when it is on disk and when it is not.

    Raises:
        ConfigError: they do not share one ManualClock.

    """

    def __init__(
        self, seed: int, *runtimes: Runtime, crashes: float = 0.01, refusals: float = 0.01
    ) -> None:
        """Equip the runtimes; see :meth:`start`."""
        clocks = {rt._config.clock for rt in runtimes}  # noqa: SLF001  (the two are one piece)
        clock = clocks.pop() if len(clocks) == 1 else None
        if not isinstance(clock, ManualClock):
            msg = "a Simulation needs runtimes that share one ManualClock: Runtime(..., clock=...)"
            raise ConfigError(msg)
        self.random = Random(seed)
        self.clock = clock
        #: What has happened so far, by name: steps, crashes, refusals, meanwhile.
        self.counts = dict.fromkeys(
            ("steps", "commits", "crashes", "stops", "refusals", "unclear", "meanwhile"), 0
        )
        #: Called now and then for a runtime that may send: what a teller of yours does.
        self.act: Callable[[Runtime], object] | None = None
        self._crashes, self._refusals = crashes, refusals
        self._faulty = True
        self._digest = hashlib.blake2b(digest_size=8)
        self._processes = [Process(self, rt, n) for n, rt in enumerate(runtimes)]
        self._running: list[Process] = []  # those with a call on the stack, innermost last

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Close."""
        self.close()

    # --- life --------------------------------------------------------------------------------

    def start(self) -> Self:
        """Have the first runtime own the store; of the others some stand by."""
        for process in self._processes:
            process.stands_by = process is self._processes[0] or self.random.random() < 0.5
            self._begin(process)
        return self

    def close(self) -> None:
        """End all, as a crash does: what is in the store stays."""
        self._faulty = False
        for process in self._processes:
            process.rt._host.crash()  # noqa: SLF001  (the two are one piece)
            process.unplug()

    @property
    def trace(self) -> str:
        """Return a hash of all that has happened; two equal runs have the same."""
        return self._digest.hexdigest()

    @property
    def owners(self) -> list[Runtime]:
        """Return the runtimes that take themselves for the owner; never more than one."""
        return [each.rt for each in self._processes if each.rt.role == "owner"]

    # --- running -----------------------------------------------------------------------------

    def call(self, rt: Runtime, call: Callable[[], R]) -> R:
        """Make a call as that runtime's process, such as a tell, and return what it returns.

        Raises:
            Crashed: the process has crashed in it, and was started again.
            StoreError: the store refused.

        """
        process = next(each for each in self._processes if each.rt is rt)
        return self._within(process, call)

    def run(self, steps: int) -> None:
        """Do so many things; faults included."""
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        """Do one thing, drawn by the seed."""
        self.counts["steps"] += 1
        draw = self.random.random()
        process = self.random.choice(self._processes)
        if draw < 0.02:
            self._move()
        elif draw < 0.03 and self._faulty and self.random.random() < 100 * self._crashes:
            self._die(process)
        elif draw < 0.032 and self._faulty:
            self._try(process, partial(self._stop, process))
        else:
            self._go_on(process)

    def settle(self) -> None:
        """Let everything come to an end without further faults; the clock stands still.

        Raises:
            TimeoutError: something never ends, or waits for ever; the text says what.

        """
        faulty, self._faulty = self._faulty, False
        try:
            for count in range(MOST):
                process = self._processes[count % len(self._processes)]
                self._try(process, process.look)
                while any(self._try(each, each.work) for each in self._processes):
                    pass
                # Each has looked: where nobody owns the store, whoever stands by takes it over.
                if count >= len(self._processes) - 1 and self._quiet():
                    return
                if count > 200:
                    self._stuck()
        finally:
            self._faulty = faulty

    def advance(self, by: float | str | timedelta) -> None:
        """Settle, and move the clock from deadline to deadline up to a target."""
        target = self.clock.now() + duration(by)
        self.settle()
        while (due := self._deadline()) is not None and due <= target:
            self.clock.set(max(due, self.clock.now()))
            self.settle()
        self.clock.set(target)
        self.settle()

    # --- for the processes ------------------------------------------------------------------

    def note(self, what: str) -> None:
        """Add something that happened to the trace."""
        self._digest.update(f"{self.clock.now()} {what}\n".encode())

    def reached(self, process: Process, point: str) -> None:
        """Crash, refuse, or let others go on: a process is before or after the write of a commit.

        Raises:
            Crash: it ends here.
            StoreError: the store refuses.
            sqlite3.Error: its COMMIT fails.

        """
        self.note(f"{process.number} {point}")
        if process.dead:
            raise Crash(process)
        self.counts["commits"] += point == "committed"
        if not self._faulty:
            return
        if point in _FAILING:
            if self.random.random() < self._refusals * _FAILING[point]:
                self.counts["unclear"] += 1
                process.roll_back()
                raise _io_error()
            return
        self._may_crash(process)
        if point == "begin" and self.random.random() < self._refusals:
            self.counts["refusals"] += 1
            if self.random.random() < 0.5:
                raise StoreFull(28, "simulated: no room")
            raise StoreBusy("simulated: another connection holds the write lock")
        if len(self._running) <= _DEEPEST:
            for _ in range(self.random.randrange(4)):
                self.counts["meanwhile"] += 1
                self._go_on(self.random.choice(self._processes))
            self._may_crash(process)

    # --- inside ------------------------------------------------------------------------------

    def _may_crash(self, process: Process) -> None:
        if process.dead or self.random.random() < self._crashes:
            process.dead = True
            raise Crash(process)

    def _go_on(self, process: Process) -> None:
        """Have a process do something: its actors, its commits, a look, a call of the tester's."""
        draw = self.random.random()
        committing = process in self._running
        if draw < 0.05 and not committing:
            self._try(process, process.look)
        elif draw < 0.2 and self.act is not None and not committing:
            self._try(process, partial(self.act, process.rt))
        else:
            self._try(process, process.work)

    def _try(self, process: Process, call: Callable[[], Any]) -> Any:
        try:
            return self._within(process, call)
        except (Crashed, StoreError):
            return True

    def _within(self, process: Process, call: Callable[[], R]) -> R:
        """Make a call of a process; when it crashes there, start it anew."""
        self._running.append(process)
        try:
            result = call()
            if process.dead:  # a handler has caught it
                raise Crash(process)
        except Crash as crash:
            self._running.pop()
            if crash.process is not process or process in self._running:
                raise
            self._die(process)
            raise Crashed(f"{process.rt!r} has crashed") from crash
        except BaseException:
            self._running.pop()
            raise
        self._running.pop()
        return result

    def _die(self, process: Process) -> None:
        self.counts["crashes"] += 1
        self.note(f"{process.number} crashed")
        process.dead = False
        process.rt._host.crash()  # noqa: SLF001  (the two are one piece)
        process.forget()
        if self.random.random() < 0.5:  # others may be quicker
            for other in self._processes:
                if other is not process:
                    self._try(other, other.look)
        self._begin(process)

    def _stop(self, process: Process) -> None:
        """Stop a process in order, and start it again."""
        self.counts["stops"] += 1
        process.rt.stop()
        self._begin(process)

    def _begin(self, process: Process) -> None:
        """Start a process; it may crash, or be refused, in its start."""
        host = process.rt._host  # noqa: SLF001  (the two are one piece)
        while process.stands_by and not host.started:
            self._running.append(process)
            try:
                host.start(standby=True)
            except (Crash, StoreError):
                process.dead = False
                host.crash()
                process.forget()
            finally:
                self._running.pop()

    def _move(self) -> None:
        """Move the clock: to the next deadline, or a little before or beyond it."""
        due = self._deadline()
        by = self.random.choice((1, 1000, 1_000_000, 20_000_000))
        if due is None or self.random.random() < 0.2:
            due = self.clock.now() + by
        self.clock.set(max(self.clock.now(), due + self.random.choice((0, 0, -1, by))))

    def _deadline(self) -> int | None:
        steppers = [each.stepper for each in self._processes
                    if each.stepper is not None and each.rt.role == "owner"]  # fmt: skip
        dues = [each.next_deadline() for each in steppers]
        return min((due for due in dues if due is not None), default=None)

    def _quiet(self) -> bool:
        engines = [each.rt._host.engine for each in self._processes]  # noqa: SLF001
        return all(each.quiet for each in engines if each is not None) and not any(
            each.soon for each in self._processes
        )

    def _stuck(self) -> None:
        reasons = [reason for each in self._processes
                   if (engine := each.rt._host.engine) is not None  # noqa: SLF001
                   for reason in engine.unsettled()]  # fmt: skip
        msg = f"not settled, and nothing is left to be done: {', '.join(reasons)}"
        raise TimeoutError(msg)


def _io_error() -> sqlite3.Error:
    error = sqlite3.OperationalError("simulated: disk I/O error")
    error.sqlite_errorcode = 10
    return error
