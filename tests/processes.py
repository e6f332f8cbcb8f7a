"""Real child processes for tests: started, read line by line, killed, always reaped."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import textwrap
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

PATIENCE = 20.0

#: Before each program: print writes one whole line. Unbuffered, as these run, Python's own writes
#: word by word, so that the lines of two threads would be mixed.
_PRINT = """
import builtins, os
def print(*words, sep=" ", end="\\n", file=None, flush=True, _print=print):
    line = sep.join(map(str, words)) + end
    os.write(1, line.encode()) if file is None else _print(line, end="", file=file, flush=flush)
builtins.print = print
"""


class Child:
    """A Python program in a process of its own; its lines are read as they come."""

    own_session = False

    def __init__(
        self, source: str, *args: object, cwd: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Start it; ``env`` is added to our own."""
        self.process = subprocess.Popen(
            [*self.command(source), *map(str, args)],
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=self.own_session,
        )
        self.lines: list[str] = []
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        """Use it in a with block: it is killed at the end."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Kill what still runs, and reap it."""
        self.kill()

    def command(self, source: str) -> list[str]:
        """Return what starts it, without its arguments."""
        return [sys.executable, "-u", *self.program(source)]

    @staticmethod
    def program(source: str) -> list[str]:
        """Return the interpreter's arguments that run it."""
        return ["-c", _PRINT + textwrap.dedent(source)]

    def wait_for(self, start: str, timeout: float = PATIENCE) -> str:
        """Return the next line that begins so."""
        while True:
            try:
                line = self._queue.get(timeout=timeout)
            except queue.Empty:
                line = None
            if line is None:
                seen = "\n".join(self.lines)
                msg = f"no line {start!r}; it said:\n{seen}"
                raise AssertionError(msg)
            if line.startswith(start):
                return line

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            seen = "\n".join(self.lines)
            msg = f"it has ended and cannot be told {line!r}; it said:\n{seen}"
            raise AssertionError(msg) from None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what it ended without reading
                    pipe.close()

    def end(self, timeout: float = PATIENCE) -> int:
        """Wait for it to end by itself; returns its exit code."""
        code = self.process.wait(timeout)
        self._reader.join(timeout)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        for raw in self.process.stdout:
            line = raw.rstrip("\n")
            self.lines.append(line)
            self._queue.put(line)
        self._queue.put(None)
