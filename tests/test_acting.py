"""What people change by hand, as owner, client and offline: timers, mailboxes, who did it."""

from __future__ import annotations

import stat
import threading
from datetime import UTC
from typing import TYPE_CHECKING

import pytest

from callboard import CallboardError, MessageError, Runtime, StoreError, StoreOwned, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from callboard.runtime.testing import Board


@pytest.fixture
def client(board: Board) -> Iterator[Runtime]:
    """Make a second runtime on the board's store, with the board's clock."""
    made = Runtime(board.rt._config.path, clock=board.rt._config.clock)
    yield made
    made.stop()


@pytest.fixture
def heard(board: Board) -> list[str]:
    """Collect what the mailbox "ear" has handled."""
    found: list[str] = []

    def ear(text: str) -> None:
        found.append(text)

    board.rt.mailbox("ear", ear, retain="7d")
    return found


def test_a_moved_timer_is_delivered_once_and_only_at_its_new_time(
    board: Board, heard: list[str]
) -> None:
    board.start()
    first = board.rt.tell("ear", "x", after=60, id="call")
    second = board.rt.reschedule(first, after="2m")
    assert second > first
    assert board.rt.find(first) is None
    board.advance(119)
    assert heard == []
    board.advance(1)
    assert heard == ["x"]
    board.advance(600)
    assert heard == ["x"]


def test_a_timer_may_be_moved_to_an_earlier_time_by_a_client(
    board: Board, client: Runtime, heard: list[str]
) -> None:
    board.start()
    number = client.tell("ear", "x", after="1h")
    client.reschedule(number, after=10)
    board.advance(10)
    assert heard == ["x"]
    board.advance("2h")
    assert heard == ["x"]


def test_a_timer_is_moved_offline(board: Board, client: Runtime, heard: list[str]) -> None:
    board.start()
    board.rt.tell("ear", "x", after="1h")
    board.rt.stop()
    (timer,) = client.timers()
    client.fire(timer.id)
    assert client.mailboxes()[0].waiting == 1
    board.start()
    board.settle()
    assert heard == ["x"]


def test_a_fired_timer_is_delivered_now_and_never_again(
    board: Board, client: Runtime, heard: list[str]
) -> None:
    board.start()
    number = board.rt.tell("ear", "x", after="1h")
    client.fire(number)
    board.settle()
    assert heard == ["x"]
    board.advance("2h")
    assert heard == ["x"]


def test_a_moved_retry_keeps_its_attempts_its_error_and_its_id(board: Board) -> None:
    def fail(_: int) -> None:
        raise ValueError("no")

    board.rt.mailbox("box", fail)
    board.start()
    board.rt.tell("box", 1, id="mine")
    board.settle()
    (before,) = board.rt.timers()
    moved = board.rt.find(board.rt.reschedule(before.id, after="1h"))
    assert moved is not None
    assert (moved.name, moved.attempt, moved.state) == ("mine", 1, "later")
    assert "no" in str(moved.error)


def test_what_expires_expires_as_long_after_its_new_time(board: Board, heard: list[str]) -> None:
    board.start()
    board.rt.pause("ear")
    number = board.rt.tell("ear", "x", after=60, expires=30)
    board.rt.reschedule(number, after=600)
    board.advance(600 + 20)
    board.rt.resume("ear")
    board.settle()
    assert heard == ["x"]


def test_what_is_no_timer_is_not_moved(board: Board, heard: list[str]) -> None:
    board.start()
    board.rt.pause("ear")
    waits = board.rt.tell("ear", "x")
    with pytest.raises(LookupError, match=f"message {waits} waits already"):
        board.rt.fire(waits)
    with pytest.raises(LookupError, match="no message 999"):
        board.rt.reschedule(999, after=1)
    with pytest.raises(MessageError, match="when is it to be due"):
        board.rt.reschedule(waits)
    assert heard == []


def test_a_timer_that_is_gone_when_it_is_written_leaves_nothing(
    board: Board, client: Runtime, heard: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    board.start()
    number = board.rt.tell("ear", "x", after=60)
    found = client._store.find(None, number)
    board.rt.cancel("ear", number)
    monkeypatch.setattr(client._store, "find", lambda *_: found)
    with pytest.raises(LookupError, match="just now"):
        client.fire(number)
    assert board.rt.timers() == []
    board.advance(60)
    assert heard == []


def test_acting_inside_a_handler_is_refused(board: Board) -> None:
    errors: list[BaseException] = []

    def act(number: int) -> None:
        calls: list[Callable[[], object]] = [
            lambda: board.rt.fire(number),
            lambda: board.rt.reschedule(number, after=1),
            lambda: board.rt.purge("box", older=0),
        ]
        for call in calls:
            try:
                call()
            except CallboardError as error:
                errors.append(error)

    board.rt.mailbox("box", act)
    board.start()
    board.rt.tell("box", 1)
    board.settle()
    assert ["does not join a turn" in str(error) for error in errors] == [True] * 3


def test_purge_cancels_what_waits_for_so_long_and_leaves_the_young_and_the_timers(
    board: Board, client: Runtime, heard: list[str]
) -> None:
    board.start()
    board.rt.pause("ear")
    board.rt.tell_many("ear", ["old"] * 1200)
    board.rt.tell("ear", "timer", after="30d")
    board.advance("8d")
    board.rt.tell("ear", "young")
    assert client.purgeable("ear", older="7d") == 1200
    done: list[int] = []
    assert client.purge("ear", older="7d", progress=done.append) == 1200
    assert done == [500, 1000, 1200]
    assert client.purge("ear", older="7d") == 0
    assert board.rt._host.engine is not None
    board.rt._host.engine.pulse()  # the owner does so four times a second
    board.rt.resume("ear")
    board.settle()
    assert heard == ["young"]
    assert len(board.rt.timers()) == 1


def test_a_purge_makes_the_turn_that_runs_void(board: Board) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(_: int) -> None:
        begun.set()
        assert go.wait(10)
        board.rt.tell("ear", "told")

    heard: list[str] = []
    board.rt.mailbox("ear", heard.append)
    board.rt.mailbox("slow", slow)
    board.start()
    board.rt.tell("slow", 1)
    assert begun.wait(10)
    assert board.rt.purge("slow", older=0) == 0  # told at this very instant: it is not older
    board.clock.shift(1)
    assert board.rt.purge("slow", older=0.5) == 1
    go.set()
    board.settle()
    assert heard == []


def test_an_age_that_is_none_is_refused(board: Board, heard: list[str]) -> None:
    board.start()
    with pytest.raises(MessageError, match="older= is not understood"):
        board.rt.purge("ear", older="long")
    assert heard == []


def test_who_changed_what_is_kept_newest_first(board: Board, client: Runtime) -> None:
    board.start()
    client.audit("pause mail", who="ann")
    board.advance(5)
    client.audit("resume mail")
    last, first = board.rt.audits()
    assert (first.who, first.command, first.at.tzinfo) == ("ann", "pause mail", UTC)
    assert last.command == "resume mail"
    assert (last.at - first.at).total_seconds() == 5
    assert board.rt.audits(1) == [last]


def test_why_leads_from_a_message_to_what_was_told_from_outside(board: Board) -> None:
    rt = board.rt
    rt.mailbox("first", lambda n: rt.tell("second", n), retain="7d")
    rt.mailbox("second", lambda n: rt.tell("third", n, after=60), retain="7d")
    rt.mailbox("third", lambda _: None)
    board.start()
    number = rt.tell("first", 1)
    board.settle()
    chain = rt.why(rt.timers()[0].id)
    assert [(c.mailbox, c.state) for c in chain] == [
        ("third", "later"), ("second", "handled"), ("first", "handled"),
    ]  # fmt: skip
    assert chain[-1].id == number


def test_why_says_where_the_chain_is_lost(board: Board) -> None:
    rt = board.rt
    rt.mailbox("first", lambda n: rt.tell("second", n, after=60))
    rt.mailbox("second", lambda _: None)
    board.start()
    number = rt.tell("first", 1)
    board.settle()
    chain = rt.why(rt.timers()[0].id)
    assert [(c.id, c.mailbox, c.state) for c in chain[1:]] == [(number, "first", "lost")]
    with pytest.raises(LookupError, match=f"no message {number} waits"):
        rt.why(number)


def test_history_shows_what_was_handled_newest_first_and_of_one_key(board: Board) -> None:
    rt = board.rt
    rt.mailbox("double", lambda n: 2 * n, keyed=True, retain="7d")
    board.start()
    for n, key in ((1, "a"), (2, "b"), (3, "a")):
        rt.tell("double", n, key=key)
        board.settle()
    assert [(m.message, m.result) for m in rt.history("double")] == [(3, 6), (2, 4), (1, 2)]
    assert [m.message for m in rt.history("double", "a")] == [3, 1]
    assert [m.message for m in rt.history("double", n=1)] == [3]


def test_history_of_a_mailbox_that_keeps_nothing_says_what_to_do(board: Board) -> None:
    board.rt.mailbox("box", lambda _: None)
    board.start()
    with pytest.raises(CallboardError, match="retain="):
        board.rt.history("box")


def test_a_backup_is_whole_private_and_replaces_nothing(
    board: Board, heard: list[str], tmp_path: Path
) -> None:
    board.start()
    board.rt.pause("ear")
    board.rt.tell_many("ear", ["x"] * 1000)
    copy = tmp_path / "copy.db"
    assert board.rt.backup(copy) == copy.stat().st_size
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with pytest.raises(StoreError, match="there already"):
        board.rt.backup(copy)
    assert sorted(each.name for each in tmp_path.iterdir() if "copy" in each.name) == ["copy.db"]
    other = Runtime(copy)
    assert other.mailboxes()[0].waiting == 1000
    other.stop()
    assert heard == []


def test_a_backup_without_room_for_it_leaves_no_file(board: Board, tmp_path: Path) -> None:
    board.start()
    with pytest.raises(StoreError):
        board.rt.backup(tmp_path / "nowhere" / "copy.db")
    assert not list(tmp_path.glob("**/*.part"))


def test_a_question_in_sql_gives_names_and_so_many_rows(board: Board, heard: list[str]) -> None:
    board.start()
    board.rt.pause("ear")
    board.rt.tell_many("ear", ["x"] * 5)
    asked = "SELECT number AS n FROM callboard_message ORDER BY n"
    assert board.rt.select(asked, limit=2) == (["n"], [(1,), (2,)], True)
    names, rows, more = board.rt.select(asked)
    assert (names, len(rows), more) == (["n"], 5, False)
    assert heard == []


@pytest.mark.parametrize("sql", [
    "DELETE FROM callboard_message", "PRAGMA user_version = 3", "ATTACH 'x.db' AS x",
    "CREATE TEMP TABLE t (a)", "BEGIN", "SELECT load_extension('x')", "VACUUM",
])  # fmt: skip
def test_a_question_in_sql_changes_nothing(board: Board, heard: list[str], sql: str) -> None:
    board.start()
    board.rt.pause("ear")
    board.rt.tell("ear", "x")
    with pytest.raises(MessageError, match="only a SELECT"):
        board.rt.select(sql)
    assert board.rt.mailboxes()[0].waiting == 1
    assert heard == []


def test_a_question_in_sql_that_is_wrong_or_two_is_refused(board: Board) -> None:
    board.start()
    for sql in ("SELECT nothing", "SELECT 1; SELECT 2"):
        with pytest.raises(MessageError, match="cannot run"):
            board.rt.select(sql)


def test_ctrl_c_ends_a_question_in_sql_as_what_it_is(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    board.start()
    looks = iter([0.0, None, 1.0])

    def look() -> float:
        found = next(looks)
        if found is None:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr("callboard.persistence.sqlite_select.monotonic", look)
    with pytest.raises(KeyboardInterrupt):
        board.rt.select(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
        )


def test_a_question_in_sql_ends_in_its_time(board: Board) -> None:
    board.start()
    endless = (
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) FROM n"
    )
    with pytest.raises(TimeoutError, match=r"did not end in 0\.05 s"):
        board.rt.select(endless, timeout=0.05)


def test_a_schedule_ticks_by_hand_and_its_next_instant_stays(board: Board, client: Runtime) -> None:
    ticks: list[Tick] = []
    board.rt.mailbox("clock", ticks_into(ticks), keyed=True)
    board.rt.cron("0 9 * * *", to=board.rt.ref("clock", "paris"), name="daily")
    board.start()
    board.settle()
    (before,) = board.rt.schedules()
    board.rt.trigger("daily")
    board.settle()
    client.trigger("daily")
    assert board.rt._host.engine is not None
    board.rt._host.engine.pulse()  # the owner does so four times a second
    board.settle()
    board.rt._host.engine.pulse()
    board.settle()
    assert [tick.schedule for tick in ticks] == ["daily", "daily"]
    assert board.rt.schedules() == [before]


def ticks_into(ticks: list[Tick]) -> Callable[[Tick], None]:
    def clock(tick: Tick) -> None:
        ticks.append(tick)

    return clock


def test_a_tick_asked_for_while_nobody_runs_comes_with_the_next_owner(
    board: Board, client: Runtime
) -> None:
    ticks: list[Tick] = []
    board.rt.mailbox("clock", ticks_into(ticks))
    board.rt.cron("0 9 * * *", to="clock", name="daily")
    board.start()
    board.rt.stop()
    client.trigger("daily")
    board.start()
    board.settle()
    assert board.rt._host.engine is not None
    board.rt._host.engine.pulse()
    board.settle()
    assert len(ticks) == 1
    with pytest.raises(LookupError, match="no schedule 'dayly'"):
        client.trigger("dayly")


def test_a_vacuum_gives_back_what_is_free_and_keeps_the_rest(
    board: Board, client: Runtime, heard: list[str]
) -> None:
    board.start()
    board.rt.pause("ear")
    with pytest.raises(StoreOwned, match="stop it first"):
        client.vacuum()
    board.rt.tell_many("ear", ["x" * 1000] * 1000)
    board.rt.tell("ear", "stays")
    board.clock.shift(10)
    board.rt.tell("ear", "too")
    assert board.rt.purge("ear", older=5) == 1001
    board.rt.stop()
    assert client.vacuum() > 500_000
    assert [each.message for each in client.peek("ear")] == ["too"]
    assert heard == []
