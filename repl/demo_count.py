"""The plain count: what the demo's totals must be, found without callboard and in another way."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .demo_plan import File

#: What is measured of each file; the demo's own totals have the same names.
MEASURES = ("lines", "bytes", "words", "functions")


@dataclass
class Count:
    """What one package holds.

    Attributes:
        files: each by name, and how often it was counted.
        lines: ended by a newline, or by the end of the file.
        bytes: of all files.
        words: separated by white space.
        functions: lines that begin with ``def`` or ``async def``.

    """

    files: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    bytes: int = 0
    words: int = 0
    functions: int = 0


def count(files: Iterable[File]) -> dict[str, Count]:
    """Count the files, package by package, line by line."""
    packages: dict[str, Count] = {}
    for each in files:
        package = packages.setdefault(each.package, Count())
        name = Path(each.path).name
        package.files[name] = package.files.get(name, 0) + 1
        with Path(each.path).open("rb") as lines:
            for line in lines:
                words = line.split()
                package.lines += 1
                package.bytes += len(line)
                package.words += len(words)
                package.functions += _defines(words)
    return packages


def _defines(words: list[bytes]) -> bool:
    if words[:1] == [b"async"]:
        words = words[1:]
    return len(words) > 1 and words[0] == b"def"
