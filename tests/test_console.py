"""Console lines: the same grammar for a prompt, for standard input and for files."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from callboard import Runtime
from callboard.repl import builtins, cli, registry
from callboard.repl.console import Console, Leave
from callboard.repl.registry import COMMANDS, Desk

from .consoles import Said, make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Say = Callable[..., Said]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return make(tmp_path / "shop.db")


@pytest.fixture
def console(store: Path) -> Iterator[Console]:
    with contextlib.closing(Desk(str(store), "jsonl")) as found:
        found.interactive = False
        yield Console(found)


@pytest.fixture
def say(console: Console, capfd: pytest.CaptureFixture[str]) -> Say:
    def run(*lines: str) -> Said:
        code = console.script([f"{line}\n" for line in lines])
        return Said(code, *capfd.readouterr())

    return run


def content(path: Path) -> str:
    """Return a hash of all that the store's tables hold."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return hashlib.sha256("\n".join(db.iterdump()).encode()).hexdigest()


# --- the grammar, driven -------------------------------------------------------------------------


def test_a_line_takes_json_without_quotes(say: Say, store: Path) -> None:
    assert say('tell shop {"item": "a | b", "count": 2} --key oslo --id x').code == 0
    assert say("show x").lines[0]["message"] == {"item": "a | b", "count": 2}
    assert say('tell mail "two words" --id y', "show y").lines[1]["message"] == "two words"


def test_json_goes_on_over_several_lines(say: Say) -> None:
    assert say('tell shop {"item":', '  "nut",', '"count": 7} --key oslo --id x').code == 0
    assert say("show x").lines[0]["message"]["count"] == 7


def test_a_remark_and_an_empty_line_do_nothing(say: Say) -> None:
    heard = say("", "# peek 'mail", "   ")
    assert (heard.code, heard.out, heard.err) == (0, "", "")


def test_output_goes_through_a_pipe_and_into_a_file(say: Say, tmp_path: Path) -> None:
    assert say("peek mail | head -1").lines[0]["message"] == "one"
    assert say("peek mail | false").code == 1
    assert say("peek mail > out", "peek mail -n 1 >> out").out == ""
    told = [json.loads(line)["message"] for line in (tmp_path / "out").read_text().splitlines()]
    assert told == ["one", "two", "one"]


def test_a_pager_gets_a_table_and_a_program_json_lines(say: Say, tmp_path: Path) -> None:
    assert say("mailboxes | more").out.split()[:2] == ["name", "waiting"]
    assert say("mailboxes | cat").lines[0]["name"] == "broken"
    assert say("set format table", "mailboxes | cat").out.split()[1:3] == ["name", "waiting"]


def test_a_redirection_never_writes_over_the_store(say: Say, store: Path) -> None:
    before = content(store)
    for name in ("shop.db", "./shop.db", "shop.db-wal", "shop.db.callboard/owner"):
        heard = say(f"mailboxes > {name}")
        assert (heard.code, "belongs to the store" in heard.err) == (2, True), name
    assert content(store) == before
    assert say("mailboxes > no/such/folder").code == 2


# --- scripts -------------------------------------------------------------------------------------


def test_a_script_stops_at_its_first_failure(say: Say) -> None:
    heard = say("peek mail -n 1", "peek mial", "peek mail")
    assert (heard.code, len(heard.lines)) == (3, 1)
    assert heard.err == "callboard: line 2: no mailbox 'mial': did you mean 'mail'?\n"


@pytest.mark.slow
def test_keep_going_runs_the_rest_and_gives_the_first_code(store: Path) -> None:
    def run(*options: str) -> Any:
        return subprocess.run(
            [sys.executable, "-m", "callboard", "-s", str(store), *options],
            input='peek mial\nfoo\npeek mail -n 1\ntell mail "x', text=True,
            capture_output=True, check=False, timeout=30,
        )  # fmt: skip

    stopped, gone_on = run(), run("--keep-going")
    assert (stopped.returncode, stopped.stdout) == (3, "")
    assert (gone_on.returncode, len(gone_on.stdout.splitlines())) == (3, 1)
    assert [line.split(":")[1] for line in gone_on.stderr.splitlines()] == [
        " line 1", " line 2", " line 4",
    ]  # fmt: skip


def test_standard_input_of_nothing_is_fine(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert cli.main(["-s", str(store)]) == 0


def test_source_runs_a_file_and_names_its_line(say: Say, tmp_path: Path) -> None:
    (tmp_path / "good").write_text("peek mail -n 1\npeek mail -n 1\n")
    (tmp_path / "bad").write_text("peek mail -n 1\n\npeek\n")
    (tmp_path / "circle").write_text("source circle\n")
    assert len(say("source good").lines) == 2
    heard = say("source bad")
    assert (heard.code, len(heard.lines)) == (2, 1)
    assert "bad: line 3: Missing argument" in heard.err
    assert "is it a circle?" in say("source circle").err
    assert say("source nothing").code == 2


def test_exit_leaves_with_its_code(console: Console) -> None:
    with pytest.raises(Leave) as left:
        console.run("exit 3")
    assert left.value.code == 3


# --- the console's own commands ------------------------------------------------------------------


def test_help_for_people_cuts_nothing_off_and_shows_what_may_be_left_out(
    say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = say("help --format table").out.splitlines()
    assert [each for each in lines if each.endswith("\N{HORIZONTAL ELLIPSIS}")] == []
    assert next(each for each in lines if each.startswith("state")).split()[1:3] == [
        "MAILBOX", "[KEY]",
    ]  # fmt: skip


def test_help_lists_every_command_and_explains_each(say: Say) -> None:
    listed = {line["command"] for line in say("help").lines}
    assert listed == {each.name for each in COMMANDS.values() if not each.outer}
    for name in listed:
        text = say(f"help {name}").lines[0]["help"]
        assert text.startswith(f"Usage: {name} ")
    assert "did you mean 'peek'" in say("help pek").err


def test_set_chooses_the_format(say: Say) -> None:
    assert say("set").lines == [{"format": "auto"}]
    boxes = json.loads(say("set format json", "mailboxes").out.split("\n", 1)[1])
    assert [box["name"] for box in boxes] == ["broken", "mail", "shop"]
    assert say("set format csv").code == 0
    head, first, *_ = say("mailboxes").out.splitlines()
    assert head.startswith("name,waiting,running")
    assert first.startswith("broken,0,0,0,1,")
    assert say("set format xml").code == 2
    assert say("set format auto").code == 0
    assert say("mailboxes").lines


def test_an_option_of_a_line_overrides_the_format_once(say: Say) -> None:
    heard = say("dead --format csv", "dead")
    assert heard.out.splitlines()[0].startswith("id,mailbox,key,kind,message,error")
    assert json.loads(heard.out.splitlines()[-1])["mailbox"] == "broken"


def test_watch_runs_a_command_again_and_again(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr(builtins, "sleep", naps.append)
    assert len(say("watch -n 3 2 peek mail -n 1").lines) == 3
    assert naps == [2, 2]
    heard = say('watch -n 9 2 show "no such"')
    assert (heard.code, heard.err.count("\n"), naps) == (3, 1, [2, 2])
    assert say("watch 0 mailboxes").code == 2
    assert say("watch 2").code == 2


def test_ctrl_c_ends_a_watch_and_not_the_console(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(builtins, "sleep", interrupt)
    assert console.run("watch 2 mailboxes") == cli.INTERRUPTED
    assert console.run("mailboxes") == 0


def test_history_shows_what_was_typed(say: Say) -> None:
    heard = say("peek mail -n 1", "history -n 2")
    assert [line["command"] for line in heard.lines[1:]] == ["peek mail -n 1", "history -n 2"]


# --- consent -------------------------------------------------------------------------------------


@pytest.fixture
def wipe() -> Iterator[list[str]]:
    """Register a dangerous command; returns what it has done."""
    done: list[str] = []

    def wipe(desk: Desk, what: str) -> None:
        """Wipe.

        Args:
            what: it wipes.

        """
        desk.intend(f"wipe 3 of {what}", count=3, danger=True)
        done.append(what)

    registry.command(changes=True)(wipe)
    yield done
    del COMMANDS["wipe"]


def test_a_dangerous_command_is_refused_where_nobody_can_be_asked(
    wipe: list[str], say: Say, console: Console
) -> None:
    heard = say("wipe it")
    assert (heard.code, wipe) == (2, [])
    assert "would wipe 3 of it: say --yes" in heard.err
    assert say("wipe it --yes").code == 0
    assert wipe == ["it"]
    assert [each.command for each in console.desk.rt.audits()] == ["wipe it --yes"]


def test_a_dry_run_says_what_would_happen_and_changes_nothing(wipe: list[str], say: Say) -> None:
    heard = say("wipe it --dry-run --yes")
    assert (heard.code, heard.lines, wipe) == (0, [{"would": "wipe 3 of it", "count": 3}], [])


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 1), ("", 1)])
def test_a_person_is_asked(
    wipe: list[str], console: Console, monkeypatch: pytest.MonkeyPatch, answer: str, code: int
) -> None:
    talk = io.StringIO()
    console.desk.interactive = True
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    monkeypatch.setattr(sys, "stderr", talk)
    assert console.run("wipe it") == code
    assert bool(wipe) is (code == 0)
    assert talk.getvalue().startswith("Wipe 3 of it? [y/N]")


# --- errors --------------------------------------------------------------------------------------


def test_a_fault_of_a_command_is_one_line_and_not_the_end(
    console: Console, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise TypeError("two\nlines")

    monkeypatch.setattr(Runtime, "mailboxes", fail)
    assert console.run("mailboxes") == 1
    assert capfd.readouterr().err == "callboard: unexpected TypeError: two lines\n"


@pytest.mark.slow
def test_a_newer_store_is_one_line_and_is_not_changed(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store)) as db, db:
        db.execute("UPDATE callboard_meta SET value = '99' WHERE name IN ('schema', 'min_client')")
    before = content(store)
    done = subprocess.run(
        [sys.executable, "-m", "callboard", "-s", str(store)], input="mailboxes\n", text=True,
        capture_output=True, check=False, timeout=30,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (5, "", 1)
    assert "99" in done.stderr
    assert content(store) == before


def test_a_stale_socket_is_as_good_as_none(say: Say, store: Path) -> None:
    (store.parent / "shop.db.callboard" / "bell").touch()
    assert say("mailboxes", 'tell mail "x"', "mailboxes").code == 0


# --- any text ------------------------------------------------------------------------------------

_SAFE = sorted({each.name for each in COMMANDS.values() if not each.outer} - {
    "exit", "source", "watch", "backup", "export", "import",
})  # fmt: skip
_PIECES = st.sampled_from([
    *_SAFE, "mail", "shop", "paris", "1", "-n", "3", "--key", "--id", "--at", "--after", "5m",
    "{", "}", "[", '"', "'", "\\", "=", '{"item": "nut"}', "item=nut", "--dry-run", "--format",
    "csv", "#", "\t", "-1", "--", "\0", "\N{SNOWMAN}",
]) | st.text(max_size=8)  # fmt: skip


@settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(["peek", "mail", "-n", "99999999999999999999"])
@example(["tell", "mail", "[" * 2000])
@example(["show", "9" * 5000])
@example(["tell", "mail", '"\ud800"'])
@given(st.lists(_PIECES, max_size=8))
def test_no_text_gives_a_traceback(
    console: Console, capfd: pytest.CaptureFixture[str], parts: list[str]
) -> None:
    text = " ".join(parts)
    # Programs and files are for who types them.
    text = re.sub(r"[|>]", "", text)
    code = console.run(text)
    err = capfd.readouterr().err
    assert not re.match(r"callboard: unexpected \w+:", err), (text, err)
    assert "Traceback" not in err
    assert (code == 0) or err.startswith("callboard: "), (text, code)
    assert err.count("\n") <= 1
