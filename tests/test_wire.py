"""The owner's socket: who gets in, and that a ring reaches whoever owns the store."""

from __future__ import annotations

import os
import socket
import stat
import struct
import threading
from pathlib import Path
from typing import Any

import pytest

from callboard.runtime import bell as bell_module
from callboard.runtime import wire
from callboard.runtime.bell import Bell
from callboard.runtime.wire import Ringer

PATIENCE = 10.0


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time of the client's clock, to be turned."""
    now = [0.0]
    monkeypatch.setattr(wire, "monotonic", lambda: now[0])
    return now


def test_a_ring_reaches_the_owner_and_the_one_after_it(tmp_path: Path, hands: list[float]) -> None:
    path = tmp_path / "bell"
    ringer = Ringer(lambda: path)
    ringer.ring()  # nobody owns it
    for _ in range(2):
        hands[0] += 1.0
        rung = threading.Event()
        bell = Bell(path, rung.set)
        ringer.ring()
        assert rung.wait(PATIENCE)
        bell.close()
        assert not path.exists()
    ringer.close()


def test_where_nobody_owns_the_store_few_tells_look_for_an_owner(hands: list[float]) -> None:
    looks: list[float] = []

    def nowhere() -> Path:
        looks.append(hands[0])
        return Path("/nowhere")

    ringer = Ringer(nowhere)
    for _ in range(100):
        ringer.ring()
        hands[0] += 0.001
    assert 15 <= len(looks) <= 25


def test_only_the_user_may_connect(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell", lambda: None)
    assert stat.S_IMODE((tmp_path / "bell").stat().st_mode) == 0o600
    bell.close()


@pytest.mark.skipif(not hasattr(socket, "SO_PEERCRED"), reason="the kernel does not say who it is")
def test_the_peers_user_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Peer:
        def getsockopt(self, *_: int) -> bytes:
            return struct.pack("3i", 1, 4242, 1)

    peer: Any = Peer()
    monkeypatch.setattr(os, "getuid", lambda: 4242)
    assert bell_module._same_user(peer)
    monkeypatch.setattr(os, "getuid", lambda: 4243)
    assert not bell_module._same_user(peer)


def test_what_is_no_ring_ends_the_connection(tmp_path: Path) -> None:
    bell = Bell(tmp_path / "bell", lambda: None)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(PATIENCE)
        client.connect(str(tmp_path / "bell"))
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert client.recv(1) == b""
    bell.close()
