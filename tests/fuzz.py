"""Fuzzing: ``python -m tests.fuzz MINUTES [SEED]`` runs for so long; the suite runs some of each.

A target is a strategy that makes inputs and a check that must hold for any. ``tests/corpus/`` keeps
inputs, one line of JSON each, that the suite tries again: what has failed once is added to them.
"""

from __future__ import annotations

import contextlib
import json
import logging
import random
import socket
import sqlite3
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from callboard import BadSchedule, MessageError
from callboard.actors.messages import Accepts, Unknown, plain
from callboard.actors.schedule import Schedule
from callboard.clock import monotonic
from callboard.runtime.wire import RING

from .test_poison import BODIES, LEAST, MOST, Item, Town
from .wire_tools import PATIENCE, answer, dial, frame

if TYPE_CHECKING:
    from collections.abc import Callable

CORPUS = Path(__file__).parent / "corpus"
NOW = 1_750_000_000_000_000
_LONGEST_LINE = 400


class Ground:
    """What the checks are made on: a running town, and a client of its owner's."""

    def __init__(self, folder: str) -> None:
        """Start it; :meth:`close` ends it."""
        self.town = Town(Path(folder) / "board.db")
        self.town.board.start()
        self.good = dial(self.town.rt)

    def close(self) -> None:
        """Stop it."""
        self.good.close()
        self.town.board.stop()


def one_line(error: Exception) -> None:
    """Fail where what is said to people is not one line that can be printed."""
    text = str(error)
    assert "\n" not in text
    assert len(text.encode()) < _LONGEST_LINE


# --- bodies ------------------------------------------------------------------------------------


@dataclass
class Point:
    x: int
    name: str = ""
    more: list[float] | None = None


class Frozen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    table: dict[str, int | None]


ACCEPTS = [Accepts(each, "fuzz") for each in (
    int, str, dict[str, int], list[float], Point, Frozen, Item, Point | Frozen | None, Any,
)]  # fmt: skip
KINDS = ("json", "Point", "Frozen", "Item", "")
_SEEDS = [
    b'{"x":1,"name":"a","more":[1.5]}', b'{"key":"k","table":{"a":1,"b":null}}', b'{"n":13}',
    b'"text"', b"-0.0", b"[]", *(each for each in BODIES if len(each) < 100),
]  # fmt: skip


def _cut(parts: tuple[bytes, int, bytes, int]) -> bytes:
    body, at, put, drop = parts
    at %= len(body) + 1
    return body[:at] + put + body[at + drop :]


bodies = st.one_of(
    st.binary(max_size=60),
    st.tuples(st.sampled_from(_SEEDS), st.integers(0, 99), st.binary(max_size=6),
              st.integers(0, 4)).map(_cut),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda each: st.lists(each) | st.dictionaries(st.text(), each), max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip


def check_body(_: Ground, body: bytes) -> None:
    """Have any worker decode or refuse a body, with one line, and anybody look at it."""
    for accepts in ACCEPTS:
        for kind in KINDS:
            for version in (1, 2, LEAST):
                try:
                    accepts.decode(kind, version, body)
                except Unknown:
                    continue
                except MessageError as error:
                    one_line(error)
    msgspec.json.encode(plain(body))


# --- expressions -------------------------------------------------------------------------------

_WORDS = ["*", "*/5", "0", "59", "60", "1-5", "5-1", "mon", "jan", "L", "W", "#2", "?", "R", ",",
          "/", "-", "31", "2", "@daily", "@hourly", "@", "99999999999999999999", "1,2,3", "5L",
          "*/0", "\0", "\u0665", "sun-sat", "29", "1/1"]  # fmt: skip
expressions = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(_WORDS) | st.text(max_size=3), min_size=1, max_size=7).map(" ".join),
    st.lists(st.lists(st.sampled_from(_WORDS), min_size=1, max_size=3).map("".join), min_size=5,
             max_size=6).map(" ".join),
)  # fmt: skip


def check_expression(_: Ground, text: str) -> None:
    """Refuse an expression, or find its instants one after the other in both directions."""
    for zone in ("UTC", "Europe/Paris"):
        try:
            schedule = Schedule(text, zone)
        except BadSchedule as error:
            one_line(error)
            continue
        first = schedule.next(NOW)
        second = schedule.next(first)
        assert NOW < first < second
        assert schedule.previous(second) == first
        assert schedule.count(first, second) == 2


# --- frames ------------------------------------------------------------------------------------

_values = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(0, 3), st.floats(), st.text(max_size=8),
    st.sampled_from(["plain", "item", "cart", "json", "Item", "*", "*a*", "n.ews"]),
    st.lists(st.integers(0, 3), max_size=2), st.just({"n": 3}), st.just(100),
)  # fmt: skip
_FIELDS = ["id", "mailbox", "kind", "version", "body", "key", "pattern", "topic", "events",
           "seconds", "number"]  # fmt: skip
_honest = st.builds(
    lambda verb, fields: frame(verb=verb, **fields),
    st.sampled_from(["ask", "drop", "listen", "leave", "said", "look", "rehearse", "sudo"]),
    st.fixed_dictionaries(
        {"id": st.integers(0, 3), "mailbox": st.sampled_from(["plain", "cart"]),
         "kind": st.just("json"), "version": st.just(1), "pattern": st.just("*"),
         "topic": st.just("t"), "body": st.just(100), "seconds": st.just(1)}
    ).flatmap(lambda good: st.dictionaries(st.sampled_from(_FIELDS), _values, max_size=2).map(
        lambda bad: good | bad)),
)  # fmt: skip
frames = st.lists(
    st.one_of(
        _honest,
        _honest,
        st.binary(max_size=12),
        st.just(RING),
        st.binary(max_size=30).map(lambda body: len(body).to_bytes(4, "big") + body),
        st.tuples(_honest, st.integers(0, 200), st.binary(max_size=3), st.integers(0, 3)).map(_cut),
    ),
    max_size=5,
)  # fmt: skip


def check_frames(ground: Ground, parts: list[bytes]) -> None:
    """Whatever a peer sends, it is hung up on when it has ended, and others are answered."""
    with dial(ground.town.rt) as peer:
        with contextlib.suppress(OSError):  # hung up on amid it
            for part in parts:
                peer.sendall(part)
            peer.shutdown(socket.SHUT_WR)
        with contextlib.suppress(ConnectionResetError):
            while peer.recv(65_536):
                pass
    ask = {"verb": "ask", "mailbox": "plain", "kind": "json", "version": 1}
    ground.good.settimeout(PATIENCE)
    ground.good.sendall(frame(**ask, id=1, body=100))
    assert answer(ground.good)["verb"] == "answer"


# --- names -------------------------------------------------------------------------------------

names = st.one_of(
    st.text(min_size=1, max_size=20),
    st.text("'\"%;-\\\0\n*?:@$[]() \ud800\u202e\U0001f600aA0", max_size=12),
    st.sampled_from(["x" * 1000, "x" * 1001, "DROP TABLE callboard_message"]),
)


def check_name(ground: Ground, name: str) -> None:
    """Use a name as an id, a key and a topic, or have it refused with one line."""
    rt = ground.town.rt
    try:
        number = rt.tell("plain", 100, id=name, after=3600)
    except MessageError as error:
        one_line(error)
        return
    found = rt.find(name)
    assert found is not None
    assert (found.id, found.name) == (number, name)
    assert rt.cancel("plain", name)
    rt.tell("cart", 100, key=name)
    with rt.listen(name) as feed:
        rt.publish(name, 1)
        assert next(feed) == 1
    ground.town.board.settle()
    assert rt.state("cart", name)[-1] == 100


# --- rows --------------------------------------------------------------------------------------

_numbers = st.integers(LEAST, MOST) | st.sampled_from([LEAST, MOST, -1, 0, 1, NOW, 2**53])
_texts = st.none() | st.text(max_size=8) | st.binary(max_size=5)
rows = st.lists(
    st.tuples(
        st.sampled_from(["plain", "item", "cart"]),
        st.fixed_dictionaries({}, optional={
            "number": st.integers(LEAST, 0), "mailbox": st.integers(-1, 6), "kind": _texts,
            "version": _numbers, "key": _texts, "body": bodies, "due": _numbers, "name": _texts,
            "told_at": _numbers, "cause": _numbers, "sender": _texts, "headers": _texts,
            "retain": _numbers, "priority": _numbers, "expires_at": _numbers,
            # Until an instant that is possible a mailbox with strict order waits, as it should.
            "retry_at": st.integers(LEAST, 0) | st.integers(2**58, MOST),
            "attempt": _numbers, "deliveries": _numbers, "error": _texts,
        }),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


def check_rows(ground: Ground, written: list[tuple[str, dict[str, Any]]]) -> None:
    """Whatever is written into the messages, all mailboxes go on, also after a crash."""
    town = ground.town
    for to, fields in written:
        with contextlib.suppress(sqlite3.IntegrityError):  # the schema lets it not in
            town.insert(to, **fields)
    town.rt.wake()
    town.goes_on()
    ground.good.close()
    town.board.crash()
    ground.good = dial(town.rt)
    town.goes_on()


# --- running -----------------------------------------------------------------------------------


class Target(NamedTuple):
    """What is fuzzed."""

    inputs: st.SearchStrategy[Any]
    check: Callable[[Ground, Any], None]
    some: int
    """As many examples the suite tries."""


TARGETS = {
    "bodies": Target(bodies, check_body, 100),
    "expressions": Target(expressions, check_expression, 100),
    "frames": Target(frames, check_frames, 100),
    "names": Target(names, check_name, 50),
    "rows": Target(rows, check_rows, 8),
}


def fuzz(ground: Ground, name: str, count: int, number: int | None = None) -> int:
    """Try so many examples of a target; returns how many it were. A failure is kept."""
    target, tried, last = TARGETS[name], 0, None

    def attempt(value: Any) -> None:
        nonlocal tried, last
        tried, last = tried + 1, value
        target.check(ground, value)

    run = settings(
        max_examples=count, deadline=None, database=None, derandomize=number is None,
        suppress_health_check=list(HealthCheck), phases=(Phase.generate, Phase.shrink),
    )(given(target.inputs)(attempt))  # fmt: skip
    try:
        (run if number is None else seed(number)(run))()
    except BaseException:
        if number is not None:
            print(f"{name}: {_line(last)}")  # noqa: T201
            with (CORPUS / f"{name}.jsonl").open("a") as kept:
                kept.write(_line(last) + "\n")
        raise
    return tried


def keeping(name: str, ground: Ground, value: Any) -> None:
    """Try one input; one that fails is kept."""
    try:
        TARGETS[name].check(ground, value)
    except BaseException:
        with (CORPUS / f"{name}.jsonl").open("a") as kept:
            kept.write(_line(value) + "\n")
        raise


def corpus(name: str) -> list[Any]:
    """Return the inputs that are kept of a target."""
    return [_read(json.loads(line)) for line in (CORPUS / f"{name}.jsonl").read_text().splitlines()]


def _line(value: Any) -> str:
    return json.dumps(value, default=lambda raw: {"hex": raw.hex()})


def _read(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"hex"}:
            return bytes.fromhex(value["hex"])
        return {name: _read(each) for name, each in value.items()}
    return [_read(each) for each in value] if isinstance(value, list) else value


def main(minutes: float, first: int) -> None:
    """Fuzz every target in turn for so long, on a new ground each time."""
    logging.disable()
    until, counts, number = monotonic() + minutes * 60, dict.fromkeys(TARGETS, 0), first
    while monotonic() < until:
        number += 1
        for name, target in TARGETS.items():
            with tempfile.TemporaryDirectory() as folder:
                ground = Ground(folder)
                counts[name] += fuzz(ground, name, 5 * target.some, number)
                ground.close()
    for name, count in counts.items():
        print(f"{name:12}{count:10,} examples")  # noqa: T201
    print(f"fuzz: nothing found from seed {first} on")  # noqa: T201


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32))
