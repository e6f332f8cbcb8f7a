"""The command line: what each command shows, its exit code, and one clear line for each error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from callboard import ManualClock, Runtime
from callboard.errors import ConfigError, HandlerTimeout, StoreBusy, StoreOwned
from callboard.repl import cli, render
from callboard.repl.registry import COMMANDS
from callboard.runtime.testing import Board

from .consoles import Call, Stock, declare, make
from .imports import at_hand
from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return make(tmp_path / "shop.db")


@pytest.fixture
def call(store: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    return Call(store, capsys)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder that holds an application, and import nothing of it for good."""
    at_hand(monkeypatch, tmp_path, "app_to_load", APP)


# --- looking -------------------------------------------------------------------------------------


def test_mailboxes_lists_what_waits_is_for_later_and_is_dead(call: Call) -> None:
    boxes = {line["name"]: line for line in call("mailboxes").lines}
    assert (boxes["mail"]["waiting"], boxes["mail"]["later"]) == (2, 1)
    assert boxes["broken"]["dead"] == 1
    assert boxes["mail"]["workers"] == 0  # nobody owns the store


def test_timers_lists_future_calls(call: Call) -> None:
    line = call("timers").line
    assert (line["name"], line["mailbox"]) == ("reminder", "mail")
    assert call("timers", "shop").out == ""


def test_dead_lists_dead_letters_with_their_errors(call: Call) -> None:
    line = call("dead").line
    assert (line["mailbox"], line["error"], line["message"]) == ("broken", *["no such thing"] * 2)
    assert call("dead", "mail").lines == []


def test_peek_shows_the_first_messages(call: Call) -> None:
    assert [line["message"] for line in call("peek", "mail").lines] == ["one", "two"]
    assert call("peek", "mail", "-n", "1").line["message"] == "one"


def test_state_shows_what_an_actor_has_committed(call: Call) -> None:
    assert call("state", "shop", "paris").line == {"items": 3}


def test_state_that_was_never_made_is_not_found(call: Call) -> None:
    found = call("state", "shop", "rome")
    assert found.code == 3
    assert "'rome' of 'shop'" in found.err


def test_show_takes_a_number_or_the_senders_id(call: Call) -> None:
    number = call("show", "reminder").line["id"]
    assert call("show", str(number)).line["name"] == "reminder"
    missing = call("show", "nothing")
    assert (missing.code, missing.out) == (3, "")


# --- steering ------------------------------------------------------------------------------------


def test_tell_sends_json(call: Call) -> None:
    number = call("tell", "mail", '{"n": [1]}').line["id"]
    assert call("show", str(number)).line["message"] == {"n": [1]}


def test_tell_takes_a_key_a_time_and_an_id(call: Call) -> None:
    told = call("tell", "shop", '{"item": "nut"}', "--key", "oslo", "--after", "2h", "--id", "o")
    found = call("show", "o").line
    assert (found["id"], found["key"], found["state"]) == (told.line["id"], "oslo", "later")
    assert call("tell", "mail", "1", "--at", "2090-01-01T00:00+01:00").code == 0
    assert "2089-12-31T23:00:00Z" in call("timers", "mail").out


def test_tell_gives_plain_data_the_kind_that_the_mailbox_takes(call: Call, store: Path) -> None:
    assert call("tell", "shop", '{"item": "nut", "count": 4}', "--key", "paris").code == 0
    board = Board(Runtime(store, clock=ManualClock()))
    declare(board.rt)
    board.start()
    board.settle()
    assert board.rt.state("shop", "paris") == Stock(7)
    board.stop()


def test_cancel_removes_by_id_and_by_number(call: Call) -> None:
    assert call("cancel", "mail", "reminder").code == 0
    number = call("peek", "mail", "-n", "1").line["id"]
    assert call("cancel", "mail", str(number)).code == 0
    again = call("cancel", "mail", str(number))
    assert again.code == 3
    assert "waits in 'mail'" in again.err


def test_requeue_sends_a_dead_letter_again(call: Call) -> None:
    number = call("dead").line["id"]
    new = call("requeue", str(number)).line["id"]
    assert call("show", str(new)).line["state"] == "waiting"
    assert call("requeue", str(number)).code == 3


def test_discard_deletes_a_dead_letter(call: Call) -> None:
    number = call("dead").line["id"]
    assert call("discard", str(number)).line == {"discarded": [number]}
    assert call("dead").lines == []
    assert call("discard", str(number)).code == 3


@pytest.fixture
def clockwork(store: Path) -> Path:
    """Give the store a schedule that ticks at nine in Paris."""
    board = Board(Runtime(store, clock=ManualClock()))
    board.rt.cron("0 9 * * *", name="report", to="mail", tz="Europe/Paris")
    board.start()
    board.advance("24h")
    board.stop()
    return store


def test_schedules_and_their_next_instants(clockwork: Path, call: Call) -> None:
    assert call("schedules").line == {
        "name": "report", "expression": "0 9 * * *", "tz": "Europe/Paris", "to": "mail",
        "next_at": "2024-01-02T08:00:00Z", "last_at": "2024-01-01T08:00:00Z", "paused": False,
    }  # fmt: skip
    found = call("next", "report", "-n", "3").lines
    assert len(found) == 3
    for line in found:
        there = datetime.fromisoformat(line["there"])
        assert (there.hour, there.minute, there.second) == (9, 0, 0)
        assert there == datetime.fromisoformat(line["at"])
    assert call("pause", "report").code == 0
    assert call("schedules").line["next_at"] is None
    assert call("resume", "report").code == 0
    assert call("schedules").line["next_at"] == found[0]["at"]
    assert call("next", "raport").code == 3
    assert "did you mean 'report'" in call("next", "raport").err
    assert call("schedules", "--format", "table").out.splitlines()[0].split()[:2] == [
        "name",
        "expression",
    ]


def test_pause_and_resume_are_durable(call: Call) -> None:
    def paused() -> bool:
        boxes = {line["name"]: line["paused"] for line in call("mailboxes").lines}
        return bool(boxes["mail"])

    assert call("pause", "mail").code == 0
    assert paused()
    assert call("resume", "mail").code == 0
    assert not paused()


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["mailbox"], 2, "did you mean 'mailboxes'?"),
        (["xyzzy"], 2, "there is no command 'xyzzy'"),
        (["peek"], 2, "Missing argument 'MAILBOX' (see callboard peek --help)"),
        (["peek", "mail", "-n", "x"], 2, "not a valid integer"),
        (["peek", "mial"], 3, "did you mean 'mail'?"),
        (["tell", "mail", "hello"], 2, "the message is not JSON"),
        (["tell", "mail", '"x"', "--after", "soon"], 1, "after= is not understood"),
        (["tell", "mail", '"x"', "--at", "soon"], 2, "'soon' is no time"),
        (["tell", "shop", '{"item": "nut"}'], 1, "is keyed"),
        (["tell", "shop", '{"no field": 1}', "--key", "a"], 2, "has no field 'no field'"),
        (["tell", "shop", '"nut"', "--key", "a"], 1, "takes Order"),
        (["run", "app"], 2, "run it without -s"),
    ],
)
def test_an_error_is_one_line_with_its_exit_code(
    call: Call, arguments: list[str], code: int, says: str
) -> None:
    found = call(*arguments)
    assert (found.code, found.out) == (code, "")
    assert found.err.startswith("callboard: ")
    assert found.err.count("\n") == 1
    assert says in found.err


def test_looking_at_a_store_that_is_not_there_makes_none(call: Call, tmp_path: Path) -> None:
    found = call("mailboxes", of=tmp_path / "other.db")
    assert found.code == 5
    assert "there is no store" in found.err
    assert not (tmp_path / "other.db").exists()


def test_a_store_that_is_none_is_unreachable(call: Call, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database, but long enough to be taken for one " * 99)
    found = call("mailboxes", of=tmp_path / "text")
    assert (found.code, found.out) == (5, "")
    assert "is no SQLite database" in found.err
    assert call("mailboxes", of=tmp_path).code == 5


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("x"), 2),
        (LookupError("x"), 3),
        (HandlerTimeout("x"), 4),
        (StoreBusy("x"), 5),
        (StoreOwned("x"), 5),
        (ValueError("x"), 1),
    ],
)
def test_each_kind_of_error_has_its_code(error: Exception, code: int) -> None:
    assert cli.exit_code(error) == code


def test_ctrl_c_is_130(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Runtime, "mailboxes", interrupt)
    assert call("mailboxes").code == 130


# --- shapes --------------------------------------------------------------------------------------


def test_a_table_is_for_people(call: Call) -> None:
    out = call("--format", "table", "mailboxes").out
    head = " ".join(out.splitlines()[0].split())
    assert head == "name waiting running later dead oldest age workers paused"
    assert call("dead", "mail", "--format", "table").out == "no dead letters\n"
    assert call("pause", "mail", "--format", "table").out == "mail is paused\n"
    assert call("state", "shop", "paris", "--format", "table").out == '{\n  "items": 3\n}\n'


def test_a_table_has_no_empty_column_and_numbers_that_are_names_are_plain() -> None:
    found = [{"id": 100_001, "told": 100_001, "key": None, "note": "", "took": 0.00123},
             {"id": 2, "told": 7, "key": None, "note": "", "took": None}]  # fmt: skip
    head, _, first, _ = render.render(render.Listing(found, ""), "table").splitlines()
    assert head.split() == ["id", "told", "took"]
    assert first.split() == ["100001", "100,001", "0.001"]
    assert render.cell(250.55) == "250.6"
    whole = render.render(render.Listing([{"null": None}], "", whole=True), "table")
    assert whole.split() == ["null", "----"]
    assert "owner  4602" in render.render({"owner": 4602, "told": 1000}, "table")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_is_no_wider_than_the_terminal_where_that_can_be(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    mailbox = "a name that is to be typed again"
    found = [{"id": 100_001, "mailbox": mailbox, "told_at": at, "message": "x" * 50}]
    monkeypatch.setenv("COLUMNS", str(width))
    lines = render.render(render.Listing(found, ""), "table").splitlines()
    assert max(map(len, lines)) <= max(width, 79)  # the name and the instant are whole
    assert mailbox in lines[2]
    assert "2026-01-02 03:04:05Z" in lines[2]
    assert ("ago" in lines[2]) == (width == 120)
    monkeypatch.setenv("COLUMNS", "1000")
    assert "x" * 50 in render.render(render.Listing(found, ""), "table")


def test_one_record_ends_with_its_traceback_in_full() -> None:
    found = {"id": 1, "traceback": "Traceback:\n  in here\n" + "x" * 100 + "\x1b[2J\n"}
    lines = render.render(found, "table").splitlines()
    assert lines[:3] == ["id  1", "Traceback:", "  in here"]
    assert lines[3] == "x" * 100 + "\N{REPLACEMENT CHARACTER}[2J"


def test_a_table_shortens_and_cleans_what_json_lines_keep_whole() -> None:
    long, strange = "x" * 500, "a\nb\x1b[2J"
    assert render.cell(long) == "x" * 59 + "\N{HORIZONTAL ELLIPSIS}"
    assert "\n" not in str(render.cell(strange))
    assert "\x1b" not in str(render.cell(strange))
    assert render.render(render.Value(long), "jsonl") == f'"{long}"'


def test_every_command_has_help_and_every_parameter_too(call: Call) -> None:
    listed = call("--help", of=None).out
    for command in COMMANDS.values():
        assert command.help
        assert all(each.help for each in command.parameters), command.name
        assert (f"\n  {command.name} " in listed) is not command.inner
        assert command.inner or call(command.name, "--help", of=None).code == 0


def test_version(call: Call) -> None:
    assert call("--version", of=None).out.startswith("callboard ")


# --- processes -----------------------------------------------------------------------------------


def test_without_a_command_or_a_store_on_a_terminal_it_prints_help(tmp_path: Path) -> None:
    main, side = os.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "callboard"],
            stdout=side, stdin=side, check=False, timeout=30, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0
        assert b"Usage: callboard" in os.read(main, 100)
    finally:
        os.close(main)
        os.close(side)


def test_who_stops_reading_is_no_error(store: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-m", "callboard", "-s", str(store), "mailboxes"],
            stdout=gone, stderr=subprocess.PIPE, check=False, timeout=30,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


APP = """
from callboard import Runtime
rt = Runtime("app.db")
@rt.mailbox("mail")
def mail(text: str) -> None:
    print("got", text, flush=True)
other = 3
rt.events.subscribe(lambda event: print("up", flush=True), "owner.taken")
"""


def test_run_serves_a_runtime_of_the_users_until_it_is_told_to_end(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(APP)
    program = "import sys; from callboard.repl.cli import main; sys.exit(main(sys.argv[1:]))"
    with Child(program, "run", "app:rt", cwd=tmp_path) as service:
        service.wait_for("up")
        with Child(program, "-s", "app.db", "tell", "mail", '"x"', cwd=tmp_path) as teller:
            assert teller.end() == 0
        service.wait_for("got x")
        service.process.send_signal(signal.SIGTERM)
        assert service.end() == 0


@pytest.mark.parametrize(
    ("target", "code", "says"),
    [
        ("application", 2, "named as MODULE:ATTR"),
        ("no_such_module:rt", 3, "there is no module 'no_such_module'"),
        ("app_to_load:rrt", 3, "has no 'rrt'; it holds rt"),
        ("app_to_load:other", 2, "is no Runtime but a int"),
    ],
)
def test_run_says_what_is_wrong_with_its_target(
    call: Call, elsewhere: None, target: str, code: int, says: str
) -> None:
    found = call("run", target, of=None)
    assert (found.code, says in found.err) == (code, True), found.err


def test_dash_a_looks_at_the_store_of_the_users_runtime_and_starts_nothing(
    call: Call, elsewhere: None, tmp_path: Path
) -> None:
    seen = Board(Runtime(tmp_path / "app.db", clock=ManualClock()))
    seen.rt.mailbox("mail", lambda _: None)
    seen.start()
    seen.stop()
    found = call("-a", "app_to_load:rt", "mailboxes", of=None)
    assert (found.code, found.line["name"], found.line["workers"]) == (0, "mail", 0), found.err


def test_dash_a_and_dash_s_exclude_each_other(call: Call, elsewhere: None) -> None:
    found = call("-a", "app_to_load:rt", "mailboxes")
    assert (found.code, "give -s or -a, not both" in found.err) == (2, True)


def test_importing_callboard_imports_nothing_of_the_command_line() -> None:
    program = (
        "import sys, callboard; print(*{'click', 'prompt_toolkit', 'sqlite_utils', 'tabulate'}"
        " & set(sys.modules), 'callboard.repl' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.split() == [b"False"]
