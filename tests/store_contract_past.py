"""What a store keeps of actors' states: each change with its instant, and for how long."""

from __future__ import annotations

import pytest

from callboard.persistence.store import (
    By,
    Declaration,
    Done,
    Edit,
    Execute,
    Kept,
    Message,
    Outcome,
    Remember,
    State,
    Store,
    Unit,
)  # fmt: skip

from .store_contract_writing import ContractBase
from .store_tools import do, tell, write

RETAIN = 100


def state(box: int, body: bytes, key: str = "k") -> State:
    return State(box, key, "json", 1, body)


def change(
    store: Store, box: int, body: bytes, at: int, *, key: str = "k", retain: int = RETAIN
) -> Message:
    """Have a message change a state, as a turn of a mailbox that retains does."""
    (told,) = tell(store, box, b"1", key=key)
    kept = Remember(box, key, at, retain, "message", told.number)
    unit = do(store, kept, ack=told, fate=Done(at, 0, None, at + retain),
              state=state(box, body, key))  # fmt: skip
    assert unit.outcome is Outcome.COMMITTED
    return told


def body_at(store: Store, box: int, at: int, key: str = "k") -> bytes | None:
    """Return the body of what is kept; None: nothing is, or it was reset."""
    found = store.state_at(box, key, at)
    return None if found is None or found.state is None else found.state.body


class PastContract(ContractBase):
    def test_the_state_at_an_instant_is_that_of_the_last_change_by_then(
        self, store: Store, other: Store, box: int
    ) -> None:
        first = change(store, box, b"1", at=10)
        second = change(store, box, b"2", at=20)
        for reader in (store, other):
            assert reader.state_at(box, "k", 9) is None
            assert reader.kept_after(box, "k", 9) == 10
            one = Kept(10, "message", first.number, state(box, b"1"))
            assert reader.state_at(box, "k", 10) == one
            assert reader.state_at(box, "k", 19) == one
            assert reader.state_at(box, "k", 20) == Kept(
                20, "message", second.number, state(box, b"2")
            )
            assert body_at(reader, box, 1000) == b"2"
            assert reader.kept_after(box, "k", 20) is None

    def test_actors_have_pasts_of_their_own(self, store: Store, box: int, second: int) -> None:
        change(store, box, b"1", at=10)
        change(store, box, b"2", at=20, key="l")
        change(store, second, b"3", at=30)
        assert [body_at(store, box, 40, key) for key in "klm"] == [b"1", b"2", None]
        assert body_at(store, second, 40) == b"3"

    def test_of_changes_at_one_instant_and_after_a_clock_set_back_the_later_holds(
        self, store: Store, box: int
    ) -> None:
        for body, at in ((b"1", 10), (b"2", 10), (b"3", 30), (b"4", 20)):
            change(store, box, body, at)
        assert [body_at(store, box, at) for at in (10, 19, 20, 30)] == [b"2", b"2", b"4", b"4"]

    @pytest.mark.parametrize("by", ["ask", "hand"])
    def test_a_change_that_no_message_made_is_kept_too(
        self, store: Store, box: int, by: By
    ) -> None:
        for body, at in ((b"1", 10), (b"2", 20)):
            do(store, Edit(box, "k", state(box, body)), Remember(box, "k", at, RETAIN, by))
        assert store.state_at(box, "k", 20) == Kept(20, by, None, state(box, b"2"))
        assert body_at(store, box, 10) == b"1"
        assert store.sweep(20 + RETAIN) == 1
        assert body_at(store, box, 10) is None

    def test_a_state_that_was_reset_is_none_from_then_on(self, store: Store, box: int) -> None:
        change(store, box, b"1", at=10)
        do(store, Edit(box, "k", None), Remember(box, "k", 20, RETAIN, "hand"))
        assert store.state_at(box, "k", 20) == Kept(20, "hand", None, None)
        assert body_at(store, box, 19) == b"1"

    def test_a_void_turn_keeps_no_state(self, store: Store, box: int) -> None:
        change(store, box, b"1", at=10)
        (told,) = tell(store, box, b"1", key="k")
        write(store, Unit(ack=told))
        unit = do(store, Remember(box, "k", 20, RETAIN, "message", told.number), ack=told,
                  state=state(box, b"2"))  # fmt: skip
        assert unit.outcome is Outcome.VOID
        assert body_at(store, box, 20) == b"1"

    def test_a_turn_whose_statement_is_refused_keeps_no_state(self, store: Store, box: int) -> None:
        change(store, box, b"1", at=10)
        refused = Execute("INSERT INTO no_such_table VALUES (1)", ())
        unit = do(store, Remember(box, "k", 20, RETAIN, "ask"), refused, state=state(box, b"2"))
        assert unit.outcome is Outcome.FAILED
        assert body_at(store, box, 20) == b"1"

    def test_the_states_of_a_group_are_kept_in_their_order(self, store: Store, box: int) -> None:
        told = tell(store, box, b"1", b"2", b"3", key="k")
        write(store, *[
            Unit(ack=each, state=state(box, each.body),
                 ops=[Remember(box, "k", at, RETAIN, "message", each.number)])
            for at, each in enumerate(told)
        ])  # fmt: skip
        assert [body_at(store, box, at) for at in range(3)] == [b"1", b"2", b"3"]

    def test_a_state_is_kept_for_so_long_after_it_was_changed(self, store: Store, box: int) -> None:
        for body, at in ((b"1", 10), (b"2", 20), (b"3", 30)):
            change(store, box, body, at)
        assert store.sweep(20 + RETAIN - 1) == 1  # the first message is kept no longer
        assert body_at(store, box, 19) == b"1"
        assert store.sweep(20 + RETAIN) > 0
        assert store.state_at(box, "k", 19) is None
        assert store.kept_after(box, "k", 19) == 20
        assert body_at(store, box, 29) == b"2"

    def test_the_last_state_is_kept_as_long_as_it_is_the_actors(
        self, store: Store, box: int
    ) -> None:
        change(store, box, b"1", at=10)
        while store.sweep(1_000_000):
            pass
        assert body_at(store, box, 1_000_000) == b"1"

    def test_a_gap_in_what_is_kept_is_no_answer(self, store: Store, box: int) -> None:
        change(store, box, b"1", at=10)
        change(store, box, b"2", at=20, retain=1000)
        change(store, box, b"3", at=30, retain=1)
        while store.sweep(200):
            pass
        assert [body_at(store, box, at) for at in (10, 19, 20, 29, 30)] == [
            b"1", b"1", None, None, b"3"]  # fmt: skip

    def test_a_mailbox_that_retains_no_more_has_no_past(
        self, store: Store, box: int, second: int
    ) -> None:
        store.declare([Declaration("jobs", retain=RETAIN)])
        change(store, box, b"1", at=10)
        change(store, second, b"2", at=10)
        store.declare([Declaration("jobs", retain=2 * RETAIN)])
        assert body_at(store, box, 10) == b"1"
        store.declare([Declaration("jobs")])
        assert store.state_at(box, "k", 10) is None
        assert body_at(store, second, 10) == b"2"
