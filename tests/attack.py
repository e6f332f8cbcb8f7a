"""The crash harness: real processes under the mixed load, their owner killed again and again.

``attack(folder, kills=..., seed=...)`` is one run; ``python -m tests.attack`` is ``make crash``.
What is killed when is decided by the seed; where a kill strikes is up to the machine.
"""

from __future__ import annotations

import argparse
import random
import signal
import statistics
import sys
import tempfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from callboard import StoreError
from callboard.clock import SystemClock, monotonic
from callboard.runtime.ownership import Ownership

from .backup import Backup
from .invariants import INTENTS, KILLED, Reign, check, check_reigns, check_waits
from .load import Owner, Visitor, until
from .load_app import STORE, Item, Ledger, build, make_tables
from .load_reading import began, read_ledgers, read_store, waiting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds within which all that waits must be handled while an owner lives.
DRAINED = 30.0
#: Seconds that a message to a quiet owner may wait: half of them, and any.
QUIET_MEDIAN, QUIET_WORST = 0.75, 8.0
_PROBES = 7
_LINGER = 0.002
_SECOND = 1_000_000


@dataclass(slots=True)
class Report:
    """What an attack has found.

    Attributes:
        seed: of its choices.
        kills: of owners.
        client_kills: of clients.
        strikes: how often each sort was chosen.
        moments: what each kill met: an owner that was starting, taking over, at work, ...
        messages: that clients were told are on disk.
        effects: handled ones, those that handlers told and ticks included.
        runs: of handlers; the difference to the effects is what ran again.
        dead: dead letters that kills made: they were running at three of them.
        recoveries: seconds from each kill to the first handler that the next owner began.
        waits: seconds that messages waited beside a quiet owner, in the end.
        seconds: from the first message to the last.
        violations: every broken promise, a line each.

    """

    seed: int
    kills: int = 0
    client_kills: int = 0
    strikes: Counter[str] = field(default_factory=Counter)
    moments: Counter[str] = field(default_factory=Counter)
    messages: int = 0
    effects: int = 0
    runs: int = 0
    dead: int = 0
    recoveries: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def count(self, kind: str) -> int:
        """Return how many violations are of a kind: ``lost``, ``doubled``, ..."""
        return sum(each.startswith(f"{kind}:") for each in self.violations)

    def __str__(self) -> str:
        """Return the figures, one a line."""
        recoveries = sorted(self.recoveries) or [0.0]
        strikes, moments = (", ".join(f"{kind} {n}" for kind, n in sorted(counted.items()))
                            for counted in (self.strikes, self.moments))  # fmt: skip
        rate = self.effects / max(self.seconds, 0.001)
        median, worst = statistics.median(recoveries), recoveries[-1]
        lines = [
            f"seed {self.seed}, {self.seconds:.0f} s: {strikes}",
            f"owners killed {self.kills}, clients killed {self.client_kills}",
            f"met: {moments}",
            f"messages told {self.messages:,}, effects {self.effects:,}, {rate:.0f} a second",
            f"lost {self.count('lost')}, doubled {self.count('doubled')}",
            f"run again {self.runs - self.effects:,}, dead by three kills {self.dead}",
            f"recovery {median:.2f} s in the median, {worst:.2f} s at worst",
            f"beside a quiet owner waited {max(self.waits, default=0):.4f} s at worst",
            f"violations {len(self.violations)}",
        ]
        return "\n".join((*lines, *self.violations[:50]))


def attack(
    folder: Path, *, kills: int = 200, seed: int = 1, clients: int = 3, every: int = 1,
    strikes: Sequence[str] = (),
) -> Report:  # fmt: skip
    """Run the load, kill its owners, and compare what was told with what was done.

    Args:
        folder: empty; for the store, the clients' ledgers and what handlers ran.
        kills: of owners.
        seed: of all choices.
        clients: side by side.
        every: after so many kills the invariants are checked in the middle of it all.
        strikes: these alone, by the names that the report has for them; none: all sorts.

    """
    return _Attack(folder, kills, seed, clients, every, strikes).run()


class _Attack:
    """One run. Used from one thread."""

    def __init__(  # noqa: PLR0917  (built by one caller)
        self, folder: Path, kills: int, seed: int, clients: int, every: int, strikes: Sequence[str]
    ) -> None:
        """Start nothing yet."""
        self.report = Report(seed)
        self._folder = folder
        self._kills = kills
        self._clients = clients
        self._every = every
        self._random = random.Random(seed)
        self._owner: Owner
        self._standbys: list[Owner] = []
        self._visitors: list[Visitor] = []
        self._ended: list[tuple[Owner, float]] = []
        self._n = 0
        self._ownership = Ownership(folder / f"{STORE}.callboard" / "owner")
        sorts: tuple[Callable[[], None], ...] = (
            self._alone, self._alone, self._starting, self._taken_over, self._taken_over,
            self._taking_over, self._rival, self._backing_up, self._stopped,
        )  # fmt: skip
        self._strikes = [each for each in sorts if not strikes or _name(each) in strikes]

    def run(self) -> Report:
        """Do it all; every process has ended when it returns."""
        make_tables(self._folder / STORE)
        try:
            self._owner = self._start()
            self._owner.wait_for("owner")
            for _ in range(self._clients):
                self._visit()
            begun = monotonic()
            while self.report.kills < self._kills and not self.report.violations:
                self._strike()
            self._finish()
            self.report.seconds = monotonic() - begun
            self._last_look()
        except AssertionError as error:
            self.report.violations += [f"stuck: {error}", *check_reigns(self._reigns())]
        finally:
            for each in (*self._visitors, *self._standbys, self._owner):
                each.kill()
        return self.report

    # --- strikes -----------------------------------------------------------------------------

    def _strike(self) -> None:
        strike = self._random.choice(self._strikes)
        self.report.strikes[_name(strike)] += 1
        before = self.report.kills
        strike()
        if self._random.random() < 1 / 8:
            self._kill_visitor()
        if before // self._every != self.report.kills // self._every:
            self._look()

    def _alone(self) -> None:
        """Kill the owner while nobody stands by; the next is a new process."""
        self._work()
        killed = self._kill()
        self._owner = self._start()
        self._recovered(killed)

    def _starting(self) -> None:
        """Kill the next owner while it starts, wherever it is."""
        self._work()
        self._kill()
        self._owner = self._start()
        self._pause(0.35)
        killed = self._kill("starting")
        self._owner = self._start()
        self._recovered(killed)

    def _taken_over(self) -> None:
        """Kill the owner beside a standby."""
        self._stand_by(1)
        self._work()
        self._taken(self._kill())

    def _taking_over(self) -> None:
        """Kill two owners in turn: the second while it takes over from the first."""
        self._stand_by(2)
        self._work()
        self._kill()
        pids = {each.process.pid: each for each in self._standbys}
        until("a standby takes the lock", lambda: self._ownership.owner() in pids)
        self._owner = pids[self._ownership.owner() or 0]
        self._standbys.remove(self._owner)
        self._pause(0.03)
        self._taken(self._kill("taking over"))

    def _stopped(self) -> None:
        """Stop the owner beside a standby, kill it as it is or let it go on: it owns till then."""
        self._stand_by(1)
        self._work()
        self._owner.process.send_signal(signal.SIGSTOP)
        self._pause(0.5)
        if self._standbys[0].said("owner") is not None:
            self.report.violations.append("owners: a standby was let in beside a stopped owner")
        if self._random.random() < 1 / 2:
            self._owner.process.send_signal(signal.SIGCONT)
            self._pause(0.25)
            self._taken(self._kill("gone on after a stop"))
        else:
            self._taken(self._kill("stopped"))

    def _rival(self) -> None:
        """Start another owner beside the living one: it must be refused."""
        rival = Owner(self._folder, linger=_LINGER, standby=False)
        until("a rival is refused or owns", partial(_either, rival, "refused", "owner"))
        if rival.said("owner") is not None:
            self.report.violations.append("owners: a rival was let in while the owner lived")
        self._ended.append((rival, monotonic()))
        rival.kill()
        self._alone()

    def _backing_up(self) -> None:
        """Kill the owner in the middle of a backup, or the backup; the copy satisfies all."""
        self._work()
        self._n += 1
        with Backup(self._folder / STORE, self._folder / f"copy-{self._n}") as backup:
            while not backup.copy.exists() and backup.process.poll() is None:
                """Look again at once: it is whole some milliseconds later."""
            if self._random.random() < 1 / 3:
                backup.kill()
                self.report.moments["backups killed"] += 1
                self._alone()
                return
            killed = self._kill("a backup")
            self.report.moments["of these under way"] += backup.process.poll() is None
            self._owner = self._start()
            self._recovered(killed)
            assert backup.end() == 0, f"the backup failed: {backup.lines}"
            seen = read_store(self._folder, store=backup.copy, runs=False)
            self._found(check((), seen), "copy ")
        backup.copy.unlink()

    # --- processes ---------------------------------------------------------------------------

    def _start(self) -> Owner:
        return Owner(self._folder, linger=_LINGER)

    def _stand_by(self, count: int) -> None:
        self._standbys = [self._start() for _ in range(count)]
        for each in self._standbys:
            until("one stands by", partial(_either, each, "standby", "owner"))
            if each.said("standby") is None:
                raise AssertionError("a second process owns the store beside its living owner")

    def _visit(self) -> None:
        self._n += 1
        seed = self._random.randrange(1 << 30)
        self._visitors.append(Visitor(self._folder, f"v{self._n}", seed=seed))
        self._visitors[-1].wait_for("up")

    def _kill_visitor(self) -> None:
        self._visitors.pop(self._random.randrange(len(self._visitors))).kill()
        self.report.client_kills += 1
        self._visit()

    def _work(self) -> None:
        """Let the owner be at work for a moment."""
        until("a handler runs", lambda: self._owner.said("work"))
        self._pause(0.25)

    def _kill(self, where: str = "") -> float:
        """Kill the owner; the report counts where, and how far it had come."""
        at = monotonic()
        self._ended.append((self._owner, at))
        code = self._owner.process.poll()
        if code is not None:
            self.report.violations.append(f"ended: an owner, with {code}: {self._owner.lines[-3:]}")
        self._owner.kill()
        self.report.kills += 1
        self.report.moments[f"{where} {_progress(self._owner)}".strip()] += 1
        return at

    def _taken(self, killed: float) -> None:
        """Go on with the standby."""
        self._owner = self._standbys.pop()
        self._recovered(killed)

    def _recovered(self, killed: float) -> None:
        until("a handler runs after the kill", lambda: self._owner.said("work"))
        self.report.recoveries.append((self._owner.said("work") or killed) - killed)

    def _pause(self, longest: float) -> None:
        threading.Event().wait(self._random.uniform(0.0, longest))

    # --- looking -----------------------------------------------------------------------------

    def _look(self) -> None:
        """Check in the middle of it all; what was cancelled or replaced meanwhile may be gone."""
        lines = read_ledgers(self._folder)
        seen = read_store(self._folder)
        lines += [each for each in read_ledgers(self._folder) if each.what in INTENTS]
        self._found(check(lines, seen))

    def _found(self, violations: Sequence[str], where: str = "") -> None:
        after = f" (after {self.report.kills} kills)"
        self.report.violations += [f"{each}{after}{where}" for each in violations]

    def _finish(self) -> None:
        for each in self._visitors:
            each.stop()
        until("all is handled", lambda: not waiting(self._folder), DRAINED)

    def _last_look(self) -> None:
        ticked = SystemClock().now() - 2 * _SECOND
        self._probe()
        self._ended.append((self._owner, monotonic()))
        code = self._owner.stop()
        if code:
            self.report.violations.append(f"ended: the last owner, with {code}")
        lines, seen = read_ledgers(self._folder), read_store(self._folder, ticked=ticked)
        self._found(check(lines, seen))
        self._found(check_reigns(self._reigns()))
        self._found(check_waits(self.report.waits, QUIET_MEDIAN, QUIET_WORST))
        self.report.messages = sum(each.what == "told" for each in lines)
        self.report.effects = len(seen.effects)
        self.report.runs = seen.ran.total()
        self.report.dead = sum(each.error.startswith(KILLED) for each in seen.dead)

    def _probe(self) -> None:
        """Tell a quiet owner single messages: nothing but the doorbell and the pulse wakes it."""
        rt = build(self._folder / STORE)
        ledger, clock = Ledger(self._folder / "ledger" / "probe"), SystemClock()
        for n in range(_PROBES):
            self._pause(0.2)
            tag = f"probe-{n}"
            try:
                number = rt.tell("plain", Item(tag))
            except StoreError as error:
                self.report.violations.append(f"probe: {error}")
                break
            at = clock.now()
            ledger.write("told", "plain", tag, number=number)
            until(f"{tag} is handled", partial(began, self._folder, "plain", tag))
            wait = (began(self._folder, "plain", tag) or at) - at
            self.report.waits.append(max(0.0, wait / _SECOND))
        rt.stop()

    def _reigns(self) -> list[Reign]:
        found = []
        for owner, ended in self._ended:
            since, lost = owner.said("owner"), owner.said("lost")
            if since is not None:
                name = f"process {owner.process.pid}"
                found.append(Reign(name, since, ended, lost=lost is not None and lost < ended))
        return found


def _name(strike: Callable[[], None]) -> str:
    """Return the name that people know it by."""
    return strike.__name__.strip("_").replace("_", " ")


def _either(owner: Owner, *words: str) -> bool:
    """Say whether it said one of these words."""
    return any(owner.said(word) is not None for word in words)


def _progress(owner: Owner) -> str:
    """Say how far one had come that has ended."""
    if owner.said("work") is not None:
        return "at work"
    return "before any handler" if owner.said("owner") is not None else "before it owned"


def main() -> int:
    """Run one attack and print what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(1_000_000) if options.seed is None else options.seed
    print(f"crash: {options.kills} kills, seed {seed}", flush=True)  # noqa: T201
    with tempfile.TemporaryDirectory(prefix="callboard-crash-") as work:
        report = attack(Path(work), kills=options.kills, seed=seed)
    print(report)  # noqa: T201
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
