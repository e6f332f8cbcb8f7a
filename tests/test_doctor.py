"""The doctor: each check finds what is wrong, says it once, and stays quiet where all is well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from callboard import Runtime, StoreError
from callboard.persistence.sqlite_check import Reading
from callboard.persistence.store import SCHEMA
from callboard.runtime.checks_content import EXAMPLES, SORTS

from .doctor_tools import alter, change, copy, declared, make, only, wrong

if TYPE_CHECKING:
    from pathlib import Path

FUTURE = 1_704_067_200_000_000 + 86_400_000_000  # the day after the store's own time

INTO_SHOP = """
INSERT INTO callboard_message (number, mailbox, told_at, kind, version, key, body)
SELECT (SELECT last FROM callboard_counter),
  (SELECT id FROM callboard_mailbox WHERE name = 'shop'), 0, """


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "board.db")


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return copy(made, tmp_path)


def add(kind: str, version: int, body: str, key: str = "paris") -> list[str]:
    """Return statements that put a message into "shop", and count it."""
    return [
        "UPDATE callboard_counter SET last = last + 1",
        f"{INTO_SHOP} '{kind}', {version}, '{key}', CAST('{body}' AS BLOB)",
    ]


def test_a_store_that_is_well_has_only_good_findings(store: Path) -> None:
    found = declared(store).doctor()
    assert wrong(found) == []
    assert {f.check: f.count for f in found if f.check in {"messages", "timers", "dead", "states"}
            } == {"messages": 2, "timers": 1, "dead": 1, "states": 1}  # fmt: skip


def test_a_store_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store .*none\.db"):
        Runtime(tmp_path / "none.db").doctor()
    with pytest.raises(StoreError, match="cannot open"):
        Runtime(tmp_path).doctor()
    assert list(tmp_path.iterdir()) == []


# --- content -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "version", "body", "says"),
    [
        ("doctor.order", 3, '{"item": "x"}', "does not know doctor.order version 3"),
        ("doctor.order", 1, '{"item": "x"}', "does not know doctor.order version 1"),
        ("doctor.gone", 1, "{}", "does not know doctor.gone version 1"),
        ("json", 1, '"text"', "does not know json version 1"),
        ("doctor.order", 2, '{"count": 3}', "missing required field `item`"),
        ("doctor.order", 2, "{", "does not accept this message"),
    ],
)
def test_a_message_that_will_not_load_is_named(
    store: Path, kind: str, version: int, body: str, says: str
) -> None:
    alter(store, *add(kind, version, body))
    found = only(declared(store).doctor(), "messages")
    assert (found.severity, found.mailbox, found.kind, found.version) == (
        "error", "shop", kind, version)  # fmt: skip
    (example,) = found.examples
    assert (example["id"], example["key"]) == (6, "paris")
    assert says in example["error"]
    assert says in found.text
    assert found.advice


@pytest.mark.parametrize(
    ("table", "check", "severity"),
    [("message", "timers", "error"), ("dead", "dead", "warning"), ("state", "states", "error")],
)
def test_so_is_a_future_call_a_dead_letter_and_a_state(
    store: Path, table: str, check: str, severity: str
) -> None:
    which = {"message": "due IS NOT NULL", "dead": "1", "state": "1"}[table]
    change(store, table, "body = CAST('[1' AS BLOB)", which)
    found = only(declared(store).doctor(), check)
    assert (found.severity, found.count) == (severity, 1)


def test_a_retry_that_waits_for_its_time_is_a_message(store: Path) -> None:
    alter(store, "UPDATE callboard_message SET attempt = 1, kind = 'gone' WHERE due IS NOT NULL")
    assert only(declared(store).doctor(), "messages").count == 1


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("kind = 'Gone'", "is of kind 'Gone'"),
        ("version = 9", "is of version 9"),
        ("key = ''", "keyed: no actor has none"),
    ],
)
def test_a_state_that_no_actor_of_this_code_would_load_is_named(
    store: Path, what: str, says: str
) -> None:
    change(store, "state", what)
    assert says in only(declared(store).doctor(), "states").text


def test_a_state_where_the_code_keeps_none_is_named(store: Path) -> None:
    alter(store, """UPDATE callboard_state SET key = '', mailbox =
                    (SELECT id FROM callboard_mailbox WHERE name = 'mail')""")  # fmt: skip
    assert "keeps no state there" in only(declared(store).doctor(), "states").text


def test_whatever_the_users_types_raise_is_a_finding(tmp_path: Path) -> None:
    class Trap(Exception):
        pass

    sprung: list[bool] = []

    @dataclass
    class Touchy:
        def __post_init__(self) -> None:
            if sprung:
                raise Trap("sprung")

    rt = Runtime(tmp_path / "touchy.db")

    @rt.mailbox("touchy")
    def touchy(message: Touchy) -> None:
        pass

    rt.tell("touchy", Touchy())
    rt.stop()
    assert wrong(rt.doctor()) == []
    sprung.append(True)
    assert "does not accept this message: sprung" in only(rt.doctor(), "messages").text


def test_of_each_sort_the_first_are_named_and_all_are_counted(store: Path) -> None:
    alter(store, *[line for n in range(10) for line in add("doctor.gone", 1, "{}", f"key {n}")])
    found = only(declared(store).doctor(), "messages")
    assert (found.count, len(found.examples)) == (10, EXAMPLES)
    assert "10 of mailbox 'shop'" in found.text


def test_however_many_sorts_there_are_some_are_listed_and_all_are_counted(store: Path) -> None:
    alter(store, *[line for n in range(SORTS + 7) for line in add(f"kind {n}", 1, "{}")])
    found = wrong(declared(store).doctor())
    assert len(found) == SORTS + 1
    assert sum(f.count for f in found) == SORTS + 7


def test_rows_come_in_pages_in_order_and_what_is_told_meanwhile_is_left_out(store: Path) -> None:
    alter(store, *[line for _ in range(5) for line in add("doctor.order", 2, "{}")])
    with Reading(store, still=False) as reading:
        rows = reading.messages(page=3)
        first = next(rows)[0]
        alter(store, *add("doctor.order", 2, "{}"))
        assert [first, *(row[0] for row in rows)] == [3, 4, 5, 6, 7, 8, 9, 10]
        alter(store, "INSERT INTO callboard_state SELECT mailbox, 'b', kind, version, body "
              "FROM callboard_state")  # fmt: skip
        assert [row[1] for row in reading.states(page=1)] == ["b", "paris"]


# --- without code ------------------------------------------------------------------------------


def test_without_code_it_says_so_and_judges_by_what_the_last_owner_declared(store: Path) -> None:
    found = Runtime(store).doctor()
    assert "no code at hand" in next(f.text for f in found if f.check == "code")
    assert wrong(found) == []
    alter(store, *add("doctor.order", 3, "{}"), *add("doctor.gone", 1, "{}"))
    assert [f.kind for f in wrong(Runtime(store).doctor())] == ["doctor.order", "doctor.gone"]


@pytest.mark.parametrize("table", ["message", "dead", "state"])
def test_without_code_a_body_that_is_no_json_is_named(store: Path, table: str) -> None:
    change(store, table, "body = x'ff7b'")
    assert all("is no JSON" in f.text for f in wrong(Runtime(store).doctor()))
    assert wrong(Runtime(store).doctor()) != []


# --- what is declared --------------------------------------------------------------------------


def test_a_mailbox_that_no_code_declares_is_an_error_while_messages_wait_in_it(
    store: Path,
) -> None:
    rt = declared(store)
    for name in ("mail", "broken"):
        del rt._registry.specs[name]
    found = {f.mailbox: f for f in wrong(rt.doctor()) if f.check == "mailboxes"}
    assert (found["mail"].severity, found["mail"].count) == ("error", 1)
    assert (found["broken"].severity, found["broken"].count) == ("warning", 1)  # a dead letter


def test_an_empty_mailbox_that_no_code_declares_is_a_note(store: Path) -> None:
    other = declared(store)
    other.mailbox("old", lambda _: None)
    with other:
        pass
    found = declared(store).doctor()
    assert wrong(found) == []
    assert [f.mailbox for f in found if f.severity == "note"] == ["old"]


def test_a_schedule_that_no_code_declares_is_named(store: Path) -> None:
    rt = declared(store)
    rt._schedules.specs.clear()
    rt._schedules._targets.clear()
    assert "'daily' (0 9 * * *) is not declared" in only(rt.doctor(), "schedules").text


@pytest.mark.parametrize("what", ["tz = 'Europe/Atlantis'", "expression = '0 9 * *'"])
def test_a_schedule_that_cannot_be_read_is_named(store: Path, what: str) -> None:
    change(store, "schedule", what)
    for rt in (declared(store), Runtime(store)):
        found = only(rt.doctor(), "schedules")
        assert (found.severity, "'daily' cannot be read" in found.text) == ("error", True)


def test_a_schedule_whose_mailbox_nobody_declares_is_named(store: Path) -> None:
    rt = declared(store)
    rt.cron("@hourly", name="lost", to="nowhere_at_all")
    assert "'lost' ticks into mailbox 'nowhere_at_all'" in only(rt.doctor(), "schedules").text
    alter(store, "UPDATE callboard_schedule SET mailbox = 'nowhere'")
    assert "ticks into mailbox 'nowhere'" in only(Runtime(store).doctor(), "schedules").text


def test_code_that_would_not_start_is_an_error(store: Path) -> None:
    rt = declared(store)
    rt.cron("@hourly", name="keyless", to="later")
    rt.mailbox("later", takes_no_tick, keyed=True)
    assert "it would not start" in only(rt.doctor(), "code").text


def takes_no_tick(number: int) -> None:
    pass


# --- the store's bones -------------------------------------------------------------------------


def test_a_damaged_file_is_an_error_and_the_other_checks_go_on(store: Path) -> None:
    with store.open("r+b") as file:
        file.seek(-4096, 2)
        file.write(b"\xa5" * 4096)
    found = declared(store).doctor()
    assert any(f.check == "integrity" and f.severity == "error" for f in found), found
    assert any(f.check == "clock" for f in found)


def test_what_is_no_database_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database, but a text\n" * 100)
    path.chmod(0o600)
    assert "not a database" in only(Runtime(path).doctor(), "schema").text


def test_what_sqlite_complains_of_is_an_error(store: Path) -> None:
    alter(store, "CREATE TABLE mine (x)", "INSERT INTO mine VALUES (NULL)",
          "PRAGMA writable_schema = ON",
          "UPDATE sqlite_master SET sql = 'CREATE TABLE mine (x NOT NULL)' WHERE name = 'mine'",
    )  # fmt: skip
    found = only(declared(store).doctor(), "integrity")
    assert (found.severity, found.text) == (
        "error", "the file is damaged: NULL value in mine.x")  # fmt: skip


def test_a_foreign_key_that_leads_nowhere_is_an_error(store: Path) -> None:
    alter(store, "CREATE TABLE a (id INTEGER PRIMARY KEY)",
          "CREATE TABLE b (a INTEGER REFERENCES a)", "INSERT INTO b VALUES (7)")  # fmt: skip
    found = only(declared(store).doctor(), "integrity")
    assert (found.count, "b row 1 names no row of a" in found.text) == (1, True)


def test_a_store_of_another_schema_is_judged(store: Path) -> None:
    for schema, oldest, severity, says in (
        (SCHEMA + 1, 1, "error", "never own the store"),
        (SCHEMA + 1, SCHEMA + 1, "error", "even a client"),
        (1, 1, "note", f"the next start brings it to {SCHEMA}"),
    ):
        change(store, "meta", f"value = '{schema}'", "name = 'schema'")
        change(store, "meta", f"value = '{oldest}'", "name = 'min_client'")
        found = next(f for f in declared(store).doctor() if f.check == "schema")
        assert (found.severity, says in found.text) == (severity, True)


def test_a_store_of_the_first_schema_has_fewer_tables_and_is_examined_all_the_same(
    store: Path,
) -> None:
    alter(store, "DROP TABLE callboard_schedule", "DROP TABLE callboard_told",
          "DROP TABLE callboard_done", "DROP TABLE callboard_level", "DROP TABLE callboard_rate",
          "UPDATE callboard_meta SET value = '1' WHERE name = 'schema'")  # fmt: skip
    assert wrong(declared(store).doctor()) == []


def test_a_database_without_a_store_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "app.db"
    alter(path, "CREATE TABLE mine (x)")
    path.chmod(0o600)
    assert "no store in this database yet" in only(Runtime(path).doctor(), "schema").text


def test_a_number_that_would_be_used_twice_is_an_error(store: Path) -> None:
    alter(store, "UPDATE callboard_counter SET last = 4")
    assert "message 5 is there" in only(declared(store).doctor(), "numbers").text


@pytest.mark.parametrize("table", ["message", "dead", "state", "level"])
def test_rows_of_a_mailbox_that_has_no_row_are_orphans(store: Path, table: str) -> None:
    change(store, table, "mailbox = 77", "number = 5" if table == "message" else "1")
    found = wrong(declared(store).doctor())
    assert any(f"1 rows of callboard_{table}" in f.text and f.severity == "error" for f in found)


def test_states_of_before_of_a_mailbox_that_has_no_row_are_orphans(store: Path) -> None:
    alter(store, "INSERT INTO callboard_past (mailbox, key, at, by) VALUES (77, '', 1, 'hand')")
    (found,) = wrong(declared(store).doctor())
    assert "1 rows of callboard_past" in found.text


def test_a_counter_that_disagrees_with_what_waits_is_an_error(store: Path) -> None:
    alter(store, "UPDATE callboard_level SET held = 5")
    found = only(declared(store).doctor(), "levels")
    assert (found.severity, found.mailbox) == ("error", "mail")
    assert "counts 5 waiting messages, but 1 are there" in found.text


def test_a_retry_counts_where_there_is_a_capacity_and_a_future_call_does_not(store: Path) -> None:
    mail = "mailbox = (SELECT id FROM callboard_mailbox WHERE name = 'mail')"
    change(store, "message", "due = 5, attempt = 1", mail)
    assert wrong(declared(store).doctor()) == []
    change(store, "message", "due = 5, attempt = 0", mail)
    assert wrong(declared(store).doctor()) == []


def test_rows_that_were_told_in_the_future_speak_of_the_clock(store: Path) -> None:
    for table, column in (("message", "told_at"), ("dead", "failed_at")):
        change(store, table, f"{column} = {FUTURE}")
        found = only(declared(store).doctor(), "clock")
        assert found.severity == "warning"
        assert "the last at 2024-01-02 00:00:00 UTC" in found.text
        change(store, table, f"{column} = {1 << 62}")
        assert "9999-12-31 23:59:59 UTC:" in only(declared(store).doctor(), "clock").text
        change(store, table, f"{column} = 0")
