"""`rt.run()` and the service manager: readiness, roles, the end, and the watchdog."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from callboard import Runtime
from callboard.clock import monotonic
from callboard.runtime import host
from callboard.runtime.notify import Notifier

from .hosts import BOARD, wait_until_handled
from .processes import PATIENCE, Child


class Manager:
    """A service manager: hears what its services say."""

    def __init__(self, address: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(PATIENCE)
        self.environment = {"NOTIFY_SOCKET": address}

    def hear(self) -> str:
        return self.socket.recv(4096).decode()

    def hear_until(self, line: str) -> list[str]:
        heard = [self.hear()]
        while heard[-1] != line:
            heard.append(self.hear())
        return heard


@contextmanager
def manager(address: object) -> Iterator[Manager]:
    made = Manager(str(address))
    with made.socket:
        yield made


DAEMON = BOARD + "import sys\nrt.run()\n"


@pytest.mark.slow
def test_a_daemon_says_ready_then_its_role_at_each_change_then_stopping(tmp_path: Path) -> None:
    with (
        manager(tmp_path / "one") as first,
        manager(tmp_path / "two") as second,
        Child(DAEMON, cwd=tmp_path, env=first.environment) as owner,
    ):
        assert sorted([first.hear(), first.hear()]) == ["READY=1", "STATUS=owner: handles messages"]
        with Child(DAEMON, cwd=tmp_path, env=second.environment) as standby:
            assert sorted([second.hear(), second.hear()]) == [
                "READY=1",
                f"STATUS=standby: takes over when process {owner.process.pid} ends",
            ]
            client = Runtime(tmp_path / "board.db")
            client.tell("work", 1)
            client.tell("work", 2, after=0.05)
            # What comes due goes first, so on a slow machine the call may be before the message.
            assert sorted(owner.wait_for("got").split()[-1] for _ in range(2)) == ["1", "2"]
            owner.wait_for("tick")
            wait_until_handled(tmp_path)
            begun = monotonic()
            owner.kill()
            assert second.hear() == "STATUS=owner: handles messages"
            assert monotonic() - begun < 1.0
            client.tell("work", 3)
            assert standby.wait_for("got").endswith(" 3")
            standby.wait_for("tick")
            client.stop()
            standby.process.send_signal(signal.SIGTERM)
            assert second.hear() == "STOPPING=1\nSTATUS=stopping: running handlers end"
            assert standby.end() == 0


@pytest.mark.slow
def test_a_daemon_pets_the_watchdog_while_it_lives(tmp_path: Path) -> None:
    with (
        manager(f"@callboard-{os.getpid()}") as systemd,
        Child(DAEMON, cwd=tmp_path, env=systemd.environment | {"WATCHDOG_USEC": "100000"}),
    ):
        for _ in range(3):
            systemd.hear_until("WATCHDOG=1")


def test_the_watchdog_is_petted_twice_in_its_time_and_only_while_alive(tmp_path: Path) -> None:
    alive = threading.Event()
    asked = threading.Semaphore(0)

    def look() -> bool:
        asked.release()
        return alive.is_set()

    with manager(tmp_path / "socket") as systemd:
        environment = systemd.environment | {
            "WATCHDOG_USEC": "20000",
            "WATCHDOG_PID": str(os.getpid()),
        }
        notifier = Notifier(environment)
        notifier.watch(look)
        for _ in range(3):
            assert asked.acquire(timeout=PATIENCE)
        notifier.say("nothing yet")
        assert systemd.hear() == "nothing yet"
        alive.set()
        assert systemd.hear() == "WATCHDOG=1"
        notifier.close()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "20000"},
        {"NOTIFY_SOCKET": "vsock:2:1234", "WATCHDOG_USEC": "20000"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/nowhere/at/all", "WATCHDOG_USEC": "soon"},
    ],
)
def test_without_a_manager_nothing_is_said_and_nothing_breaks(environment: dict[str, str]) -> None:
    before = threading.active_count()
    notifier = Notifier(environment)
    notifier.watch(lambda: True)
    notifier.say("READY=1")
    assert threading.active_count() == before
    notifier.close()


def test_an_owner_that_no_longer_looks_at_its_store_is_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "STALLED", 0.6)
    rt = Runtime(tmp_path / "board.db")
    rt.start()
    assert rt._host.alive()
    hangs, entered = threading.Event(), threading.Event()

    def hang() -> tuple[int, int, int]:
        entered.set()
        hangs.wait(PATIENCE)
        return (0, 0, 0)

    monkeypatch.setattr(rt._store, "heartbeat", hang)
    assert entered.wait(PATIENCE)
    until = monotonic() + PATIENCE
    while rt._host.alive():
        assert monotonic() < until
        entered.wait(0.01)
    monkeypatch.undo()
    monkeypatch.setattr(host, "STALLED", 0.6)
    hangs.set()
    while not rt._host.alive():
        assert monotonic() < until
        hangs.wait(0.01)
    rt.stop()
    assert rt._host.alive()


def test_a_standby_is_alive_while_it_waits(tmp_path: Path) -> None:
    owner, standby = Runtime(tmp_path / "board.db"), Runtime(tmp_path / "board.db")
    owner.start()
    standby.start()
    assert standby.role == "standby"
    assert standby._host.alive()
    waiting = standby._host._ownership._thread
    standby._host._ownership._thread = None
    assert not standby._host.alive()
    standby._host._ownership._thread = waiting
    standby.stop()
    owner.stop()
