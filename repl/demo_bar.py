"""The demo's progress: one line, drawn again and again, on a terminal; plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from typing import TextIO

from ..clock import monotonic

_EVERY = 0.05
_EVERY_PLAIN = 1.0
_LONGEST_BAR = 30
_SHORTEST_BAR = 8
_LONGEST_DOING = len("killed while starting")
#: Room for the ^C that a terminal writes: wrapped to a second line it could not be cleared.
_MARGIN = 3
_CLEAR = "\r\x1b[K"


@dataclass(slots=True)
class Progress:
    """Where the demo is.

    Attributes:
        files: to count.
        kills: to survive.
        told: files posted.
        counted: files that have gone the whole way.
        killed: kills so far.
        lines: of the last interim report.
        doing: in a word or two.

    """

    files: int
    kills: int
    told: int = 0
    counted: int = 0
    killed: int = 0
    lines: int = 0
    doing: str = "starting"

    def __str__(self) -> str:
        """Return it in one line."""
        return ", ".join(" ".join(part.split()) for part in self.parts())

    def parts(self) -> list[str]:
        """Return what the line says, the most important part first, each of an even width."""
        files, kills = f"{self.files:,}", f"{self.kills}"
        return [
            f"{self.counted:{len(files)},} of {files} files",
            f"kills {self.killed:{len(kills)}} of {kills}",
            f"{self.doing:<{_LONGEST_DOING}}",
            f"told {self.told:{len(files)},}",
            f"{self.lines:9,} lines",
        ]


class Bar:
    """Draws progress.

    Args:
        stream: default: stderr, so that the result alone is on stdout.

    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Draw nothing yet."""
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._drawn = float("-inf")
        self._last = ""
        self._blocks = _encodes(self._stream, "█░")

    def draw(self, progress: Progress, *, now: bool = False) -> None:
        """Show where it is; not too often, unless ``now``."""
        every = _EVERY if self._live else _EVERY_PLAIN
        if not now and monotonic() - self._drawn < every:
            return
        self._drawn = monotonic()
        text = self._line(progress) if self._live else str(progress)
        if text == self._last:
            return
        self._last = text
        print(_CLEAR + text if self._live else f"demo: {text}", end="" if self._live else "\n",
              file=self._stream, flush=True)  # fmt: skip

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self.clear()
        print(text, file=self._stream, flush=True)

    def clear(self) -> None:
        """Remove the line that is drawn."""
        if self._live and self._last:
            print(_CLEAR, end="", file=self._stream, flush=True)
        self._last = ""

    def _line(self, progress: Progress) -> str:
        """Return the bar and as many parts as the terminal has room for."""
        room = shutil.get_terminal_size().columns - _MARGIN
        parts = progress.parts()
        while len(parts) > 1 and len("  ".join(parts)) + _SHORTEST_BAR + 2 > room:
            parts.pop()
        text = "  ".join(parts)
        width = min(_LONGEST_BAR, room - len(text) - 2)
        if width < _SHORTEST_BAR:
            return text[:room]
        full = width * progress.counted // max(1, progress.files)
        done, left = ("█", "░") if self._blocks else ("#", "-")
        return done * full + left * (width - full) + "  " + text


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
