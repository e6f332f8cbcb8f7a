"""Asks of an owner to its own actors: what is promised of them, one promise a test."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from callboard import (
    ActorStopped,
    AskDeadlock,
    AskTimeout,
    ConfigError,
    Context,
    HandlerTimeout,
    MailboxNotFound,
    MessageError,
    NotStarted,
    RemoteError,
    RetryLater,
    RetryPolicy,
    Runtime,
    WorkerActor,
)
from callboard.actors.asks import Asked, Asks
from callboard.actors.driver import ThreadDriver
from callboard.runtime.line import Line

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.runtime.testing import Board

PATIENCE = 20.0


@dataclass
class Total:
    n: int = 0
    seen: list[int] = field(default_factory=list)


@dataclass
class Receipt:
    total: int
    by: str


class Adder(WorkerActor):
    state: Total

    def on_receive(self, n: int) -> int:
        self.state.n += n
        self.state.seen.append(n)
        return self.state.n


class Gate:
    """A handler that says when it runs, and waits until it may end."""

    def __init__(self) -> None:
        self.running = threading.Event()
        self.open = threading.Event()

    def __call__(self, n: int) -> int:
        self.running.set()
        assert self.open.wait(PATIENCE)
        return n


@pytest.fixture
def rt(tmp_path: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path / "board.db", threads=4)
    yield made
    made.stop(timeout=1.0)


def in_thread(call: Any) -> tuple[threading.Thread, list[Any]]:
    """Call in a thread; what it returned or raised is put into the list."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:  # noqa: BLE001  (the test looks at it)
            found.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, found


def until_open(rt: Runtime, count: int) -> None:
    """Wait until so many asks are open."""
    engine = rt._host.engine
    assert engine is not None
    pause = threading.Event()
    for _ in range(4000):
        if len(engine.environment.asks._open) == count:
            return
        pause.wait(0.005)
    pytest.fail(f"{len(engine.environment.asks._open)} asks are open, not {count}")


def until_idle(rt: Runtime, name: str) -> None:
    """Wait until all workers of a mailbox have found nothing to do."""
    engine = rt._host.engine
    assert engine is not None
    mailbox = engine.mailbox(name)
    assert mailbox is not None
    pause = threading.Event()
    for _ in range(4000):
        if len(mailbox.idle) == len(mailbox.cells):
            return
        pause.wait(0.005)
    pytest.fail(f"workers of {name} are at work still")


# --- answers -----------------------------------------------------------------------------------


def test_the_answer_is_what_the_handler_returns(rt: Runtime) -> None:
    @rt.mailbox("double")
    def double(n: int) -> int:
        return 2 * n

    @rt.mailbox("later")
    async def later(n: int) -> int:
        return 3 * n

    @rt.mailbox("none")
    def none() -> str:
        return "here"

    adder = rt.mailbox("adder", Adder, keyed=True)
    with rt:
        assert rt.ask(double, 4) == 8
        assert rt.ask("later", 4) == 12
        assert rt.ask(none) == "here"
        assert rt.ask(adder, 5, key="a") == 5
        assert rt.ref(Adder, "a").ask(6) == 11


def test_the_answer_is_decoded_by_its_annotation_and_is_never_the_handlers_object(
    rt: Runtime,
) -> None:
    kept: list[Any] = []

    @rt.mailbox("typed")
    def typed(n: int) -> Receipt | None:
        kept.append(Receipt(n, "me") if n else None)
        found: Receipt | None = kept[-1]
        return found

    @rt.mailbox("many")
    def many(n: int) -> list[Receipt]:
        return [Receipt(each, "me") for each in range(n)]

    @rt.mailbox("untyped")
    def untyped(n: int):  # type: ignore[no-untyped-def]  # noqa: ANN202  (that is the case)
        return Receipt(n, "me")

    @rt.mailbox("lies")
    def lies(n: int) -> int:
        return str(n)  # type: ignore[return-value]

    with rt:
        answer = rt.ask(typed, 3)
        assert answer == Receipt(3, "me")
        assert answer is not kept[0]
        assert rt.ask(typed, 0) is None
        assert rt.ask(many, 2) == [Receipt(0, "me"), Receipt(1, "me")]
        assert rt.ask("untyped", 3) == {"total": 3, "by": "me"}
        assert rt.ask("lies", 3) == "3"  # the annotation is no promise


def test_what_cannot_be_encoded_fails_the_turn(rt: Runtime) -> None:
    @rt.mailbox("odd", keyed=True)
    class Odd(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> Any:
            self.state.n += n
            return object() if n == 1 else self.state.n

    with rt:
        with pytest.raises(MessageError, match=r"answer of 'odd'.*the turn has failed"):
            rt.ask("odd", 1, key="a")
        assert rt.ask("odd", 2, key="a") == 2


def test_its_error_goes_to_the_asker_and_nothing_is_tried_again(board: Board) -> None:
    rt, calls = board.rt, []

    class Odd(ValueError):
        pass

    @rt.mailbox("bad", retry=RetryPolicy(attempts=5, delay=1.0))
    def bad(text: str) -> None:
        calls.append(text)
        rt.tell("other", 1)
        if text == "later":
            raise RetryLater(after=1)
        raise Odd(text)

    got: list[int] = []
    rt.mailbox("other", got.append)
    failed: list[Any] = []
    rt.events.subscribe(failed.append, "ask.failed")
    with board:
        with pytest.raises(Odd, match="once"):
            rt.ask("bad", "once")
        with pytest.raises(RetryLater):
            rt.ask("bad", "later")
        board.advance("1h")
        assert calls == ["once", "later"]
        assert got == []
        assert rt.dead() == []
        assert [event["mailbox"] for event in failed] == ["bad", "bad"]


def test_what_would_end_the_asker_comes_wrapped(rt: Runtime) -> None:
    @rt.mailbox("exits")
    def exits(kind: str) -> None:
        raise {"exit": SystemExit(3), "stop": StopIteration(), "key": KeyboardInterrupt()}[kind]

    @rt.mailbox("cancels")
    async def cancels(_kind: str) -> None:
        raise asyncio.CancelledError

    with rt:
        for kind in ("exit", "stop", "key"):
            with pytest.raises(RemoteError):
                rt.ask("exits", kind)
        with pytest.raises(RemoteError, match="CancelledError"):
            rt.ask("cancels", "")


def test_bad_asks_are_refused_where_they_are_made(rt: Runtime) -> None:
    rt.mailbox("adder", Adder, keyed=True)
    with rt:
        with pytest.raises(MailboxNotFound):
            rt.ask("adderr", 1)
        with pytest.raises(MessageError, match="keyed"):
            rt.ask("adder", 1)
        with pytest.raises(MessageError, match="does not accept"):
            rt.ask("adder", "x", key="a")
        for timeout in (0, -1, float("nan"), None, True, "5"):
            with pytest.raises(ConfigError, match="timeout"):
                rt.ask("adder", 1, key="a", timeout=timeout)  # type: ignore[arg-type]


def test_nobody_owns_the_store(rt: Runtime, tmp_path: Path) -> None:
    rt.mailbox("adder", Adder, keyed=True)
    with pytest.raises(NotStarted, match="nobody owns"):
        rt.ask("adder", 1, key="a")
    with rt:
        rt.ask("adder", 1, key="a")
    with pytest.raises(NotStarted):
        rt.ask("adder", 1, key="a")


# --- the turn ----------------------------------------------------------------------------------


def test_it_is_a_turn_of_its_own_all_or_nothing(board: Board) -> None:
    rt = board.rt
    rt._store.open()
    connection = rt._store._connection
    assert connection is not None
    connection.execute("CREATE TABLE paid (id INTEGER PRIMARY KEY)")
    told: list[int] = []
    rt.mailbox("told", told.append)

    @rt.mailbox("pay", keyed=True)
    class Pay(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> int:
            self.state.n += 1
            rt.tell("told", n)
            rt.tell("told", n, after="1h", id="timer")
            self.context.execute("INSERT INTO paid VALUES (?)", (n,), expect=1)
            if n < 0:
                msg = "no"
                raise ValueError(msg)
            return self.state.n

    with board:
        with pytest.raises(ValueError, match="no"):
            rt.ask("pay", -1, key="a")
        assert rt.ask("pay", 7, key="a") == 1
        assert rt.state("pay", "a").n == 1
        assert rt._store.query("SELECT id FROM paid", ()) == [(7,)]
        with pytest.raises(Exception, match="UNIQUE"):
            rt.ask("pay", 7, key="a")  # refused at the commit: the asker hears of it
        board.settle()
        assert rt.state("pay", "a").n == 1
        assert told == [7]
        assert rt.ask("pay", 8, key="a") == 2  # and the actor stands on what was committed
        board.advance("1h")
        assert told == [7, 8, 8]


def test_the_answer_comes_after_the_commit(rt: Runtime) -> None:
    adder = rt.mailbox("adder", Adder, keyed=True)
    with rt:
        for n in range(1, 30):
            rt.tell(adder, 1, key="a")
            assert rt.ask(adder, 1, key="a") == 2 * n
            assert rt.state("adder", "a").n == 2 * n


class Reads(WorkerActor):
    state: Total

    def on_receive(self, n: int) -> int:
        self.state.n += n
        return self.state.n


@pytest.mark.parametrize("worker", [Reads, lambda n: 2 - n], ids=["an actor", "a function"])
def test_it_answers_only_when_earlier_turns_of_the_actor_are_on_disk(
    rt: Runtime, worker: Any
) -> None:
    """Also one that changes nothing: what it saw must be true."""
    rt.mailbox("actor", worker, keyed=True)
    with rt:
        rt.ask("actor", 1, key="a")
        write, held, go = rt._store.write, threading.Event(), threading.Event()

        def slow(units: Any, **kwargs: Any) -> Any:
            if any(unit.ack is not None for unit in units):
                held.set()
                assert go.wait(PATIENCE)
            return write(units, **kwargs)

        rt._host.committer._store.write = slow  # type: ignore[method-assign]
        rt.tell("actor", 1, key="a")
        assert held.wait(PATIENCE)
        thread, found = in_thread(lambda: rt.ask("actor", 0, key="a"))
        thread.join(0.2)
        assert found == []
        go.set()
        thread.join(PATIENCE)
        assert found == [2]


def test_what_its_turn_told_is_handed_over_before_the_answer(rt: Runtime) -> None:
    """So the asker's next ask finds it done."""
    rt.mailbox("adder", Adder, keyed=True)

    @rt.mailbox("relay")
    def relay(n: int) -> None:
        rt.tell("adder", n, key="a")

    with rt:
        for n in range(1, 40):
            rt.ask("relay", 1)
            assert rt.ask("adder", 0, key="a") == n


def test_inside_a_handler_it_commits_by_itself_before_the_askers_tells(board: Board) -> None:
    rt, order = board.rt, []

    @rt.mailbox("log")
    def log(text: str) -> None:
        order.append(text)

    @rt.mailbox("inner")
    def inner(text: str, context: Context) -> str:
        rt.tell("log", f"inner {context.sender}")
        return text.upper()

    @rt.mailbox("outer", retry=RetryPolicy(attempts=1))
    def outer(text: str) -> str:
        rt.tell("log", "outer")
        answer = rt.ask(inner, text)
        if text == "fails":
            raise ValueError(text)
        return answer

    with board:
        assert rt.ask(outer, "a") == "A"
        board.settle()
        assert order == ["inner outer", "outer"]
        with pytest.raises(ValueError, match="fails"):
            rt.ask(outer, "fails")
        board.settle()
        assert order == ["inner outer", "outer", "inner outer"]


def test_a_turn_that_stood_on_a_void_one_runs_again_before_it_is_answered(rt: Runtime) -> None:
    """The message before the ask is cancelled while it runs: the ask has not seen its state."""
    gate = Gate()

    @rt.mailbox("actor", keyed=True)
    class Slow(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> int:
            if n == 1:
                gate(n)
            self.state.n += n
            return self.state.n

    with rt:
        number = rt.tell("actor", 1, key="a")
        assert gate.running.wait(PATIENCE)
        thread, found = in_thread(lambda: rt.ask("actor", 10, key="a"))
        until_open(rt, 1)
        assert rt.cancel("actor", number)
        gate.open.set()
        thread.join(PATIENCE)
        assert found == [10]
        assert rt.state("actor", "a").n == 10


# --- order -------------------------------------------------------------------------------------


def test_it_stands_behind_all_that_its_actor_has_waiting(rt: Runtime) -> None:
    gate = Gate()

    @rt.mailbox("actor", keyed=True)
    class Slow(WorkerActor):
        state: Total

        def on_receive(self, n: int) -> list[int]:
            if n == 0:
                gate(n)
            self.state.seen.append(n)
            return self.state.seen

    with rt:
        rt.tell("actor", 0, key="a")
        assert gate.running.wait(PATIENCE)
        rt.tell_many("actor", range(1, 5), key="a")
        thread, found = in_thread(lambda: rt.ask("actor", 50, key="a"))
        until_open(rt, 1)
        rt.tell_many("actor", range(5, 9), key="a")
        gate.open.set()
        thread.join(PATIENCE)
        assert found == [[0, 1, 2, 3, 4, 50]]
        assert rt.ask("actor", 51, key="a") == [0, 1, 2, 3, 4, 50, 5, 6, 7, 8, 51]


@pytest.mark.parametrize("keyed", [True, False])
def test_it_keeps_its_place_in_a_backlog_that_is_in_the_store(rt: Runtime, keyed: bool) -> None:  # noqa: FBT001  (pytest's)
    """Three windows' worth, most of it of other keys; what comes later stays behind it."""
    seen: list[tuple[str | None, int]] = []

    @rt.mailbox("work", keyed=keyed)
    def work(n: int, context: Context) -> int:
        seen.append((context.key, n))
        return n

    mine = rt.ref("work", "a" if keyed else None)
    mine.tell_many(range(100))
    for other in range(3):
        rt.ref("work", f"b{other}" if keyed else None).tell_many(range(1000))
    rt.pause("work")
    with rt:
        thread, found = in_thread(lambda: mine.ask(-1, timeout=PATIENCE))
        until_open(rt, 1)
        mine.tell_many(range(100, 140))
        rt.resume("work")
        thread.join(PATIENCE)
        assert found == [-1]
    of_key = [n for k, n in seen if not keyed or k == "a"]
    before = of_key[: of_key.index(-1)]
    if keyed:
        assert before == list(range(100))
        assert seen.index(("a", -1)) < 2500  # and it has not waited for everybody's backlog
    else:
        assert len(before) == 3100


def test_it_does_not_wait_for_the_backlog_of_thousands_of_other_keys(rt: Runtime) -> None:
    seen: list[int] = []

    @rt.mailbox("work", keyed=lambda n: n)
    def work(n: int) -> int:
        seen.append(n)
        return len(seen)

    rt.tell_many(work, range(4000))
    rt.pause(work)
    with rt:
        thread, found = in_thread(lambda: rt.ask(work, -1, timeout=PATIENCE))
        until_open(rt, 1)
        rt.resume(work)
        thread.join(PATIENCE)
        assert found[0] < 2500


def test_it_outlasts_a_failure_of_what_stands_before_it(board: Board) -> None:
    """It is in the window already when its key is blocked, and goes out of memory with the rest."""
    rt, gate = board.rt, Gate()

    @rt.mailbox("strict", keyed=True, retry=RetryPolicy(delay=60, jitter=0))
    def strict(n: int, context: Context) -> int:
        if n == 1 and context.attempt == 1:
            gate(n)
            raise ValueError
        return n

    with board:
        rt.tell("strict", 1, key="a")
        assert gate.running.wait(PATIENCE)
        thread, found = in_thread(lambda: rt.ask("strict", 2, key="a", timeout=PATIENCE))
        until_open(rt, 1)
        gate.open.set()
        board.advance(59)
        assert found == []
        board.advance(2)
        thread.join(PATIENCE)
        assert found == [2]


def test_a_paused_mailbox_answers_when_it_goes_on(rt: Runtime) -> None:
    adder = rt.mailbox("adder", Adder, keyed=True)
    with rt:
        rt.pause(adder)
        with pytest.raises(AskTimeout):
            rt.ask(adder, 1, key="a", timeout=0.05)
        thread, found = in_thread(lambda: rt.ask(adder, 2, key="a"))
        until_open(rt, 1)
        assert found == []
        rt.resume(adder)
        thread.join(PATIENCE)
        assert found == [2]  # the first was taken back


def test_its_answer_does_not_wait_for_what_its_worker_runs_next(rt: Runtime) -> None:
    before, after = Gate(), Gate()
    ref = rt.mailbox("work", lambda n: {0: before, 2: after}.get(n, abs)(n))
    with rt:
        asks = [in_thread(lambda: rt.ask(ref, 0))]
        assert before.running.wait(PATIENCE)
        asks.append(in_thread(lambda: rt.ask(ref, 1)))
        until_open(rt, 2)
        asks.append(in_thread(lambda: rt.ask(ref, 2)))
        until_open(rt, 3)
        before.open.set()
        assert after.running.wait(PATIENCE)
        asks[1][0].join(PATIENCE / 10)
        assert asks[1][1] == [1]
        after.open.set()
        for thread, _ in asks:
            thread.join(PATIENCE)


def test_it_waits_behind_a_message_that_keeps_its_key_waiting(board: Board) -> None:
    rt = board.rt
    tries: list[int] = []

    @rt.mailbox("strict", keyed=True, retry=RetryPolicy(delay=60, jitter=0))
    def strict(n: int) -> int:
        tries.append(n)
        if n == 1 and tries.count(1) == 1:
            raise ValueError
        return n

    with board:
        rt.tell("strict", 1, key="a")
        board.settle()
        thread, found = in_thread(lambda: rt.ask("strict", 2, key="a", timeout=PATIENCE))
        until_open(rt, 1)
        assert rt.ask("strict", 3, key="b") == 3
        board.advance(59)
        assert found == []
        board.advance(2)
        thread.join(PATIENCE)
        assert (found, tries) == ([2], [1, 3, 1, 2])


def test_a_faulted_actor_answers_at_once_that_it_does_not(board: Board) -> None:
    rt = board.rt

    @rt.mailbox("sick", keyed=True)
    class Sick(WorkerActor):
        def on_start(self) -> None:
            raise ValueError("no heart")

        def on_receive(self, n: int) -> int:
            return n

    with board:
        thread, found = in_thread(lambda: rt.ask("sick", 1, key="a", timeout=PATIENCE))
        until_open(rt, 1)
        while thread.is_alive():
            board.advance(30)  # the back-off of its restarts
        assert isinstance(found[0], ActorStopped)
        assert "no heart" in str(found[0])
        with pytest.raises(ActorStopped, match="faulted"):
            rt.ask("sick", 2, key="a")


# --- none ever hangs ---------------------------------------------------------------------------


def test_a_timeout_leaves_the_turn_alone(rt: Runtime) -> None:
    gate = Gate()
    rt.mailbox("slow", gate)
    adder = rt.mailbox("adder", Adder, keyed=True)

    @rt.mailbox("commits")
    def commits(n: int) -> int:
        rt.tell(adder, n, key="a")
        return gate(n)

    with rt:
        with pytest.raises(AskTimeout, match=r"no answer from 'commits' within 0\.05 s") as caught:
            rt.ask("commits", 1, timeout=0.05)
        assert isinstance(caught.value, TimeoutError)
        with pytest.raises(AskTimeout):  # this one has not begun: it is taken back
            rt.ask("commits", 100, timeout=0.05)
        gate.open.set()
        until_open(rt, 0)
        assert rt.ask("commits", 0) == 0
        assert rt.ask(adder, 0, key="a") == 1


def test_withdrawn_asks_leave_nothing_in_memory(rt: Runtime) -> None:
    adder = rt.mailbox("adder", Adder, keyed=True)
    with rt:
        rt.pause(adder)
        for n in range(20):
            with pytest.raises(AskTimeout):
                rt.ask(adder, n, key=n % 3, timeout=0.001)
        engine = rt._host.engine
        assert engine is not None
        window = engine.mailboxes[1].window
        assert (len(window.held), window.loaded, window._parked, window._keys) == (0, 0, {}, {})
        assert engine.environment.asks._open == {}


def test_an_ask_that_is_withdrawn_before_it_comes_in_is_not_kept(rt: Runtime) -> None:
    """It waits for a look at the store first, and its asker may give up meanwhile."""
    rt.mailbox("adder", Adder, keyed=True)
    with rt:
        rt.pause("adder")
        engine = rt._host.engine
        assert engine is not None
        ask = Asked(1, "json", b"1", "k", target="adder", deliver=lambda *_: None)
        engine._looking = True
        engine.ask(ask)
        assert engine.environment.asks.close(ask)
        engine.withdraw(ask)
        assert engine.environment.committer.flush(PATIENCE)
        window = engine.mailboxes[1].window
        assert (len(window.held), window.loaded, window._parked) == (0, 0, {})


def test_a_handler_past_its_timeout_answers_with_that(rt: Runtime) -> None:
    gate = Gate()
    rt.mailbox("slow", gate, timeout=0.05, workers=2)

    @rt.mailbox("async", timeout=0.05)
    async def slow(n: int) -> None:
        await asyncio.Event().wait()

    with rt:
        with pytest.raises(HandlerTimeout):
            rt.ask("slow", 1)
        with pytest.raises(HandlerTimeout):
            rt.ask("async", 1)
        gate.open.set()
        assert rt.ask("slow", 2) == 2


def test_once_the_owner_stops_no_ask_is_taken() -> None:
    asks, answers = Asks(), list[Any]()
    ask = Asked(1, "json", b"1", target="box", deliver=lambda *answer: answers.append(answer))
    asks.end("the runtime stops")
    with pytest.raises(ActorStopped, match="the runtime stops"):
        asks.open(ask, lambda _: 1)
    assert answers == []


def test_stop_answers_every_ask(rt: Runtime) -> None:
    gate, ends = Gate(), Gate()
    rt.mailbox("stuck", gate)
    rt.mailbox("ends", ends)
    rt.start()
    calls = [in_thread(lambda: rt.ask("stuck", 1)), in_thread(lambda: rt.ask("ends", 2))]
    assert gate.running.wait(PATIENCE)
    assert ends.running.wait(PATIENCE)
    calls += [in_thread(lambda: rt.ask("stuck", 3, timeout=PATIENCE)) for _ in range(3)]
    until_open(rt, 5)
    stop = threading.Thread(target=rt.stop, args=(0.5,))
    stop.start()
    for thread, _ in calls[2:]:
        thread.join(PATIENCE)  # those that have not begun are answered at once
    ends.open.set()
    calls[1][0].join(PATIENCE)
    calls[0][0].join(PATIENCE)
    stop.join(PATIENCE)
    gate.open.set()
    assert calls[1][1] == [2]  # it ended within the time
    assert all(isinstance(found[0], ActorStopped) for _, found in [calls[0], *calls[2:]])


def test_a_handler_whose_ask_is_refused_by_the_stop_is_not_counted_as_failed(board: Board) -> None:
    rt, gate = board.rt, Gate()
    inner_runs: list[int] = []

    @rt.mailbox("inner")
    def inner(n: int) -> int:
        inner_runs.append(n)
        return n

    @rt.mailbox("outer")
    def outer(n: int) -> None:
        gate(n)
        rt.ask(inner, n)

    board.start()
    number = rt.tell(outer, 1)
    assert gate.running.wait(PATIENCE)
    stop = threading.Thread(target=rt.stop, args=(5.0,))
    stop.start()
    pause = threading.Event()
    while rt._host.engine is not None:
        pause.wait(0.005)
    gate.open.set()
    stop.join(PATIENCE)
    found = rt.find(number)
    assert found is not None
    assert (found.attempt, inner_runs) == (0, [])
    board.start()
    board.settle()
    assert inner_runs == [1]


def test_a_crash_answers_with_actor_stopped(board: Board) -> None:
    gate = Gate()
    board.rt.mailbox("stuck", gate)
    board.start()
    thread, found = in_thread(lambda: board.rt.ask("stuck", 1, timeout=PATIENCE))
    assert gate.running.wait(PATIENCE)
    board.crash()
    thread.join(PATIENCE)
    gate.open.set()
    assert isinstance(found[0], ActorStopped)


def test_a_thread_gets_up_while_the_ask_is_made_if_it_would_have_something_to_do(
    rt: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    gate = Gate()

    def key(_: int) -> str:
        order.append("made")
        return "a"

    ref = rt.mailbox("box", lambda n: n if n < 2 else gate(n), keyed=key)
    monkeypatch.setattr(ThreadDriver, "rouse", lambda _: order.append("roused"))
    with rt:
        assert rt.ask(ref, 0) == 0  # hires the worker
        until_idle(rt, "box")
        order.clear()
        assert rt.ask(ref, 1) == 1
        assert order == ["roused", "made"]
        thread, found = in_thread(lambda: rt.ask(ref, 2, timeout=PATIENCE))
        assert gate.running.wait(PATIENCE)
        order.clear()
        other, others = in_thread(lambda: rt.ask(ref, 3, timeout=PATIENCE))
        until_open(rt, 2)
        assert order == ["made"]  # its worker is at work: it comes back by itself
        gate.open.set()
        thread.join(PATIENCE)
        other.join(PATIENCE)
        assert (found, others) == ([2], [3])
        rt.pause(ref)
        until_idle(rt, "box")
        order.clear()
        with pytest.raises(AskTimeout):
            rt.ask(ref, 1, timeout=0.01)
        assert order == ["made"]


def test_asking_handlers_do_not_use_up_the_threads(tmp_path: Path) -> None:
    """Each waits on a thread of its own, and the one that is to answer still finds one."""
    rt = Runtime(tmp_path / "board.db", threads=1)
    for depth in range(8):

        def level(n: int, depth: int = depth) -> int:
            return n if depth == 0 else 1 + rt.ask(f"level{depth - 1}", n)

        rt.mailbox(f"level{depth}", level)
    with rt:
        assert rt.ask("level7", 1) == 8
        engine = rt._host.engine
        assert engine is not None
        driver = engine.environment.driver
        assert isinstance(driver, ThreadDriver)
        rt.ask("level0", 1)
        with driver._lock:
            assert driver._away == 0
    rt.stop()


# --- coroutines --------------------------------------------------------------------------------


def test_connecting_to_the_owner_does_not_hold_the_loop_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = threading.Event()

    def connect(_line: Line, _seconds: float) -> None:
        assert turns.wait(5)
        msg = "nobody"
        raise NotStarted(msg)

    async def ask() -> None:
        asyncio.get_running_loop().call_soon(turns.set)
        with pytest.raises(NotStarted, match="nobody"):
            await client.ask_async("box", 1)

    monkeypatch.setattr(Line, "connect", connect)
    client = Runtime(tmp_path / "b.db")
    client.mailbox("box", lambda _m: None)
    asyncio.run(ask())
    client.stop()


def test_a_sync_ask_on_a_loops_thread_names_ask_async(rt: Runtime) -> None:
    rt.mailbox("adder", Adder, keyed=True)

    @rt.mailbox("async")
    async def handler(n: int) -> int:
        return rt.ref(Adder, "a").ask(n)

    async def main() -> None:
        with pytest.raises(AskDeadlock, match="ask_async"):
            rt.ask("adder", 1, key="a")

    with rt:
        asyncio.run(main())
        with pytest.raises(AskDeadlock, match="ask_async"):
            rt.ask("async", 1)


def test_ask_async_answers_many_tasks_and_chains(rt: Runtime) -> None:
    adder = rt.mailbox("adder", Adder, keyed=True)

    @rt.mailbox("async", workers=3)
    async def handler(n: int) -> int:
        return 1 + await rt.ask_async(adder, n, key=n % 3)

    async def main() -> None:
        answers = await asyncio.gather(*(rt.ask_async("async", n) for n in range(30)))
        assert len(answers) == 30
        assert sum(rt.state("adder", key).n for key in range(3)) == sum(range(30))
        with pytest.raises(MailboxNotFound):
            await rt.ask_async("nobody", 1)
        rt.pause(adder)
        with pytest.raises(AskTimeout):
            await rt.ref(adder, "x").ask_async(1, timeout=0.02)

    with rt:
        asyncio.run(main())


def test_a_cancelled_task_takes_its_ask_back(rt: Runtime) -> None:
    adder = rt.mailbox("adder", Adder, keyed=True)

    async def main() -> None:
        task = asyncio.create_task(rt.ask_async(adder, 5, key="a", timeout=PATIENCE))
        await asyncio.to_thread(until_open, rt, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with rt:
        rt.pause(adder)
        asyncio.run(main())
        until_open(rt, 0)
        rt.resume(adder)
        assert rt.ask(adder, 1, key="a") == 1
