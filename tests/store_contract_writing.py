"""What one unit does to a store: numbers, acknowledgements, names, fates, statements."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from callboard.errors import AlreadyTold
from callboard.persistence.store import (
    Cancel,
    Dead,
    Declaration,
    Execute,
    IfExists,
    Message,
    Op,
    Outcome,
    Retry,
    State,
    Store,
    Tell,
    Unit,
)  # fmt: skip

from .store_tools import bodies, do, message, numbers, run, tell, write


class ContractBase:
    """The fixtures that all parts of the contract stand on."""

    @pytest.fixture
    def store(self) -> Iterator[Store]:
        raise NotImplementedError

    @pytest.fixture
    def other(self, store: Store) -> Iterator[Store]:
        raise NotImplementedError

    @pytest.fixture
    def box(self, store: Store) -> int:
        return store.declare([Declaration("jobs")])[0].id

    @pytest.fixture
    def second(self, store: Store) -> int:
        return store.declare([Declaration("mail")])[0].id


class WritingContract(ContractBase):
    # --- numbers -----------------------------------------------------------------------------

    def test_numbers_follow_the_order_of_commits_across_processes(
        self, store: Store, other: Store, box: int
    ) -> None:
        told = [tell(each, box, b"1")[0].number for each in (store, other, other, store)]
        assert told == sorted(set(told))

    def test_the_messages_of_a_unit_are_numbered_in_their_order(
        self, store: Store, box: int
    ) -> None:
        first = tell(store, box, b"a", b"b", b"c")
        assert numbers(first) == [first[0].number + n for n in range(3)]

    def test_a_number_is_not_used_again_after_its_message_is_gone(
        self, store: Store, box: int
    ) -> None:
        (gone,) = tell(store, box, b"1")
        write(store, Unit(ack=gone))
        assert tell(store, box, b"2")[0].number > gone.number

    def test_keeping_leaves_a_gap_and_gives_no_number_twice(self, store: Store, box: int) -> None:
        (kept,) = tell(store, box, b"1", name="id")
        ops: list[Op] = [Tell(message(box, name="id"), "keep"), message(box), message(box)]
        unit = do(store, *ops)
        (after,) = tell(store, box, b"2")
        assert unit.results[0] == 0
        assert kept.number < unit.results[1] < unit.results[2] < after.number

    def test_last_is_the_newest_number(self, store: Store, box: int) -> None:
        unit = Unit(tells=[message(box), message(box)])
        written = write(store, unit)
        assert written.last == unit.results[-1] == store.heartbeat()[0]

    def test_every_field_of_a_message_comes_back(self, store: Store, box: int) -> None:
        full = message(
            box, b'{"a":1}', key="k", name="id", version=3, told_at=5, cause=7, sender="me",
            headers="{}", retain=9, priority=2, expires_at=11,
        )  # fmt: skip
        late = message(box, b"2", due=13)
        write(store, Unit(tells=[full, late]))
        assert store.find(box, full.number) == full
        assert store.find(box, late.number) == late

    # --- the acknowledgement -----------------------------------------------------------------

    def test_an_acknowledgement_removes_its_row_and_no_other(self, store: Store, box: int) -> None:
        first, second, third = tell(store, box, b"a", b"b", b"c")
        unit = Unit(ack=second)
        write(store, unit)
        assert unit.outcome is Outcome.COMMITTED
        assert store.present(numbers([first, second, third])) == {first.number, third.number}

    @pytest.mark.parametrize("ops", [False, True])
    def test_a_turn_whose_message_is_gone_is_void_and_writes_nothing(
        self, store: Store, box: int, *, ops: bool
    ) -> None:
        run(store, "CREATE TABLE seen (n INTEGER)")
        (gone,) = tell(store, box, b"1", name="id")
        do(store, Cancel(box, "id"))
        state = State(box, "", "json", 1, b"{}")
        turn = Unit(ack=gone, state=state, tells=[message(box)])
        if ops:
            statement = Execute("INSERT INTO seen VALUES (1)", ())
            turn = Unit(ack=gone, state=state, ops=[message(box), statement])
        write(store, turn)
        assert turn.outcome is Outcome.VOID
        assert bodies(store, box) == []
        assert store.state(box, "") is None
        assert store.query("SELECT count(*) FROM seen", ())[0][0] == 0

    def test_a_message_told_by_a_void_turn_has_no_number(self, store: Store, box: int) -> None:
        (gone,) = tell(store, box, b"1")
        write(store, Unit(ack=gone))
        lost = message(box)
        write(store, Unit(ack=gone, tells=[lost]))
        assert lost.number == 0

    def test_a_handler_that_reschedules_its_own_id_leaves_one_new_message(
        self, store: Store, box: int
    ) -> None:
        (own,) = tell(store, box, b"1", name="daily")
        again = message(box, b"2", name="daily", due=100)
        turn = do(store, Tell(again), ack=own)
        assert turn.outcome is Outcome.COMMITTED
        assert not turn.removed
        assert again.number > own.number
        assert store.find(box, "daily") == again

    @pytest.mark.parametrize("mode", ["keep", "raise"])
    def test_the_own_id_is_free_in_the_own_turn(
        self, store: Store, box: int, mode: IfExists
    ) -> None:
        (own,) = tell(store, box, b"1", name="daily")
        turn = do(store, Tell(message(box, b"2", name="daily"), mode), ack=own)
        assert turn.outcome is Outcome.COMMITTED
        assert bodies(store, box) == [b"2"]

    # --- operations in their order -----------------------------------------------------------

    def test_operations_happen_in_the_order_in_which_they_were_made(
        self, store: Store, box: int
    ) -> None:
        first, second = message(box, b"1", name="id"), message(box, b"2", name="id")
        unit = do(store, Tell(first), Cancel(box, "id"), Cancel(box, "id"), Tell(second))
        assert unit.results == [first.number, True, False, second.number]
        assert unit.removed == [first.number]
        assert bodies(store, box) == [b"2"]

    def test_a_statement_sees_what_the_unit_did_before_it(self, store: Store, box: int) -> None:
        run(store, "CREATE TABLE log (n INTEGER)")
        unit = do(
            store,
            Execute("INSERT INTO log VALUES (1)", ()),
            Execute("INSERT INTO log SELECT n + 1 FROM log", ()),
            Execute("UPDATE log SET n = n * 10", ()),
        )
        assert unit.results == [1, 1, 2]
        assert [row[0] for row in store.query("SELECT n FROM log ORDER BY n", ())] == [10, 20]

    # --- names -------------------------------------------------------------------------------

    def test_replacing_removes_the_old_message_and_gives_a_new_number(
        self, store: Store, box: int
    ) -> None:
        (old,) = tell(store, box, b"1", name="id")
        new = message(box, b"2", name="id")
        unit = do(store, Tell(new))
        assert (unit.removed, unit.results) == ([old.number], [new.number])
        assert new.number > old.number
        assert bodies(store, box) == [b"2"]

    def test_keep_tells_nothing_while_its_namesake_waits(self, store: Store, box: int) -> None:
        tell(store, box, b"1", name="id")
        new = message(box, b"2", name="id")
        unit = do(store, Tell(new, "keep"))
        assert unit.results == [0]
        assert unit.kept == [new]
        assert list(unit.told) == []
        assert bodies(store, box) == [b"1"]

    def test_raise_fails_the_whole_unit_while_its_namesake_waits(
        self, store: Store, box: int
    ) -> None:
        tell(store, box, b"1", name="id")
        unit = do(store, message(box, b"0"), Tell(message(box, b"2", name="id"), "raise"))
        assert unit.outcome is Outcome.FAILED
        assert isinstance(unit.error, AlreadyTold)
        assert bodies(store, box) == [b"1"]
        assert list(unit.told) == []

    def test_a_name_belongs_to_its_mailbox(self, store: Store, box: int, second: int) -> None:
        do(store, Tell(message(box, b"1", name="id")))
        do(store, Tell(message(second, b"2", name="id"), "raise"))
        assert (bodies(store, box), bodies(store, second)) == ([b"1"], [b"2"])

    def test_cancel_by_id_and_by_number_says_whether_there_was_one(
        self, store: Store, box: int, second: int
    ) -> None:
        named, plain = tell(store, box, b"1", name="id")[0], tell(store, box, b"2")[0]
        unit = do(
            store,
            Cancel(second, "id"),
            Cancel(second, plain.number),
            Cancel(box, "id"),
            Cancel(box, plain.number),
            Cancel(box, plain.number),
        )
        assert unit.results == [False, False, True, True, False]
        assert unit.removed == numbers([named, plain])
        assert bodies(store, box) == []

    # --- state -------------------------------------------------------------------------------

    def test_a_state_is_put_in_the_place_of_the_last_one(self, store: Store, box: int) -> None:
        one, two = State(box, "k", "a", 1, b"1"), State(box, "k", "b", 2, b"2")
        write(store, Unit(state=one))
        assert store.state(box, "k") == one
        write(store, Unit(state=two))
        assert store.state(box, "k") == two
        assert store.state(box, "l") is None

    # --- fates -------------------------------------------------------------------------------

    def test_a_retry_with_a_due_time_is_set_aside_under_its_number(
        self, store: Store, box: int
    ) -> None:
        first, _ = tell(store, box, b"1", b"2", key="k")
        write(store, Unit(ack=first, fate=Retry(2, due=50, retry_at=None, error="boom")))
        assert bodies(store, box) == [b"2"]
        (aside,) = store.due(box, upto=50, after=None, limit=9)
        assert (aside.number, aside.attempt, aside.error) == (first.number, 2, "boom")

    def test_a_retry_in_place_stays_where_it_was(self, store: Store, box: int) -> None:
        first, second = tell(store, box, b"1", b"2", key="k")
        write(store, Unit(ack=first, fate=Retry(1, due=None, retry_at=50, error="boom")))
        found = store.waiting(box, after=None, limit=9)
        assert numbers(found) == numbers([first, second])
        assert (found[0].retry_at, found[0].due, found[0].attempt) == (50, None, 1)

    def test_a_retry_in_place_of_a_due_message_keeps_its_due_time(
        self, store: Store, box: int
    ) -> None:
        (late,) = tell(store, box, b"1", due=10)
        write(store, Unit(ack=late, fate=Retry(1, due=None, retry_at=50, error=None)))
        found = store.find(box, late.number)
        assert found is not None
        assert (found.due, found.retry_at) == (10, 50)

    def test_a_dead_letter_says_what_it_was_and_why(self, store: Store, box: int) -> None:
        (told,) = tell(store, box, b"1", key="k", told_at=3)
        write(store, Unit(ack=told, fate=Dead("boom", "trace", attempts=10, failed_at=99)))
        assert bodies(store, box) == []
        (dead,) = store.dead(box, 9)
        assert (dead.number, dead.key, dead.body, dead.told_at) == (told.number, "k", b"1", 3)
        assert (dead.error, dead.traceback) == ("boom", "trace")
        assert (dead.attempts, dead.failed_at) == (10, 99)

    @pytest.mark.parametrize("fate", [Retry(1, 5, None, None), Dead("boom", "", 1, 1)])
    def test_the_fate_of_a_message_that_is_gone_is_void(
        self, store: Store, box: int, fate: Retry | Dead
    ) -> None:
        (told,) = tell(store, box, b"1")
        write(store, Unit(ack=told))
        unit = Unit(ack=told, fate=fate, tells=[message(box)])
        write(store, unit)
        assert unit.outcome is Outcome.VOID
        assert bodies(store, box) == []
        assert store.dead(None, 9) == []

    def test_a_failed_turn_may_still_tell(self, store: Store, box: int) -> None:
        (told,) = tell(store, box, b"1")
        write(store, Unit(ack=told, fate=Dead("boom", "", 1, 1), tells=[message(box, b"2")]))
        assert bodies(store, box) == [b"2"]

    def bury(self, store: Store, box: int, **fields: str) -> Message:
        (told,) = tell(store, box, b"1", due=5, **fields)
        write(store, Unit(ack=told, fate=Dead("boom", "", 10, 9)))
        return told

    def test_a_requeued_message_waits_under_a_new_number_with_attempts_forgotten(
        self, store: Store, box: int
    ) -> None:
        was = self.bury(store, box, name="id", key="k")
        again = store.requeue(was.number, 77)
        assert again is not None
        assert again == store.find(box, "id")
        assert again.number > was.number
        assert (again.attempt, again.deliveries, again.due, again.key) == (0, 0, None, "k")
        assert store.dead(box, 9) == []
        assert store.requeue(was.number, 78) is None

    def test_a_requeued_message_leaves_its_id_to_the_one_that_has_it_now(
        self, store: Store, box: int
    ) -> None:
        was = self.bury(store, box, name="id")
        (now,) = tell(store, box, b"2", name="id")
        again = store.requeue(was.number, 77)
        assert again is not None
        assert again.name is None
        assert store.find(box, "id") == now

    def test_a_discarded_dead_letter_is_gone(self, store: Store, box: int) -> None:
        was = self.bury(store, box)
        assert store.discard(was.number)
        assert not store.discard(was.number)
        assert store.dead_letter(was.number) is None

    # --- statements --------------------------------------------------------------------------

    def test_a_failing_statement_leaves_nothing_of_its_unit(self, store: Store, box: int) -> None:
        run(store, "CREATE TABLE t (n INTEGER PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        (told,) = tell(store, box, b"1")
        lost = message(box, b"2")
        unit = do(
            store,
            lost,
            Execute("INSERT INTO t VALUES (2)", ()),
            Execute("INSERT INTO t VALUES (1)", ()),
            ack=told,
            state=State(box, "", "json", 1, b"{}"),
        )
        assert unit.outcome is Outcome.FAILED
        assert isinstance(unit.error, Exception)
        assert not unit.results
        assert lost.number == 0
        assert bodies(store, box) == [b"1"]
        assert store.state(box, "") is None
        assert len(store.query("SELECT n FROM t", ())) == 1

    @pytest.mark.parametrize(
        "sql",
        [
            "UPDATE t SET n = n + 10",
            "WITH two(n) AS (SELECT 2) UPDATE t SET n = n + (SELECT n FROM two)",
        ],
    )
    def test_expect_holds_a_statement_to_its_row_count(
        self, store: Store, box: int, sql: str
    ) -> None:
        run(
            store,
            "CREATE TABLE t (n INTEGER)",
            "INSERT INTO t VALUES (1)",
            "INSERT INTO t VALUES (2)",
        )
        wrong, right = do(store, Execute(sql, (), 1)), do(store, Execute(sql, (), 2))
        assert wrong.outcome is Outcome.FAILED
        assert "expected 1 rows to change, 2 did" in str(wrong.error)
        assert right.results == [2]

    def test_a_statement_that_finds_no_row_changes_none(self, store: Store, box: int) -> None:
        run(store, "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (1)")
        sql = "WITH one(n) AS (SELECT 1) DELETE FROM t WHERE n > (SELECT n FROM one)"
        assert do(store, Execute(sql, (), expect=0)).results == [0]
