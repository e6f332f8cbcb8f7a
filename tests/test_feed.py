"""Feeds: what is published is heard live, here and in other processes; a slow one is bounded."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import CallboardError, ConfigError, Feed, NotStarted, Runtime, message
from callboard.clock import monotonic

from .processes import Child

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.runtime.testing import Board

PATIENCE = 20.0


@message("placed")
@dataclass
class Placed:
    order: int


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    yield made
    made.stop(timeout=1.0)


def collect(feed: Feed[Any], into: list[Any]) -> threading.Thread:
    def run() -> None:
        into.extend((feed.topic, each) for each in feed)

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def wait_until(true: Any) -> None:
    until, pause = monotonic() + PATIENCE, threading.Event()
    while not true():
        assert monotonic() < until
        pause.wait(0.005)


# --- in the owner ------------------------------------------------------------------------------


def test_it_hears_what_is_published_on_its_topics_in_order(rt: Runtime) -> None:
    with rt, rt.listen("order.*") as feed, rt.listen("*") as all_of_it:
        rt.publish("order.placed", Placed(1))
        rt.publish("user.born", "ada")
        rt.publish("order.paid", {"order": 1})
        assert next(feed) == Placed(1)
        assert feed.topic == "order.placed"
        assert next(feed) == {"order": 1}
        assert feed.topic == "order.paid"
        assert [next(all_of_it) for _ in range(3)] == [Placed(1), "ada", {"order": 1}]


def test_a_turn_that_fails_has_published_nothing(board: Board) -> None:
    rt = board.rt

    @rt.mailbox("work")
    def work(n: int) -> None:
        rt.publish("done", n)
        if n == 1:
            raise ValueError(n)

    with board, rt.listen("done") as feed:
        rt.tell(work, 1)
        rt.tell(work, 2)
        board.settle()
        assert next(feed) == 2


def test_a_turn_that_became_void_has_published_nothing(rt: Runtime) -> None:
    running, go = threading.Event(), threading.Event()

    @rt.mailbox("work")
    def work(n: int) -> None:
        rt.publish("done", n)
        running.set()
        assert go.wait(PATIENCE)

    with rt, rt.listen("done") as feed:
        number = rt.tell(work, 1)
        assert running.wait(PATIENCE)
        assert rt.cancel(work, number)
        go.set()
        rt.tell(work, 2)
        assert next(feed) == 2


def test_it_is_heard_after_the_commit(rt: Runtime) -> None:
    got: list[Any] = []
    copies = rt.mailbox("copies", got.append, topics="order.*")
    with rt:
        rt.pause(copies)
        with rt.listen("order.*") as feed:
            rt.publish("order.placed", 1)
            assert next(feed) == 1
            assert rt.peek("copies")[0].message == 1


def test_a_slow_listener_loses_the_oldest_and_is_told_how_many(rt: Runtime) -> None:
    with rt, rt.listen("*", buffer=3) as feed:
        for n in range(10):
            rt.publish("t", n)
        assert [next(feed) for _ in range(3)] == [7, 8, 9]
        assert feed.dropped == 7


def test_its_loop_ends_at_the_stop_and_when_it_is_closed(rt: Runtime) -> None:
    rt.start()
    heard: list[Any] = []
    first, second = rt.listen("*"), rt.listen("*")
    threads = [collect(feed.__enter__(), heard) for feed in (first, second)]
    rt.publish("t", 1)
    wait_until(lambda: len(heard) == 2)
    first.close()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()
    rt.stop()
    threads[1].join(PATIENCE)
    assert not threads[1].is_alive()
    assert rt._host.hub.on is False
    assert heard == [("t", 1), ("t", 1)]


def test_nobody_listens_costs_nothing_and_nothing_is_kept(rt: Runtime) -> None:
    with rt:
        rt.publish("t", 1)
        assert rt._host.hub.on is False
        with rt.listen("t") as feed:
            rt.publish("t", 2)
            assert next(feed) == 2


def test_it_is_refused_where_it_cannot_be(rt: Runtime) -> None:
    begun = monotonic()
    with pytest.raises(NotStarted), rt.listen("t"):
        pass
    assert monotonic() - begun < 2
    for topic in ("", None, 3):
        with pytest.raises(ConfigError, match="topic"):
            rt.listen(topic)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="buffer"):
        rt.listen("t", buffer=0)
    with rt, rt.listen("t") as feed, pytest.raises(CallboardError, match="already"):
        feed.__enter__()


def test_coroutines_listen_without_blocking_the_loop(rt: Runtime) -> None:
    async def main() -> None:
        with pytest.raises(CallboardError, match="async with"), rt.listen("t"):
            pass
        heard: list[int] = []

        async def hear() -> None:
            async with rt.listen("t") as feed:
                ready.set()
                async for each in feed:
                    heard.append(each)
                    if each == 4:
                        return

        ready = asyncio.Event()
        task = asyncio.create_task(hear())
        await ready.wait()
        for n in range(5):
            await asyncio.to_thread(rt.publish, "t", n)
        await asyncio.wait_for(task, PATIENCE)
        assert heard == [0, 1, 2, 3, 4]
        async with rt.listen("t") as feed:
            waits = asyncio.create_task(feed.__anext__())
            await asyncio.to_thread(rt.stop)
            with pytest.raises(StopAsyncIteration):
                await asyncio.wait_for(waits, PATIENCE)

    rt.start()
    asyncio.run(main())


def test_a_cancelled_wait_leaves_nothing_and_loses_nothing(rt: Runtime) -> None:
    async def main() -> None:
        async with rt.listen("t") as feed:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(feed.__anext__(), 0.02)
            assert feed._tasks == []
            await asyncio.to_thread(rt.publish, "t", 1)
            assert await feed.__anext__() == 1

    with rt:
        asyncio.run(main())


# --- over the socket ---------------------------------------------------------------------------

OWNER = """
import os
from callboard import Runtime
rt = Runtime("board.db")
@rt.mailbox("say")
def say(n: int) -> None:
    for each in range(n):
        rt.publish("order.said", each)
rt.events.subscribe(lambda e: os.write(1, b"is owner\\n"), "owner.taken")
rt.events.subscribe(lambda e: os.write(1, b"is %s\\n" % e["role"].encode()), "runtime.st")
rt.run()
"""


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Child]:
    with Child(OWNER, cwd=tmp_path) as child:
        child.wait_for("is owner")
        yield child


@pytest.mark.parametrize("standby", [False, True])
def test_clients_and_standbys_hear_the_owner_and_each_other(
    owner: Child,
    rt: Runtime,
    tmp_path: Path,
    standby: bool,  # noqa: FBT001  (pytest's)
) -> None:
    if standby:
        rt.start()
    other = Runtime(tmp_path / "board.db")
    with rt.listen("order.*") as feed, other.listen("order.placed") as others:
        rt.tell("say", 3)
        assert [next(feed) for _ in range(3)] == [0, 1, 2]
        other.publish("order.placed", Placed(5))
        assert next(feed) == Placed(5) or feed.topic == "order.placed"
        assert next(others) == next(iter([Placed(5)]))
        rt.publish("order.placed", 6)
        assert (next(feed), next(others)) == (6, 6)
    other.stop()


def test_a_listener_finds_the_next_owner_and_says_so(owner: Child, rt: Runtime) -> None:
    resumed = threading.Event()
    rt.events.subscribe(lambda _: resumed.set(), "feed.resumed")
    with rt.listen("order.*") as feed, Child(OWNER, cwd=rt._config.path.parent) as second:
        second.wait_for("is standby")
        rt.publish("order.a", 1)
        assert next(feed) == 1
        owner.kill()
        second.wait_for("is owner")
        assert resumed.wait(PATIENCE)
        assert feed.gaps == 1
        rt.tell("say", 1)
        assert next(feed) == 0


def test_a_listener_whose_own_process_takes_over_goes_on(owner: Child, rt: Runtime) -> None:
    resumed = threading.Event()
    rt.events.subscribe(lambda _: resumed.set(), "feed.resumed")
    rt.mailbox("say", lambda n: rt.publish("order.here", n))
    rt.start()
    assert rt.role == "standby"
    with rt.listen("order.*") as feed:
        owner.kill()
        assert resumed.wait(PATIENCE)
        assert (rt.role, feed.gaps) == ("owner", 1)
        rt.tell("say", 9)
        assert next(feed) == 9
    assert rt._host.hub.on is False


def test_a_clients_loop_ends_when_it_stops_and_not_with_the_owner(
    owner: Child, rt: Runtime
) -> None:
    heard: list[Any] = []
    feed = rt.listen("*").__enter__()
    thread = collect(feed, heard)
    owner.kill()
    thread.join(0.3)
    assert thread.is_alive()
    rt.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_client_that_is_gone_is_fed_no_more(rt: Runtime, tmp_path: Path) -> None:
    with rt:
        other = Runtime(tmp_path / "board.db")
        feed = other.listen("*").__enter__()
        wait_until(lambda: rt._host.hub.on)
        other.stop()
        wait_until(lambda: not rt._host.hub.on)
        assert list(feed) == []


def test_a_client_that_does_not_read_bounds_what_waits_for_it(
    rt: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("callboard.runtime.desk.MOST_WAITING", 100_000)
    with rt:
        other = Runtime(tmp_path / "board.db")
        with other.listen("*", buffer=10_000) as feed:
            hold, held = threading.Event(), threading.Event()
            put = feed.put

            def slow(*said: Any) -> None:
                held.set()
                assert hold.wait(PATIENCE)
                put(*said)

            monkeypatch.setattr(feed, "put", slow)
            for n in range(300):
                rt.publish("t", [n, "x" * 5000])
            bell = rt._host._bell
            assert bell is not None
            assert held.wait(PATIENCE)
            assert max(c.waiting for c in bell._reactor.channels) < 200_000
            hold.set()
            pause = threading.Event()
            for n in range(300, 400):
                rt.publish("t", [n, ""])
                pause.wait(0.002)
            heard: list[int] = []
            while not heard or heard[-1] != 399:
                heard.append(next(feed)[0])
            assert heard == sorted(heard)
            assert feed.dropped == 400 - len(heard) > 0
        other.stop()
