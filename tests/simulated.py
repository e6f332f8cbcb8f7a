"""What is simulated: two processes on one store under a mixed load.

What they declare is in simulated_app.py, what is promised of it in simulated_model.py.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from callboard import (
    AskTimeout,
    CallboardError,
    Context,
    MailboxFull,
    ManualClock,
    Runtime,
    StoreError,
)
from callboard.clock import SECOND
from callboard.runtime.simulation import Simulation

from .simulated_app import EVERY, TABLES, declare
from .simulated_model import SPAN, Model, Told, Violated, states

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = 3
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")


class World:
    """Two processes on one store, each of which tells, and may own it."""

    def __init__(self, path: Path, seed: int, **chances: float) -> None:
        self.path = path
        self._reading = sqlite3.connect(path, isolation_level=None)
        self._reading.execute("PRAGMA journal_mode = WAL")
        self._reading.executescript(TABLES)
        shape = Random(seed)
        paths = [path, second_path(path, shape.choice(("same", "same", "symbolic", "hard")))]
        #: Both processes may take themselves for the owner: their locks are not the same.
        self.two_paths = paths[1].resolve() != path.resolve()
        clock = ManualClock()
        self.model = Model(clock)
        self.errors: list[BaseException] = []
        self.faulty = True
        self.runtimes = [Runtime(each, clock=clock, durability="normal") for each in paths]
        strategy = shape.choice(STRATEGIES)
        for rt in self.runtimes:
            declare(self, rt, strategy)
        self.simulation = Simulation(seed, *self.runtimes, **chances)
        self.random = self.simulation.random
        self.simulation.act = self.act
        self._count = 0
        self._named: dict[str, list[str]] = {}
        self._telling: set[str] = set()
        # Future calls without an id.
        self._calls: dict[str, int] = {}
        self._pauses = self.random.random() < 0.5
        self._paused = False
        self._pausing = False
        self._ticks: int | None = None

    # --- for the handlers --------------------------------------------------------------------

    def violated(self, what: str) -> None:
        """Note what a handler has found: raised there, it would be taken for a failure of its."""
        self.errors.append(Violated(what))

    def ran(
        self, rt: Runtime, message: dict[str, Any], context: Context, *, paced: bool = False
    ) -> None:
        """Tell the model that a handler begins.

        What an owner runs whose epoch is over it can never commit, and it has not found out yet.
        """
        if self.two_paths and rt._host.committer.epoch != self.epoch():
            return
        try:
            self.model.ran(message["name"], context.message_id, self._reading)
            if paced:
                self.model.started()
        except Violated as error:
            self.errors.append(error)

    def answered(self, mailbox: str, key: str, answer: int) -> None:
        """See that what was answered is in the store."""
        stored = dict(states(self._reading, mailbox)).get(key, {"asked": 0})["asked"]
        if stored < answer:
            self.violated(f"an ask was answered {answer}, stored is {stored}")

    def epoch(self) -> int:
        """Return the epoch that stands in the store."""
        return int(self._reading.execute("SELECT epoch FROM callboard_counter").fetchone()[0])

    # --- what is done ------------------------------------------------------------------------

    def act(self, rt: Runtime) -> None:
        """Do one thing that a process of the user's does."""
        draw = self.random
        what = draw.choice((
            self.tell_note, self.tell_note, self.tell_timer, self.tell_timer, self.tell_account,
            self.tell_account, self.tell_diary, self.tell_diary, self.tell_full, self.tell_paced,
            self.tell_once, self.tell_once, self.tell_clerk, self.publish, self.cancel, self.cancel,
            self.cancel_call, self.pause, self.ask,
        ))  # fmt: skip
        what(rt)

    def new(self, mailbox: str, **fields: Any) -> tuple[str, dict[str, Any]]:
        self._count += 1
        name = f"{mailbox}-{self._count}"
        self.model.told[name] = Told(mailbox, at=self.simulation.clock.now(), sure=False)
        fails = self.random.choice((0, 0, 0, 0, 0, 1, 1, 2, "later", "reject", "down"))
        return name, {"name": name, "fails": fails, **fields}

    def tell(self, rt: Runtime, mailbox: str, name: str, body: Any, **options: Any) -> int | None:
        """Tell; what returns is sure, what the store refused is not there, unless it says so."""
        told = self.model.told[name]
        if options.get("after"):
            told.due = told.at + int(options["after"]) * SECOND
        if options.get("expires"):
            told.expires = (told.due or told.at) + int(options["expires"]) * SECOND
        try:
            number = rt.tell(mailbox, body, **options)
        except (StoreError, MailboxFull) as error:
            if not getattr(error, "unclear", False):
                del self.model.told[name]
            return None
        told.sure = True
        return number

    def tell_note(self, rt: Runtime) -> None:
        name, body = self.new("note")
        self.tell(rt, "note", name, body, priority=self.random.choice((0, 0, 3)))

    def tell_timer(self, rt: Runtime) -> None:
        name, body = self.new("note")
        after = self.random.choice((1, 5, 20))
        expires = self.random.choice((None, None, 2))
        key = f"call-{self.random.randrange(4)}"
        if self.random.random() < 0.4:
            number = self.tell(rt, "note", name, body, after=after, expires=expires)
            if number is not None:
                self._calls[name] = number
            return
        names = self._named.setdefault(key, [])
        names.append(name)
        self.model.perhaps.update(names[:-1])
        before = [each for each in names[:-1] if each not in self._telling]
        self._telling.add(name)
        try:
            told = self.tell(rt, "note", name, body, after=after, expires=expires, id=key)
            if told is not None and names[-1] == name:
                self.model.replaced.update(before)
        finally:
            self._telling.discard(name)
            if names[-1] != name:  # another process has told meanwhile, before or after it
                self.model.perhaps.update(names)

    def tell_once(self, rt: Runtime) -> None:
        """Tell what may have been told a while ago."""
        id_ = f"once-{self.random.randrange(3)}"
        name, body = self.new("note")
        self.model.telling_once(id_, name)
        if self.tell(rt, "note", name, body, id=id_, dedupe=SPAN) == 0:
            self.model.kept_out(id_, name)

    def tell_paced(self, rt: Runtime) -> None:
        """Tell to where a few wait always, some of them in vain."""
        for _ in range(2):
            name, body = self.new("paced")
            self.tell(rt, "paced", name, body, expires=self.random.choice((None, 4, 20)))

    def tell_clerk(self, rt: Runtime) -> None:
        one, other = (str(self.random.randrange(ACCOUNTS)) for _ in range(2))
        name, body = self.new("clerk", amount=-self.random.randrange(9), key=one, to=other)
        self.tell(rt, "clerk", name, body)

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
        except StoreError as error:
            if not error.unclear:
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

    def cancel_call(self, rt: Runtime) -> None:
        """Cancel by its number what has no id, which is not looked up each by itself."""
        if not self._calls:
            return
        name = self.random.choice(list(self._calls)[-4:])
        number = self._calls.pop(name)
        self.model.perhaps.add(name)
        with suppress(StoreError):
            if rt.cancel("note", number):
                self.model.cancelled.add(name)
            else:
                self.model.perhaps.discard(name)

    def pause(self, rt: Runtime) -> None:
        """Pause the schedule, or let it go on; while it is paused it ticks nothing."""
        if not self._pauses or self._pausing:  # of two at once nobody knows which came last
            return
        before, self._ticks = self._ticks, None
        if self._paused and before is not None and self.ticks() != before:
            self.violated("a paused schedule has ticked")
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
        (count,) = self._reading.execute(
            "SELECT (SELECT count(*) FROM tick) + (SELECT count(*) FROM callboard_message m "
            "JOIN callboard_mailbox b ON b.id = m.mailbox WHERE b.name = 'ticks')"
        ).fetchone()
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
        self.answered("diary", key, answer)

    # --- all of it ---------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Run so many steps, let all end, and check.

        Raises:
            Violated: a promise was broken.

        """
        simulation = self.simulation
        try:
            simulation.start()
            for _ in range(steps):
                crashes = simulation.counts["crashes"]
                simulation.step()
                self.look(several=self.two_paths)
                if simulation.counts["crashes"] > crashes:
                    self.model.check(self.path, ended=False)
            self.end()
            self.look()
        finally:
            simulation.close()
            self._reading.close()
        self.model.check(self.path, ended=True)
        if not self._pauses:
            self.model.check_ticks(self.path, EVERY)

    def look(self, *, several: bool = False) -> None:
        """See at once what handlers and callers have found."""
        if self.errors:
            raise self.errors[0]
        if len(self.simulation.owners) > 1 and not several:
            raise Violated("two processes own the store")

    def end(self) -> None:
        """Let everything be handled; faults are over."""
        self.faulty = False
        try:
            self.simulation.advance("3m")
        except TimeoutError as error:
            raise Violated(str(error)) from error


def second_path(path: Path, how: str) -> Path:
    """Return another path to the store's file, as a link or a second mount makes it."""
    if how == "same":
        return path
    folder = path.with_name(f"{path.stem}-elsewhere")
    if how == "symbolic":
        folder.symlink_to(path.parent, target_is_directory=True)
        return folder / path.name
    folder.mkdir()
    for each in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm"))):
        os.link(each, folder / each.name)
    return folder / path.name


def simulate(path: Path, seed: int, steps: int = 300) -> World:
    """Run one seed; returns its world for its trace and counts.

    Raises:
        Violated: a promise was broken.

    """
    world = World(path, seed)
    world.run(steps)
    return world
