"""What a process of the soak says about itself: memory, objects, descriptors, threads, latency."""

from __future__ import annotations

import gc
import json
import os
import sys
import threading
from collections import Counter
from pathlib import Path

from callboard.clock import monotonic

PAGE = os.sysconf("SC_PAGE_SIZE")
#: So many kinds of objects are named in a sample, the most frequent ones.
NAMED = 12


class Latency:
    """Gathers durations of any thread; each look takes them out."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: list[float] = []

    def note(self, seconds: float) -> None:
        with self._lock:
            self._all.append(seconds)

    def take(self) -> list[float]:
        """Return in milliseconds the median, the 99th percentile and the worst since last time."""
        with self._lock:
            taken, self._all = sorted(self._all), []
        if not taken:
            return [0.0, 0.0, 0.0]
        at = (len(taken) // 2, int(len(taken) * 0.99), len(taken) - 1)
        return [round(taken[index] * 1000, 3) for index in at]


def until_told() -> threading.Event:
    """Return what is set when a line comes on the standard input, or its end."""
    told = threading.Event()

    def read() -> None:
        sys.stdin.readline()
        told.set()

    threading.Thread(target=read, name="told", daemon=True).start()
    return told


def size(path: Path) -> int:
    """Return a file's size in bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def resident() -> int:
    """Return this process's resident memory in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def descriptors() -> int:
    """Return how many descriptors are open, without the one that looks."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1


def our_objects() -> Counter[str]:
    """Return how many objects of each of callboard's types there are."""
    gc.collect()
    found: Counter[str] = Counter()
    for each in gc.get_objects():
        kind = type(each)
        module = kind.__module__
        if isinstance(module, str) and module.startswith("callboard"):
            found[f"{module}.{kind.__qualname__}"] += 1
    return found


class Meter:
    """Samples this process; one line of JSON each.

    Args:
        board: the store's path.
        latencies: what is measured, by name.

    """

    def __init__(self, board: Path, **latencies: Latency) -> None:
        self._board = board
        self._latencies = latencies
        self._begun = monotonic()

    def sample(self) -> str:
        """Measure; what the look itself delays is not counted."""
        waits = {name: each.take() for name, each in self._latencies.items()}
        objects = our_objects()
        taken = {
            "at": round(monotonic() - self._begun, 2),
            "rss": resident(),
            "objects": objects.total(),
            "descriptors": descriptors(),
            "threads": threading.active_count(),
            "wal": size(Path(f"{self._board}-wal")),
            "file": size(self._board),
            "kinds": dict(objects.most_common(NAMED)),
            **waits,
        }
        for each in self._latencies.values():
            each.take()
        return json.dumps(taken)
