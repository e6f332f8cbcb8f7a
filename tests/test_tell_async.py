"""``tell_async``: durable when it returns, many tasks in one commit, and the loop goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    AlreadyTold,
    MailboxFull,
    MailboxNotFound,
    MessageError,
    Runtime,
    StoreError,
    StoreFull,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.runtime.testing import Board

PATIENCE = 20.0


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    yield made
    made.stop(timeout=1.0)


def writes(rt: Runtime) -> list[int]:
    """Count the units of each group that is written from now on."""
    rt._store.open()
    write, sizes = rt._store.write, list[int]()

    def counted(units: Any, **kwargs: Any) -> Any:
        sizes.append(len(units))
        assert not _on_loop(), "a commit on the event loop's thread"
        return write(units, **kwargs)

    rt._store.write = counted  # type: ignore[method-assign]
    return sizes


def held_up(rt: Runtime) -> tuple[threading.Event, threading.Event]:
    """Hold up each write until the first event is set; the second says that one waits."""
    write, hold, held = rt._store.write, threading.Event(), threading.Event()

    def slow(units: Any, **kwargs: Any) -> Any:
        held.set()
        assert hold.wait(PATIENCE)
        return write(units, **kwargs)

    rt._store.write = slow  # type: ignore[method-assign]
    return hold, held


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_it_is_on_disk_when_it_returns_and_takes_all_that_tell_takes(board: Board) -> None:
    rt = board.rt
    got: list[Any] = []
    rt.mailbox("work", got.append)
    rt.mailbox("keyed", lambda m, c: got.append((c.key, m)), keyed=True)

    async def main() -> None:
        number = await rt.tell_async("work", 1)
        found = rt.find(number)
        assert found is None or found.message == 1
        await rt.tell_async("work", 2, after="1h", id="timer")
        await rt.tell_async("work", 3, after="2h", id="timer")
        with pytest.raises(AlreadyTold):
            await rt.tell_async("work", 4, after="1h", id="timer", if_exists="raise")
        await rt.ref("keyed", "a").tell_async(5)
        with pytest.raises(MessageError):
            await rt.tell_async("keyed", 5)
        with pytest.raises(MailboxNotFound):
            await rt.tell_async("nobody", 5)

    with board:
        asyncio.run(main())
        board.settle()
        assert got == [1, ("a", 5)]
        board.advance("3h")
        assert got == [1, ("a", 5), 3]


def test_tasks_share_commits_and_none_is_on_the_loops_thread(rt: Runtime) -> None:
    rt.mailbox("work", lambda _n: None)
    sizes = writes(rt)

    async def one(task: int) -> list[int]:
        return [await rt.tell_async("work", [task, n]) for n in range(20)]

    async def main() -> list[list[int]]:
        return await asyncio.gather(*(one(task) for task in range(64)))

    numbers = asyncio.run(main())
    assert len({n for each in numbers for n in each}) == 64 * 20
    assert all(each == sorted(each) for each in numbers)
    assert len(rt.peek("work", 2000)) == 64 * 20
    assert len(sizes) < 64 * 20 / 4
    assert max(sizes) >= 32


def test_threads_and_tasks_together(rt: Runtime) -> None:
    """A task is never made the leader: its commit would have to wait for its loop."""
    rt.mailbox("work", lambda _n: None)
    sizes = writes(rt)
    done = threading.Event()

    def beside() -> None:
        while not done.is_set():
            rt.tell("work", "thread")

    async def main() -> None:
        await asyncio.gather(*(rt.tell_async("work", n) for n in range(300)))

    threads = [threading.Thread(target=beside) for _ in range(3)]
    for thread in threads:
        thread.start()
    asyncio.run(main())
    done.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert max(sizes) > 1


def test_in_a_handler_it_joins_the_turn(board: Board) -> None:
    rt, got = board.rt, list[int]()
    rt.mailbox("second", got.append)

    @rt.mailbox("first")
    async def first(n: int) -> None:
        assert await rt.tell_async("second", n) == 0
        if n < 0:
            raise ValueError(n)

    with board:
        rt.tell(first, 1)
        rt.tell(first, -1)
        board.settle()
        assert got == [1]


def test_it_waits_for_room_off_the_loop(rt: Runtime) -> None:
    rt.mailbox("narrow", lambda _n: None, capacity=1, overflow="wait")
    rt.tell("narrow", 1)

    async def main() -> None:
        with pytest.raises(MailboxFull):
            await rt.tell_async("narrow", 2, timeout=0.05)
        waits = asyncio.create_task(rt.tell_async("narrow", 3, timeout=PATIENCE))
        await asyncio.wait([waits], timeout=0.05)
        assert not waits.done()
        await asyncio.to_thread(rt.start)
        assert await waits

    asyncio.run(main())


def test_a_refusing_store_gives_each_task_its_error(rt: Runtime) -> None:
    rt.mailbox("work", lambda _n: None)
    rt.tell("work", 0)

    def full(units: Any, **kwargs: Any) -> Any:
        raise StoreFull("the disk is full")

    write, rt._store.write = rt._store.write, full  # type: ignore[method-assign]

    async def main() -> None:
        tells = (rt.tell_async("work", n) for n in range(5))
        errors = await asyncio.gather(*tells, return_exceptions=True)
        assert all(isinstance(error, StoreFull) for error in errors)
        rt._store.write = write  # type: ignore[method-assign]
        assert await rt.tell_async("work", 6) == 2

    asyncio.run(main())


def test_a_stop_leaves_no_task_waiting(rt: Runtime) -> None:
    rt.mailbox("work", lambda _n: None)
    rt.tell("work", 0)
    hold, held = held_up(rt)

    async def main() -> None:
        tasks = [asyncio.create_task(rt.tell_async("work", 1))]
        await asyncio.to_thread(held.wait, PATIENCE)
        tasks += [asyncio.create_task(rt.tell_async("work", n)) for n in range(2, 5)]
        await asyncio.wait(tasks, timeout=0.05)
        stop = asyncio.create_task(asyncio.to_thread(rt.stop))
        hold.set()
        await stop
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, (int, StoreError))

    asyncio.run(main())


def test_a_task_that_gives_up_and_a_loop_that_is_gone_harm_nobody(rt: Runtime) -> None:
    rt.mailbox("work", lambda _n: None)
    rt.tell("work", 0)
    hold, held = held_up(rt)

    async def main() -> None:
        task = asyncio.create_task(rt.tell_async("work", 1))
        await asyncio.to_thread(held.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    hold.set()
    assert rt.tell("work", 2) == 3  # what the cancelled task had sent is on disk all the same


def test_without_a_loop_it_says_so_and_tells_nothing_even_where_nobody_imported_asyncio(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under another library's event loop."""
    rt.mailbox("work", lambda _n: None)
    rt.tell("work", 0)
    monkeypatch.delitem(sys.modules, "asyncio")
    with pytest.raises(RuntimeError, match="no running event loop"):
        rt.tell_async("work", 1).send(None)
    monkeypatch.undo()
    with pytest.raises(RuntimeError, match="no running event loop"):
        rt.tell_async("work", 1).send(None)
    assert rt.tell("work", 2) == 2


def test_what_is_told_under_a_byline_notes_who_tells_it_in_its_own_transaction(
    rt: Runtime,
) -> None:
    rt.mailbox("mail", lambda _: None)

    async def tell(command: str) -> int:
        with rt.signing(command, "ann"):
            return await rt.tell_async("mail", 1)

    rt.tell("mail", 0)  # the mailbox is declared
    sizes = writes(rt)
    told = asyncio.run(tell("tell mail 1"))
    assert len(sizes) == 1
    assert [(each.who, each.command) for each in rt.audits()] == [("ann", "tell mail 1")]
    assert [each.id for each in rt.peek("mail")][-1] == told
    with sqlite3.connect(rt._config.path) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON callboard_audit "
            "BEGIN SELECT raise(ABORT, 'no'); END"
        )
    connection.close()
    with pytest.raises(sqlite3.IntegrityError):
        asyncio.run(tell("tell mail 2"))
    assert [each.id for each in rt.peek("mail")][-1] == told  # what is not noted is not told


def test_a_byline_that_was_refused_is_taken_by_the_next_change(rt: Runtime) -> None:
    rt.mailbox("full", lambda _: None, capacity=1)
    rt.mailbox("mail", lambda _: None)
    rt.tell("full", 1)
    rt.tell("mail", 1)

    async def tell() -> None:
        with rt.signing("tell", "ann"):
            with pytest.raises(MailboxFull):
                await rt.tell_async("full", 2)
            assert rt.audits() == []
            await rt.tell_async("mail", 2)

    asyncio.run(tell())
    assert [each.command for each in rt.audits()] == ["tell"]


def test_a_byline_of_a_task_that_gives_up_is_not_written_again(rt: Runtime) -> None:
    rt.mailbox("mail", lambda _: None)
    rt.tell("mail", 0)
    hold, held = held_up(rt)

    async def give_up() -> None:
        with rt.signing("tell", "ann"):
            telling = asyncio.ensure_future(rt.tell_async("mail", 1))
            await asyncio.to_thread(held.wait, PATIENCE)
            telling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await telling
            hold.set()
            await rt.tell_async("mail", 2)

    asyncio.run(give_up())
    assert [each.id for each in rt.peek("mail")] == [1, 2, 3]
    assert [each.command for each in rt.audits()] == ["tell"]
