"""Peers on the owner's socket that send nothing, half a frame, too much, or garbage."""

from __future__ import annotations

import re
import struct
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from callboard import CallboardError, RemoteError, Runtime
from callboard.actors.topics import matches
from callboard.runtime import bell, desk, reactor
from callboard.runtime.wire import RING

from .wire_tools import answer, dial, exactly, frame, hung_up

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ASK = {"verb": "ask", "mailbox": "double", "kind": "json", "version": 1}


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db")
    made.mailbox("double", lambda n: 2 * n)
    yield made
    made.stop(timeout=1.0)


def head(length: int) -> bytes:
    """Return the beginning of a frame of so many bytes."""
    return struct.pack(">I", length)


def test_who_sends_nothing_or_half_a_frame_is_hung_up_on_and_who_has_been_heard_stays(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_PATIENCE", 0.1)
    rt.start()
    with dial(rt) as good, ExitStack() as stack:
        good.sendall(RING)
        for part in (b"", b"\0\0", head(100), head(100) + b"{", RING + head(2), RING + b"\0"):
            bad = stack.enter_context(dial(rt))
            bad.sendall(part)
            assert hung_up(bad)
        good.sendall(frame(**ASK, id=1, body=4))
        assert answer(good)["body"] == 8


def test_peers_that_say_nothing_keep_no_client_out(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bell, "_MOST_CLIENTS", 3)
    rt.start()
    with ExitStack() as stack:
        silent = [stack.enter_context(dial(rt)) for _ in range(3)]
        for number, gone in enumerate(silent):
            good = stack.enter_context(dial(rt))
            good.sendall(frame(**ASK, id=number, body=4))
            assert answer(good)["body"] == 8
            assert hung_up(gone)
        assert hung_up(stack.enter_context(dial(rt)))  # all three have been heard


def test_frames_that_do_not_end_take_no_more_memory_than_is_said(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "MOST_UNFINISHED", 100_000)
    rt.start()
    with dial(rt) as first, dial(rt) as second, dial(rt) as good:
        first.sendall(head(16_000_000) + b"x" * 60_000)
        second.sendall(head(60_100) + b"x" * 60_000)
        assert hung_up(first)
        good.sendall(frame(**ASK, id=1, body=4))
        assert answer(good)["body"] == 8


def test_an_ask_under_a_number_that_is_open_ends_the_connection_and_takes_all_back(
    rt: Runtime,
) -> None:
    rt.start()
    rt.pause("double")
    with dial(rt) as bad:
        bad.sendall(frame(**ASK, id=1, body=4) * 2)
        assert hung_up(bad)
    with dial(rt) as other:  # answered by the thread that takes back, when it has
        other.sendall(frame(verb="listen", id=1, pattern="news"))
        assert answer(other)["verb"] == "listening"
    engine = rt._host.engine
    assert engine is not None
    assert not engine.environment.asks._open
    assert engine.mailboxes[1].window._parked == {}


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 2**200])
def test_a_number_that_no_answer_could_carry_is_no_frame(rt: Runtime, number: int) -> None:
    rt.start()
    with dial(rt) as bad, dial(rt) as good:
        bad.sendall(frame(**ASK, id=number, body=4))
        assert hung_up(bad)
        good.sendall(frame(**ASK, id=1, body=4))
        assert answer(good)["body"] == 8


def test_who_listens_twice_under_a_number_is_fed_once_and_forgotten_when_it_leaves(
    rt: Runtime,
) -> None:
    rt.start()
    with dial(rt) as client:
        client.sendall(frame(verb="listen", id=1, pattern="news") * 3)
        assert [answer(client)["verb"] for _ in range(3)] == ["listening"] * 3
        assert len(rt._host.hub._sinks) == 1
        rt.publish("news", "once")
        assert answer(client)["body"] == "once"
        client.sendall(frame(verb="leave", id=1) + frame(**ASK, id=2, body=4))
        assert answer(client)["body"] == 8
        assert rt._host.hub._sinks == []


def test_a_connection_may_listen_to_so_many_patterns_and_says_so(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_LISTENS", 2)
    rt.start()
    client = Runtime(rt._config.path)
    with (
        client.listen("a"),
        client.listen("b"),
        pytest.raises(CallboardError, match="close some of its feeds"),
        client.listen("c"),
    ):
        pass
    with client.listen("c"):
        assert len(rt._host.hub._sinks) == 1
    client.stop()


def test_who_does_not_read_its_answers_is_hung_up_on(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "MOST_UNREAD", 1_000_000)
    rt.mailbox("long", lambda n: "x" * n)
    rt.start()
    ask = {**ASK, "mailbox": "long", "body": 900_000}
    with dial(rt) as greedy, dial(rt) as good:
        for sent in count():
            good.sendall(frame(**ASK, id=1, body=4))
            assert answer(good)["body"] == 8
            try:
                greedy.sendall(frame(**ask, id=sent))
            except OSError:  # a reset, or a broken pipe
                return


def test_an_exception_with_a_huge_argument_fails_its_ask_alone(rt: Runtime) -> None:
    def shout(size: int) -> None:
        raise ValueError("x" * size)

    rt.mailbox("shout", shout)
    rt.start()
    client = Runtime(rt._config.path)
    client.mailbox("shout", shout)
    client.mailbox("double", lambda n: 2 * n)
    with pytest.raises(RemoteError, match="ValueError"):
        client.ask("shout", 20_000_000, timeout=20.0)
    assert client.ask("double", 4, timeout=20.0) == 8
    client.stop()


def test_a_pattern_of_many_stars_holds_nobody_up(rt: Runtime) -> None:
    rt.start()
    with dial(rt) as client:
        client.sendall(frame(verb="listen", id=1, pattern="*a" * 40 + "*b"))
        assert answer(client)["verb"] == "listening"
        rt.publish("a" * 1000, 1)
        client.sendall(frame(**ASK, id=2, body=4))
        assert answer(client)["body"] == 8


@given(st.text("ab*\n", max_size=8), st.text("ab\n", max_size=12))
@example("a*a", "a")
@example("*", "")
def test_patterns_mean_what_a_regular_expression_says(pattern: str, topic: str) -> None:
    said = ".*".join(map(re.escape, pattern.split("*")))
    assert matches(pattern, topic) == (re.fullmatch(said, topic, re.DOTALL) is not None)


def test_what_comes_in_any_pieces_after_a_garbage_peer_is_served(rt: Runtime) -> None:
    rt.start()
    with dial(rt) as bad, dial(rt) as good:
        bad.sendall(b"\xff" * 100_000)
        assert hung_up(bad)
        good.sendall(RING * 100_000 + frame(**ASK, id=1, body=4))
        assert answer(good)["id"] == 1
        assert exactly(good, 0) == b""


def test_what_is_said_to_be_published_and_is_no_text_reaches_a_listener_as_what_it_is(
    rt: Runtime,
) -> None:
    rt.start()
    with rt.listen("news") as feed, dial(rt) as client:
        said = b'{"verb":"said","topic":"news","kind":"json","body":["\xff"]}'
        client.sendall(head(len(said)) + said)
        assert next(feed) == '["\N{REPLACEMENT CHARACTER}"]'
        said = said.replace(b'"news"', b'"\xff"')
        client.sendall(head(len(said)) + said)
        assert hung_up(client)
