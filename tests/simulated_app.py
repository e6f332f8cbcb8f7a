"""What the simulated processes declare: a mailbox for each thing that may go wrong.

Each handler writes a row of its own in its turn, and fails as its message says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from callboard import Context, Reject, RetryLater, RetryPolicy, Runtime, Tick, WorkerActor

from .simulated_model import PERIOD, RATE

if TYPE_CHECKING:
    from .simulated import World

TABLES = """
CREATE TABLE effect (id INTEGER PRIMARY KEY, name TEXT, number INTEGER, key TEXT, at INTEGER);
CREATE TABLE tick (id INTEGER PRIMARY KEY, at TEXT, missed INTEGER)"""
EFFECT = "INSERT INTO effect (name, number, key, at) VALUES (?, ?, ?, ?)"
TICK = "INSERT INTO tick (at, missed) VALUES (?, ?)"
EVERY = 30
FOREVER = 1 << 62
MANY = 1000


class Down(Exception):
    """What an actor needs is down: it is restarted, and its message is not to blame."""


@dataclass
class Balance:
    """Of an account, and how often it was asked."""

    balance: int = 0
    asked: int = 0


@dataclass
class Pages:
    """Of a diary: the numbers and names of what was handled, and how often it was asked."""

    pages: list[tuple[int, str]] = field(default_factory=list)
    asked: int = 0


def fail(world: World, message: dict[str, Any], context: Context) -> None:
    """Fail as the message says."""
    how = message["fails"]
    if how == "reject":
        raise Reject("not this one")
    if how == "later" and world.random.random() < 0.5:
        raise RetryLater(after=3)
    if isinstance(how, int) and context.attempt <= how:
        raise ValueError("as told")


class Actor(WorkerActor):
    """One that is restarted now and then, at its start and by its messages."""

    restart_on = (Down,)
    world: ClassVar[Any]  # a World: annotations are the schema, and read at run time
    down = False

    def on_start(self) -> None:
        self.go_down(0.03)

    def begin(self, message: dict[str, Any]) -> Context:
        """See that this is not the object that has crashed."""
        assert self.context is not None
        if self.down:
            self.world.violated(f"{message} came to an object that was to be built anew")
        return self.context

    def end(self, message: dict[str, Any], context: Context) -> None:
        if message["fails"] == "down":
            if context.attempt > 1:
                self.world.violated(f"a restart was counted as an attempt of {message}")
            self.go_down(0.5)
        fail(self.world, message, context)

    def go_down(self, chance: float) -> None:
        if self.world.faulty and self.world.random.random() < chance:
            self.down = True
            raise Down("for a while")


def declare(world: World, rt: Runtime, strategy: Any) -> None:
    """Declare the same in each process."""
    _declare_functions(world, rt)
    _declare_actors(world, rt, strategy)
    rt.cron(f"* * * * * */{EVERY}", name="beat", to="ticks", missed="all", overlap="allow")


def _declare_functions(world: World, rt: Runtime) -> None:
    def write(message: dict[str, Any], context: Context, key: str | None = None) -> None:
        at = world.simulation.clock.now()
        context.execute(EFFECT, (message["name"], context.message_id, key, at))

    @rt.mailbox("note", workers=2, retry=RetryPolicy(attempts=4), topics="news")
    def note(message: dict[str, Any], context: Context) -> None:
        world.ran(rt, message, context)
        write(message, context)
        fail(world, message, context)

    @rt.mailbox("copy", workers=1, topics="news", retry=RetryPolicy(order="block"))
    def copy(message: dict[str, Any], context: Context) -> None:
        world.ran(rt, message, context)
        write(message, context, "copy")

    @rt.mailbox("full", capacity=3, overflow="reject")
    def full(message: dict[str, Any], context: Context) -> None:
        note(message, context)

    @rt.mailbox("paced", workers=2, rate=f"{RATE}/{PERIOD}s")
    def paced(message: dict[str, Any], context: Context) -> None:
        world.ran(rt, message, context, paced=True)
        write(message, context)
        fail(world, message, context)

    @rt.mailbox("clerk", workers=2)
    def clerk(message: dict[str, Any], context: Context) -> None:
        """Move money by an ask, which commits by itself, and before this turn."""
        world.ran(rt, message, context)
        move = {"what": "debit", "amount": message["amount"], "to": message["to"]}
        answer = rt.ask("account", move, key=message["key"], timeout=1.0)
        world.answered("account", message["key"], answer)
        write(message, context)
        fail(world, message, context)

    @rt.mailbox("ticks")
    def beat(tick: Tick, context: Context) -> None:
        context.execute(TICK, (tick.at.isoformat(), tick.missed))


def _declare_actors(world: World, rt: Runtime, strategy: Any) -> None:
    here = world

    class Account(Actor):
        world = here
        state: Balance

        def on_receive(self, message: dict[str, Any]) -> int:
            context = self.begin(message)
            self.state.balance += message["amount"]
            if message["what"] == "debit":
                credit = {"what": "credit", "amount": -message["amount"]}
                rt.tell("account", credit, key=message["to"])
            if context.message_id < 0:
                self.state.asked += 1
            elif message["what"] == "debit":
                world.ran(rt, message, context)
                row = (message["name"], context.message_id, context.key, FOREVER)
                context.execute(EFFECT, row)
                self.end(message, context)
            return self.state.asked

    class Diary(Actor):
        world = here
        state: Pages

        def on_receive(self, message: dict[str, Any]) -> int:
            context = self.begin(message)
            number = context.message_id
            if number > 0:
                world.ran(rt, message, context)
                self.state.pages.append((number, message["name"]))
                self.end(message, context)
            else:
                self.state.asked += 1
            return self.state.asked

    team = rt.supervisor("team", strategy=strategy, intensity=MANY, period=1.0)
    rt.mailbox("account", Account, keyed=True, supervisor=team)
    rt.mailbox("diary", Diary, keyed=True, workers=2, supervisor=team)
