"""Defects, each the undoing of one protection, and the seed at which each was found.

A defect is a change of the source of one function (or statement). What it changes has to be there
exactly once: a defect that no longer applies fails, it does not pass.
"""

from __future__ import annotations
import __future__

import inspect
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callboard.actors import worker_cell
from callboard.actors.answering import Answering
from callboard.actors.rate import Limiter
from callboard.actors.settling import Settling
from callboard.actors.window import Window
from callboard.actors.worker_cell import WorkerCell
from callboard.persistence import sqlite_schedule, sqlite_write
from callboard.persistence.committer import Committer
from callboard.persistence.sqlite_trace import Trace
from callboard.persistence.sqlite_unit import UnitWriter
from callboard.runtime.ownership import Ownership

if TYPE_CHECKING:
    from collections.abc import Iterator


class Outdated(AssertionError):
    """A defect cannot be planted: the code that it changes has moved."""


@dataclass(frozen=True)
class Defect:
    """One protection undone.

    Attributes:
        name: as the issue of the defect would be called.
        owner: the class or module that holds what is changed.
        attribute: a function, or a text.
        old: what is there exactly once.
        new: what stands there instead.
        seed: the first seed that finds it.

    """

    name: str
    owner: Any
    attribute: str
    old: str
    new: str
    seed: int

    @contextmanager
    def planted(self) -> Iterator[None]:
        """Have the defect in the running code for a while.

        Raises:
            Outdated: it does not apply.

        """
        was = inspect.getattr_static(self.owner, self.attribute)
        setattr(self.owner, self.attribute, self._changed(was))
        try:
            yield
        finally:
            setattr(self.owner, self.attribute, was)

    def _changed(self, was: Any) -> Any:
        text = was if isinstance(was, str) else textwrap.dedent(inspect.getsource(was))
        if text.count(self.old) != 1:
            msg = f"{self.name}: {self.old!r} is {text.count(self.old)} times in {self.attribute}"
            raise Outdated(msg)
        text = text.replace(self.old, self.new)
        if isinstance(was, str):
            return text
        names: dict[str, Any] = {}
        flags = __future__.annotations.compiler_flag
        code = compile(text, f"<{self.name}>", "exec", flags=flags, dont_inherit=True)
        exec(code, vars(sys.modules[was.__module__]), names)  # noqa: S102  (our own source)
        return names[self.attribute]


DEFECTS = (
    Defect(
        "acknowledge before commit", Committer, "commit",
        "        self._queue.append(unit)\n",
        "        self._queue.append(unit)\n        return\n",
        seed=0,
    ),
    Defect(
        "hand over before commit", Committer, "_write",
        "        written = self._store.write(",
        "        told = [m for u in fresh for m in u.tells or ()]\n"
        "        for number, message in enumerate(told, (seen or 0) + 1):\n"
        "            message.number = number\n"
        "        for unit in fresh:\n"
        "            unit.outcome = Outcome.COMMITTED\n"
        "        call(self._hooks.committed, fresh, Written(seen or 0, []))\n"
        "        for unit in fresh:\n"
        "            unit.outcome = None\n"
        "        written = self._store.write(",
        seed=1,
    ),
    Defect(
        "timer delivered after cancel", WorkerCell, "_still_there",
        "    if message.gone or (message.name is None and message.due is None):\n"
        "        return not message.gone\n",
        "    return True\n",
        seed=3,
    ),
    Defect(
        "a look outlives another's commit", worker_cell, "still_there",
        "look.others == others",
        "look.others is not None",
        seed=51,
    ),
    Defect(
        "tick without the compare-and-set", sqlite_schedule, "_ADVANCE",
        "AND next_at = ? AND paused = 0",
        "AND ? IS NOT NULL",
        seed=43,
    ),
    Defect(
        "state kept after a failed turn", WorkerCell, "_end",
        "activation.clean = False",
        "activation.clean = True",
        seed=0,
    ),
    Defect(
        "lost wake-up", Committer, "_recover",
        "    call(self._hooks.room)\n",
        "",
        seed=1,
    ),
    Defect(
        "order broken on retry", Settling, "_stage_failure",
        "    blocks = isinstance(fate, Retry) and fate.retry_at is not None\n",
        "    blocks = False\n",
        seed=0,
    ),
    Defect(
        "double hand-over after paging in", Window, "paged",
        "if message.number in self.held or message.number in gone or not knows(message):",
        "if not knows(message):",
        seed=3,
    ),
    Defect(
        "ownership lock not checked", Ownership, "take",
        "fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        seed=6,
    ),
    Defect(
        "reply before commit", Answering, "stage",
        "    unit.settle = lambda done:",
        "    self._answer(turn.message, turn, None, self._shared.asks.answer)\n"
        "    unit.settle = lambda done:",
        seed=0,
    ),
    Defect(
        "expiry ignored", WorkerCell, "_run",
        "if message.expires_at is not None and",
        "if False and",
        seed=6,
    ),
    Defect(
        "dedupe not looked up", UnitWriter, "_tell_named",
        "if self._run(_TOLD, told).fetchone() is not None:",
        "if False:",
        seed=0,
    ),
    Defect(
        "rate not enforced", Limiter, "available",
        "return max(0, min(self._left, self._rate.count - self._used))",
        "return 1",
        seed=1,
    ),
    Defect(
        "restart counted as an attempt", WorkerCell, "_restarts_on",
        "return isinstance(error, restart_on) and",
        "return False and",
        seed=0,
    ),
    Defect(
        "unclear commit taken as failed", Trace, "left_by",
        "return bool(found == last)",
        "return False",
        seed=5,
    ),
    Defect(
        "ask tried again after an unclear commit", Committer, "_refuse",
        "if error.unclear:",
        "if False:",
        seed=88,
    ),
    Defect(
        "epoch not checked", sqlite_write, "_OWNER",
        "WHERE epoch = ?",
        "WHERE ? IS NOT NULL",
        seed=40,
    ),
)  # fmt: skip
