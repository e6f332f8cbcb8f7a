"""What is offered while somebody types: all of it from the store, with no process running."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from click.shell_completion import ShellComplete
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.repl import cli
from callboard.repl.completion import complete
from callboard.repl.registry import COMMANDS, Desk

from .consoles import make

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with contextlib.closing(Desk(str(make(tmp_path / "shop.db")), "jsonl")) as found:
        yield found


def offered(desk: Desk, line: str) -> list[str]:
    return [each.text for each in complete(desk, line)]


def test_commands_come_first(desk: Desk) -> None:
    assert set(offered(desk, "")) == {each.name for each in COMMANDS.values() if not each.outer}
    assert "peek" in offered(desk, "pe")
    assert all(each.note for each in complete(desk, "p"))


@pytest.mark.parametrize(
    ("line", "some"),
    [
        ("peek ", ["broken", "mail", "shop"]),
        ("peek ma", ["mail"]),
        ("pause ", ["mail", "report"]),
        ("next ", ["report"]),
        ("state shop ", ["paris"]),
        ("tell shop {} --key ", ["paris"]),
        ("cancel mail ", ["reminder", "3", "4"]),
        ("requeue ", ["1"]),
        ("show ", ["1", "3", "reminder"]),
        ("tell shop ", ['{"item": , "count": }']),
        ("tell shop {", ['{"item": , "count": }']),
        ("peek mail --", ["-n", "--format"]),
        ("peek mail --format ", ["table", "json", "jsonl", "csv"]),
        ("tell mail 1 --after ", ["5m", "1h"]),
        ("help ti", ["timers"]),
        ("set for", ["format"]),
        ("set format ", ["csv", "auto"]),
        ("watch 2 peek ", ["mail"]),
        ("watch 2 ", ["mailboxes"]),
    ],
)
def test_what_fits_is_offered(desk: Desk, line: str, some: list[str]) -> None:
    found = offered(desk, line)
    assert [each for each in some if each not in found] == []


def test_what_an_option_has_used_is_not_offered_again(desk: Desk) -> None:
    assert "--key" not in offered(desk, "tell shop {} --key paris --")
    assert offered(desk, "peek mail -n ") == []


def test_a_name_with_blanks_is_quoted(desk: Desk) -> None:
    desk.rt.mailbox("two words", lambda _: None)
    desk.rt.tell("two words", 1)
    assert "'two words'" in offered(desk, "peek ")


def test_a_store_that_cannot_be_read_offers_nothing(tmp_path: Path) -> None:
    none = Desk(str(tmp_path / "none.db"), "jsonl")
    assert offered(none, "peek ") == []
    assert "peek" in offered(none, "pe")


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from([*COMMANDS, "mail", "shop", "{", '"', "'", " ", "--key", "2"])
                | st.text(max_size=5), max_size=6).map(" ".join))  # fmt: skip
def test_any_beginning_of_a_line_can_be_completed(desk: Desk, line: str) -> None:
    for each in complete(desk, line):
        assert 0 <= each.start <= len(line)


def test_the_systems_shell_completes_an_options_value_by_what_stands_before_it(desk: Desk) -> None:
    shell = ShellComplete(cli._group(""), {}, "callboard", "_CALLBOARD_COMPLETE")
    given = ["-s", str(desk.path), "tell", "shop", "--key"]
    assert [each.value for each in shell.get_completions(given, "p")] == ["paris"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shells_of_the_system_complete_from_the_store(desk: Desk, shell: str) -> None:
    # What click's own script in each of them sets.
    words = f"callboard -s {desk.path} peek "
    asked = {"COMP_WORDS": words, "COMP_CWORD": "" if shell == "fish" else "4"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from callboard.repl.cli import main; main()"],
        env={**os.environ, **asked, "_CALLBOARD_COMPLETE": f"{shell}_complete"},
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert "mail" in done.stdout, done.stderr
