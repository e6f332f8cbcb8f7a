"""``rt.run()``: a process that belongs to the runtime, from start to the last signal."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeAlias

from ..clock import cpu_seconds, monotonic
from .pace import Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

    from ..events import Events
    from .host import Host

_Handler: TypeAlias = "Callable[[int, FrameType | None], Any] | int | None"

#: Seconds between two looks of the main thread: signals arrive between them.
_LOOK = 0.2


def serve(host: Host, events: Events, *, timeout: float = 10.0) -> None:
    """Start, and block until SIGTERM or SIGINT, then drain; a second signal ends it at once.

    A service manager is told when it is ready, which role it has, and when it stops.

    Raises:
        SystemExit: with 1, when a part that cannot be missed gave up or ownership was lost.

    """
    from .notify import Notifier  # only a daemon needs it

    pace = Pace(monotonic(), cpu_seconds(), 0)
    asked: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        if asked:
            os._exit(128 + number)
        asked.append(number)

    old = dict(_install(on_signal))
    notifier = Notifier()
    off = events.subscribe(notifier.tell_role, "runtime.started")
    try:
        host.start(standby=True)
        notifier.say("READY=1")
        notifier.watch(host.alive)
        while not asked and not host.ended.wait(_LOOK):
            pace.look(monotonic(), cpu_seconds(), host.counts()[0])
        notifier.say("STOPPING=1", "STATUS=stopping: running handlers end")
        host.stop(timeout)
    finally:
        off()
        notifier.close()
        for number, handler in old.items():
            signal.signal(number, handler)
        pace.end()
    if host.failure is not None:
        print(f"callboard: {host.failure}", file=sys.stderr)  # noqa: T201  (the last word)
        raise SystemExit(1)


def _install(handler: _Handler) -> Iterator[tuple[int, _Handler]]:
    """Set the handler where Python allows it, yielding what was there."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        yield number, signal.signal(number, handler)
