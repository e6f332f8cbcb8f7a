"""The doctor changes nothing, whoever works on the store meanwhile; and its command."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from callboard import Runtime
from callboard.persistence import sqlite_check
from callboard.runtime import checks_store, doctor

from .consoles import Call
from .doctor_tools import alter, change, content, copy, declared, files, make, wrong
from .imports import at_hand
from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

    from callboard.persistence.sqlite_check import Reading

KILLED = """
import sys
from callboard import Runtime
rt = Runtime(sys.argv[1])
rt.mailbox("mail", lambda _: None)
rt.pause("mail")
rt.start()
for number in range(100):
    rt.tell("mail", number)
print("told")
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "board.db")


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return copy(made, tmp_path)


@pytest.mark.parametrize("code", [True, False])
def test_a_store_that_nobody_has_open_keeps_every_byte_and_gets_no_file(
    store: Path, *, code: bool
) -> None:
    before = files(store.parent)
    rt = declared(store) if code else Runtime(store)
    assert wrong(rt.doctor()) == []
    rt.stop()
    assert files(store.parent) == before
    assert not store.with_name("board.db-shm").exists()


def test_the_folder_of_locks_is_not_made(store: Path) -> None:
    shutil.rmtree(store.with_name("board.db.callboard"))
    assert wrong(declared(store).doctor()) == []
    assert [each.name for each in store.parent.iterdir()] == ["board.db"]


@pytest.mark.slow
def test_beside_a_living_owner_it_changes_nothing_and_sees_what_is_in_the_log(
    tmp_path: Path,
) -> None:
    path = tmp_path / "board.db"
    with Child(KILLED, path, cwd=tmp_path) as owner:
        owner.wait_for("told")
        log = path.with_name("board.db-wal").read_bytes()
        before, main = content(path), path.read_bytes()
        found = Runtime(path).doctor()
        assert (content(path), path.read_bytes()) == (before, main)
        assert path.with_name("board.db-wal").read_bytes()[: len(log)] == log
        assert owner.process.poll() is None
        assert f"process {owner.process.pid} owns it" in [f.text for f in found]
    assert next(f.count for f in found if f.check == "messages") == 100


@pytest.mark.slow
def test_the_log_of_a_killed_owner_is_read_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "board.db"
    with Child(KILLED, path, cwd=tmp_path) as owner:
        owner.wait_for("told")
    before = files(tmp_path)
    assert before["board.db-wal"][0]
    found = Runtime(path).doctor()
    assert wrong(found) == []
    assert next(f.count for f in found if f.check == "messages") == 100
    assert files(tmp_path) == before


@pytest.mark.parametrize("schema", [1, 99])
def test_a_store_of_another_schema_is_not_migrated(store: Path, schema: int) -> None:
    change(store, "meta", f"value = '{schema}'", "name = 'schema'")
    before = files(store.parent)
    declared(store).doctor()
    assert files(store.parent) == before


@pytest.mark.parametrize("still", [True, False])
def test_its_connection_refuses_to_write(store: Path, *, still: bool) -> None:
    with sqlite_check.Reading(store, still=still) as reading:
        for switch in ("ON", "OFF"):  # the file itself is open for reading only
            reading._run(f"PRAGMA query_only = {switch}")
            with pytest.raises(sqlite_check.Unreadable, match="readonly"):
                reading._run("DELETE FROM callboard_message")


def test_in_an_owner_itself_it_takes_no_lock_away(store: Path) -> None:
    with declared(store) as rt:
        assert wrong(rt.doctor()) == []
        rt.tell("mail", "after it")
        assert rt._host.store.intact()
        assert rt.role == "owner"


def test_what_others_open_while_it_reads_is_read_again(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = checks_store.check_integrity
    still: list[bool] = []

    def meanwhile(reading: Reading) -> Any:
        still.append(reading.still)
        if len(still) == 1:
            rt = Runtime(store)
            rt.tell("mail", "in between")
            rt.stop()
        return real(reading)

    monkeypatch.setattr(doctor, "check_integrity", meanwhile)
    found = declared(store).doctor()
    assert still == [True, False]
    assert next(f.count for f in found if f.check == "messages") == 3


# --- the command -------------------------------------------------------------------------------

APP = """
from pathlib import Path
from tests.doctor_tools import declared
rt = declared(Path("board.db"))
"""


@pytest.fixture
def call(store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    source = APP.replace("tests.doctor_tools", declared.__module__)
    at_hand(monkeypatch, store.parent, "app_of_doctor", source)
    return Call(None, capsys)


def test_all_is_well_is_0_and_an_error_is_6(store: Path, call: Call) -> None:
    code, out, err = call("-a", "app_of_doctor:rt", "doctor")
    assert (code, err) == (0, "")
    assert {json.loads(line)["severity"] for line in out.splitlines()} <= {"ok", "warning"}
    alter(store, "UPDATE callboard_state SET version = 9")
    code, out, err = call("-a", "app_of_doctor:rt", "doctor")
    assert (code, err) == (6, "callboard: the doctor found 1 error: its line says what to do\n")
    bad = next(each for each in map(json.loads, out.splitlines()) if each["severity"] == "error")
    assert (bad["check"], bad["mailbox"], bad["version"]) == ("states", "shop", 9)
    assert bad["examples"][0]["key"] == "paris"


def test_warnings_alone_are_0(store: Path, call: Call) -> None:
    store.chmod(0o644)
    code, out, _ = call("-s", "board.db", "doctor")
    assert code == 0
    assert "open to other users" in out


def test_people_see_whole_lines_with_what_to_do(store: Path, call: Call) -> None:
    alter(
        store,
        "UPDATE callboard_level SET held = 5",
        "UPDATE callboard_message SET kind = 'evil' || char(27, 10)",
        "CREATE TABLE a (id INTEGER PRIMARY KEY)",
        'CREATE TABLE "b\x1b" (a INTEGER REFERENCES a)',
        'INSERT INTO "b\x1b" VALUES (7)',
    )
    code, out, _ = call("-s", "board.db", "doctor", "--format", "table")
    assert code == 6
    assert "counts 5 waiting messages, but 1 are there: it takes too many, or too few\n" in out
    assert "  -> start its owner once without capacity=" in out
    assert "'evil\\x1b\\n' version 2, 4 (key 'paris')" in out
    assert "\x1b" not in out


def test_no_store_is_5_and_none_is_made(store: Path, call: Call) -> None:
    assert call("-s", "none.db", "doctor")[0] == 5
    assert not store.with_name("none.db").exists()


@pytest.mark.parametrize("command", [["run", "app:rt"], ["demo"]])
def test_run_and_demo_refuse_dash_a_in_one_line(call: Call, command: list[str]) -> None:
    code, out, err = call("-a", "app_of_doctor:rt", *command)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "without -a" in err
