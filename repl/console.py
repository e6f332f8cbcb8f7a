"""The console: runs lines, whoever typed them: a person, a script, or standard input."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

from ..errors import ConfigError, StoreError
from .answers import FAILED, INTERRUPTED, OK, USAGE, answer, fail
from .grammar import Incomplete, Line, parse
from .render import default_format
from .syntax import lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .registry import Desk
    from .render import Format

logger = logging.getLogger("callboard")

#: Lines of a session without a history file that ``history`` remembers.
_REMEMBERED = 10_000
#: Programs that people read in: they get tables.
_PAGERS = ("less", "more", "most", "bat")
#: Files that may call further ones.
_DEEPEST = 20


class Leave(Exception):
    """Somebody wants to leave.

    Args:
        code: the exit code; None: as it is.

    """

    def __init__(self, code: int | None) -> None:
        """Keep the code."""
        super().__init__(code)
        self.code = code


class Console:
    """Runs lines on one desk.

    Args:
        desk: what the commands work on; it gets to know its console.
        keep_going: a script goes on after a command that failed.

    Attributes:
        form: how results are shown; None: tables on a terminal, JSON lines otherwise.
        history: returns what was typed, oldest first.

    """

    def __init__(self, desk: Desk, *, keep_going: bool = False) -> None:
        """Run nothing yet."""
        self.desk = desk
        self.form: Format | None = None
        self._past: deque[str] = deque(maxlen=_REMEMBERED)
        self.history: Callable[[], list[str]] = lambda: list(self._past)
        self._keep_going = keep_going
        self._depth = 0
        self._group = lines()
        desk.console = self

    def run(self, text: str, where: str = "") -> int:
        """Run one line; returns its exit code. Only :class:`Leave` gets out.

        Args:
            text: the line.
            where: it comes from, to open an error with.

        """
        self._past.append(text.encode(errors="replace").decode())
        try:
            return answer(lambda: self._run(parse(text)), where)
        except Leave:
            raise
        except Exception as error:
            logger.debug("a console line failed: %s", text, exc_info=True)
            return fail(f"{where}unexpected {type(error).__name__}: {error}", FAILED)

    def script(self, source: Iterable[str], name: str = "") -> int:
        """Run lines; returns the exit code of the first that failed, at which it stops.

        A line whose bracket or quote is open goes on in the next.

        Args:
            source: the lines.
            name: of them, for errors.

        """
        if self._depth >= _DEEPEST:
            msg = f"{name} is the {_DEEPEST + 1}th file that calls another: is it a circle?"
            raise ConfigError(msg)
        self._depth += 1
        try:
            return self._script(source, f"{name}: " if name else "")
        finally:
            self._depth -= 1

    def _script(self, source: Iterable[str], name: str) -> int:
        first, held, begun = OK, "", 0
        for number, line in enumerate(source, 1):
            begun = begun if held else number
            held += line
            if unfinished(held):
                continue
            text, held = held, ""
            try:
                code = self.run(text.strip("\n"), f"{name}line {begun}: ")
            except Leave as leave:
                raise Leave(first if leave.code is None else leave.code) from None
            first = first or code
            if code == INTERRUPTED or (code and not self._keep_going):
                return first
        if held:
            code = self.run(held.strip("\n"), f"{name}line {begun}: ")
            first = first or code
        return first

    def _run(self, line: Line) -> int:
        if not line.words:
            return OK
        if line.pipe:
            return self._piped(line)
        if line.file:
            return self._filed(line)
        return self._call(line, None)

    def _call(self, line: Line, out: TextIO | None, form: Format | None = None) -> int:
        desk = self.desk
        before = desk.out, desk.form, desk.line
        out = out or desk.out
        desk.out, desk.line = out, line.text
        desk.form = self.form or form or default_format(out)
        try:
            code: Any = self._group.main(
                list(line.words), prog_name="", standalone_mode=False, obj=desk
            )
        finally:
            desk.out, desk.form, desk.line = before
        return code if isinstance(code, int) else OK

    def _piped(self, line: Line) -> int:
        form: Format | None = "table" if Path(line.pipe.split()[0]).name in _PAGERS else None
        sys.stdout.flush()
        with subprocess.Popen(  # noqa: S602  (who types a line means it for the shell)
            line.pipe,
            shell=True,
            stdin=subprocess.PIPE,
            text=True,
        ) as program:
            try:
                code = answer(lambda: self._call(line, cast("TextIO", program.stdin), form))
            finally:
                if program.stdin is not None:
                    with contextlib.suppress(BrokenPipeError):
                        program.stdin.close()
                _wait(program)
        return code or (FAILED if program.returncode else OK)

    def _filed(self, line: Line) -> int:
        path = Path(line.file).expanduser()
        self._spare_the_store(path)
        try:
            with path.open("a" if line.append else "w", encoding="utf-8") as out:
                return self._call(line, out)
        except OSError as error:
            if isinstance(error, StoreError) or not isinstance(error.filename, str | Path):
                raise
            return fail(f"cannot write to {path}: {error.strerror}", USAGE)

    def _spare_the_store(self, path: Path) -> None:
        """Refuse to write over the store, its log or its lock files."""
        store = self.desk.path.resolve()
        there = path.resolve()
        if there == store or there.name.startswith(f"{store.name}-") or (
            there.parent.name == f"{store.name}.callboard"
        ):  # fmt: skip
            msg = f"{path} belongs to the store: choose another file"
            raise ConfigError(msg)


def unfinished(text: str) -> bool:
    """Say whether a quote or a bracket is open, so that a line goes on in the next."""
    try:
        parse(text)
    except Incomplete:
        return True
    except ConfigError:
        return False
    return False


def _wait(program: subprocess.Popen[str]) -> None:
    """Wait for a pager to be left; Ctrl-C is its own affair."""
    while True:
        try:
            program.wait()
        except KeyboardInterrupt:
            continue
        return
