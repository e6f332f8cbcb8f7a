"""The event loop for ``async def`` handlers: the host's, or one on a thread of ours.

A handler's coroutine holds no handler thread while it waits: its worker cell is stepped again when
it has ended. It runs in a context of its own, which holds its turn. A host's loop that is closed
while the runtime goes on is replaced by one of ours. asyncio is imported with the first coroutine:
a start takes a tenth less without it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ..errors import HandlerTimeout

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from contextvars import Context


#: Seconds that cancelled handlers have to clean up.
_TO_CLEAN_UP = 1.0


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
        import asyncio

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

        try:
            self._ensure().call_soon_threadsafe(begin)
        except RuntimeError:  # the host's loop was closed just now
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
        """Cancel what still runs, as the runtime's time to stop is over, and let it clean up.

        It waits for that a moment, unless it is called on the loop itself.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            return
        import asyncio

        ended = threading.Event()

        async def cancel() -> None:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=_TO_CLEAN_UP)
            ended.set()

        asyncio.run_coroutine_threadsafe(cancel(), loop)
        if asyncio._get_running_loop() is not loop:  # noqa: SLF001  (documented for this)
            ended.wait(_TO_CLEAN_UP)

    def _ensure(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None or self._loop.is_closed():
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._serve, args=(self._loop,), name="callboard-loop", daemon=True
                )
                self._thread.start()
            return self._loop

    @staticmethod
    def _serve(loop: asyncio.AbstractEventLoop) -> None:
        import asyncio

        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()
