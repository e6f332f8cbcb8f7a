"""The event loop for ``async def`` handlers: the host's, or one on a thread of ours.

A handler's coroutine holds no handler thread while it waits: its worker cell is stepped again when
it has ended.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from ..errors import HandlerTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from contextvars import Context


class Loop:
    """Runs coroutines for handler threads.

    Args:
        host: the host's running loop; None: one of ours is started when the first handler needs it.

    """

    def __init__(self, host: asyncio.AbstractEventLoop | None = None) -> None:
        """Start nothing."""
        self._loop = host
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    def run(
        self,
        start: Callable[[], Coroutine[Any, Any, Any]],
        context: Context,
        timeout: float | None,
        done: Callable[[Any, BaseException | None], None],
    ) -> None:
        """Run a coroutine in a context, and call ``done(result, error)`` on the loop's thread.

        Past ``timeout`` seconds it is cancelled, and the error is HandlerTimeout.
        """

        async def guarded() -> None:
            result, error = None, None
            try:
                async with asyncio.timeout(timeout) as limit:
                    result = await start()
            except BaseException as raised:
                error = raised
                if isinstance(raised, TimeoutError) and limit.expired():
                    error = HandlerTimeout(f"the handler ran past its timeout of {timeout:g} s")
            done(result, error)

        def begin() -> None:
            task = self._ensure().create_task(guarded(), context=context)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._ensure().call_soon_threadsafe(begin)

    def stop(self) -> None:
        """End our own loop; the host's is left alone."""
        loop, thread = self._loop, self._thread
        if thread is None or loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        if thread is not threading.current_thread():
            thread.join(5.0)
        self._loop = self._thread = None

    def cancel_all(self) -> None:
        """Cancel what still runs: the runtime's time to stop is over."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            for task in list(self._tasks):
                loop.call_soon_threadsafe(task.cancel)

    def _ensure(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._loop,), name="callboard-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()
