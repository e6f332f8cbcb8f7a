"""What is read from a store: pages in their order, and answers for people and consoles."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from callboard.errors import MessageError
from callboard.persistence.store import (
    Cancel,
    Dead,
    Depth,
    Execute,
    Message,
    Place,
    Retry,
    Store,
    Unit,
)  # fmt: skip

from .store_contract_writing import ContractBase
from .store_tools import bodies, depth, do, message, numbers, run, tell, write

PRIORITIES = [0, 5, -3, 5, 0, -3, 0, 9, 5]
DUES = [30, 10, 20, 10, 30, 10, 40]


def pages(page: Callable[[Place | None], list[Message]], place: str) -> list[Message]:
    """Read page after page, each from the last message of the one before."""
    found: list[Message] = []
    after: Place | None = None
    while got := page(after):
        found += got
        after = getattr(got[-1], place)
    return found


class ReadingContract(ContractBase):
    # --- pages -------------------------------------------------------------------------------

    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    def test_waiting_messages_come_by_priority_and_number(
        self, store: Store, box: int, second: int, limit: int
    ) -> None:
        told = [message(box, priority=each) for each in PRIORITIES]
        write(store, Unit(tells=[*told, message(second), message(box, due=1)]))
        found = pages(lambda after: store.waiting(box, after=after, limit=limit), "sort")
        assert found == sorted(told, key=lambda m: (-m.priority, m.number))

    @pytest.mark.parametrize("limit", [1, 2, 4, 100])
    def test_due_messages_come_by_due_time_and_number(
        self, store: Store, box: int, second: int, limit: int
    ) -> None:
        told = [message(box, due=each) for each in DUES]
        write(store, Unit(tells=[*told, message(second, due=1), message(box)]))
        ordered = sorted(told, key=lambda m: (m.due, m.number))
        due = pages(lambda after: store.due(box, upto=30, after=after, limit=limit), "due_sort")
        assert due == ordered[:-1]
        every = pages(lambda after: store.timers(box, after=after, limit=limit), "due_sort")
        assert every == ordered

    def test_a_page_skips_keys_and_keeps_what_has_none(self, store: Store, box: int) -> None:
        for key in ("a", "b", None, "c"):
            tell(store, box, b"now", key=key)
            tell(store, box, b"due", key=key, due=1)
        skip = ["a", "c"]
        now = store.waiting(box, after=None, limit=9, skip=skip)
        due = store.due(box, upto=1, after=None, limit=9, skip=skip)
        assert [each.key for each in now] == [each.key for each in due] == ["b", None]

    def test_a_page_of_one_key_has_nothing_else(self, store: Store, box: int) -> None:
        for key in ("a", "b", None, "a"):
            tell(store, box, b"now", key=key)
            tell(store, box, b"due", key=key, due=1)
        now = store.waiting(box, after=None, limit=9, key="a")
        assert [each.key for each in now] == ["a", "a"]
        assert numbers(store.waiting(box, after=now[0].sort, limit=9, key="a")) == [now[1].number]
        due = store.due(box, upto=1, after=None, limit=9, key="a")
        assert [each.key for each in due] == ["a", "a"]

    def test_a_limit_over_two_priorities_is_kept(self, store: Store, box: int) -> None:
        told = [message(box, priority=each) for each in (1, 1, 0, 0)]
        write(store, Unit(tells=told))
        found = store.waiting(box, after=told[0].sort, limit=2)
        assert numbers(found) == numbers(told[1:3])

    def test_present_says_which_are_still_there(self, store: Store, box: int) -> None:
        first, second = tell(store, box, b"1", b"2")
        write(store, Unit(ack=first))
        assert store.present([]) == set()
        assert store.present([first.number]) == set()
        assert store.present([second.number]) == {second.number}
        assert store.present([first.number, second.number, 999]) == {second.number}

    def test_what_is_said_of_others_changes_with_a_commit_of_another_and_with_none_of_its_own(
        self, store: Store, other: Store, box: int
    ) -> None:
        (call, *_) = tell(store, box, b"1", b"2", due=5)
        assert other.present([call.number]) == {call.number}
        before = store.others()
        if before is None:
            pytest.skip("this store cannot say")
        _, epoch, _ = store.heartbeat()
        write(store, Unit(tells=[message(box, b"3")]), epoch=epoch)
        store.pause(box, paused=True)
        assert other.present([call.number]) == {call.number}
        assert store.others() == before
        do(other, Cancel(box, call.number))
        cancelled = store.others()
        assert cancelled != before
        assert store.present([call.number]) == set()
        write(store, Unit(tells=[message(box, b"4")]), epoch=epoch)
        assert store.others() == cancelled
        other.pause(box, paused=False)
        assert store.others() not in {before, cancelled}

    # --- looking -----------------------------------------------------------------------------

    def test_depth_counts_waiting_later_and_dead(self, store: Store, box: int, second: int) -> None:
        assert depth(store, box, 100) == Depth(0, 0, 0, None)
        tell(store, box, b"x", told_at=40)
        tell(store, box, b"x", told_at=60, priority=9)
        tell(store, box, b"x", told_at=1, due=50)
        tell(store, box, b"x", b"y", told_at=1, due=101)
        tell(store, second, b"x", told_at=2)
        (dead,) = tell(store, box, b"x", told_at=3)
        write(store, Unit(ack=dead, fate=Dead("boom", "", 1, 1)))
        assert depth(store, box, 100) == Depth(waiting=3, later=2, dead=1, oldest=40)

    def test_a_due_message_can_be_the_oldest(self, store: Store, box: int) -> None:
        tell(store, box, b"x", told_at=40)
        tell(store, box, b"x", told_at=1, due=30)
        assert depth(store, box, 100).oldest == 30

    def test_later_is_what_is_not_yet_due_of_one_mailbox_or_of_all(
        self, store: Store, box: int, second: int
    ) -> None:
        told = [message(each, due=due) for due in (30, 20, 10) for each in (box, second)]
        write(store, Unit(tells=[*told, message(box)]))
        assert [each.due for each in store.later(box, 10, 9)] == [20, 30]
        every = [told[2], told[3], told[0], told[1]]
        assert store.later(None, 10, 9) == every
        assert store.later(None, 10, 3) == every[:3]

    def test_a_retry_that_is_set_aside_is_later(self, store: Store, box: int) -> None:
        (told,) = tell(store, box, b"1")
        write(store, Unit(ack=told, fate=Retry(1, due=50, retry_at=None, error="boom")))
        assert numbers(store.later(box, 49, 9)) == [told.number]
        assert depth(store, box, 49) == Depth(0, 1, 0, None)

    def test_peek_shows_the_due_then_the_waiting(self, store: Store, box: int) -> None:
        (low,) = tell(store, box, b"low")
        (high,) = tell(store, box, b"high", priority=5)
        late, soon, _ = (tell(store, box, b"d", due=due)[0] for due in (20, 10, 99))
        order = numbers([soon, late, high, low])
        assert numbers(store.peek(box, 50, 9)) == order
        assert numbers(store.peek(box, 50, 3)) == order[:3]
        assert numbers(store.peek(box, 50, 1)) == order[:1]

    def test_find_takes_a_number_or_an_id_with_or_without_a_mailbox(
        self, store: Store, box: int, second: int
    ) -> None:
        (told,) = tell(store, box, b"1", name="id")
        (twin,) = tell(store, second, b"2", name="id")
        assert store.find(box, "id") == store.find(box, told.number) == told
        assert store.find(second, "id") == twin
        assert store.find(second, told.number) is None
        assert store.find(None, twin.number) == twin
        assert store.find(None, "id") == told
        assert store.find(None, "other") is None

    def test_dead_letters_are_listed_oldest_first(
        self, store: Store, box: int, second: int
    ) -> None:
        told = [tell(store, each, b"1")[0] for each in (box, second, box)]
        for each in reversed(told):
            write(store, Unit(ack=each, fate=Dead("boom", "", 1, 1)))
        assert [row.number for row in store.dead(None, 9)] == numbers(told)
        assert [row.number for row in store.dead(None, 2)] == numbers(told[:2])
        assert [row.number for row in store.dead(box, 9)] == numbers([told[0], told[2]])
        assert store.dead_letter(told[1].number) == store.dead(second, 1)[0]
        assert store.dead_letter(999) is None

    def test_the_heartbeat_shows_numbers_epochs_and_changes(
        self, store: Store, other: Store, box: int
    ) -> None:
        last, epoch, changes = other.heartbeat()
        (told,) = tell(store, box, b"1")
        assert other.heartbeat() == (told.number, epoch, changes) == (last + 1, epoch, changes)
        store.take_over([], 0)
        assert other.heartbeat() == (last + 1, epoch + 1, changes)
        write(store, Unit(ack=told, fate=Dead("boom", "", 1, 1)))
        again = store.requeue(told.number, 5)
        assert again is not None
        assert other.heartbeat()[0] == again.number
        requeued = other.heartbeat()[2]
        assert requeued > changes
        write(store, Unit(ack=again, fate=Dead("boom", "", 1, 1)))
        store.discard(again.number)
        assert other.heartbeat()[2] > requeued

    # --- the user's statements ---------------------------------------------------------------

    def test_a_query_sees_what_is_committed(self, store: Store, other: Store) -> None:
        run(store, "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (4)")
        assert other.query("SELECT n FROM t", ())[0][0] == 4

    @pytest.mark.parametrize(
        "sql",
        [
            "BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT a",
            "INSERT INTO callboard_counter VALUES (1)", "UPDATE Callboard_Message SET due = 1",
            "DELETE FROM callboard_message", "DROP TABLE callboard_message",
            "ALTER TABLE callboard_message ADD COLUMN x TEXT",
            "CREATE TABLE callboard_mine (n INTEGER)",
            "CREATE INDEX mine ON callboard_message (body)",
            "DROP INDEX callboard_message_due",
            "SELECT 1; SELECT 2", "SELEKT 1", "INSERT INTO nowhere VALUES (1)",
        ],
    )  # fmt: skip
    def test_a_statement_that_may_not_run_in_a_turn_is_refused(
        self, store: Store, box: int, sql: str
    ) -> None:
        with pytest.raises(MessageError):
            store.check(sql, ())
        tell(store, box, b"1")
        assert bodies(store, box) == [b"1"]

    def test_a_statement_that_may_run_is_not_run_by_checking_it(self, store: Store) -> None:
        run(store, "CREATE TABLE t (n INTEGER)")
        for _ in range(2):
            store.check("INSERT INTO t VALUES (1)", ())
        assert store.query("SELECT n FROM t", ()) == []
        store.check("SELECT body FROM callboard_message", ())

    # --- the end -----------------------------------------------------------------------------

    def test_what_is_written_is_there_after_closing(self, store: Store, box: int) -> None:
        tell(store, box, b"1")
        do(store, Execute("CREATE TABLE t (n INTEGER)", ()), Cancel(box, "no"))
        store.close()
        store.close()
        assert bodies(store, box) == [b"1"]
