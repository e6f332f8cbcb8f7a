"""What schedules do to a store: declaring, pausing, and moving on with their ticks."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
import pytest

from callboard.persistence.store import (
    Advance,
    Dead,
    Execute,
    Outcome,
    ScheduleRow,
    Store,
    Unit,
)  # fmt: skip

from .store_contract_writing import ContractBase
from .store_tools import bodies, do, message, write

ROW = ScheduleRow(
    name="job", expression="@hourly", tz="UTC", mailbox="jobs", options="{}", message=None,
    next_at=100, last_at=None, last_number=None, paused=False, zone="z", declared_at=1,
)  # fmt: skip


def put(store: Store, **fields: Any) -> ScheduleRow:
    """Declare one schedule."""
    row = msgspec.structs.replace(ROW, **fields)
    store.declare_schedules(lambda _: [row])
    return row


def move(was: int, to: int, **fields: Any) -> Advance:
    return Advance("job", was, to, at=was, count=1, **fields)


def seen(store: Store) -> ScheduleRow:
    (row,) = store.schedules()
    return row


class ScheduleContract(ContractBase):
    def test_schedules_are_read_by_name(self, store: Store, other: Store) -> None:
        assert store.schedules() == []
        rows = [put(store, name=name, message=b'{"n":1}') for name in "ba"]
        assert other.schedules() == [rows[1], rows[0]]

    def test_declaring_again_keeps_the_pause_and_the_last_tick(
        self, store: Store, box: int
    ) -> None:
        put(store)
        number = do(store, move(100, 200), message(box)).results[0]
        assert store.pause_schedule("job", None)
        put(store, expression="@daily", next_at=500, last_at=7, last_number=7)
        found = seen(store)
        assert (found.expression, found.next_at, found.paused) == ("@daily", 500, True)
        assert (found.last_at, found.last_number) == (100, number)

    def test_what_decides_sees_the_rows_and_may_leave_them_as_they_are(self, store: Store) -> None:
        row = put(store)
        given: list[list[ScheduleRow]] = []

        def decide(rows: list[ScheduleRow]) -> list[ScheduleRow]:
            given.append(rows)
            return []

        assert store.declare_schedules(decide) == []
        assert given == [[row]]
        assert seen(store) == row

    def test_nothing_is_declared_when_deciding_fails(self, store: Store, box: int) -> None:
        def fails(rows: list[ScheduleRow]) -> list[ScheduleRow]:
            raise LookupError

        with pytest.raises(LookupError):
            store.declare_schedules(fails)
        put(store)
        assert seen(store) == ROW

    def test_a_tick_and_the_next_instant_are_one(self, store: Store, box: int) -> None:
        put(store)
        unit = do(store, move(100, 200), message(box, b"tick"))
        assert unit.outcome is Outcome.COMMITTED
        assert [each.number for each in unit.told] == unit.results
        found = seen(store)
        assert (found.next_at, found.last_at, found.last_number) == (200, 100, unit.results[0])
        assert bodies(store, box) == [b"tick"]

    def test_several_ticks_are_one_too(self, store: Store, box: int) -> None:
        put(store)
        unit = do(store, Advance("job", 100, 400, at=300, count=3), *map(message, [box] * 3))
        assert len(bodies(store, box)) == 3
        assert seen(store).last_number == unit.results[-1]

    def test_who_comes_second_tells_nothing(self, store: Store, other: Store, box: int) -> None:
        put(store)
        do(store, move(100, 200), message(box))
        late = do(other, move(100, 200), message(box))
        assert late.outcome is Outcome.VOID
        assert list(late.told) == []
        assert len(bodies(store, box)) == 1
        assert seen(store).next_at == 200

    def test_of_many_that_try_at_once_one_ticks(self, store: Store, other: Store, box: int) -> None:
        put(store)
        won: list[int] = []

        def ticks(through: Store) -> None:
            for was in range(100, 2100, 100):
                unit = do(through, move(was, was + 100), message(box))
                if unit.outcome is Outcome.COMMITTED:
                    won.append(was)

        threads = [threading.Thread(target=ticks, args=(each,)) for each in (store, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == [*range(100, 2100, 100)]
        assert len(bodies(store, box)) == len(won)

    def test_what_fails_after_the_move_undoes_it(self, store: Store, box: int) -> None:
        put(store)
        unit = do(
            store, move(100, 200), message(box), Execute("INSERT INTO nowhere VALUES (1)", ())
        )
        assert unit.outcome is Outcome.FAILED
        assert seen(store) == ROW
        assert bodies(store, box) == []

    def test_a_void_move_harms_nobody_in_its_group(self, store: Store, box: int) -> None:
        put(store)
        before, after = (Unit(ops=[message(box, body)]) for body in (b"1", b"2"))
        stale = Unit(ops=[move(50, 60), message(box, b"stale")])
        write(store, before, stale, after)
        assert (before.outcome, stale.outcome, after.outcome) == (
            Outcome.COMMITTED, Outcome.VOID, Outcome.COMMITTED,
        )  # fmt: skip
        assert bodies(store, box) == [b"1", b"2"]

    def test_alone_it_tells_nothing_while_its_last_message_is_there(
        self, store: Store, box: int
    ) -> None:
        put(store)
        first = message(box, b"first")
        do(store, move(100, 200, alone=True), first)
        held = do(store, move(200, 300, alone=True), message(box, b"second"))
        assert (held.outcome, list(held.told)) == (Outcome.COMMITTED, [])
        found = seen(store)
        assert (found.next_at, found.last_at, found.last_number) == (300, 100, first.number)
        write(store, Unit(ack=first))
        third = do(store, move(300, 400, alone=True), message(box, b"third"))
        assert third.results[0] > first.number
        assert bodies(store, box) == [b"third"]

    def test_a_dead_letter_does_not_hold_the_next_tick(self, store: Store, box: int) -> None:
        put(store)
        first = message(box)
        do(store, move(100, 200, alone=True), first)
        write(store, Unit(ack=first, fate=Dead("error", "", 1, 1)))
        assert do(store, move(200, 300, alone=True), message(box)).results

    def test_a_move_without_ticks_keeps_the_last_one(self, store: Store, box: int) -> None:
        put(store)
        do(store, move(100, 200), message(box))
        was = seen(store)
        do(store, Advance("job", 200, 300))
        assert seen(store) == msgspec.structs.replace(was, next_at=300)

    def test_paused_it_does_not_move(self, store: Store, other: Store, box: int) -> None:
        put(store)
        assert other.pause_schedule("job", None)
        assert do(store, move(100, 200), message(box)).outcome is Outcome.VOID
        assert other.pause_schedule("job", 700)
        assert (seen(store).paused, seen(store).next_at) == (False, 700)

    def test_resuming_what_is_not_paused_moves_nothing(self, store: Store) -> None:
        put(store)
        assert store.pause_schedule("job", 700)
        assert seen(store) == ROW
        assert not store.pause_schedule("nothing", 700)
        assert not store.pause_schedule("nothing", None)

    def test_a_pause_has_the_owner_look(self, store: Store, other: Store) -> None:
        put(store)
        before = store.heartbeat()[2]
        other.pause_schedule("job", None)
        assert store.heartbeat()[2] > before
