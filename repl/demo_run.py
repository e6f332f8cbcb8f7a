"""One run of the demo: feed the service, look how far it is, kill it, start it again."""

from __future__ import annotations

import json
import selectors
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..clock import monotonic
from ..errors import CallboardError
from .demo_app import AT_WORK, INTERIM, REPORT_EVERY, Batch, Overview, Package, Report, build
from .demo_bar import Bar, Progress
from .demo_child import Child
from .demo_report import Figures

if TYPE_CHECKING:
    from pathlib import Path

    from ..runtime.records import MailboxInfo
    from .demo_plan import Plan

#: Seconds between two looks.
_LOOK = 0.004
#: Seconds without any progress after which the run has failed.
PATIENCE = 30.0
#: Nothing waits and files are missing: so many seconds later they are lost.
_QUIET = 1.0
_STOP = 20.0
#: How the error of a dead letter begins that was running whenever the process died: our doing.
_KILLED = "its process died"


class DemoFailed(CallboardError):
    """A total is not equal, or the run did not come to its end."""


class Run:
    """Orchestrates the processes. Used from one thread.

    Args:
        plan: what to do when.
        store: of the service.
        work: a folder for logs.
        bar: shows progress.

    """

    def __init__(self, plan: Plan, store: Path, work: Path, bar: Bar) -> None:
        """Start nothing yet."""
        self.plan = plan
        self.figures = Figures(plan.seed, kills_wanted=len(plan.kills))
        self._store = store
        self._work = work
        self._bar = bar
        self._rt = build(store)
        self._selector = selectors.DefaultSelector()
        self._listened: set[Child] = set()
        self._progress = Progress(len(plan.files), len(plan.kills))
        self._boxes: dict[str, MailboxInfo] = {}
        self._owner: Child
        self._client: Child
        self._at_work = False
        self._batches = 0
        self._strike_at: float | None = None
        self._startup = 0.5
        self._began: float | None = None
        self._killed_at: float | None = None
        self._down_since: float | None = None
        self._quiet_since: float | None = None
        self._moved = (monotonic(), (0, 0, 0, 0))
        self._kept_dead = 0

    # --- the run -----------------------------------------------------------------------------

    def drive(self) -> Figures:
        """Run until every file has gone its way, or cannot any more.

        Raises:
            DemoFailed: a process ended by itself, or nothing moves any more.

        """
        with ExitStack() as stack:
            stack.callback(self._rt.stop)
            stack.callback(self._bar.clear)
            stack.callback(self._selector.close)
            self._rt.tell("overview", Report(), after=REPORT_EVERY, id=INTERIM)
            self._start_client()
            stack.callback(self._client.kill)
            self._start_owner()
            stack.callback(self._end_owner)  # whichever it is then
            while not self._over():
                self._step()
            self.figures.seconds = monotonic() - (self._began or monotonic())
            self._finish()
        return self.figures

    def collect(self) -> tuple[dict[str, Package], Overview]:
        """Read every total; to be called when the service has ended."""
        packages = dict.fromkeys(each.package for each in self.plan.files)
        found = {name: self._rt.state("packages", name) for name in packages}
        overview: Overview = self._rt.state("overview")
        self._rt.stop()
        handled = sum(sum(each.files.values()) for each in found.values())
        figures = self.figures
        figures.handled = 2 * handled + overview.files + self._batches + overview.reports
        figures.reports = overview.reports
        return {name: each for name, each in found.items() if each.files}, overview

    def _step(self) -> None:
        self._listen()
        self._look()
        self._give_back()
        self._feed()
        self._strike()
        self._check()
        self._bar.draw(self._progress)

    def _over(self) -> bool:
        """Say whether nothing is left to do; files that are missing then are lost."""
        ended = self._client.poll() == 0 and self._batches == len(self.plan.batches)
        waits = sum(box.waiting for box in self._boxes.values())
        waits += sum(box.later for name, box in self._boxes.items() if name != "overview")
        if not ended or waits or not self._boxes:
            self._quiet_since = None
            return False
        if self._quiet_since is None:
            self._quiet_since = monotonic()
        enough = self._progress.counted >= len(self.plan.files)
        return enough or monotonic() - self._quiet_since > _QUIET

    def _finish(self) -> None:
        """End the future call and the service, in good order."""
        self._progress.doing = "ending"
        until = monotonic() + PATIENCE
        self._rt.cancel("overview", INTERIM)
        while self._boxes["overview"].later or self._boxes["overview"].waiting:
            if monotonic() > until:
                msg = f"the future call {INTERIM!r} was cancelled and is still there"
                raise DemoFailed(msg)
            self._listen()
            self._look()
        code = self._owner.end(_STOP)
        if code != 0:
            how = f"did not end within {_STOP:g} s" if code is None else f"ended with code {code}"
            msg = f"the service {how} after SIGTERM; it said: {self._owner.last_words()}"
            raise DemoFailed(msg)

    # --- watching ----------------------------------------------------------------------------

    def _listen(self) -> None:
        """Wait a moment, and hear what the children say meanwhile."""
        for key, _ in self._selector.select(_LOOK):
            child: Child = key.data
            if not child.hear():
                self._hang_up(child)
        if not self._at_work and self._owner.output.startswith(AT_WORK):
            self._works()
        posted = self._client.output.split(b"\n")
        self.figures.told_by_client = int(posted[-2]) if len(posted) > 1 else 0

    def _works(self) -> None:
        now = monotonic()
        self._at_work = True
        self._startup = now - self._owner.started
        self._began = self._began or now
        self._progress.doing = "at work"
        if self._killed_at is not None:
            self.figures.recoveries.append(now - self._killed_at)
        if self._down_since is not None:
            self.figures.down += now - self._down_since
        self._killed_at = self._down_since = None

    def _look(self) -> None:
        self._boxes = {box.name: box for box in self._rt.mailboxes()}
        overview: Overview = self._rt.state("overview")
        progress = self._progress
        progress.counted = overview.files
        progress.lines = overview.reported_lines
        progress.told = self.figures.told_by_client + self.figures.told_by_owner
        progress.killed = self.figures.kills

    @property
    def _waiting(self) -> int:
        return sum(box.waiting for box in self._boxes.values())

    def _check(self) -> None:
        """Fail when a process has ended by itself, or when nothing moves any more."""
        for name, child, code in (
            ("service", self._owner, self._owner.poll()),
            ("posting client", self._client, self._client.poll() or None),
        ):
            if code is not None:
                msg = f"the {name} ended by itself with code {code}; it said: {child.last_words()}"
                raise DemoFailed(msg)
        # What waits for the overview comes and goes with its reports, whatever else stands still.
        waits = sum(box.waiting for name, box in self._boxes.items() if name != "overview")
        seen = (self._progress.told, self._progress.counted, waits, self._progress.killed)
        if seen != self._moved[1]:
            self._moved = (monotonic(), seen)
        elif monotonic() - self._moved[0] > PATIENCE:
            stuck = [f"{box.waiting} in {name}" for name, box in self._boxes.items() if box.waiting]
            msg = (
                f"nothing has moved for {PATIENCE:g} s: {self._progress}; "
                f"waiting: {' and '.join(stuck) or 'nothing'}; "
                f"the service said: {self._owner.last_words()}"
            )
            raise DemoFailed(msg)

    # --- feeding -----------------------------------------------------------------------------

    def _feed(self, *, at_once: bool = False) -> None:
        """Have the owner post one more batch, if little waits; some are kept for later kills."""
        if self._batches == len(self.plan.batches):
            return
        if not at_once and (self._batches >= self._allowed or self._waiting > self.plan.ahead):
            return
        batch = self.plan.batches[self._batches]
        self._rt.tell("batches", Batch(list(batch)))
        self._batches += 1
        self.figures.told_by_owner += len(batch)

    @property
    def _allowed(self) -> int:
        """How many batches may be posted: the rest is for the kills that are still to come."""
        done, wanted, batches = self.figures.kills, len(self.plan.kills), len(self.plan.batches)
        return batches if done == wanted else max(1, batches * (done + 1) // (wanted + 1))

    def _give_back(self) -> None:
        """Requeue what became a dead letter because we killed the process while it ran."""
        if sum(box.dead for box in self._boxes.values()) == self._kept_dead:
            return
        letters = self._rt.dead()
        for letter in letters:
            if letter.error.startswith(_KILLED):
                self._rt.requeue(letter.id)
                self.figures.requeued += 1
        self._kept_dead = sum(not each.error.startswith(_KILLED) for each in letters)

    # --- killing -----------------------------------------------------------------------------

    def _strike(self) -> None:
        """Kill the owner when the plan says so."""
        if self.figures.kills == len(self.plan.kills):
            return
        kill = self.plan.kills[self.figures.kills]
        if kill.starting:
            if monotonic() >= self._owner.started + kill.delay * self._startup:
                self._kill()
            return
        if self._strike_at is None:
            if self._at_work and (self._progress.counted >= kill.after or self._starved):
                self._strike_at = monotonic() + kill.delay
        elif monotonic() >= self._strike_at:
            if not self._waiting:
                # A kill is to find work under way: that is what the batches are kept for.
                self._feed(at_once=True)
            self._kill()

    @property
    def _starved(self) -> bool:
        """Nothing waits, and nothing will be posted before the next kill."""
        return not self._waiting and self._client.poll() == 0 and self._batches >= self._allowed

    def _kill(self) -> None:
        """SIGKILL the owner and start the next; it counts if work was under way."""
        now = monotonic()
        self._hang_up(self._owner)
        self._owner.kill()
        self._strike_at = None
        self._look()
        if self._waiting:
            self.figures.kills += 1
            self.figures.kills_starting += not self._at_work
            self._progress.killed = self.figures.kills
        self._killed_at = now
        self._down_since = self._down_since or (now if self._at_work else None)
        self._progress.doing = "killed" if self._at_work else "killed while starting"
        self._bar.draw(self._progress, now=True)
        self._start_owner()

    def _end_owner(self) -> None:
        self._owner.kill()

    def _hang_up(self, child: Child) -> None:
        if child in self._listened:
            self._listened.remove(child)
            self._selector.unregister(child)

    def _start_owner(self) -> None:
        self._at_work = False
        log = self._work / "owner.log"
        self._owner = Child(log, "own", self._store, self.plan.linger)
        self._listen_to(self._owner)

    def _start_client(self) -> None:
        groups = self._work / "client.json"
        groups.write_text(
            json.dumps([[[f.package, f.path] for f in group] for group in self.plan.client])
        )
        log = self._work / "client.log"
        self._client = Child(log, "post", self._store, groups, self.plan.ahead)
        self._listen_to(self._client)

    def _listen_to(self, child: Child) -> None:
        self._listened.add(child)
        self._selector.register(child, selectors.EVENT_READ, child)
