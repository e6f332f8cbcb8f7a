"""The demo's child processes: started apart from the terminal, heard, killed, always reaped."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Self

from ..clock import monotonic

if TYPE_CHECKING:
    from pathlib import Path

_REAP = 10.0
_TAIL = 8


class Child:
    """One process of the demo's service. Used from one thread.

    It stands apart from the terminal, so that Ctrl-C reaches the parent alone, and ends when its
    standard input does, which is when the parent is gone.

    Args:
        log: where its standard error goes.
        arguments: of the service's module.

    """

    def __init__(self, log: Path, *arguments: object) -> None:
        """Start it."""
        self.started = monotonic()
        self._log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", f"{__package__}.demo_app", *map(str, arguments)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
                start_new_session=True,
            )  # fmt: skip
        self.output = b""
        os.set_blocking(self.fileno(), False)

    def __enter__(self) -> Self:
        """Use it in a with block: it does not outlive it."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill it if it still runs."""
        self.kill()

    def fileno(self) -> int:
        """Return what becomes readable when it says something."""
        assert self.process.stdout is not None  # noqa: S101  (it is a pipe)
        return self.process.stdout.fileno()

    def hear(self) -> bool:
        """Read what it has said meanwhile; False when it will say no more."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.fileno(), 65_536):
                self.output += data
            return False
        return True

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        return self.process.poll()

    def kill(self) -> None:
        """SIGKILL it, if it still runs, and reap it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_REAP)
        self._close()

    def end(self, timeout: float) -> int | None:
        """SIGTERM it and wait; returns its exit code, None when it did not end in time."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(timeout)
        return None

    def last_words(self) -> str:
        """Return the end of what it wrote to its standard error, in one line."""
        lines = self._log.read_text(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return " | ".join(said[-_TAIL:]) or "nothing"

    def _close(self) -> None:
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
