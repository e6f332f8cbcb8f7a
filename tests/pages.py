"""The pages of the documentation, and the code in them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {str(path.relative_to(DOCS)): path.read_text() for path in sorted(DOCS.rglob("*.md"))}
FENCE = re.compile(
    r"^```(?:python|\{code-block\} python\n(?::caption: ([^\n]*)\n)?)\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
SHELL = re.compile(r"^```(?:sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRAMS = {
    "python": [sys.executable],
    "callboard": [sys.executable, "-m", "callboard"],
    "pytest": [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
}


def write(page: str, folder: Path, *captions: str) -> None:
    """Write the files that a page shows, by their captions; all when none is named."""
    for caption, code in FENCE.findall(PAGES[page]):
        if caption and (not captions or caption in captions):
            path = folder / caption.split(",")[0]
            path.parent.mkdir(exist_ok=True)
            path.write_text(code)


def shell(folder: Path, line: str) -> list[str]:
    """Run a line that a page tells to type; returns what it prints."""
    words = shlex.split(line)
    done = subprocess.run(
        PROGRAMS[words[0]] + words[1:], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def typed(page: str) -> list[str]:
    """Return the lines that a page tells to type."""
    fences = SHELL.findall(PAGES[page])
    return [line.removeprefix("$ ") for fence in fences for line in fence.splitlines()]
