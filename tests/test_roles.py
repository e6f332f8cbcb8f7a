"""What a process hears of others, and how it stops: beside what needs real processes."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import Runtime
from callboard.clock import monotonic
from callboard.errors import StoreError
from callboard.runtime.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from callboard.runtime.testing import Board

PATIENCE = 10.0


def test_a_client_rings_the_owner_after_its_commit(board: Board) -> None:
    """Without waiting for the owner's own look four times a second."""
    handled = threading.Event()
    board.rt.mailbox("jobs", lambda _n: handled.set())
    client = Runtime(board.rt._config.path, clock=board.clock)
    with board:
        engine = board.rt._host.engine
        assert engine is not None
        engine.pulse = lambda: None  # type: ignore[method-assign]
        client.tell("jobs", 1)
        assert handled.wait(PATIENCE)
    client.stop()


def test_a_ring_during_a_look_is_followed_by_another_look(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is told when a look has read already would wait for the owner's own next one."""
    looked, rung, go, second = (threading.Event() for _ in range(4))
    ring = Engine.ring

    def heard(engine: Engine) -> None:
        ring(engine)
        if looked.is_set():
            rung.set()

    monkeypatch.setattr(Engine, "ring", heard)
    monkeypatch.setattr(Engine, "pulse", lambda _: None)

    def work(n: int) -> None:
        if n == 2:
            second.set()
        second.wait(PATIENCE)  # the first one's own commit would look as well

    board.rt.mailbox("jobs", work, workers=2)
    client = Runtime(board.rt._config.path, clock=board.clock)
    with board:
        write = board.rt._store.write

        def slowly(*args: Any, **kwargs: Any) -> Any:
            written = write(*args, **kwargs)
            if not looked.is_set():
                looked.set()
                assert go.wait(PATIENCE)
            return written

        board.rt._store.write = slowly  # type: ignore[method-assign]
        client.tell("jobs", 1)
        assert looked.wait(PATIENCE)
        client.tell("jobs", 2)
        assert rung.wait(PATIENCE)
        go.set()
        assert second.wait(PATIENCE)
    client.stop()


def test_the_owner_hears_of_a_pause_by_another_process(board: Board) -> None:
    paused, resumed = threading.Event(), threading.Event()
    board.rt.events.subscribe(lambda _: paused.set(), "mailbox.paused")
    board.rt.events.subscribe(lambda _: resumed.set(), "mailbox.resumed")
    got: list[int] = []
    board.rt.mailbox("jobs", got.append)
    client = Runtime(board.rt._config.path, clock=board.clock)
    with board:
        client.pause("jobs")
        assert paused.wait(PATIENCE)
        board.rt.tell("jobs", 1)
        board.settle()
        assert got == []
        client.resume("jobs")
        assert resumed.wait(PATIENCE)
        board.settle()
        assert got == [1]
    client.stop()


def test_run_ends_with_an_error_when_a_system_actor_gives_up(
    board: Board, capfd: pytest.CaptureFixture[str]
) -> None:
    rt = board.rt

    @rt.mailbox("jobs")
    def give_up(_n: int) -> None:
        rt._host._give_up(StoreError("the timers keep failing"))

    rt.tell(give_up, 1)
    with pytest.raises(SystemExit) as caught:
        rt.run()
    assert caught.value.code == 1
    assert "the timers keep failing" in capfd.readouterr().err


def test_giving_up_stops_no_later_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that is to stop it may come after the host has stopped and started it itself."""
    rt = Runtime(tmp_path / "board.db")
    late: list[Callable[[], None]] = []
    monkeypatch.setattr(rt._host._parts, "aside", late.append)
    rt.start()
    rt._host._give_up(StoreError("the timers keep failing"))
    rt.stop()
    rt.start()
    late.pop()()
    roles = [rt.role]
    rt._host._give_up(StoreError("the timers keep failing"))
    late.pop()()
    assert [*roles, rt.role] == ["owner", "client"]


def test_run_ends_when_the_runtime_is_stopped(board: Board) -> None:
    rt = board.rt
    rt.mailbox("jobs", lambda _n: rt.stop())
    rt.tell("jobs", 1)
    rt.run()
    assert rt.role == "client"


def test_a_stop_leaves_all_in_one_file(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "b.db")
    rt.mailbox("box", lambda _m: None)
    with rt:
        rt.tell("box", 1, after="1h")
        assert (tmp_path / "b.db-wal").stat().st_size
    assert [each.name for each in tmp_path.iterdir() if each.is_file()] == ["b.db"]


def test_no_handler_starts_during_a_stop(board: Board) -> None:
    rt = board.rt
    started: list[int] = []
    inside, go = threading.Event(), threading.Event()

    @rt.mailbox("jobs")
    def jobs(n: int) -> None:
        started.append(n)
        inside.set()
        assert go.wait(PATIENCE)

    rt.start()
    rt.tell_many(jobs, [1, 2])
    assert inside.wait(PATIENCE)
    engine = rt._host.engine
    assert engine is not None
    mailbox = engine.mailbox("jobs")
    assert mailbox is not None
    stop = threading.Thread(target=rt.stop)
    stop.start()
    while not mailbox.stopping and stop.is_alive():
        engine.environment.driver.rest(0.001)
    go.set()
    stop.join(PATIENCE)
    assert started == [1]
    assert rt.mailboxes()[0].waiting == 1


def test_an_interruption_by_a_stop_is_no_death(tmp_path: Path) -> None:
    """Three of them would make a dead letter."""
    rt = Runtime(tmp_path / "b.db")
    inside, go = threading.Semaphore(0), threading.Event()

    @rt.mailbox("jobs")
    def jobs(_n: int) -> None:
        inside.release()
        go.wait(PATIENCE)

    rt.tell(jobs, 1)
    for _ in range(4):
        rt.start()
        assert inside.acquire(timeout=PATIENCE)
        rt.stop(timeout=0.01)
    go.set()
    assert rt.dead() == []
    assert rt._store.query("SELECT deliveries FROM callboard_message", ()) == [(0,)]
    rt.stop()


@pytest.mark.alone
def test_an_idle_owner_takes_about_no_cpu(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "b.db")
    rt.mailbox("jobs", lambda _n: None)
    rt.tell("jobs", 1, after=3600)
    looks = threading.Semaphore(0)
    with rt:
        engine = rt._host.engine
        assert engine is not None
        pulse = engine.pulse

        def look() -> None:
            pulse()
            looks.release()

        engine.pulse = look  # type: ignore[method-assign]
        for _ in range(2):
            assert looks.acquire(timeout=PATIENCE)
        real, cpu = monotonic(), sum(os.times()[:2])
        for _ in range(4):
            assert looks.acquire(timeout=PATIENCE)
        real, cpu = monotonic() - real, sum(os.times()[:2]) - cpu
    assert real > 0.5  # it does not look without a pause
    assert cpu / real < 0.1


def test_async_handlers_run_on_the_hosts_loop_where_it_gives_one(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "b.db")
    ran: list[tuple[object, str]] = []
    done = threading.Event()

    @rt.mailbox("jobs")
    async def jobs(n: int) -> None:
        ran.append((asyncio.get_running_loop(), threading.current_thread().name))
        done.set()
        if n == 1:
            here.set()

    here = asyncio.Event()

    async def host() -> object:
        async with rt:
            await rt.tell_async(jobs, 1)
            await asyncio.wait_for(here.wait(), PATIENCE)
        return asyncio.get_running_loop()

    loop = asyncio.run(host())
    assert ran == [(loop, threading.current_thread().name)]
    done.clear()
    with rt:
        rt.tell(jobs, 2)
        assert done.wait(PATIENCE)
    assert ran[1][1] == "callboard-loop"
