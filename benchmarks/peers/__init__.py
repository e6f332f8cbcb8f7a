"""The peers, one file each, and what each of them is measured in."""

from __future__ import annotations

import threading
from functools import partial
from importlib import import_module
from statistics import quantiles
from time import perf_counter, sleep, time
from typing import TYPE_CHECKING

from ..case import expect
from .peer import Timed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from ..case import Side
    from .peer import Peer

#: By their name in the tables: module and class. Imported only when it is their turn.
PEERS = {
    "huey": ("huey_peer", "Huey"),
    "persist-queue": ("persistqueue_peer", "PersistQueue"),
    "litequeue": ("litequeue_peer", "Lite"),
    "apscheduler": ("apscheduler_peer", "APScheduler"),
    "dbos": ("dbos_peer", "Dbos"),
}
_FLEET = 64
_PATIENCE = 300.0


def load(name: str) -> type[Peer]:
    """Import a peer; ImportError where it is not installed."""
    module, found = PEERS[name]
    peer: type[Peer] = getattr(import_module(f".{module}", __name__), found)
    return peer


def _sides(
    measure: Callable[[str, Path, int], dict[str, float]], names: Iterable[str]
) -> dict[str, Side]:
    return {name: partial(measure, name) for name in names}


def post(*names: str) -> dict[str, Side]:
    """Return the sides that post one by one."""
    return _sides(_post, names)


def post_from_threads(*names: str) -> dict[str, Side]:
    """Return the sides that post from 64 threads."""
    return _sides(_post_from_threads, names)


def handle(*names: str) -> dict[str, Side]:
    """Return the sides that post and handle, one by one: none of them has a bulk post."""
    return _sides(_handle, names)


def timers(*names: str) -> dict[str, Side]:
    """Return the sides that schedule, and fire all at one moment."""
    return _sides(_timers, names)


def reaction(*names: str) -> dict[str, Side]:
    """Return the sides that post one on an idle system, and wait until it is handled."""
    return _sides(_reaction, names)


def _post(name: str, folder: Path, size: int) -> dict[str, float]:
    peer = load(name)(folder, _ignore)
    peer.post(-1)
    began = perf_counter()
    for number in range(size):
        peer.post(number)
    took = perf_counter() - began
    if name != "dbos":  # it handles meanwhile
        expect("left", peer.left(), size + 1)
    peer.close()
    return {"per s": size / took}


def _post_from_threads(name: str, folder: Path, size: int) -> dict[str, float]:
    peer = load(name)(folder, _ignore)
    peer.post(-1)
    posted: list[int] = []

    def send(first: int) -> None:
        for number in range(first, size, _FLEET):
            peer.post(number)
            posted.append(number)

    fleet = [threading.Thread(target=send, args=(first,)) for first in range(_FLEET)]
    began = perf_counter()
    for thread in fleet:
        thread.start()
    for thread in fleet:
        thread.join()
    took = perf_counter() - began
    expect("posted", len(posted), size)
    peer.close()
    return {"per s": size / took}


def _handle(name: str, folder: Path, size: int) -> dict[str, float]:
    seen = _Seen(size)
    peer = load(name)(folder, seen)
    peer.start()
    began = perf_counter()
    for number in range(size):
        peer.post(number)
    took = seen.wait(peer, began)
    peer.close()
    seen.check()
    return {"per s": size / took}


def _timers(name: str, folder: Path, size: int) -> dict[str, float]:
    seen = _Seen(size)
    peer = load(name)(folder, seen)
    assert isinstance(peer, Timed), name
    due = time() + size / 250 + 2.0
    began = perf_counter()
    for number in range(size):
        peer.post_at(number, due)
    posted = perf_counter() - began
    peer.start()
    sleep(max(0.0, due - time()))
    began = perf_counter()
    took = seen.wait(peer, began)
    peer.close()
    seen.check()
    return {"schedule per s": size / posted, "fire per s": size / took}


def _reaction(name: str, folder: Path, size: int) -> dict[str, float]:
    heard = threading.Event()
    took: list[float] = []
    began = 0.0

    def note(number: int) -> None:
        took.append(perf_counter() - began)
        heard.set()

    peer = load(name)(folder, note)
    peer.start()
    for number in range(size):
        sleep(0.005 + number % 4 * 0.005)
        heard.clear()
        began = perf_counter()
        peer.post(number)
        if not heard.wait(_PATIENCE):
            raise TimeoutError(name)
    peer.close()
    expect("handled", len(took), size)
    cuts = quantiles(took, n=100, method="inclusive")
    return {"p50 ms": cuts[49] * 1e3, "p99 ms": cuts[98] * 1e3}


class _Seen:
    """A handler that knows what it has seen."""

    def __init__(self, wanted: int) -> None:
        self._left, self._wanted, self._count = set(range(wanted)), wanted, 0
        self._lock, self._done = threading.Lock(), threading.Event()

    def __call__(self, number: int) -> None:
        with self._lock:
            self._left.discard(number)
            self._count += 1
            if not self._left:
                self._done.set()

    def wait(self, peer: Peer, began: float) -> float:
        """Wait until all are handled and none is left on disk; returns the seconds since then."""
        if not self._done.wait(_PATIENCE):
            raise TimeoutError(f"{peer.name}: {len(self._left)} were not handled")
        while peer.left():
            sleep(0.001)
        return perf_counter() - began

    def check(self) -> None:
        """Refuse a run that handled some twice or never."""
        expect("handled", self._count, self._wanted)


def _ignore(number: int) -> None:
    """Handle one."""
