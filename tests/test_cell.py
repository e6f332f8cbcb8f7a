"""The cell: pykka's seams, and that nothing a cell raises reaches pykka or another cell."""

from __future__ import annotations

import inspect
from typing import Any

import pykka
import pytest
from pykka._envelope import Envelope
from pykka.messages import _ActorStop

from callboard.actors.cell import BUDGET, Cell, Crashed, Restart
from callboard.actors.driver import Driver
from callboard.actors.inbox import Inbox
from callboard.actors.seeded_driver import SeededDriver
from callboard.clock import ManualClock

PATIENCE = 10.0


class Echo(Cell):
    """Answers with what it is asked; raises what it is told to raise."""

    def __init__(self, driver: Driver, name: str = "echo", supervisor: Cell | None = None) -> None:
        super().__init__(driver, name, supervisor)
        self.seen: list[Any] = []
        self.stops = 0

    def on_receive(self, message: Any) -> Any:
        if isinstance(message, BaseException):
            raise message
        self.seen.append(message)
        return message

    def on_stop(self) -> None:
        self.stops += 1


class Ill(Echo):
    """Cannot start."""

    def on_start(self) -> None:
        raise SystemExit(3)


class IllToTheEnd(Echo):
    """Cannot stop."""

    def on_stop(self) -> None:
        super().on_stop()
        raise SystemExit(3)


def driver() -> SeededDriver:
    return SeededDriver(ManualClock(), 0)


# --- pykka's seams: what cell.py stands on ----------------------------------------------------


@pytest.mark.parametrize(
    ("seam", "parameters"),
    [
        ("__init__", ["self", "_args", "_kwargs"]),
        ("_start_actor_loop", ["self"]),
        ("_stop", ["self"]),
        ("_actor_loop_teardown", ["self"]),
        ("on_start", ["self"]),
        ("on_stop", ["self"]),
        ("on_receive", ["self", "message"]),
    ],
)
def test_pykka_has_the_method_that_a_cell_calls_or_overrides(
    seam: str, parameters: list[str]
) -> None:
    assert [*inspect.signature(getattr(pykka.Actor, seam)).parameters] == parameters


@pytest.mark.parametrize("seam", ["_create_actor_inbox", "_create_future"])
def test_pykka_makes_inbox_and_future_in_static_methods(seam: str) -> None:
    assert isinstance(inspect.getattr_static(pykka.Actor, seam), staticmethod)
    assert not inspect.signature(getattr(pykka.Actor, seam)).parameters


def test_pykka_gives_an_actor_the_attributes_that_a_cell_uses() -> None:
    cell = Echo(driver())
    assert isinstance(cell.actor_inbox, Inbox)
    assert isinstance(cell.actor_ref, pykka.ActorRef)
    assert cell.actor_ref.actor_urn == cell.actor_urn
    assert cell.actor_ref.actor_inbox is cell.actor_inbox
    assert not cell.actor_stopped.is_set()
    assert not inspect.signature(_ActorStop).parameters


def test_pykka_s_envelope_is_a_message_and_who_is_answered() -> None:
    parameters = inspect.signature(Envelope).parameters
    assert [*parameters] == ["message", "reply_to"]
    assert parameters["reply_to"].default is None
    future: pykka.Future[Any] = Echo._create_future()
    envelope = Envelope("hello", future)
    assert (envelope.message, envelope.reply_to) == ("hello", future)


def test_pykka_s_ref_has_what_a_cell_s_ref_overrides() -> None:
    cell = Echo(driver())
    assert type(cell.actor_ref) is not pykka.ActorRef
    assert cell.actor_ref is cell._actor_ref
    assert [*inspect.signature(pykka.ActorRef).parameters] == ["actor"]
    assert inspect.signature(pykka.ActorRef.tell) == inspect.signature(type(cell.actor_ref).tell)


def test_a_dead_cell_refuses_a_tell_as_pykka_s_ref_does() -> None:
    steps = driver()
    cell = Echo.launch(steps)
    stopped = cell.actor_ref.stop(block=False)
    steps.run()
    assert stopped.get(timeout=PATIENCE)
    said = []
    for tell in (cell.actor_ref.tell, pykka.ActorRef(cell).tell):
        with pytest.raises(pykka.ActorDeadError) as raised:
            tell("late")
        said.append(str(raised.value))
    assert said[0] == said[1]


# --- life ---------------------------------------------------------------------------------------


def test_ask_through_pykka_s_ref_is_answered() -> None:
    steps = driver()
    ref = Echo.start(steps)
    future = ref.ask("hello", block=False)
    refused = ref.ask(ZeroDivisionError("no"), block=False)
    steps.run()
    assert future.get(timeout=PATIENCE) == "hello"
    with pytest.raises(ZeroDivisionError, match="no"):
        refused.get(timeout=PATIENCE)


@pytest.mark.parametrize(
    "error", [ValueError("no"), SystemExit(3), KeyboardInterrupt(), GeneratorExit()]
)
@pytest.mark.parametrize("asked", [False, True])
def test_what_a_cell_raises_is_contained_and_reported(
    error: BaseException,
    asked: bool,  # noqa: FBT001
) -> None:
    steps = driver()
    boss = Echo.launch(steps, "boss")
    cell = Echo.launch(steps, "cell", boss)
    other = Echo.launch(steps, "other", boss)
    if asked:
        future = cell.actor_ref.ask(error, block=False)
    else:
        cell.actor_ref.tell(error)
    cell.post("backlog")
    other.post("goes on")
    steps.run()
    if asked:
        with pytest.raises(type(error)):
            future.get(timeout=PATIENCE)
    (report,) = boss.seen
    assert isinstance(report, Crashed)
    assert (report.cell, report.error) == (cell, error)
    assert cell.crashed
    assert cell.actor_ref.is_alive()
    assert cell.seen == []
    assert other.seen == ["goes on"]
    cell.post(Restart())
    steps.run()
    assert not cell.crashed
    assert cell.seen == ["backlog"]


def test_a_cell_that_cannot_start_is_reported_and_keeps_its_messages() -> None:
    steps = driver()
    boss = Echo.launch(steps, "boss")
    ill = Ill.launch(steps, "ill", boss)
    ill.post("first")
    steps.run()
    (report,) = boss.seen
    assert isinstance(report.error, SystemExit)
    assert ill.seen == []
    ill.post(Restart())
    steps.run()
    assert ill.seen == ["first"]


def test_cells_are_not_in_pykka_s_registry() -> None:
    before = pykka.ActorRegistry.get_all()
    steps = driver()
    cell = Echo.launch(steps)
    assert pykka.ActorRegistry.get_all() == before
    pykka.ActorRegistry.stop_all(timeout=PATIENCE)
    assert cell.actor_ref.is_alive()


def test_stop_overtakes_a_backlog() -> None:
    steps = driver()
    cell = Echo.launch(steps)
    for number in range(3 * BUDGET):
        cell.post(number)
    assert steps.step()
    assert cell.seen == [*range(BUDGET)]
    stopped = cell.actor_ref.stop(block=False)
    assert steps.step()
    assert cell.actor_stopped.is_set()
    assert cell.stops == 1
    assert cell.seen == [*range(BUDGET)]
    assert stopped.get(timeout=PATIENCE) is True


def test_a_stopped_cell_takes_nothing_more() -> None:
    steps = driver()
    cell = Echo.launch(steps)
    stopped = cell.actor_ref.stop(block=False)
    late = cell.actor_ref.ask("late", block=False)
    steps.run()
    assert stopped.get(timeout=PATIENCE) is True
    with pytest.raises(pykka.ActorDeadError):
        late.get(timeout=PATIENCE)
    cell.post("later")
    assert steps.run() == 0
    with pytest.raises(pykka.ActorDeadError):
        cell.actor_ref.tell("latest")
    assert cell.seen == []


def test_what_on_stop_raises_stops_nobody_else() -> None:
    steps = driver()
    cell = IllToTheEnd.launch(steps)
    stopped = cell.actor_ref.stop(block=False)
    steps.run()
    assert cell.actor_stopped.is_set()
    assert cell.stops == 1
    assert stopped.get(timeout=PATIENCE) is True


def test_what_was_posted_while_a_cell_stopped_is_refused_and_not_handled() -> None:
    steps = driver()
    cell = Echo.launch(steps)
    stopped = cell.actor_ref.stop(block=False)
    steps.run()
    assert stopped.get(timeout=PATIENCE)
    answer: pykka.Future[Any] = Echo._create_future()
    for envelope in (Envelope("late"), Envelope("asked", answer), Envelope(Restart())):
        cell.actor_inbox.put(envelope)  # as by a sender that saw the cell alive just before
    steps.run()
    assert cell.seen == []
    assert cell.actor_inbox.empty()
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=PATIENCE)


def test_a_cell_that_is_paused_when_it_stops_still_refuses() -> None:
    steps = driver()
    cell = Echo.launch(steps, "echo", Echo(steps))
    cell.post(ArithmeticError("down"))
    steps.run()
    assert cell.crashed
    stopped = cell.actor_ref.stop(block=False)
    steps.run()
    assert stopped.get(timeout=PATIENCE)
    answer: pykka.Future[Any] = Echo._create_future()
    cell.actor_inbox.put(Envelope("asked", answer))
    steps.run()
    with pytest.raises(pykka.ActorDeadError):
        answer.get(timeout=PATIENCE)
