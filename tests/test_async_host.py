"""asyncio hosts: whose loop handlers run on, how they are cancelled, and that the loop goes on."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import pytest

from callboard import Context, HandlerTimeout, RetryPolicy, Runtime, TurnEnded
from callboard.clock import monotonic

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

PATIENCE = 20.0
#: What the loop may stand still for because of us.
MOST = 0.005
request: ContextVar[str] = ContextVar("request", default="none")


def rt_in(folder: Path, **options: Any) -> Runtime:
    return Runtime(folder / "board.db", **options)


# --- whose loop --------------------------------------------------------------------------------


def test_handlers_run_on_the_hosts_loop_inside_async_with(tmp_path: Path) -> None:
    rt, loops = rt_in(tmp_path), list[object]()

    @rt.mailbox("work")
    async def work(n: int) -> int:
        loops.append(asyncio.get_running_loop())
        return n

    async def main() -> None:
        async with rt:
            assert await rt.ask_async(work, 3) == 3
        assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())
    with rt:  # the host's loop is gone: it is one of ours now
        assert rt.ask(work, 4) == 4
        assert len(set(loops)) == 2


def test_under_lifespan_too(tmp_path: Path) -> None:
    rt, loops = rt_in(tmp_path), list[object]()

    @rt.mailbox("work")
    async def work(n: int) -> None:
        loops.append(asyncio.get_running_loop())

    async def main() -> None:
        async with rt.lifespan(object()):
            await rt.ask_async(work, 3)
            assert loops == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_a_hosts_loop_that_is_closed_early_is_replaced(tmp_path: Path) -> None:
    rt = rt_in(tmp_path)

    @rt.mailbox("work")
    async def work(n: int) -> str:
        return threading.current_thread().name

    async def main() -> str:
        await rt.__aenter__()
        return await rt.ask_async(work, 1)

    assert asyncio.run(main()) == threading.current_thread().name
    assert rt.ask(work, 2) == "callboard-loop"
    rt.stop()


def test_a_handler_has_a_context_of_its_own(tmp_path: Path) -> None:
    rt, seen = rt_in(tmp_path), list[Any]()

    @rt.mailbox("work", workers=2)
    async def work(name: str, context: Context) -> str:
        seen.append(request.get())
        request.set(name)
        both.append(name)
        while len(both) < 2:
            await asyncio.to_thread(pause.wait, 0.001)
        assert await rt.tell_async("log", [name, request.get()]) == 0  # joins its own turn
        return f"{request.get()} {context.mailbox}"

    log: list[Any] = []
    rt.mailbox("log", log.append)
    both: list[str] = []
    pause = threading.Event()

    async def main() -> None:
        request.set("host")
        async with rt:
            answers = await asyncio.gather(rt.ask_async(work, "a"), rt.ask_async(work, "b"))
            assert sorted(answers) == ["a work", "b work"]
            await rt.ask_async("log", "end")  # behind what they have told
            assert request.get() == "host"

    asyncio.run(main())
    assert seen == ["none", "none"]
    assert sorted(log[:2]) == [["a", "a"], ["b", "b"]]


# --- cancelling --------------------------------------------------------------------------------


def test_a_handler_past_its_timeout_is_cancelled_and_may_clean_up(tmp_path: Path) -> None:
    rt, cleaned = rt_in(tmp_path), threading.Event()

    @rt.mailbox("slow", timeout=0.05, retry=RetryPolicy(attempts=1))
    async def slow(_n: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.to_thread(cleaned.set)

    async def main() -> None:
        async with rt:
            with pytest.raises(HandlerTimeout):
                await rt.ask_async(slow, 1)
            assert cleaned.is_set()

    asyncio.run(main())


@pytest.mark.parametrize("on_host", [True, False])
def test_stop_cancels_what_does_not_end_lets_it_clean_up_and_counts_nothing(
    tmp_path: Path,
    on_host: bool,  # noqa: FBT001  (pytest's)
) -> None:
    rt = rt_in(tmp_path)
    log: list[str] = []
    begun = threading.Event()

    @rt.mailbox("slow")
    async def slow(_n: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.append("cancelled")
            try:
                rt.tell("slow", 2)
            except TurnEnded:
                log.append("its turn has ended")
            raise
        finally:
            await asyncio.to_thread(log.append, "cleaned up")

    async def main() -> None:
        await rt.__aenter__()
        number = await rt.tell_async(slow, 1)
        await asyncio.to_thread(begun.wait, PATIENCE)
        await asyncio.to_thread(rt.stop, 0.05)
        told.append(number)

    told: list[int] = []
    if on_host:
        asyncio.run(main())
    else:
        rt.start()
        told.append(rt.tell(slow, 1))
        assert begun.wait(PATIENCE)
        rt.stop(0.05)
    assert log == ["cancelled", "its turn has ended", "cleaned up"]
    found = rt.find(told[0])
    assert found is not None
    assert (found.attempt, found.state) == (0, "waiting")
    rt.stop()


def test_stop_from_a_coroutine_handler_does_not_wait_for_itself(tmp_path: Path) -> None:
    rt = rt_in(tmp_path)

    @rt.mailbox("last")
    async def last(_n: int) -> None:
        rt.stop(PATIENCE)

    async def main() -> None:
        await rt.__aenter__()
        begun = monotonic()
        await rt.tell_async(last, 1)
        while rt.role == "owner" or not rt._host.ended.is_set():
            await asyncio.to_thread(threading.Event().wait, 0.005)
        assert monotonic() - begun < PATIENCE / 2

    asyncio.run(main())
    assert rt.mailboxes()[0].waiting == 0
    rt.stop()


# --- the loop goes on --------------------------------------------------------------------------


class Ticker:
    """Measures how long a loop stands still."""

    def __init__(self) -> None:
        self.gaps: list[float] = []

    async def run(self) -> None:
        event, last = asyncio.Event(), monotonic()
        while True:
            try:
                await asyncio.wait_for(event.wait(), 0.001)
            except TimeoutError:
                now = monotonic()
                self.gaps.append(now - last)
                last = now

    async def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = asyncio.create_task(self.run())
        await work()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def late(self, share: float) -> float:
        """Return the gap that all but such a share stay under."""
        return sorted(self.gaps)[int(len(self.gaps) * (1 - share)) - 1]


def test_a_slow_store_does_not_hold_the_loop_up(tmp_path: Path) -> None:
    """Every way into the runtime from a coroutine, while each commit takes a fifth of a second."""
    rt, slow = rt_in(tmp_path), 0.2

    @rt.mailbox("work", keyed=True)
    async def work(n: int) -> int:
        await rt.tell_async("other", n)
        return n

    rt.mailbox("other", lambda n: n, topics="t")
    rt._store.open()
    write, pause = rt._store.write, threading.Event()

    def slowly(units: Any, **kwargs: Any) -> Any:
        pause.wait(slow)
        return write(units, **kwargs)

    rt._store.write = slowly  # type: ignore[method-assign]

    async def main() -> None:
        async with rt:
            await asyncio.gather(
                *(rt.tell_async("work", n, key=n) for n in range(20)),
                *(rt.ask_async("work", n, key=n, timeout=PATIENCE) for n in range(20)),
                *(rt.ask_async("other", n, timeout=PATIENCE) for n in range(3)),
            )
            async with rt.listen("t") as feed:
                await asyncio.to_thread(rt.publish, "t", 1)
                assert await feed.__anext__() == 1

    ticker = Ticker()
    asyncio.run(ticker.beside(main))
    assert max(ticker.gaps) < slow / 2


async def load(rt: Runtime) -> None:
    """Tell and ask from two dozen tasks."""

    async def one() -> None:
        for n in range(15):
            await rt.tell_async("sync", n)
            await rt.ask_async("async", n, timeout=PATIENCE)

    async with rt:
        await asyncio.gather(*(one() for _ in range(24)))


async def bare() -> None:
    """Do a little on a loop, for as long as that takes beside whatever computes."""
    for _ in range(500):
        sum(range(300))
        await asyncio.to_thread(int)


@pytest.mark.alone
@pytest.mark.slow
def test_under_load_the_loop_stands_still_no_longer_than_beside_computing_threads(
    tmp_path: Path,
) -> None:
    """Other threads hold the GIL for a switch interval each: a bare loop is measured beside two."""
    rt = rt_in(tmp_path, durability="normal")

    @rt.mailbox("async", workers=8)
    async def handler(n: int) -> int:
        return n

    rt.mailbox("sync", lambda n: n, workers=4)
    done = threading.Event()

    def compute() -> None:
        while not done.is_set():
            sum(range(2000))

    ours, theirs = Ticker(), Ticker()
    asyncio.run(ours.beside(lambda: load(rt)))
    threads = [threading.Thread(target=compute) for _ in range(2)]
    for thread in threads:
        thread.start()
    asyncio.run(theirs.beside(bare))
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert ours.late(0.05) < max(2 * MOST, theirs.late(0.05))
