"""The processes of the mixed load: owners (or standbys) and clients, as children of the tests."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.clock import monotonic

from .processes import PATIENCE, Child

if TYPE_CHECKING:
    from collections.abc import Callable

APP = Path(__file__).with_name("load_app.py")


class _Program(Child):
    @staticmethod
    def program(source: str) -> list[str]:
        """Run our file, in the role that ``source`` names."""
        return [str(APP), source]


class Owner(_Program):
    """A process that owns the store, or stands by.

    Args:
        folder: of the store.
        linger: seconds that one handler in four takes.
        standby: wait for the present owner to end; False: end at once when there is one.

    """

    def __init__(self, folder: Path, *, linger: float = 0.0, standby: bool = True) -> None:
        """Start it."""
        super().__init__("own" if standby else "rival", folder, linger, cwd=folder)

    def said(self, word: str) -> float | None:
        """Return when it first said so (monotonic); None: not yet."""
        return next((at for said, at in self.words() if said == word), None)

    def words(self) -> list[tuple[str, float]]:
        """Return all that it said of itself, with the instants (monotonic)."""
        found = []
        for line in list(self.lines):
            word, *rest = line.split()[:2] or [""]
            if word in {"owner", "work", "lost", "standby", "refused"} and rest:
                found.append((word, float(rest[0])))
        return found

    def stop(self, timeout: float = PATIENCE) -> int:
        """Have it finish (SIGTERM); returns its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.end(timeout)


class Visitor(_Program):
    """A client that tells of every sort.

    Args:
        folder: of the store.
        name: unique among all clients that the store ever had: tags and its ledger begin with it.
        seed: of its choices.
        pace: mean seconds between two acts.

    """

    def __init__(self, folder: Path, name: str, *, seed: int, pace: float = 0.01) -> None:
        """Start it."""
        self.name = name
        super().__init__("visit", folder, name, seed, pace, cwd=folder)

    def stop(self, timeout: float = PATIENCE) -> int:
        """Have it finish; returns how many messages it was told are on disk."""
        self.say("stop")
        told = int(self.wait_for("stopped", timeout).split()[1])
        code = self.end(timeout)
        assert code == 0, f"{self.name} ended with {code}: {self.lines}"
        return told


def until(what: str, true: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until ``true()`` is, looking a hundred times a second; else fail and say ``what``."""
    end = monotonic() + timeout
    pause = threading.Event()
    while not true():
        assert monotonic() < end, f"not within {timeout:g} s: {what}"
        pause.wait(0.01)
