"""Sixty commands on standard input, and what they print; and how fast a busy store answers."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from callboard import Runtime
from callboard.clock import monotonic
from callboard.repl.console import Console
from callboard.repl.registry import Desk

from .consoles import declare, make

if TYPE_CHECKING:
    from pathlib import Path

#: What is typed, and what the line that it prints must hold; None: nothing is printed; a number:
#: so many lines; a text: the error that it gives.
SCRIPT: list[tuple[str, Any]] = [
    ("# sixty commands", None),
    ("status", {"owner": None, "waiting": 2, "dead": 1, "handled": None}),
    ("mailboxes", 3),
    ("top -n 1", {"name": "mail"}),
    ("top --by dead -n 1", {"name": "broken"}),
    ("tree", {"kind": "supervisor"}),
    ("actors", {"mailbox": "shop", "key": "paris"}),
    ("timers", {"name": "reminder"}),
    ("timers shop", None),
    ("schedules", {"name": "report", "tz": "Europe/Paris"}),
    ("next report -n 3", 3),
    ("next raport", "did you mean 'report'"),
    ("dead", {"mailbox": "broken", "error": "no such thing"}),
    ("dead mail", None),
    ("peek mail -n 1", {"message": "one"}),
    ("peek mail", 2),
    ("peek mial", "did you mean 'mail'"),
    ("peek", "Missing argument 'MAILBOX'"),
    ("state shop paris", {"items": 3}),
    ("state shop rome", "no state"),
    ("show reminder", {"name": "reminder", "state": "later"}),
    ("show 999", "no message"),
    ("why 1", {"id": 1}),
    ("events > events.jsonl", None),
    ("events | head -1", 1),
    ('sql "select count(*) as n from callboard_dead"', {"n": 1}),
    ('sql "delete from callboard_dead"', "callboard: "),
    ("audit", None),
    ('tell mail "three" --id third', {"mailbox": "mail"}),
    ("show third", {"message": "three", "state": "waiting"}),
    ('tell mail "replaced" --id third --after 2h', {"mailbox": "mail"}),
    ("show third", {"message": "replaced", "state": "later"}),
    ("tell mail three", "JSON"),
    ('tell shop {"item": "nut", "count": 2} --key oslo --id a', {"mailbox": "shop"}),
    ("show a", {"kind": "Order", "key": "oslo"}),
    ("tell shop item=nut count=4 --key oslo --id b", {"mailbox": "shop"}),
    ("show b", {"message": {"item": "nut", "count": 4}}),
    ('tell shop {"item" "nut"} --key oslo', "JSON"),
    ('tell shop {"itme": "nut"} --key oslo', "itme"),
    ('tell shop {"item": "nut"}', "is keyed"),
    ('tell mail "x" --at "tomorrow 09:00 Europe/Berlin" --id t', {"mailbox": "mail"}),
    ("show t", {"state": "later"}),
    ('tell mail "x" --at soon', "is no time"),
    ("fire 10", {"was": 10}),
    ("show t", {"message": "x"}),
    ("cancel mail t --dry-run", {}),
    ("cancel mail t", {}),
    ("cancel mail t", "no message"),
    ("pause mail", {"paused": True}),
    ("resume mail", {"paused": False}),
    ("pause report", {"paused": True}),
    ("resume report", {"paused": False}),
    ("requeue", "callboard: "),
    ("requeue 1 --dry-run", {"count": 1}),
    ("requeue 1", {}),
    ("dead", None),
    ("discard --all", "callboard: "),
    ("discard 999 --yes", "999"),
    ("purge mail --older 7d --yes", {"cancelled": 0}),
    ("backup copy.db", {}),
    ("backup copy.db", "callboard: "),
    ("ask mail 1", "nobody owns"),
    ("set", {"format": "auto"}),
    ("set format csv", 1),
    ("peek mail -n 1 --format jsonl", {"message": "one"}),
    ("set format auto", 2),
    ("help peek", {"command": "peek"}),
    ("halp", "there is no command 'halp': did you mean 'help'"),
    ("history -n 2", 2),
    ("exit", None),
]


@pytest.mark.slow
def test_a_script_of_sixty_commands_prints_what_it_should(tmp_path: Path) -> None:
    store = make(tmp_path / "shop.db")
    # A mark before each line says where its output begins.
    lines = [f"help --format csv | sed -n '1s/.*/@{number}/p'\n{line}\n"
             for number, (line, _) in enumerate(SCRIPT)]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "callboard", "-s", str(store), "-k"],
        input="".join(lines), text=True, capture_output=True, check=False, timeout=60,
        cwd=tmp_path,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    printed: list[list[str]] = []
    for line in done.stdout.splitlines():
        if line.startswith("@"):
            printed.append([])
        else:
            printed[-1].append(line)
    errors = {int(line.split(":")[1].split()[1]): line for line in done.stderr.splitlines()}
    assert done.returncode == 3  # of 'next raport', the first that failed
    wrong = [
        (line, wanted, printed[number], errors.get(2 * number + 2))
        for number, (line, wanted) in enumerate(SCRIPT)
        if not fits(wanted, printed[number], errors.get(2 * number + 2))
    ]
    assert wrong == [], "\n".join(map(repr, wrong))
    assert len(SCRIPT) >= 60


def fits(wanted: Any, printed: list[str], error: str | None) -> bool:
    if isinstance(wanted, str):
        return error is not None and wanted in error and not printed
    if error is not None:
        return False
    if wanted is None or isinstance(wanted, int):
        return len(printed) == (wanted or 0)
    record = json.loads(printed[0])
    return all(record.get(name) == value for name, value in wanted.items())


@pytest.mark.alone
@pytest.mark.slow
def test_a_blocked_handler_and_a_long_backlog_do_not_slow_the_console(
    tmp_path: Path,
) -> None:
    """Each of the three answers within 200 ms while 100,000 messages wait."""
    rt = Runtime(tmp_path / "shop.db")
    declare(rt)
    begun, go_on = threading.Event(), threading.Event()

    @rt.mailbox("stuck")
    def stuck(_: int) -> None:
        begun.set()
        go_on.wait(60)

    with contextlib.ExitStack() as stack:
        stack.enter_context(rt)
        stack.callback(go_on.set)
        rt.tell_many("stuck", range(100_000))
        assert begun.wait(20)
        desk = stack.enter_context(contextlib.closing(Desk(str(tmp_path / "shop.db"), "jsonl")))
        desk.out = io.StringIO()
        console = Console(desk)
        assert console.run("status") == 0  # opens the store
        took = {}
        for line in ("peek stuck", "status", "tree"):
            best = 9.0
            for _ in range(3):
                start = monotonic()
                assert console.run(line) == 0
                best = min(best, monotonic() - start)
            took[line] = best
        assert desk.out.getvalue().count("\n") >= 36
        assert {line: seconds for line, seconds in took.items() if seconds > 0.2} == {}
