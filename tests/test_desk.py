"""The owner's socket: frames in pieces, peers that send anything, and exceptions that travel."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Self

import pytest

from callboard import MailboxFull, MailboxNotFound, RemoteError, Runtime
from callboard.runtime import desk, frames
from callboard.runtime.frames import Channel, NoFrame
from callboard.runtime.remote import describe, rebuild
from callboard.runtime.wire import RING

from .wire_tools import PATIENCE, answer, dial, frame, hung_up

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    made.mailbox("double", lambda n: 2 * n)
    made.start()
    yield made
    made.stop(timeout=1.0)


def test_only_the_owners_user_gets_in(rt: Runtime) -> None:
    mode = rt._store.companion.socket.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_a_frame_may_come_in_pieces_and_with_others(rt: Runtime) -> None:
    with dial(rt) as client:
        ask = frame(verb="ask", id=1, mailbox="double", kind="json", version=1, body=21)
        for byte in ask[:-1]:
            client.send(bytes([byte]))
        client.send(ask[-1:] + RING + ask.replace(b'"id": 1', b'"id": 2'))
        assert {answer(client)["id"], answer(client)["id"]} == {1, 2}


@pytest.mark.parametrize(
    "junk",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">I", frames.LONGEST + 1),
        struct.pack(">I", 1 << 30),
        struct.pack(">I", 5) + b"\xff\xfe{}}",
        frame(verb="ask"),
        frame(verb="sudo", id=1),
        frame(verb="drop", id="one"),
    ],
)
def test_who_sends_no_frame_of_ours_is_hung_up_on_and_nobody_else_is(
    rt: Runtime, junk: bytes
) -> None:
    with dial(rt) as good, dial(rt) as bad:
        bad.sendall(junk)
        assert hung_up(bad)
        good.sendall(frame(verb="ask", id=1, mailbox="double", kind="json", version=1, body=4))
        assert answer(good)["body"] == 8


def test_what_is_dropped_or_left_without_having_been_begun_is_nothing(rt: Runtime) -> None:
    with dial(rt) as client:
        client.sendall(frame(verb="drop", id=7) + frame(verb="leave", id=8))
        client.sendall(frame(verb="ask", id=1, mailbox="double", kind="json", version=1, body=4))
        assert answer(client)["body"] == 8


def test_a_body_that_the_worker_does_not_accept_fails_its_ask_alone(rt: Runtime) -> None:
    @rt.mailbox("strict", keyed=True)
    def strict(n: int) -> int:
        return n

    ask = {"verb": "ask", "mailbox": "strict", "version": 1}
    with dial(rt) as client:
        client.sendall(frame(**ask, id=1, kind="json", body="text", key="a"))
        assert answer(client)["name"] == "Broken"
        client.sendall(frame(**ask, id=2, kind="unheard.of", body={}, key="a"))
        assert "knows no 'unheard.of'" in answer(client)["text"]
        client.sendall(frame(**ask, id=3, kind="json", body=4))
        assert "is keyed" in answer(client)["text"]
        client.sendall(frame(**ask, id=4, kind="json", body=4, key="a"))
        assert answer(client)["body"] == 4


def test_one_connection_may_have_so_many_asks_open(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_OPEN", 2)
    rt.pause("double")
    ask = {"verb": "ask", "mailbox": "double", "kind": "json", "version": 1}
    with dial(rt) as client:
        for number in range(3):
            client.sendall(frame(**ask, id=number, body=number))
        refused = answer(client)
        assert (refused["id"], refused["name"]) == (2, MailboxFull.__name__)
        rt.resume("double")
        assert sorted(answer(client)["body"] for _ in range(2)) == [0, 2]


def test_a_client_that_hangs_up_takes_its_asks_along(rt: Runtime) -> None:
    rt.pause("double")
    engine = rt._host.engine
    assert engine is not None
    client = dial(rt)
    client.sendall(frame(verb="ask", id=1, mailbox="double", kind="json", version=1, body=4))
    pause = threading.Event()
    while not engine.environment.asks._open:
        pause.wait(0.005)
    client.close()
    while engine.environment.asks._open:
        pause.wait(0.005)
    assert engine.mailboxes[1].window._parked == {}


def test_a_long_answer_waits_for_a_client_that_reads_slowly(rt: Runtime) -> None:
    @rt.mailbox("long")
    def long(n: int) -> str:
        return "x" * n

    with dial(rt) as client, dial(rt) as other:
        ask = {"verb": "ask", "kind": "json", "version": 1}
        client.sendall(frame(**ask, id=1, mailbox="long", body=8_000_000))
        other.sendall(frame(**ask, id=1, mailbox="double", body=1))
        assert answer(other)["body"] == 2
        assert len(answer(client)["body"]) == 8_000_000


def test_a_channel_counts_what_waits() -> None:
    here, there = socket.socketpair()
    channel = Channel(here)
    with here, there:
        assert channel.send(b"x" * 10)
        assert channel.waiting == 0
        assert not channel.send(b"y" * 50_000_000)
        assert 0 < channel.waiting <= 50_000_000
        assert channel.send(b"z")  # a flush is wanted already
        there.sendall(struct.pack(">I", 2) + b"ab" + struct.pack(">I", 0))
        assert channel.receive() == [b"ab", b""]
        assert channel.receive() == []
        there.sendall(b"\xff" * 4)
        with pytest.raises(NoFrame):
            channel.receive()
    with pytest.raises(OSError):  # noqa: PT011  (EBADF)
        channel.flush()


# --- exceptions --------------------------------------------------------------------------------


class Needs(Exception):
    def __init__(self, name: str, size: int) -> None:
        self.size = size
        super().__init__(f"{name} needs {size}")


class Shows(Exception):
    def __str__(self) -> str:
        return f"{self.size}"  # type: ignore[attr-defined]


class Refuses(Exception):
    def __new__(cls, *_args: object) -> Self:
        raise TypeError


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ValueError


def travelled(error: BaseException) -> Exception:
    packed = frames.pack(describe(1, error))[4:]
    found = frames.read_to_client(packed)
    assert isinstance(found, frames.Failure)
    return rebuild(found)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x", 3, None, 2.5, True),
        KeyError("k"),
        FileNotFoundError(2, "No such file", "a.txt"),
        PermissionError("plain"),
        ZeroDivisionError(),
        Needs("it", 3),
        MailboxNotFound("x", ["y"]),
        json.JSONDecodeError("bad", "doc", 0),
        ValueError("lone \ud800 surrogate"),
    ],
)
def test_an_exception_that_is_known_here_is_raised_again(error: Exception) -> None:
    found = travelled(error)
    assert type(found) is type(error)
    assert str(found) == str(error).encode("utf-8", "replace").decode()
    assert "owns the store" in found.__notes__[0]


def test_what_cannot_be_rebuilt_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    shows = Shows()
    shows.size = 3  # type: ignore[attr-defined]
    for error in (shows, ValueError(object()), ValueError({"a": 1}), SystemExit(3), StopIteration(),
                  Unprintable("x"), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"),
                  ValueError(float("nan")), GeneratorExit()):  # fmt: skip
        found = travelled(error)
        assert isinstance(found, RemoteError)
        assert found.kind.endswith(type(error).__qualname__)
        assert type(error).__name__ in found.trace
    needs = describe(1, Needs("it", 3))
    needs.name = "Refuses"
    assert isinstance(rebuild(needs), RemoteError)
    monkeypatch.setitem(sys.modules, "unloaded", None)
    for module, name in (("unloaded", "Needs"), ("os", "system"), ("builtins", "SystemExit"),
                         ("builtins", "eval"), ("no.such.module", "X")):  # fmt: skip
        needs.module, needs.name = module, name
        assert isinstance(rebuild(needs), RemoteError)


_STRANGER = """
import os, socket, sys
os.setgid(65534), os.setuid(65534)
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
try:
    client.connect(sys.argv[1])
    client.settimeout(20)
    client.sendall(bytes.fromhex(sys.argv[2]))
    print("hung up" if client.recv(1) == b"" else "answered")
except PermissionError:
    print("refused")
except (BrokenPipeError, ConnectionResetError):
    print("hung up")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("mode", "says"), [(0o600, "refused"), (0o666, "hung up")])
def test_another_user_does_not_get_in_whatever_the_sockets_mode(mode: int, says: str) -> None:
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    made = Runtime(folder / "board.db")
    made.mailbox("double", lambda n: 2 * n)
    made.start()
    try:
        path = made._store.companion.socket
        folder.chmod(0o755)
        path.parent.chmod(0o755)
        path.chmod(mode)
        ask = frame(verb="ask", id=1, mailbox="double", kind="json", version=1, body=21)
        stranger = subprocess.run(
            [sys.executable, "-c", _STRANGER, str(path), ask.hex()],
            capture_output=True, text=True, timeout=PATIENCE, check=False, cwd="/",
        )  # fmt: skip
        assert stranger.stdout.strip() == says, stranger.stderr
        assert made.mailboxes()[0].running == 0
    finally:
        made.stop(timeout=1.0)
        shutil.rmtree(folder)
