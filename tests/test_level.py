"""The counter of a mailbox with a capacity equals its rows, whatever is done to them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from callboard.errors import MailboxFull
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import (
    Cancel,
    Dead,
    Declaration,
    Done,
    Message,
    Outcome,
    Retry,
    Room,
    Tell,
    Unit,
)

CAPACITY = 4
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["tell", "later", "named", "ack", "retry", "block", "dead", "keep", "cancel", "requeue",
             "drop", "kill"]
        ),
        st.integers(0, 20),
    ),
    max_size=25,
)  # fmt: skip


class Full:
    """One mailbox with a capacity beside one without."""

    def __init__(self, path: Path) -> None:
        self.store = SqliteStore(path)
        declared = [Declaration("limited", capacity=CAPACITY), Declaration("free")]
        self.limited, self.free = (row.id for row in self.store.declare(declared))
        self.now = 1000

    def write(self, unit: Unit) -> Unit:
        self.store.write([unit], epoch=None, seen=None)
        return unit

    def step(self, what: str, pick: int) -> None:
        self.now += 1
        if what in {"tell", "drop", "later", "named"}:
            self.tell(what, pick)
            return
        found = self.store.query("SELECT number FROM callboard_message ORDER BY number", ())
        dead = self.store.dead(None, 1)
        if what == "requeue" and dead:
            self.store.requeue(dead[0].number, self.now)
        if not found or what == "requeue":
            return
        own = self.store.find(None, found[pick % len(found)][0])
        assert own is not None
        if what == "cancel":
            self.write(Unit(ops=[Cancel(own.mailbox, own.number)]))
        elif what == "kill":
            for _ in range(3):
                self.store.take_over([own.number], self.now)
        else:
            self.write(Unit(ack=own, fate=self.fate(what, own.attempt, pick)))

    def tell(self, what: str, pick: int) -> None:
        mailbox = self.free if pick % 5 == 0 else self.limited
        message = Message(mailbox, "json", b"1", told_at=self.now)
        if what == "later":
            message.due = self.now + pick
            self.write(Unit(tells=[message]))
        elif what == "named":
            message.name = "abc"[pick % 3]
            self.write(Unit(ops=[Tell(message)]))
        elif mailbox == self.free:
            self.write(Unit(tells=[message]))
        else:
            free = self.store.room(mailbox, CAPACITY, self.now)
            room = Room(mailbox, 1, CAPACITY, self.now, drop_oldest=what == "drop")
            unit = self.write(Unit(ops=[room, message]))
            taken = free > 0 or what == "drop"
            assert unit.outcome is (Outcome.COMMITTED if taken else Outcome.FAILED)
            assert taken or isinstance(unit.error, MailboxFull)

    def fate(self, what: str, attempt: int, pick: int) -> Retry | Dead | Done | None:
        fates: dict[str, Retry | Dead | Done] = {
            "retry": Retry(attempt + pick % 2, self.now, None, "x"),
            "block": Retry(attempt + 1, None, self.now, "x"),
            "dead": Dead("x", "", 1, self.now),
            "keep": Done(self.now, 1, None, self.now),
        }
        return fates.get(what)

    def check(self) -> None:
        counted = self.store.query(
            "SELECT count(*) FROM callboard_message "
            "WHERE mailbox = ? AND (due IS NULL OR attempt > 0)",
            (self.limited,),
        )[0][0]
        held = self.store.query("SELECT mailbox, held FROM callboard_level", ())
        assert held == [(self.limited, counted)]
        due = self.store.query(
            "SELECT count(*) FROM callboard_message WHERE mailbox = ? AND due <= ? AND attempt = 0",
            (self.limited, self.now),
        )[0][0]
        room = self.store.room(self.limited, CAPACITY, self.now)
        assert room == CAPACITY - counted - min(due, CAPACITY)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_the_level_equals_the_rows(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder:
        full = Full(Path(folder) / "board.db")
        for what, pick in steps:
            full.step(what, pick)
            full.check()
        full.store.close()
