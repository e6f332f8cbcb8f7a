"""What is simulated: two processes on one store under a mixed load.

What is promised of it is in simulated_model.py.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from callboard import (
    AskTimeout,
    CallboardError,
    Context,
    MailboxFull,
    ManualClock,
    Reject,
    RetryLater,
    RetryPolicy,
    Runtime,
    StoreError,
    Tick,
    WorkerActor,
)
from callboard.clock import SECOND
from callboard.runtime.simulation import Simulation

from .simulated_model import Model, Told, Violated, states

if TYPE_CHECKING:
    from pathlib import Path

TABLES = """
CREATE TABLE effect (id INTEGER PRIMARY KEY, name TEXT, number INTEGER, key TEXT, at INTEGER);
CREATE TABLE tick (id INTEGER PRIMARY KEY, at TEXT, missed INTEGER)"""
EFFECT = "INSERT INTO effect (name, number, key, at) VALUES (?, ?, ?, ?)"
ACCOUNTS = 3
FOREVER = 1 << 62


@dataclass
class Balance:
    """Of an account."""

    balance: int = 0


@dataclass
class Pages:
    """Of a diary: the numbers and names of what was handled, and how often it was asked."""

    pages: list[tuple[int, str]] = field(default_factory=list)
    asked: int = 0


class World:
    """Two processes on one store, each of which tells, and may own it."""

    def __init__(self, path: Path, seed: int, **chances: float) -> None:
        self.path = path
        connection = sqlite3.connect(path)
        connection.executescript(TABLES)
        connection.close()
        self._reading = sqlite3.connect(path, isolation_level=None)
        clock = ManualClock()
        self.model = Model()
        self.errors: list[BaseException] = []
        self.runtimes = [Runtime(path, clock=clock, durability="normal") for _ in range(2)]
        for rt in self.runtimes:
            self.declare(rt)
        self.simulation = Simulation(seed, *self.runtimes, **chances)
        self.random = self.simulation.random
        self.simulation.act = self.act
        self._count = 0
        self._named: dict[str, list[str]] = {}
        self._telling: set[str] = set()
        self._pauses = self.random.random() < 0.5
        self._paused = False
        self._pausing = False
        self._ticks: int | None = None

    # --- what is declared --------------------------------------------------------------------

    def declare(self, rt: Runtime) -> None:  # noqa: C901  (a list of mailboxes)
        """Declare the same in each process."""
        world = self

        def fail(message: dict[str, Any], context: Context) -> None:
            how = message["fails"]
            if how == "reject":
                raise Reject("not this one")
            if how == "later" and world.random.random() < 0.5:
                raise RetryLater(after=3)
            if isinstance(how, int) and context.attempt <= how:
                raise ValueError("as told")

        @rt.mailbox("note", workers=2, retry=RetryPolicy(attempts=4), topics="news")
        def note(message: dict[str, Any], context: Context) -> None:
            world.ran(message, context)
            context.execute(
                EFFECT, (message["name"], context.message_id, None, world.simulation.clock.now())
            )
            fail(message, context)

        @rt.mailbox("copy", workers=1, topics="news", retry=RetryPolicy(order="block"))
        def copy(message: dict[str, Any], context: Context) -> None:
            world.ran(message, context)
            context.execute(EFFECT, (message["name"], context.message_id, "copy", FOREVER))

        @rt.mailbox("full", capacity=3, overflow="reject")
        def full(message: dict[str, Any], context: Context) -> None:
            note(message, context)

        class Account(WorkerActor):
            state: Balance

            def on_receive(self, message: dict[str, Any]) -> None:
                assert self.context is not None
                self.state.balance += message["amount"]
                if message["what"] == "debit":
                    credit = {"what": "credit", "amount": -message["amount"]}
                    rt.tell("account", credit, key=message["to"])
                    world.ran(message, self.context)
                    self.context.execute(
                        EFFECT,
                        (message["name"], self.context.message_id, self.context.key, FOREVER),
                    )
                    fail(message, self.context)

        class Diary(WorkerActor):
            state: Pages

            def on_receive(self, message: dict[str, Any]) -> int:
                assert self.context is not None
                number = self.context.message_id
                if number > 0:
                    world.ran(message, self.context)
                    self.state.pages.append((number, message["name"]))
                    fail(message, self.context)
                else:
                    self.state.asked += 1
                return self.state.asked

        rt.mailbox("account", Account, keyed=True)
        rt.mailbox("diary", Diary, keyed=True, workers=2)

        @rt.mailbox("ticks")
        def beat(tick: Tick, context: Context) -> None:
            context.execute(
                "INSERT INTO tick (at, missed) VALUES (?, ?)", (tick.at.isoformat(), tick.missed)
            )

        rt.cron("* * * * * */30", name="beat", to="ticks", missed="all", overlap="allow")

    def ran(self, message: dict[str, Any], context: Context) -> None:
        """Tell the model that a handler begins; what it finds must not be taken for a failure."""
        try:
            self.model.ran(message["name"], context.message_id, self._reading)
        except Violated as error:
            self.errors.append(error)

    # --- what is done ------------------------------------------------------------------------

    def act(self, rt: Runtime) -> None:
        """Do one thing that a process of the user's does."""
        draw = self.random
        what = draw.choice((
            self.tell_note, self.tell_note, self.tell_timer, self.tell_timer, self.tell_account,
            self.tell_account, self.tell_diary, self.tell_diary, self.tell_full, self.publish,
            self.cancel, self.cancel, self.pause, self.ask,
        ))  # fmt: skip
        what(rt)

    def new(self, mailbox: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        self._count += 1
        name = f"{mailbox}-{self._count}"
        self.model.told[name] = Told(mailbox, sure=False)
        fails = self.random.choice((0, 0, 0, 0, 0, 1, 1, 2, "later", "reject"))
        return name, {"name": name, "fails": fails, **fields}

    def tell(self, rt: Runtime, mailbox: str, name: str, body: Any, **options: Any) -> bool:
        """Tell; what returns is sure, what the store refused is not there."""
        if options.get("after"):
            self.model.told[name].due = self.simulation.clock.now() + int(options["after"]) * SECOND
        try:
            rt.tell(mailbox, body, **options)
        except (StoreError, MailboxFull):
            del self.model.told[name]
            return False
        self.model.told[name].sure = True
        return True

    def tell_note(self, rt: Runtime) -> None:
        name, body = self.new("note")
        self.tell(rt, "note", name, body, priority=self.random.choice((0, 0, 3)))

    def tell_timer(self, rt: Runtime) -> None:
        name, body = self.new("note")
        after = self.random.choice((1, 5, 20))
        key = f"call-{self.random.randrange(4)}"
        if self.random.random() < 0.4:
            self.tell(rt, "note", name, body, after=after)
            return
        names = self._named.setdefault(key, [])
        names.append(name)
        self.model.perhaps.update(names[:-1])
        before = [each for each in names[:-1] if each not in self._telling]
        self._telling.add(name)
        try:
            told = self.tell(rt, "note", name, body, after=after, id=key)
            if told and names[-1] == name:
                self.model.replaced.update(before)
        finally:
            self._telling.discard(name)
            if names[-1] != name:  # another process has told meanwhile, before or after it
                self.model.perhaps.update(names)

    def tell_account(self, rt: Runtime) -> None:
        one, other = (str(self.random.randrange(ACCOUNTS)) for _ in range(2))
        name, body = self.new("account", what="debit", amount=-self.random.randrange(9), to=other)
        self.tell(rt, "account", name, body, key=one)

    def tell_diary(self, rt: Runtime) -> None:
        key = str(self.random.randrange(2))
        for _ in range(self.random.choice((1, 1, 4))):
            name, body = self.new("diary")
            self.tell(rt, "diary", name, body, key=key)

    def tell_full(self, rt: Runtime) -> None:
        name, body = self.new("full")
        self.tell(rt, "full", name, body)

    def publish(self, rt: Runtime) -> None:
        name, body = self.new("note")
        body["fails"] = 0
        self.model.told[name].copies = 2
        try:
            rt.publish("news", body)
        except StoreError:
            del self.model.told[name]
        else:
            self.model.told[name].sure = True

    def cancel(self, rt: Runtime) -> None:
        if not self._named:
            return
        key = self.random.choice(sorted(self._named))
        names = self._named[key]
        before = list(names)
        open_ = names[-1] in self._telling  # that tell may come after this cancel, or before it
        try:
            gone = rt.cancel("note", key)
        except StoreError:
            return
        finally:
            self.model.perhaps.update(names)
        if gone and names == before and not open_:
            self.model.cancelled.add(names[-1])

    def pause(self, rt: Runtime) -> None:
        """Pause the schedule, or let it go on; while it is paused it ticks nothing."""
        if not self._pauses or self._pausing:  # of two at once nobody knows which came last
            return
        before, self._ticks = self._ticks, None
        if self._paused and before is not None and self.ticks() != before:
            self.errors.append(Violated("a paused schedule has ticked"))
        self._pausing = True
        try:
            (rt.resume if self._paused else rt.pause)("beat")
        except StoreError:
            return
        finally:
            self._pausing = False
        self._paused = not self._paused
        self._ticks = self.ticks() if self._paused else None

    def ticks(self) -> int:
        """Return how many ticks were ever told."""
        connection = sqlite3.connect(self.path)
        (count,) = connection.execute(
            "SELECT (SELECT count(*) FROM tick) + (SELECT count(*) FROM callboard_message m "
            "JOIN callboard_mailbox b ON b.id = m.mailbox WHERE b.name = 'ticks')"
        ).fetchone()
        connection.close()
        return int(count)

    def ask(self, rt: Runtime) -> None:
        """Ask; what is answered is in the store."""
        if rt.role != "owner":
            return
        key = str(self.random.randrange(2))
        try:
            answer = rt.ask("diary", {"name": "ask"}, key=key, timeout=1.0)
        except (AskTimeout, CallboardError):
            return
        connection = sqlite3.connect(self.path)
        stored = dict(states(connection, "diary")).get(key, {"asked": 0})["asked"]
        connection.close()
        if stored < answer:
            self.errors.append(Violated(f"an ask was answered {answer}, stored is {stored}"))

    # --- all of it ---------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Run so many steps, let all end, and check.

        Raises:
            Violated: a promise was broken.

        """
        simulation = self.simulation
        simulation.start()
        try:
            for _ in range(steps):
                crashes = simulation.counts["crashes"]
                simulation.step()
                self.look()
                if simulation.counts["crashes"] > crashes:
                    self.model.check(self.path, ended=False)
            self.end()
        finally:
            simulation.close()
            self._reading.close()
        self.look()
        self.model.check(self.path, ended=True)
        if not self._pauses:
            self.model.check_ticks(self.path, 30)

    def look(self) -> None:
        """See at once what handlers and callers have found."""
        if self.errors:
            raise self.errors[0]
        if len(self.simulation.owners) > 1:
            raise Violated("two processes own the store")

    def end(self) -> None:
        """Let everything be handled; faults are over."""
        try:
            self.simulation.advance("3m")
        except TimeoutError as error:
            raise Violated(str(error)) from error


def simulate(path: Path, seed: int, steps: int = 300) -> World:
    """Run one seed; returns its world for its trace and counts.

    Raises:
        Violated: a promise was broken.

    """
    world = World(path, seed)
    world.run(steps)
    return world
