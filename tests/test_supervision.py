"""Supervision as users see it: who is restarted with whom, what waits, and what the tree shows."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from callboard import ActorInfo, ConfigError, RetryLater, RetryPolicy, Runtime, WorkerActor

if TYPE_CHECKING:
    from callboard.runtime.testing import Board

PATIENCE = 10.0


class Lost(Exception):
    """The connection of an actor is gone: what restart_on names."""


@dataclass
class Seen:
    messages: list[str] = field(default_factory=list)


class Log:
    """What the actors of one test did, in order."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.broken: set[str] = set()

    def worker(self, name: str) -> type[WorkerActor]:
        """Return a worker class that notes its life, and loses its connection when told to."""
        log = self

        class Worker(WorkerActor):
            state: Seen
            restart_on = (Lost,)

            def on_start(self) -> None:
                log.lines.append(f"{name} starts")
                if name in log.broken:
                    raise Lost(name)

            def on_receive(self, message: str) -> None:
                self.state.messages.append(message)
                if f"{name} {message}" in log.broken:
                    log.broken.discard(f"{name} {message}")
                    raise Lost(message)
                log.lines.append(f"{name} {message} {self.context.attempt}")

            def on_stop(self) -> None:
                log.lines.append(f"{name} stops")

        return Worker

    def take(self) -> list[str]:
        """Return the lines since the last time."""
        lines, self.lines = self.lines, []
        return lines


def find(node: ActorInfo, name: str) -> ActorInfo:
    """Return the node of a name in a tree."""
    found = _find(node, name)
    assert found is not None, name
    return found


def _find(node: ActorInfo, name: str) -> ActorInfo | None:
    if node.name == name:
        return node
    return next((f for child in node.children if (f := _find(child, name)) is not None), None)


def three(board: Board, strategy: Any) -> Log:
    """Declare mailboxes a, b and c under one supervisor, tell each a first message."""
    log = Log()
    rt = board.rt
    group = rt.supervisor("group", strategy=strategy)
    for name in ("a", "b", "c"):
        rt.mailbox(name, log.worker(name), supervisor=group)
    rt.mailbox("apart", log.worker("apart"))
    board.start()
    for name in ("a", "b", "c", "apart"):
        rt.tell(name, "1")
    board.settle()
    log.take()
    return log


RESTARTED = [("one_for_one", ""), ("one_for_all", "ac"), ("rest_for_one", "c")]


@pytest.mark.parametrize(("strategy", "others"), RESTARTED)
def test_the_strategy_says_who_is_restarted_with_a_crashed_one(
    board: Board, strategy: str, others: str
) -> None:
    log = three(board, strategy)
    rt = board.rt
    log.broken.add("b 2")
    rt.tell("b", "2")
    board.settle()
    # Until the restart they take nothing; those that are not restarted go on.
    for name in ("a", "b", "c", "apart"):
        rt.tell(name, "3")
    board.settle()
    rest = [f"{n} 3 1" for n in ("a", "c", "apart") if n not in others]
    assert sorted(log.take()) == sorted(rest)
    states = {name: find(rt.tree(), name).state for name in ("a", "b", "c", "apart")}
    assert states == {
        n: "restarting" if n in others + "b" else "running" for n in ("a", "b", "c", "apart")
    }
    board.advance("1s")
    lines = log.take()
    assert [line for line in lines if line[0] == "b"] == ["b starts", "b 2 1", "b 3 1"]
    for name in others:
        mine = [line for line in lines if line[0] == name]
        assert mine == [f"{name} stops", f"{name} starts", f"{name} 3 1"]
    assert {line[0] for line in lines} == {"b", *others}
    assert rt.state("b").messages == ["1", "2", "3"]
    assert {n.state for n in find(rt.tree(), "group").children} == {"running"}


def test_a_restart_counts_no_attempt_and_keeps_the_order(board: Board) -> None:
    log = Log()
    rt = board.rt
    rt.mailbox("jobs", log.worker("jobs"), keyed=True, retry=RetryPolicy(attempts=1))
    log.broken |= {"jobs 1", "jobs 2"}
    with board:
        rt.tell_many("jobs", ["1", "2", "3"], key="k")
        rt.tell("jobs", "other", key="l")
        board.settle()
        assert log.take() == ["jobs starts", "jobs starts", "jobs other 1"]
        assert find(rt.tree(), "k").state == "restarting"
        board.advance("10s")
        assert log.take() == ["jobs starts", "jobs 1 1", "jobs starts", "jobs 2 1", "jobs 3 1"]
        assert rt.state("jobs", "k").messages == ["1", "2", "3"]
        assert rt.dead() == []


def test_a_sibling_s_running_turn_ends_before_it_is_restarted(board: Board) -> None:
    entered, go = threading.Event(), threading.Event()
    lines: list[str] = []

    class Slow(WorkerActor):
        def on_start(self) -> None:
            lines.append("slow starts")

        def on_receive(self, message: str) -> None:
            entered.set()
            assert go.wait(PATIENCE)
            lines.append(f"slow {message}")

        def on_stop(self) -> None:
            lines.append("slow stops")

    log = Log()
    rt = board.rt
    group = rt.supervisor("group", strategy="one_for_all")
    rt.mailbox("slow", Slow, supervisor=group)
    rt.mailbox("quick", log.worker("quick"), supervisor=group)
    log.broken.add("quick 1")
    restarts = threading.Event()
    rt.events.subscribe(lambda event: restarts.set() if event["actor"] == "mailbox slow" else None,
                        "actor.restarted")  # fmt: skip
    with board:
        rt.tell_many("slow", ["1", "2"])
        assert entered.wait(PATIENCE)
        rt.tell("quick", "1")
        assert restarts.wait(PATIENCE)
        board.clock.shift("1s")  # the back-off is over, and the turn still runs
        assert lines == ["slow starts"]
        go.set()
        board.settle()
    assert lines[:5] == ["slow starts", "slow 1", "slow stops", "slow starts", "slow 2"]
    assert log.take()[1:3] == ["quick starts", "quick 1 1"]


def test_an_object_is_let_go_after_its_turn_though_another_worker_is_free(board: Board) -> None:
    inside, go, done = threading.Event(), threading.Event(), threading.Event()
    lines: list[str] = []

    class Worker(WorkerActor):
        def on_receive(self, message: str) -> None:
            if message == "slow":
                inside.set()
                assert go.wait(PATIENCE)
            lines.append(message)
            if message == "quick":
                done.set()

        def on_stop(self) -> None:
            lines.append("stops")

    board.rt.mailbox("jobs", Worker, keyed=True, workers=2)
    with board:
        board.rt.tell("jobs", "slow", key="a")
        assert inside.wait(PATIENCE)
        engine = board.rt._host.engine
        assert engine is not None
        jobs = engine.mailbox("jobs")
        assert jobs is not None
        jobs.recovery.renew(clean=False)
        board.rt.tell("jobs", "quick", key="b")
        assert done.wait(PATIENCE)
        go.set()
        board.settle()
        board.rt.tell("jobs", "again", key="a")
        board.settle()
        assert lines == ["quick", "slow", "stops", "again"]


def test_one_beyond_the_intensity_is_faulted_and_its_siblings_go_on(board: Board) -> None:
    log = Log()
    rt = board.rt
    group = rt.supervisor("group", strategy="one_for_all", intensity=2, period=60.0)
    rt.mailbox("ill", log.worker("ill"), keyed=True, supervisor=group)
    rt.mailbox("well", log.worker("well"), supervisor=group)
    faults: list[Any] = []
    rt.events.subscribe(faults.append, "actor.faulted")
    with board:
        for _ in range(3):
            log.broken.add("ill 1")
            rt.tell("ill", "1", key="k")
            board.advance("5s")
        assert [fault["actor"] for fault in faults] == ["mailbox ill key 'k'"]
        log.take()
        rt.tell("ill", "2", key="l")
        rt.tell("well", "2")
        board.advance("1h")
        assert sorted(log.take()) == ["ill 2 1", "ill starts", "well 2 1", "well starts"]
        (ill,) = find(rt.tree(), "ill").children[-1:]
        assert (ill.name, ill.kind, ill.state) == ("k", "actor", "faulted")
        assert "Lost" in (ill.error or "")
        assert {m.name: m.waiting for m in rt.mailboxes()} == {"ill": 1, "well": 0}


def test_asking_to_be_tried_later_restarts_nobody(board: Board) -> None:
    starts: list[int] = []

    class Cautious(WorkerActor):
        restart_on = (Exception,)

        def on_start(self) -> None:
            starts.append(1)

        def on_receive(self, message: str) -> None:
            if self.context.due is None:
                raise RetryLater(after=5)

    rt = board.rt
    rt.mailbox("jobs", Cautious)
    with board:
        rt.tell("jobs", "1")
        board.advance("10s")
        assert rt.mailboxes()[0].waiting == 0
    assert starts == [1]


def test_a_coroutine_s_lost_connection_restarts_its_actor(board: Board) -> None:
    lines: list[str] = []

    class Remote(WorkerActor):
        restart_on = (Lost,)

        def on_start(self) -> None:
            lines.append("starts")

        async def on_receive(self, message: str) -> None:
            lines.append(message)
            if len(lines) == 2:
                raise Lost(message)

    rt = board.rt
    rt.mailbox("remote", Remote, retry=RetryPolicy(attempts=1))
    with board:
        rt.tell("remote", "1")
        board.advance("1s")
    assert lines == ["starts", "1", "starts", "1"]


def test_an_ask_that_restarts_its_actor_fails_and_is_not_run_again(board: Board) -> None:
    lines: list[str] = []

    class Remote(WorkerActor):
        restart_on = (Lost,)

        def on_start(self) -> None:
            lines.append("starts")

        def on_receive(self, message: str) -> str:
            lines.append(message)
            if message == "ask":
                raise Lost(message)
            return message

    rt = board.rt
    rt.mailbox("remote", Remote)
    with board:
        with pytest.raises(Lost):
            rt.ask("remote", "ask", timeout=PATIENCE)
        rt.tell("remote", "tell")
        board.settle()
        assert lines == ["starts", "ask"]
        board.advance("1s")
    assert lines == ["starts", "ask", "starts", "tell"]


def test_a_supervisor_fails_when_most_actors_cannot_be_started(board: Board) -> None:
    log = Log()
    rt = board.rt
    group = rt.supervisor("group", intensity=2)
    for name in ("a", "b", "c"):
        rt.mailbox(name, log.worker(name), supervisor=group)
    rt.mailbox("apart", log.worker("apart"))
    failed: list[Any] = []
    rt.events.subscribe(failed.append, "supervisor.failed")
    with board:
        log.broken |= {"a", "b"}
        for name in ("a", "b", "c", "apart"):
            rt.tell(name, "1")
        while not failed:
            board.advance("20ms")
        assert [event["actor"] for event in failed] == ["supervisor group"]
        assert find(rt.tree(), "group").state == "restarting"
        rt.tell("c", "2")
        rt.tell("apart", "2")
        log.broken.clear()
        log.take()
        board.settle()
        assert log.take() == ["apart 2 1"]
        board.advance("10s")
        assert find(rt.tree(), "group").state == "running"
        assert {"a 1 1", "b 1 1", "c 2 1"} <= set(log.lines)
        assert {m.waiting for m in rt.mailboxes()} == {0}
        assert find(rt.tree(), "group").restarts == 1


def test_workers_of_one_actor_that_crash_together_are_one_crash(board: Board) -> None:
    together = threading.Barrier(8)
    starts: list[int] = []

    class Pool(WorkerActor):
        def on_start(self) -> None:
            if together.n_waiting or not starts:
                together.wait(PATIENCE)
                starts.append(1)
                raise Lost

        def on_receive(self, message: str) -> None: ...

    rt = board.rt
    rt.mailbox("pool", Pool, workers=8)
    with board:
        rt.tell_many("pool", ["1"] * 8)
        board.settle()
        assert len(starts) == 8
        assert find(rt.tree(), "pool").restarts == 1
        board.advance("1s")
        assert rt.mailboxes()[0].waiting == 0


def test_half_of_the_actors_is_not_most_of_them(board: Board) -> None:
    log = Log()
    rt = board.rt
    for name in ("a", "b"):
        rt.mailbox(name, log.worker(name))
        log.broken.add(name)
    rt.mailbox("c", log.worker("c"))
    rt.mailbox("function", print)
    failed: list[Any] = []
    rt.events.subscribe(failed.append, "supervisor.failed")
    with board:
        for name in ("a", "b", "c"):
            rt.tell(name, "1")
        board.advance("1m")
        assert [find(rt.tree(), n).state for n in "abc"] == ["faulted", "faulted", "running"]
    assert failed == []


def test_a_single_actor_that_cannot_be_started_is_left_alone(board: Board) -> None:
    log = Log()
    rt = board.rt
    rt.mailbox("only", log.worker("only"))
    failed: list[Any] = []
    rt.events.subscribe(failed.append, "supervisor.failed")
    log.broken.add("only")
    with board:
        rt.tell("only", "1")
        board.advance("1h")
        assert find(rt.tree(), "only").state == "faulted"
    assert failed == []


def test_when_nothing_can_be_started_the_root_gives_up(board: Board) -> None:
    log = Log()
    rt = board.rt
    for name in ("a", "b"):
        rt.mailbox(name, log.worker(name))
        log.broken.add(name)
    with board:
        rt.tell("a", "1")
        rt.tell("b", "1")
        board.advance("2m")
        assert rt._host.ended.wait(PATIENCE)
        assert rt.role == "client"
        assert "2 of 2 actors could not be started" in str(rt._host.failure)
        assert {m.waiting for m in rt.mailboxes()} == {1}


def test_run_ends_with_one_when_the_root_gives_up(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log()
    rt = board.rt
    for name in ("a", "b"):
        rt.mailbox(name, log.worker(name))
        log.broken.add(name)
        rt.tell(name, "1")

    clock = threading.Thread(target=lambda: board.advance("2m"))
    rt.events.subscribe(lambda _: clock.start(), "owner.taken")
    with pytest.raises(SystemExit) as ended:
        rt.run()
    clock.join(PATIENCE)
    assert ended.value.code == 1
    assert "could not be started" in capsys.readouterr().err


def test_a_supervisor_s_children_may_be_supervisors(board: Board) -> None:
    log = Log()
    rt = board.rt
    outer = rt.supervisor("outer", strategy="rest_for_one")
    rt.mailbox("first", log.worker("first"), supervisor=outer)
    inner = rt.supervisor("inner", parent=outer)
    rt.mailbox("deep", log.worker("deep"), supervisor=inner)
    rt.mailbox("last", log.worker("last"), supervisor=outer)
    with board:
        names = ("first", "deep", "last")
        for name in names:
            rt.tell(name, "1")
        board.settle()
        log.take()
        log.broken.add("first 2")
        rt.tell("first", "2")
        board.settle()
        assert [find(rt.tree(), n).state for n in names] == ["restarting"] * 3
        for name in ("deep", "last"):
            rt.tell(name, "2")
        board.settle()
        assert log.take() == []
        board.advance("1s")
        assert {"first 2 1", "deep 2 1", "last 2 1", "deep starts", "last stops"} <= set(log.take())
        # A crash below the inner one is its own affair.
        log.broken.add("deep 3")
        rt.tell("deep", "3")
        board.advance("1s")
        assert set(log.take()) == {"deep starts", "deep 3 1"}


def test_one_actor_in_full_while_it_waits_for_its_restart_and_after(board: Board) -> None:
    rt, log = board.rt, Log()
    rt.mailbox("keyed", log.worker("keyed"), keyed=True)
    log.broken.add("keyed bad")
    board.start()
    rt.tell("keyed", "bad", key="a")
    rt.tell("keyed", "good", key="b")
    board.settle()
    ill, well = rt.actor("keyed", "a"), rt.actor("keyed", "b")
    assert (ill.state, ill.restarts, ill.waiting) == ("restarting", 1, 1)
    assert "bad" in (ill.error or "") or ill.until is not None
    assert (well.state, well.restarts, well.waiting, well.error) == ("running", 0, 0, None)
    board.advance("1s")
    again = rt.actor("keyed", "a")
    assert (again.state, again.restarts, again.waiting, again.until) == ("running", 1, 0, None)


def test_the_tree_of_the_owner_and_of_a_client(board: Board) -> None:
    rt = board.rt
    outer = rt.supervisor("outer", strategy="one_for_all")
    inner = rt.supervisor("inner", parent=outer)
    rt.mailbox("deep", print, supervisor=inner)
    rt.mailbox("flat", print)
    board.start()
    rt.pause("flat")
    board.settle()
    root = rt.tree()
    assert [child.name for child in root.children] == ["timers", "schedules", "mailboxes"]
    assert find(root, "outer").strategy == "one_for_all"
    assert [child.name for child in find(root, "outer").children] == ["inner"]
    assert [child.name for child in find(root, "inner").children] == ["deep"]
    assert find(root, "flat").state == "paused"
    assert [child.name for child in find(root, "mailboxes").children] == ["outer", "flat"]
    rt.stop()
    client = Runtime(board.rt._config.path)
    declared = client.tree()
    assert [child.name for child in find(declared, "inner").children] == ["deep"]
    assert find(declared, "deep").state == "declared"
    assert find(declared, "flat").state == "paused"
    client.stop()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"strategy": "all_for_one"}, "one_for_one"),
        ({"intensity": -1}, "intensity"),
        ({"intensity": True}, "intensity"),
        ({"period": 0}, "period"),
        ({"period": float("nan")}, "period"),
        ({"parent": "nobody"}, "nobody"),
    ],
)
def test_a_supervisor_that_cannot_work_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Runtime("unused.db").supervisor("group", **options)


def test_names_of_supervisors_and_restart_on_are_checked() -> None:
    rt = Runtime("unused.db")
    rt.supervisor("group")
    with pytest.raises(ConfigError, match="declared already"):
        rt.supervisor("group")

    class Odd(WorkerActor):
        restart_on: ClassVar[Any] = ("ConnectionError",)

        def on_receive(self, message: str) -> None: ...

    with pytest.raises(ConfigError, match="restart_on"):
        rt.mailbox("odd", Odd)
