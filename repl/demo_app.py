"""The demo's service: what it declares, and its processes, the owner and the posting client.

    batches --> files (4 workers) --> packages (an actor for each package) --> overview (one actor)

Each arrow is told in the turn before it, so that a kill at any moment loses nothing and repeats
nothing. ``overview`` also has a future call that reports interim totals and schedules itself again.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..actors.retry import RetryPolicy
from ..actors.worker import WorkerActor
from ..clock import sleep
from ..runtime.runtime import Runtime
from .demo_plan import File

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds between two interim reports.
REPORT_EVERY = 0.25
#: The future call's name.
INTERIM = "interim"
#: What the owner writes to its standard output when its first handler runs.
AT_WORK = b"at work\n"
_BLANK = rb"[ \t\r\f\v]"
_FUNCTION = re.compile(rb"^%b*(?:async%b+)?def%b+\S" % (_BLANK, _BLANK, _BLANK), re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files that the owner itself is to post."""

    files: list[File]


@dataclass(frozen=True, slots=True)
class Measures:
    """What one file holds."""

    package: str
    name: str
    lines: int
    bytes: int
    words: int
    functions: int


@dataclass(frozen=True, slots=True)
class Report:
    """The future call: time for interim totals."""


@dataclass
class Package:
    """State of a package's actor: the names of its files, how often each came, and totals."""

    files: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    bytes: int = 0
    words: int = 0
    functions: int = 0


@dataclass
class Overview:
    """State of the actor that sees every file, and what it has last reported."""

    files: int = 0
    lines: int = 0
    bytes: int = 0
    words: int = 0
    functions: int = 0
    reports: int = 0
    reported_files: int = 0
    reported_lines: int = 0


def build(store: Path, linger: float = 0.0, begun: Callable[[], None] = lambda: None) -> Runtime:
    """Declare the service.

    Args:
        store: its store.
        linger: seconds that each file is made to take.
        begun: called whenever a handler begins.

    """
    rt = Runtime(store)

    @rt.mailbox("batches")
    def post(batch: Batch) -> None:
        begun()
        rt.tell_many("files", batch.files)

    # A file that has vanished is soon given up, and missing from the totals.
    @rt.mailbox("files", workers=4, retry=RetryPolicy(attempts=3, delay=0.2))
    def measure(file: File) -> None:
        begun()
        if linger:
            sleep(linger)
        path = Path(file.path)
        rt.tell("packages", measures(file.package, path.name, path.read_bytes()))

    class PackageActor(WorkerActor):
        """Adds a file's measures to its package's totals."""

        state: Package

        def on_receive(self, message: Measures) -> None:
            begun()
            seen = self.state.files
            seen[message.name] = seen.get(message.name, 0) + 1
            _add(self.state, message)
            rt.tell("overview", message)

    rt.mailbox("packages", PackageActor, keyed=lambda message: message.package)
    _declare_overview(rt, begun)
    return rt


def _declare_overview(rt: Runtime, begun: Callable[[], None]) -> None:
    class OverviewActor(WorkerActor):
        """Adds everything up, and reports when its future call comes."""

        state: Overview

        def on_receive(self, message: Measures | Report) -> None:
            begun()
            if isinstance(message, Measures):
                self.state.files += 1
                _add(self.state, message)
                return
            self.state.reports += 1
            self.state.reported_files = self.state.files
            self.state.reported_lines = self.state.lines
            rt.tell("overview", Report(), after=REPORT_EVERY, id=INTERIM)

    rt.mailbox("overview", OverviewActor)


def measures(package: str, name: str, data: bytes) -> Measures:
    """Measure one file's bytes."""
    lines = data.count(b"\n") + (not data.endswith(b"\n") and data != b"")
    functions = len(_FUNCTION.findall(data))
    return Measures(package, name, lines, len(data), len(data.split()), functions)


def own(store: Path, linger: float) -> None:
    """Own the store until SIGTERM, or until the parent is gone."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    threading.Thread(target=_end_with_parent, name="demo-parent", daemon=True).start()
    build(store, linger, _Once()).run()


def post_as_client(store: Path, groups: Path, ahead: int) -> None:
    """Post groups of files, one transaction each, never far ahead of the owner.

    Writes how many files are posted, a line for each group, to the standard output.
    """
    threading.Thread(target=_end_with_parent, name="demo-parent", daemon=True).start()
    rt = build(store)
    posted = 0
    for group in json.loads(groups.read_text()):
        files = [File(*each) for each in group]
        while sum(each.waiting for each in rt.mailboxes()) > ahead:
            sleep(0.005)
        if len(files) == 1:
            rt.tell("files", files[0])
        else:
            rt.tell_many("files", files)
        posted += len(files)
        os.write(1, b"%d\n" % posted)
    rt.stop()


def main(arguments: list[str]) -> None:
    """Run one of the two processes."""
    role, store, *rest = arguments
    if role == "own":
        own(Path(store), float(rest[0]))
    else:
        post_as_client(Path(store), Path(rest[0]), int(rest[1]))


class _Once:
    """Says that work has begun, once."""

    def __init__(self) -> None:
        self._said = False

    def __call__(self) -> None:
        if not self._said:
            self._said = True
            os.write(1, AT_WORK)


def _add(state: Package | Overview, message: Measures) -> None:
    state.lines += message.lines
    state.bytes += message.bytes
    state.words += message.words
    state.functions += message.functions


def _end_with_parent() -> None:
    # os.read, not sys.stdin: a daemon thread inside a buffered reader breaks the interpreter's end.
    while os.read(0, 64):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1:])
