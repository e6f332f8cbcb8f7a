"""What a host must show, whichever it is: it handles, survives its owner's end, and stops."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from callboard import Runtime
from callboard.clock import monotonic

from .processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .guide import Page, Typed

#: More than the time from one minute to the next.
MINUTE = 70.0
#: Seconds that a host may take to stop: those that running handlers have.
STOP = 10.0


def orders(
    page: Page, command: str, *, alone: bool = False, orderly: bool = True, code: int = 0
) -> str:
    """Place orders as the page says, kill the owner, place more, and stop with SIGTERM.

    Args:
        page: whose files are written.
        command: of the page, that starts the server.
        alone: no other process of this server takes over; it is started again.
        orderly: at the end the runtime stops; a development server kills it.
        code: with which it ends.

    """
    with ExitStack() as stack:

        def start() -> Typed:
            server = stack.enter_context(page.run(command))
            server.up()
            return server

        first = server = start()
        answers = [server.ask(*each) for each in page.requests() if each[0].startswith("orders/")]
        assert answers == [{"accepted": 1}, {"accepted": 2}, {"in_time": True}]
        server.says("order 1 is not paid yet")
        if alone:
            server.ask("orders/3", "POST")
            server, survived = revive(server, start)
        else:
            server.a_standby_answers()
            server.ask("orders/3", "POST")
            survived = kill(server)
        see_it_go_on(server)
        wait_for_nothing(page.folder)
        stopped = stop(server, code, orderly=orderly)
    lines = "".join(first.lines if server is first else first.lines + server.lines)
    assert lines.count("mail to ada@example.org") >= 4
    assert not any(f"order {number} is not paid yet" in lines for number in (2, 4))
    return f"{survived}, {stopped}"


def see_it_go_on(server: Typed) -> None:
    """See that the next owner has the order of the last one, takes another, and ticks."""
    before = len(server.lines)
    server.says("order 3 is not paid yet")
    server.ask("orders/4", "POST")
    assert server.ask("orders/4/payment", "POST") == {"in_time": True}
    server.says("good morning", MINUTE, since=before)


def kill(server: Typed, heir: Typed | None = None) -> str:
    """Kill the owner; another process, of the same server or of the heir, handles what is told.

    Within a second, as the pages say; the message is told by a client as soon as the owner is dead.
    """
    killed, begun = server.owner, monotonic()
    os.kill(killed, signal.SIGKILL)
    heir = heir or server
    with store(server.folder) as client:
        client.tell("mail", "the heir")
    heir.says("mail to the heir")
    took = monotonic() - begun
    assert took < 1.0
    assert heir.owner != killed
    return f"taken over after {took:.2f} s"


def revive(server: Typed, start: Callable[[], Typed]) -> tuple[Typed, str]:
    """Kill the owner, of whose server nothing is left, and start it again; returns the new one."""
    begun = monotonic()
    os.kill(server.owner, signal.SIGKILL)
    server.end()
    again = start()
    return again, f"killed, and up again after {monotonic() - begun:.2f} s"


def stop(server: Typed, code: int = 0, *, orderly: bool = True) -> str:
    """Stop with SIGTERM; the last process that stops in order leaves no log beside its store."""
    begun = monotonic()
    ended = server.terminate(STOP)
    took = monotonic() - begun
    assert ended == code, "\n".join(server.lines)
    if orderly:
        assert not [*server.folder.glob("*-wal")], "\n".join(server.lines)
    return f"stopped after {took:.2f} s with code {ended}"


def wait_for_nothing(folder: Path) -> None:
    """Wait until nothing of the store waits, now or later; and nothing is dead."""
    until = monotonic() + PATIENCE
    with store(folder) as client:
        while any(mailbox.waiting + mailbox.later for mailbox in client.mailboxes()):
            assert monotonic() < until, client.mailboxes()
            threading.Event().wait(0.01)
        assert not client.dead()


@contextmanager
def store(folder: Path) -> Iterator[Runtime]:
    """Open the one store of a folder as a client."""
    (beside,) = folder.glob("*.callboard")
    client = Runtime(beside.with_suffix(""))
    try:
        yield client
    finally:
        client.stop()
