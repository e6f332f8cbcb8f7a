"""What a group of units does to a store, and what several processes see of each other."""

from __future__ import annotations

import pytest

from callboard.errors import StoreOwned
from callboard.persistence.store import (
    Cancel,
    Declaration,
    Execute,
    Lineage,
    Outcome,
    State,
    Store,
    Tell,
    Unit,
)  # fmt: skip

from .store_contract_writing import ContractBase
from .store_tools import bodies, message, numbers, run, tell, write

DEFERRED = (
    "CREATE TABLE parent (id INTEGER PRIMARY KEY)",
    "CREATE TABLE child (id INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
)


class GroupContract(ContractBase):
    @pytest.mark.parametrize("count", [1, 2, 5, 64, 1300])
    def test_a_group_of_turns_is_acknowledged_and_told_in_order(
        self, store: Store, box: int, count: int
    ) -> None:
        told = tell(store, box, *[b"%d" % n for n in range(count)])
        turns = [
            Unit(ack=each, tells=[message(box, b"a%d" % n), message(box, b"b%d" % n, key=str(n))])
            for n, each in enumerate(told)
        ]
        write(store, *turns)
        assert {turn.outcome for turn in turns} == {Outcome.COMMITTED}
        assert bodies(store, box) == [b"%s%d" % (c, n) for n in range(count) for c in (b"a", b"b")]
        assert [turn.results for turn in turns] == [numbers(list(turn.told)) for turn in turns]

    def test_scattered_acknowledgements_leave_what_is_between_them(
        self, store: Store, box: int
    ) -> None:
        told = tell(store, box, *[b"%d" % n for n in range(6)])
        write(store, *[Unit(ack=each) for each in told[::2]])
        assert bodies(store, box) == [b"1", b"3", b"5"]

    @pytest.mark.parametrize("acked", [(0, 2), (0, 2, 2)])
    def test_an_acknowledgement_that_finds_nothing_takes_no_other_with_it(
        self, store: Store, box: int, acked: tuple[int, ...]
    ) -> None:
        told = tell(store, box, b"0", b"1", b"2")
        if len(acked) == 2:
            write(store, Unit(ops=[Cancel(box, told[2].number)]))
        turns = [Unit(ack=told[n]) for n in acked]
        write(store, *turns)
        assert bodies(store, box) == [b"1"]
        assert [turn.outcome for turn in turns].count(Outcome.VOID) == 1

    def test_messages_with_and_without_a_key_keep_what_they_have(
        self, store: Store, box: int
    ) -> None:
        write(store, Unit(tells=[message(box, b"1"), message(box, b"2", key="a")]))
        assert [m.key for m in store.waiting(box, after=None, limit=9)] == [None, "a"]

    def test_the_last_state_of_a_group_is_the_one_that_stays(self, store: Store, box: int) -> None:
        states = [State(box, key, "json", 1, b"%d" % n) for n in range(3) for key in "ab"]
        write(store, *[Unit(state=each) for each in states])
        assert [store.state(box, key) for key in "ab"] == states[-2:]

    def test_plain_units_and_ordered_ones_keep_their_order(self, store: Store, box: int) -> None:
        (told,) = tell(store, box, b"0", name="id")
        units = [
            Unit(tells=[message(box, b"1", name="x")]),
            Unit(ack=told, ops=[Tell(message(box, b"2", name="id")), Cancel(box, "x")]),
            Unit(tells=[message(box, b"3")]),
            Unit(ops=[Tell(message(box, b"4", name="id"))]),
        ]
        write(store, *units)
        assert bodies(store, box) == [b"3", b"4"]
        assert [n for unit in units for n in unit.results if n is not True] == [
            told.number + n for n in range(1, 5)
        ]

    # --- a unit's own fault ------------------------------------------------------------------

    def test_a_void_turn_does_not_harm_its_group(self, store: Store, box: int) -> None:
        gone, here = tell(store, box, b"1", b"2")
        write(store, Unit(ack=gone))
        turns = [
            Unit(ack=gone, tells=[message(box, b"x")]),
            Unit(ack=here, tells=[message(box, b"y")]),
            Unit(tells=[message(box, b"z")]),
        ]
        write(store, *turns)
        assert [turn.outcome for turn in turns] == [
            Outcome.VOID, Outcome.COMMITTED, Outcome.COMMITTED,
        ]  # fmt: skip
        assert bodies(store, box) == [b"y", b"z"]

    def test_a_message_is_acknowledged_once_in_a_group_too(self, store: Store, box: int) -> None:
        (told,) = tell(store, box, b"1")
        turns = [Unit(ack=told, tells=[message(box, body)]) for body in (b"x", b"y")]
        write(store, *turns)
        assert [turn.outcome for turn in turns] == [Outcome.COMMITTED, Outcome.VOID]
        assert bodies(store, box) == [b"x"]

    def test_what_a_rolled_back_try_removed_and_kept_is_noted_once(
        self, store: Store, box: int
    ) -> None:
        (gone,) = tell(store, box, b"0")
        write(store, Unit(ack=gone))
        (old,) = tell(store, box, b"1", name="id")
        tell(store, box, b"2", name="other")
        kept = message(box, b"3", name="other")
        unit = Unit(ops=[Cancel(box, "id"), Tell(kept, "keep")])
        write(store, unit, Unit(ack=gone))
        assert (unit.removed, unit.kept, unit.results) == ([old.number], [kept], [True, 0])

    def test_a_failing_statement_harms_no_other_unit_of_its_group(
        self, store: Store, box: int
    ) -> None:
        first, second = tell(store, box, b"1", b"2")
        run(store, "CREATE TABLE t (n INTEGER PRIMARY KEY)")
        insert = "INSERT INTO t VALUES (1)"
        turns = [
            Unit(ack=first, ops=[Execute(insert, ())]),
            Unit(ack=second, ops=[Execute(insert, ()), message(box, b"x")]),
            Unit(tells=[message(box, b"y")]),
        ]
        write(store, *turns)
        assert [turn.outcome for turn in turns] == [
            Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED,
        ]  # fmt: skip
        assert bodies(store, box) == [b"2", b"y"]

    def test_a_row_that_the_store_cannot_hold_fails_its_unit_alone(
        self, store: Store, box: int
    ) -> None:
        odd = message(box, version=None)
        units = [Unit(tells=[message(box, b"1")]), Unit(tells=[odd]), Unit(tells=[message(box)])]
        write(store, *units)
        assert [unit.outcome for unit in units] == [
            Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED,
        ]  # fmt: skip
        assert len(bodies(store, box)) == 2

    def test_a_deferred_constraint_that_fails_at_commit_fails_its_unit_alone(
        self, store: Store, box: int
    ) -> None:
        run(store, *DEFERRED)
        (told,) = tell(store, box, b"1")
        units = [
            Unit(tells=[message(box, b"2")]),
            Unit(ack=told, ops=[Execute("INSERT INTO child VALUES (7)", ())]),
            Unit(tells=[message(box, b"3")]),
        ]
        written = write(store, *units, seen=told.number)
        assert [unit.outcome for unit in units] == [
            Outcome.COMMITTED, Outcome.FAILED, Outcome.COMMITTED,
        ]  # fmt: skip
        assert isinstance(units[1].error, Exception)
        assert bodies(store, box) == [b"1", b"2", b"3"]
        assert written.last == units[2].results[0] == store.heartbeat()[0]
        assert written.foreign == []

    def test_the_last_number_is_right_when_the_last_unit_failed_at_commit(
        self, store: Store, other: Store, box: int
    ) -> None:
        """Else a number that was rolled back, and given to another process, would count as seen."""
        run(store, *DEFERRED)
        good = Unit(tells=[message(box, b"1")])
        bad = Unit(ops=[message(box, b"2"), Execute("INSERT INTO child VALUES (7)", ())])
        written = write(store, good, bad, seen=store.heartbeat()[0])
        (theirs,) = tell(other, box, b"3")
        assert numbers(write(store, seen=written.last).foreign) == [theirs.number]

    # --- turns that stand on each other ------------------------------------------------------

    def test_turns_behind_a_void_one_of_their_lineage_run_again(
        self, store: Store, box: int
    ) -> None:
        gone, next_, free = tell(store, box, b"1", b"2", b"3")
        write(store, Unit(ack=gone))
        line, others = Lineage(), Lineage()
        turns = [
            Unit(ack=gone, lineage=line),
            Unit(ack=next_, lineage=line, tells=[message(box, b"x")]),
            Unit(ack=free, lineage=others, tells=[message(box, b"y")]),
        ]
        write(store, *turns)
        assert [turn.outcome for turn in turns] == [
            Outcome.VOID, Outcome.AGAIN, Outcome.COMMITTED,
        ]  # fmt: skip
        assert bodies(store, box) == [b"2", b"y"]

    @pytest.mark.parametrize(
        "sql", ["INSERT INTO parent VALUES (1)", "INSERT INTO child VALUES (7)"]
    )
    def test_turns_behind_a_failed_one_of_their_lineage_run_again(
        self, store: Store, box: int, sql: str
    ) -> None:
        run(store, *DEFERRED, "INSERT INTO parent VALUES (1)")
        first, second = tell(store, box, b"1", b"2")
        line = Lineage()
        turns = [
            Unit(ack=first, lineage=line, ops=[Execute(sql, ())]),
            Unit(ack=second, lineage=line, tells=[message(box, b"x")]),
        ]
        write(store, *turns)
        assert [turn.outcome for turn in turns] == [Outcome.FAILED, Outcome.AGAIN]
        assert bodies(store, box) == [b"1", b"2"]

    # --- owners ------------------------------------------------------------------------------

    def test_an_owner_whose_epoch_is_over_writes_nothing(
        self, store: Store, other: Store, box: int
    ) -> None:
        (told,) = tell(store, box, b"1")
        epoch, _, _ = store.take_over([], 0)
        assert other.take_over([], 0)[0] == epoch + 1
        for turn in (Unit(ack=told), Unit(ack=told, tells=[message(box)])):
            with pytest.raises(StoreOwned):
                write(store, turn, epoch=epoch)
            assert turn.outcome is None
        with pytest.raises(StoreOwned):
            store.look(epoch=epoch, seen=0)
        assert bodies(store, box) == [b"1"]

    def test_a_client_writes_under_any_owner(self, store: Store, other: Store, box: int) -> None:
        epoch, last, _ = other.take_over([], 0)
        tell(store, box, b"1")
        assert write(other, epoch=epoch, seen=last).last == last + 1
        assert bodies(other, box) == [b"1"]

    def test_the_new_owner_counts_a_delivery_for_what_was_running(
        self, store: Store, box: int
    ) -> None:
        ran, idle = tell(store, box, b"1", b"2")
        epoch, last, dead = store.take_over([ran.number, 999], 0)
        assert (last, dead) == (idle.number, [])
        assert store.heartbeat()[1] == epoch
        found = store.waiting(box, after=None, limit=9)
        assert [each.deliveries for each in found] == [1, 0]

    def test_what_has_killed_three_processes_is_a_dead_letter(self, store: Store, box: int) -> None:
        killer, other = tell(store, box, b"1", b"2")
        assert store.take_over([killer.number], 1)[2] == []
        assert store.take_over([killer.number], 2)[2] == []
        assert store.take_over([other.number], 3)[2] == []
        (dead,) = store.take_over([killer.number, other.number], 77)[2]
        assert (dead.number, dead.failed_at) == (killer.number, 77)
        assert "3 times" in dead.error
        assert store.dead(box, 9) == [dead]
        assert bodies(store, box) == [b"2"]

    # --- what others have told ---------------------------------------------------------------

    def test_a_commit_shows_what_others_have_told_meanwhile(
        self, store: Store, other: Store, box: int
    ) -> None:
        seen = tell(store, box, b"1")[0].number
        theirs = tell(other, box, b"2", b"3", key="k")
        own = Unit(tells=[message(box, b"4")])
        written = write(store, own, seen=seen)
        assert written.foreign == theirs
        assert (written.last, written.flood) == (own.results[0], None)
        assert write(store, Unit(tells=[message(box)]), seen=written.last).foreign == []

    def test_looking_shows_it_without_writing(self, store: Store, other: Store, box: int) -> None:
        epoch, seen, _ = store.take_over([], 0)
        theirs = tell(other, box, b"1")
        looked = store.look(epoch=epoch, seen=seen)
        assert (looked.foreign, looked.last, looked.flood) == (theirs, seen + 1, None)
        assert store.look(epoch=epoch, seen=looked.last).foreign == []

    def test_what_is_gone_again_is_not_shown(self, store: Store, other: Store, box: int) -> None:
        first, second = tell(other, box, b"1", b"2")
        write(other, Unit(ack=first))
        assert numbers(store.look(epoch=None, seen=0).foreign) == [second.number]

    def test_too_much_of_it_is_paged_in_instead(self, store: Store, other: Store, box: int) -> None:
        (known,) = tell(store, box, b"1")
        theirs = tell(other, box, *[b"x"] * 5000)
        for written in (store.look(epoch=None, seen=known.number), write(store, seen=known.number)):
            assert written.foreign == []
            assert (written.flood, written.last) == (known.number, theirs[-1].number)

    def test_a_writer_without_interest_is_shown_nothing(
        self, store: Store, other: Store, box: int
    ) -> None:
        tell(other, box, b"1")
        assert write(store, Unit(tells=[message(box)]), seen=None).foreign == []

    # --- mailboxes ---------------------------------------------------------------------------

    def test_declaring_again_keeps_the_mailbox_and_stores_the_new_declaration(
        self, store: Store, other: Store
    ) -> None:
        first, second = store.declare([Declaration("b"), Declaration("a", workers=2)])
        store.pause(first.id, paused=True)
        changed = Declaration("b", workers=4, keyed=True, kinds=("x",))
        (again,) = other.declare([changed])
        assert (again.id, again.paused, again.declaration) == (first.id, True, changed)
        assert store.mailboxes() == [second, again]

    def test_pausing_is_seen_by_others_and_undone(
        self, store: Store, other: Store, box: int
    ) -> None:
        before = other.heartbeat()[2]
        store.pause(box, paused=True)
        assert other.mailboxes()[0].paused
        assert other.heartbeat()[2] > before
        store.pause(box, paused=False)
        assert not other.mailboxes()[0].paused
