"""Pages that are typed into a terminal from their first line to their last, and what they show."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING

from callboard.clock import monotonic

from .guide import Typed
from .pages import ROOT
from .processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .guide import Page

#: Seconds that a command may take: an installation, the demo.
LONG = 300.0
FENCE = re.compile(
    r"^```(?:\{code-block\} \w+\n:caption: (?P<caption>.*?)\n\n.*?|"
    r"(?:sh|console)\n(?P<typed>.*?))^```$",
    re.MULTILINE | re.DOTALL,
)


class Terminal(Typed):
    """A shell, into which the lines of a fence are typed; what the fence shows is seen."""

    def __init__(self, page: Page, env: Mapping[str, str] | None = None) -> None:
        """Open it in the folder of the page."""
        super().__init__(page, "bash --norc --noprofile", env=env)
        self.typed = 0

    def follow(self, fence: str) -> None:
        """Type its commands, and wait for what stands below each."""
        if not fence.startswith("$ "):
            fence = "".join(f"$ {line}\n" for line in fence.splitlines())
        for part in re.split(r"^\$ ", fence, flags=re.MULTILINE)[1:]:
            command, *shown = part.splitlines()
            self._enter(command, shown)

    def _enter(self, command: str, shown: list[str]) -> None:
        begun = len(self.lines)
        interrupted = shown[-1:] == ["^C"]
        self.say(f"{command} &" if interrupted else command)
        self.say('echo "ended $?"')
        if command.startswith("kill"):
            self.say("wait")
        self._see("ended 0", 1, begun, LONG)
        for pattern, times in Counter(_pattern(line) for line in shown if line != "^C").items():
            self._see(pattern, times, begun)
        if interrupted:
            self.say('kill -INT $!; wait $!; echo "interrupted $?"')
            self._see("interrupted 0", 1, begun)
        self.typed += 1

    def _see(self, pattern: str, times: int, begun: int, patience: float = PATIENCE) -> None:
        def count(pattern: str) -> int:
            return sum(bool(re.fullmatch(pattern, line)) for line in self.lines[begun:])

        until = monotonic() + patience
        while count(pattern) < times:
            assert monotonic() < until, "\n".join(self.lines)
            assert not count("ended [1-9].*"), "\n".join(self.lines)
            self.take(patience)


def _pattern(line: str) -> str:
    """Match what is shown, whatever its numbers and widths are."""
    line = re.escape(line.rstrip())
    line = re.sub(r"(\\ )+", r"\\s+", line)
    return re.sub(r"\d+", r"\\d+", re.sub(r"(\\-){2,}", "-+", line)) + r"\s*"


def tutorial(page: Page, env: Mapping[str, str]) -> str:
    """Read it from top to bottom: write its files and type its commands."""
    with Terminal(page, env) as terminal:
        for found in FENCE.finditer(page.text):
            if found["caption"]:
                page.write(found["caption"])
            else:
                terminal.follow(found["typed"])
        return f"{terminal.typed} commands"


def readme(page: Page, _: Mapping[str, str]) -> str:
    """Run it as it says, in a copy of the checkout: the demo, and the first program."""
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in done.stdout.splitlines():
        if (ROOT / name).exists():
            (page.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, page.folder / name)
    with Terminal(page) as terminal:
        fences = [found["typed"] or "" for found in FENCE.finditer(page.text)]
        for word in ("callboard demo", "examples/01_hello.py"):
            (fence,) = (each for each in fences if word in each)
            terminal.follow(fence)
        return f"{terminal.typed} commands"


def own_tests(page: Page) -> str:
    """Run the tests that it shows."""
    page.write(*page.files)
    page.follow("pytest")
    return f"{len(page.files)} files"


#: Those that are followed in this way.
READ: dict[str, Callable[[Page, Mapping[str, str]], str]] = {
    "README.md": readme,
    "docs/tutorial.md": tutorial,
}
