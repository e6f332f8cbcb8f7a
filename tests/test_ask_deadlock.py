"""An ask that could never be answered raises at once, whoever closes the circle; none hangs."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import AskDeadlock, Runtime
from callboard.actors.asks import Asked, Asks, Link

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 20.0


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db", threads=2)
    yield made
    made.stop(timeout=1.0)


def test_an_ask_that_comes_back_to_its_asker(rt: Runtime) -> None:
    rt.mailbox("self", lambda n: rt.ask("self", n))
    with rt, pytest.raises(AskDeadlock, match=r"it waits in the chain of this ask: 'self'"):
        rt.ask("self", 1)


def test_an_ask_that_comes_back_over_others(rt: Runtime) -> None:
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        rt.mailbox(name, lambda n, other=other: rt.ask(other, n))
    with rt, pytest.raises(AskDeadlock, match=r"'a' -> 'b' -> 'c'"):
        rt.ask("a", 1)


def test_of_a_keyed_mailbox_each_key_is_an_actor(rt: Runtime) -> None:
    def visit(path: list[str]) -> int:
        return 1 + rt.ask("actors", path[1:], key=path[1]) if len(path) > 1 else 1

    rt.mailbox("actors", visit, keyed=True, workers=3)
    with rt:
        assert rt.ask("actors", ["a", "b", "c"], key="a") == 3
        with pytest.raises(AskDeadlock, match=r"'actors' key 'a' -> 'actors' key 'b'"):
            rt.ask("actors", ["a", "b", "a"], key="a")
        with pytest.raises(AskDeadlock):  # a fourth key, but no worker is left for it
            rt.ask("actors", ["a", "b", "c", "d"], key="a")


def test_it_is_answered_as_long_as_one_worker_is_free(rt: Runtime) -> None:
    def deep(n: int) -> int:
        return 1 + rt.ask("deep", n - 1) if n else 0

    rt.mailbox("deep", deep, workers=4)
    with rt:
        assert rt.ask("deep", 3) == 3
        with pytest.raises(AskDeadlock):
            rt.ask("deep", 4)
        assert rt.ask("deep", 3) == 3  # and nothing is left of the failed one


@pytest.mark.parametrize("is_async", [False, True])
def test_two_that_ask_each_other_at_the_same_time(rt: Runtime, is_async: bool) -> None:  # noqa: FBT001  (pytest's)
    """Neither is in the other's chain: whoever asks second closes the circle."""
    meet = threading.Barrier(2)

    def turn(other: str) -> Any:
        def handler(n: int) -> str:
            if n:
                meet.wait(PATIENCE)
                return f"{other} says {rt.ask(other, 0, timeout=PATIENCE)}"
            return "hello"

        async def handle(n: int) -> str:
            if n:
                await asyncio.to_thread(meet.wait, PATIENCE)
                return f"{other} says {await rt.ask_async(other, 0, timeout=PATIENCE)}"
            return "hello"

        return handle if is_async else handler

    rt.mailbox("a", turn("b"))
    rt.mailbox("b", turn("a"))
    found: list[Any] = []

    def ask(name: str) -> None:
        try:
            found.append(rt.ask(name, 1, timeout=PATIENCE))
        except AskDeadlock as error:
            found.append(str(error))

    with rt:
        threads = [threading.Thread(target=ask, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    assert len(found) == 2
    assert sum("says hello" in text for text in found) == 1
    assert sum("can never be answered" in text for text in found) == 1


Plan = list[Any]  # of (number of a mailbox, key, plan for it)


class Graph:
    """Five mailboxes, of which each handler asks whom its message says."""

    def __init__(self, rt: Runtime, rng: random.Random) -> None:
        self.rt = rt
        self.rng = rng
        for number in range(5):
            worker: Any = self.handle if number in (1, 4) else self.handler
            rt.mailbox(f"m{number}", worker, keyed=number < 3, workers=rng.choice([1, 2, 3]))

    def plan(self, depth: int) -> Plan:
        branches = self.rng.choice([0, 1, 1, 2]) if depth else 0
        return [self.step(depth) for _ in range(branches)]

    def step(self, depth: int) -> Any:
        return self.rng.randrange(5), self.rng.choice("xyz"), self.plan(depth - 1)

    def ref(self, number: int, key: str) -> Any:
        return self.rt.ref(f"m{number}", key if number < 3 else None)

    def handler(self, message: Plan) -> int:
        count = 1
        for number, key, rest in message:
            with contextlib.suppress(AskDeadlock):
                count += self.ref(number, key).ask(rest, timeout=PATIENCE)
        return count

    async def handle(self, message: Plan) -> int:
        asks = [self.ref(n, key).ask_async(rest, timeout=PATIENCE) for n, key, rest in message]
        answers: list[Any] = await asyncio.gather(*asks, return_exceptions=True)
        counts: list[int] = [each for each in answers if not isinstance(each, AskDeadlock)]
        return 1 + sum(counts)


@pytest.mark.parametrize("seed", range(6))
def test_random_graphs_of_asks_never_hang(rt: Runtime, seed: int) -> None:
    """Every ask is answered, or refused as a deadlock: none waits for its time to run out."""
    graph = Graph(rt, random.Random(seed))
    answers: list[Any] = []

    def ask(number: int, key: str, message: Plan) -> None:
        answers.append(graph.ref(number, key).ask(message, timeout=PATIENCE))

    with rt:
        threads = [threading.Thread(target=ask, args=graph.step(6)) for _ in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * PATIENCE)
        engine = rt._host.engine
        assert engine is not None
        assert engine.environment.asks._open == {}
    assert len(answers) == 24
    assert all(isinstance(each, int) for each in answers)


# --- the rule itself ---------------------------------------------------------------------------


def ask(target: str, *chain: Link, key: str | None = None) -> Asked:
    return Asked(1, "json", b"", key, target=target, chain=chain, deliver=lambda *_: None)


def test_a_turn_that_runs_without_waiting_keeps_the_others_from_being_stuck() -> None:
    asks = Asks()
    a, b, c = Link("a", None, 1), Link("b", None, 2), Link("b", None, 3)
    asks.open(ask("b", a), lambda _: 2)
    asks.open(ask("a", b), {"a": 1, "b": 2}.__getitem__)  # b's other worker may still answer a
    with pytest.raises(AskDeadlock, match="all that it would wait for"):
        asks.open(ask("a", c), {"a": 1, "b": 2}.__getitem__)


def test_a_turn_with_several_asks_is_stuck_when_one_of_them_is() -> None:
    asks = Asks()
    a, b = Link("a", None, 1), Link("b", None, 2)
    asks.open(ask("free", a), lambda _: 1)
    asks.open(ask("b", a), lambda _: 1)
    with pytest.raises(AskDeadlock):
        asks.open(ask("a", b), lambda _: 1)


def test_an_ask_that_has_begun_waits_for_its_own_turn_and_not_for_any_worker() -> None:
    asks = Asks()
    first = ask("many", Link("one", None, 1))
    asks.open(first, lambda _: 4)
    with pytest.raises(AskDeadlock):
        asks.open(ask("one", Link("one", None, 1), Link("many", None, first.number)),
                  {"one": 1, "many": 4}.__getitem__)  # fmt: skip


def test_an_answered_or_withdrawn_ask_holds_nobody() -> None:
    asks = Asks()
    for end in (asks.close, lambda given: asks.settle(given, None, None)):
        given = ask("b", Link("a", None, 1))
        asks.open(given, lambda _: 1)
        end(given)
        back = ask("a", Link("b", None, 2))
        asks.open(back, lambda _: 1)
        asks.close(back)
