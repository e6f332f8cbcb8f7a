"""Commands on a store that nobody owns: what each shows, changes, asks for and is noted as."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import pytest

from callboard import ManualClock, Reject, Runtime
from callboard.repl import cli
from callboard.runtime.testing import Board

from .consoles import Call, Order, Shop, Stock


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Make a store with one timer, three dead letters, one handled message and two that wait."""
    path = tmp_path / "shop.db"
    board = Board(Runtime(path, clock=ManualClock()))
    rt = board.rt

    def broken(text: str) -> None:
        raise Reject(text)

    rt.mailbox("mail", lambda _: None)
    rt.mailbox("broken", broken)
    rt.mailbox("shop", Shop, keyed=True, retain="3650d")
    board.start()
    rt.pause("mail")
    for text in ("a", "b", "c"):
        rt.tell("broken", text)
    rt.tell("shop", Order("nut", 3), key="paris")
    board.settle()
    board.stop()
    client = Runtime(path)
    client.tell_many("mail", ["one", "two"])
    client.tell("mail", "later", after="1h", id="reminder")
    client.stop()
    return path


@pytest.fixture
def call(store: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(store, capsys)


def content(store: Path) -> list[str]:
    """Return all that the store holds, but for whoever looks at it."""
    with sqlite3.connect(store) as connection:
        found = list(connection.iterdump())
    connection.close()
    return found


def rows(store: Path) -> list[str]:
    """Return all that the store holds but its counters: a number may be left out."""
    return [line for line in content(store) if '"callboard_counter"' not in line]


def test_status_counts_what_is_there(call: Call) -> None:
    (status,) = call("status").lines
    found = {name: status[name] for name in ("waiting", "later", "dead", "owner")}
    assert found == {"waiting": 2, "later": 1, "dead": 3, "owner": None}


def test_a_listing_says_where_it_is_not_all(call: Call) -> None:
    for verb, count in (("dead", 3), ("timers", 1)):
        assert call(verb).err == ""
        assert len(call(verb).lines) == count
        assert "only the first 0 are listed" in call(verb, "-n", "0").err
    said = call("dead", "-n", "2")
    assert [each["message"] for each in said.lines] == ["a", "b"]
    assert "only the first 2 are listed" in said.err


def test_a_dead_letter_is_shown_with_its_traceback(call: Call) -> None:
    number = str(call("dead").lines[0]["id"])
    assert "in broken" in call("show", number).line["traceback"]
    shown = call("show", number, "--format", "table").out
    assert shown.splitlines()[-1].endswith("Reject: a")


def test_the_state_of_a_keyed_mailbox_asks_for_the_key_as_it_is_typed(call: Call) -> None:
    said = call("state", "shop")
    assert said.code == cli.USAGE
    assert "write state shop KEY" in said.err


def test_what_only_an_owner_does_is_said_to_wait_for_one(call: Call) -> None:
    shown = call("restart", "shop", "paris", "--format", "table").out
    assert shown == "paris of shop starts anew as soon as an owner runs\n"


def test_top_puts_first_what_has_most(call: Call) -> None:
    assert call("top", "-n", "1").lines[0]["name"] == "mail"
    assert call("top", "--by", "dead").lines[0]["name"] == "broken"
    assert call("top", "--by", "rubbish").code == cli.USAGE


def test_show_takes_an_actors_name(call: Call) -> None:
    (paris,) = call("show", "shop/paris").lines
    assert (paris["mailbox"], paris["key"], paris["state"]) == ("shop", "paris", "declared")
    assert (paris["waiting"], paris["runs"], paris["bytes"]) == (0, [], len('{"items":3}'))
    (mail,) = call("show", "mail").lines
    assert (mail["state"], mail["waiting"], mail["later"]) == ("paused", 2, 1)
    assert call("show", "broken").lines[0]["dead"] == 3
    assert call("show", "shop/nobody").code == cli.NOT_FOUND
    assert call("show", "nowhere/paris").code == cli.NOT_FOUND
    assert "is not keyed" in call("show", "mail/paris").err


@pytest.mark.parametrize("by", ["rate", "errors"])
def test_what_an_owner_counts_is_refused_where_there_is_none(call: Call, by: str) -> None:
    said = call("top", "--by", by)
    assert said.code != cli.OK
    assert f"top --by {by} needs a running owner" in said.err
    assert said.err.count("\n") == 1


def test_tree_goes_further_in_with_each_level(call: Call) -> None:
    names = [each["actor"] for each in call("tree").lines]
    assert names[0] == "root"
    assert "    mail" in names


def test_actors_lists_who_has_a_state(call: Call) -> None:
    (actor,) = call("actors").lines
    assert (actor["mailbox"], actor["key"]) == ("shop", "paris")


def test_a_state_of_the_past_is_shown_with_the_message_that_left_it(call: Call) -> None:
    (message,) = call("history", "shop", "paris").lines
    said = call("state", "shop", "paris", "--at", message["handled_at"])
    assert said.line == {"items": 3}
    assert f"as message {message['id']} has left it at 2024-01-01 00:00:00Z" in said.err
    said = call("state", "shop", "paris", "--at", "1m ago", "--format", "table")
    assert said.out == '{\n  "items": 3\n}\n'
    assert call("state", "shop", "paris", "--at", "yesterday").line == {"items": 3}


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("shop", "paris", "--at", "2023-12-31T00:00Z"), cli.NOT_FOUND, "goes back to 2024-01-01T"),
        (("shop", "rome", "--at", "now"), cli.NOT_FOUND, "no state of 'rome' of 'shop' is kept"),
        (("shop", "--at", "now"), cli.USAGE, "write state shop KEY"),
        (("mail", "--at", "now"), cli.USAGE, "'mail' keeps no states of before"),
        (("shop", "paris", "--at", "tomorrow"), cli.FAILED, "is not past"),
        (("shop", "paris", "--at", "soon"), cli.USAGE, "'soon' is no time"),
    ],
)
def test_a_state_of_the_past_that_is_not_kept_is_one_line(
    call: Call, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = call("state", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (code, "", 1)
    assert says in said.err


def test_what_was_changed_by_hand_or_by_an_ask_is_said_beside_a_living_owner(
    store: Path, call: Call
) -> None:
    board = Board(Runtime(store, clock=ManualClock(datetime(2024, 2, 1, tzinfo=UTC))))
    board.rt.mailbox("shop", Shop, keyed=True, retain="3650d")
    with board:
        board.rt.ask("shop", Order("nut", 4), key="paris")
        said = call("state", "shop", "paris", "--at", "2024-02-01T00:00Z")
        assert (said.line, "as an ask has left it at 2024-02-01" in said.err) == (
            {"items": 7}, True)  # fmt: skip
        board.advance("1d")
        board.rt.set_state("shop", Stock(9), "paris")
        said = call("state", "shop", "paris", "--at", "2024-02-02T00:00Z")
        assert (said.line, "as it was written by hand at 2024-02-02" in said.err) == (
            {"items": 9}, True)  # fmt: skip
        board.advance("1d")
        board.rt.reset_state("shop", "paris")
        said = call("state", "shop", "paris", "--at", "2024-02-03T00:00Z")
        assert said.code == cli.NOT_FOUND
        assert "'paris' of 'shop' had no state then: it was reset by hand at 2024-02-03" in said.err
        assert call("state", "shop", "paris", "--at", "2024-01-31T00:00Z").line == {"items": 3}


def test_history_shows_what_is_retained_with_its_result(call: Call) -> None:
    (message,) = call("history", "shop", "paris").lines
    assert (message["message"], message["result"]) == ({"item": "nut", "count": 3}, 3)
    said = call("history", "mail")
    assert said.code == cli.USAGE
    assert "retain=" in said.err
    said = call("history")
    assert said.code == cli.USAGE
    assert "history of which mailbox?" in said.err


def test_show_finds_waiting_handled_and_dead(call: Call) -> None:
    number = call("history", "shop").lines[0]["id"]
    assert call("show", str(number)).lines[0]["state"] == "handled"
    assert call("show", "reminder").lines[0]["state"] == "later"
    assert call("show", str(call("dead").lines[0]["id"])).lines[0]["state"] == "dead"
    assert call("show", "9999").code == cli.NOT_FOUND


def test_why_takes_a_number(call: Call) -> None:
    (cause,) = call("why", str(call("timers").lines[0]["id"])).lines
    assert cause["mailbox"] == "mail"
    assert call("why", "9999").code == cli.NOT_FOUND
    assert call("why", "reminder").code == cli.USAGE


def test_sql_shows_rows_and_says_that_there_are_more(call: Call) -> None:
    said = call("sql", "SELECT number, body FROM callboard_dead ORDER BY number", "-n", "2")
    assert [row["body"] for row in said.lines] == ['"a"', '"b"']
    assert "more than these 2" in said.err
    refused = call("sql", "DELETE FROM callboard_dead")
    assert refused.code == cli.FAILED
    assert "only a SELECT" in refused.err


def test_events_lists_their_names(call: Call) -> None:
    assert "message.dead" in [each["event"] for each in call("events").lines]


def test_tell_takes_fields_as_words(call: Call) -> None:
    assert call("tell", "shop", "item=nut", "count=2", "--key", "rome").code == cli.OK
    (waiting,) = call("peek", "shop").lines
    assert waiting["message"] == {"item": "nut", "count": 2}
    assert (
        call("tell", "shop", "item=75001", "--key", "oslo").code == cli.OK
    )  # where text is wanted
    assert call("peek", "shop").lines[-1]["message"]["item"] == "75001"
    for wrong in (("item=nut", "2"), ("item=a", "item=b")):
        assert call("tell", "shop", *wrong, "--key", "rome").code == cli.USAGE


def test_tell_takes_a_time_as_people_write_it_and_says_which_it_is(call: Call) -> None:
    said = call("tell", "mail", '"x"', "--at", "2099-01-31 09:00 Europe/Berlin", "--priority", "3")
    assert said.code == cli.OK
    due = {each["id"]: each["due"] for each in call("timers").lines}
    assert due[said.lines[0]["id"]] == "2099-01-31T08:00:00Z" == said.lines[0]["due"]
    said = call("tell", "mail", '"x"', "--after", "5m", "--format", "table")
    assert re.search(r", due .*\(in (5m|4m)", said.out)


def test_reschedule_and_fire_move_a_timer(call: Call) -> None:
    number = str(call("timers").lines[0]["id"])
    (moved,) = call("reschedule", number, "--at", "2099-01-31T09:00+01:00").lines
    assert call("timers").lines[0]["due"] == "2099-01-31T08:00:00Z"
    (fired,) = call("fire", str(moved["id"])).lines
    assert call("timers").lines == []
    assert fired["id"] in [each["id"] for each in call("peek", "mail").lines]
    assert call("fire", str(moved["id"])).code == cli.NOT_FOUND
    assert call("reschedule", number).code == cli.USAGE


@pytest.mark.parametrize("named", [("mail", "reminder"), ("mail", "NUMBER"), ("reminder",)])
def test_what_waits_is_named_by_its_number_or_by_its_mailbox_and_id(
    call: Call, named: tuple[str, ...]
) -> None:
    def words() -> list[str]:
        return [str(call("timers").lines[0]["id"]) if each == "NUMBER" else each for each in named]

    was = call("timers").lines[0]["id"]
    moved = call("reschedule", *words(), "--at", "2099-01-31T09:00+01:00").line
    assert moved["was"] == was
    assert (call("timers").lines[0]["id"], call("timers").lines[0]["name"]) == (
        moved["id"], "reminder",
    )  # fmt: skip
    assert call("fire", *words(), "--dry-run").code == cli.OK
    assert call("cancel", *words()).line["cancelled"] == moved["id"]
    assert call("timers").lines == []
    assert call("cancel", *named[:1], "reminder").code == cli.NOT_FOUND


def test_a_dead_letter_or_a_handled_message_is_none_that_waits(call: Call) -> None:
    dead, done = call("dead").lines[0]["id"], call("history", "shop").lines[0]["id"]
    for number in (dead, done):
        for verb in (["cancel"], ["fire"], ["reschedule", "--after", "1h"]):
            said = call(verb[0], str(number), *verb[1:])
            assert said.code == cli.NOT_FOUND, said.err
            assert "'timers' and 'peek' list what does" in said.err


def test_an_id_that_two_mailboxes_have_needs_the_mailbox_before_it(call: Call) -> None:
    assert call("tell", "broken", '"x"', "--id", "reminder", "--after", "1h").code == cli.OK
    said = call("cancel", "reminder")
    assert said.code == cli.USAGE
    assert "waits in broken and mail: name the mailbox before it" in said.err
    assert call("cancel", "broken", "reminder").line["mailbox"] == "broken"
    assert call("fire", "nowhere", "reminder").code == cli.NOT_FOUND
    (left,) = call("timers").lines
    assert left["mailbox"] == "mail"


def test_bulk_changes_need_all_and_a_yes(call: Call) -> None:
    assert call("discard").code == cli.USAGE
    assert call("discard", "--mailbox", "broken").code == cli.USAGE
    unsaid = call("discard", "--all")
    assert unsaid.code == cli.USAGE
    assert "3 dead letters" in unsaid.err
    assert len(call("dead").lines) == 3
    assert call("discard", "--all", "--mailbox", "mail", "--yes").code == cli.OK
    assert len(call("dead").lines) == 3
    assert call("discard", "--all", "--yes").code == cli.OK
    assert call("dead").lines == []


def test_requeue_takes_several_and_all(call: Call) -> None:
    first, second, third = (str(each["id"]) for each in call("dead").lines)
    was = [each["was"] for each in call("requeue", first, second).lines]
    assert was == [int(first), int(second)]
    assert [each["was"] for each in call("requeue", "--all", "--yes").lines] == [int(third)]
    assert [each["message"] for each in call("peek", "broken").lines] == ["a", "b", "c"]


def test_requeue_may_send_something_else_instead(call: Call) -> None:
    number = call("dead").lines[0]["id"]
    assert call("requeue", str(number), "--edit", '"better"').code == cli.OK
    assert [each["message"] for each in call("peek", "broken").lines] == ["better"]
    assert call("requeue", str(number), "--edit", "{").code == cli.USAGE


def test_purge_says_how_many_and_leaves_timers(call: Call) -> None:
    assert "cancel 2 waiting messages" in call("purge", "mail", "--older", "0").err
    assert call("purge", "mail", "--older", "1h", "--yes").lines[0]["cancelled"] == 0
    assert call("purge", "mail", "--older", "0", "--yes").lines[0]["cancelled"] == 2
    assert len(call("timers").lines) == 1


@pytest.mark.parametrize("line", [
    ["tell", "mail", "1"], ["cancel", "mail", "reminder"], ["fire", "TIMER"],
    ["reschedule", "TIMER", "--after", "1h"], ["requeue", "--all"], ["discard", "--all"],
    ["purge", "mail", "--older", "0"], ["pause", "shop"], ["resume", "mail"], ["restart", "shop"],
    ["stop", "shop"], ["start", "mail"], ["publish", "topic", "1"], ["vacuum"],
    ["backup", "copy.db"],
])  # fmt: skip
def test_a_dry_run_says_what_would_happen_and_changes_nothing(
    call: Call, store: Path, line: list[str]
) -> None:
    timer = str(call("timers").lines[0]["id"])
    before = content(store)
    said = call(*(timer if word == "TIMER" else word for word in line), "--dry-run")
    assert said.code == cli.OK
    assert "would" in said.lines[0]
    assert content(store) == before
    assert not Path("copy.db").exists()


def test_what_changes_something_is_noted_with_who_and_what(call: Call) -> None:
    call("pause", "shop")
    call("resume", "shop", "--dry-run")
    call("cancel", "mail", "no such")
    (change,) = call("audit").lines
    assert "pause shop" in change["command"]
    assert change["who"]


@pytest.mark.parametrize("line", [
    ["tell", "shop", "item=nut", "--key", "rome"], ["tell", "mail", "1", "--id", "reminder"],
    ["cancel", "mail", "reminder"], ["fire", "TIMER"], ["reschedule", "TIMER", "--after", "1h"],
    ["requeue", "DEAD"], ["discard", "DEAD"], ["requeue", "--all", "--yes"],
    ["discard", "--all", "--yes"], ["purge", "mail", "--older", "0", "--yes"],
    ["pause", "shop"], ["resume", "mail"], ["restart", "shop"], ["stop", "shop"],
    ["start", "mail"],
])  # fmt: skip
def test_a_change_that_is_not_noted_does_not_happen(
    call: Call, store: Path, line: list[str]
) -> None:
    words = {
        "TIMER": str(call("timers").lines[0]["id"]), "DEAD": str(call("dead").lines[0]["id"]),
    }  # fmt: skip
    with sqlite3.connect(store) as connection:
        connection.execute(
            "CREATE TRIGGER no BEFORE INSERT ON callboard_audit BEGIN SELECT raise(ABORT, 'no'); "
            "END"
        )
    connection.close()
    before = rows(store)
    with contextlib.suppress(sqlite3.IntegrityError):
        assert call(*(words.get(word, word) for word in line)).code != cli.OK
    assert rows(store) == before


@pytest.mark.parametrize("line", [["backup", "copy.db"], ["vacuum"], ["stop", "shop"]])
def test_a_change_of_several_steps_or_none_is_noted_once(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*line).code == cli.OK
    assert [line[0] in each["command"] for each in call("audit").lines] == [True]


def test_backup_copies_and_replaces_nothing(call: Call, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    assert call("backup", str(copy)).lines[0]["bytes"] == copy.stat().st_size
    assert call("backup", str(copy)).code == cli.UNREACHABLE


@pytest.mark.parametrize("line", [["ask", "shop", "item=nut"], ["drain", "mail"]])
def test_what_needs_an_owner_says_so(call: Call, line: list[str]) -> None:
    said = call(*line)
    assert said.code != cli.OK
    assert "needs a running owner" in said.err
