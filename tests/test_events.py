"""Events: in order, on their own thread, and nobody's subscriber harms another."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from callboard import events as module
from callboard.events import EVENTS, Event, Events

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE = 10.0


def clockwork() -> Callable[[], int]:
    return itertools.count(1).__next__


def test_events_are_told_in_order_on_one_thread() -> None:
    events = Events(clockwork())
    told: list[Event] = []
    threads: set[str] = set()

    def note(event: Event) -> None:
        told.append(event)
        threads.add(threading.current_thread().name)

    events.subscribe(note)
    for number in range(500):
        events.emit("message.told", id=number)
    assert events.flush(PATIENCE)
    assert [event["id"] for event in told] == [*range(500)]
    assert [event.at for event in told] == [*range(1, 501)]
    assert threads == {"callboard-events"}


def test_a_subscriber_hears_what_it_asked_for_until_it_ends() -> None:
    events = Events(clockwork())
    all_of_them: list[str] = []
    mailboxes: list[str] = []
    events.subscribe(lambda event: all_of_them.append(event.name))
    off = events.subscribe(lambda event: mailboxes.append(event.name), "mailbox.")
    events.emit("mailbox.paused", mailbox="a")
    events.emit("message.dead", mailbox="a")
    assert events.flush(PATIENCE)
    off()
    off()
    events.emit("mailbox.resumed", mailbox="a")
    assert events.flush(PATIENCE)
    assert mailboxes == ["mailbox.paused"]
    assert all_of_them == ["mailbox.paused", "message.dead", "mailbox.resumed"]


def test_a_subscriber_that_raises_is_removed_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    events = Events(clockwork())
    calls: list[str] = []
    told: list[str] = []

    def fail(event: Event) -> None:
        calls.append(event.name)
        msg = "no"
        raise ValueError(msg)

    events.subscribe(fail)
    events.subscribe(lambda event: told.append(event.name))
    events.emit("mailbox.paused")
    events.emit("mailbox.resumed")
    assert events.flush(PATIENCE)
    assert calls == ["mailbox.paused"]
    assert told == ["mailbox.paused", "mailbox.resumed"]
    assert "raised and was removed" in caplog.text
    assert "ValueError: no" in caplog.text


def test_on_and_flow_say_who_listens() -> None:
    events = Events(clockwork())
    assert (events.on, events.flow) == (False, False)
    rare = events.subscribe(print, "mailbox.")
    assert (events.on, events.flow) == (True, False)
    for prefix in ("", "message.", "message.told", "timer.", "actor.st"):
        off = events.subscribe(print, prefix)
        assert events.flow, prefix
        off()
        assert not events.flow, prefix
    dead = events.subscribe(print, "message.dead")
    assert not events.flow
    rare()
    dead()
    assert (events.on, events.flow) == (False, False)


def test_what_every_message_causes_is_listed() -> None:
    assert set(module._FREQUENT) <= set(EVENTS)


def test_beyond_the_bound_the_newest_are_dropped_and_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_BOUND", 10)
    events = Events(clockwork())
    told: list[Event] = []
    held, gate = threading.Event(), threading.Event()

    def hold(event: Event) -> None:
        held.set()
        gate.wait(PATIENCE)
        told.append(event)

    events.subscribe(hold)
    events.emit("message.told", id=0)
    assert held.wait(PATIENCE)
    for number in range(1, 16):
        events.emit("message.told", id=number)
    gate.set()
    assert events.flush(PATIENCE)
    events.emit("message.told", id=16)
    assert events.flush(PATIENCE)
    assert [event["id"] for event in told[:11]] == [*range(11)]
    assert told[11].name == "events.dropped"
    assert told[11]["count"] == 5
    assert [event["id"] for event in told[12:]] == [16]


def test_flush_gives_up_in_time_and_never_waits_for_itself() -> None:
    events = Events(clockwork())
    assert events.flush(0.0)
    held, gate = threading.Event(), threading.Event()
    inside: list[bool] = []

    def hold(_: Event) -> None:
        inside.append(events.flush(PATIENCE))
        held.set()
        gate.wait(PATIENCE)

    events.subscribe(hold)
    events.emit("mailbox.paused")
    assert held.wait(PATIENCE)
    assert not events.flush(0.01)
    gate.set()
    assert events.flush(PATIENCE)
    assert inside == [True]


def test_a_subscriber_may_emit_and_subscribe() -> None:
    events = Events(clockwork())
    told: list[str] = []

    def answer(event: Event) -> None:
        told.append(event.name)
        if event.name == "mailbox.paused":
            events.subscribe(lambda later: told.append(f"late {later.name}"))
            events.emit("mailbox.resumed")

    events.subscribe(answer)
    events.emit("mailbox.paused")
    assert events.flush(PATIENCE)
    assert told == ["mailbox.paused", "mailbox.resumed", "late mailbox.resumed"]


def test_events_go_on_after_their_threads_were_forgotten() -> None:
    events = Events(clockwork())
    told: list[str] = []
    events.subscribe(lambda event: told.append(event.name))
    events.forget_threads()
    events.emit("mailbox.paused")
    assert events.flush(PATIENCE)
    assert told == ["mailbox.paused"]
