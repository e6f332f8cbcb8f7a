"""The programs of the tutorial and the how-to pages do what the pages say."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import callboard
from callboard import ManualClock, Runtime
from callboard.events import EVENTS

from .pages import FENCE, PAGES, SHELL, shell, typed, write
from .processes import PATIENCE, Child


def printed(text: str, fence: int) -> list[str]:
    """Return what a console fence shows that the programs print, without what is typed."""
    lines = SHELL.findall(text)[fence].splitlines()
    return [line for line in lines if not line.startswith("$")]


def pass_time(store: Path, seconds: int) -> None:
    """Have all that is due so many seconds later be due now; nothing runs meanwhile."""
    connection = sqlite3.connect(store)
    with connection:
        connection.execute("UPDATE callboard_message SET due = due - ?", (seconds * 1_000_000,))
    connection.close()


@pytest.mark.prove
@pytest.mark.slow
def test_the_tutorial_ends_with_a_program_that_was_killed_and_goes_on(tmp_path: Path) -> None:
    text = PAGES["tutorial.md"]
    files = dict(FENCE.findall(text))
    (tmp_path / "shop.py").write_text(files["shop.py"])
    (tmp_path / "customers.py").write_text(files["customers.py"])
    hello, nobody = [line for line in typed("tutorial.md") if line.startswith("python -c")]
    run = "import runpy; runpy.run_path('shop.py', run_name='__main__')"
    with Child(run, cwd=tmp_path) as shop:
        shell(tmp_path, hello)
        shop.wait_for("mail: hello")
        shop.process.send_signal(signal.SIGTERM)
        assert shop.end() == 0
    shell(tmp_path, nobody)
    (waiting,) = shell(tmp_path, "callboard -s shop.db mailboxes")
    assert '"waiting":1' in waiting

    (tmp_path / "shop.py").write_text(files["shop.py, in full"])
    with Child(run, cwd=tmp_path) as shop:
        shop.wait_for("mail: is anybody there?")
        said = shell(tmp_path, "python customers.py")
        shop.wait_for("mail: order 2 is paid")
        assert [*shop.lines, *said] == printed(text, 3)
        shop.kill()
    assert any("unpaid 1" in line for line in shell(tmp_path, "callboard -s shop.db timers"))
    pass_time(tmp_path / "shop.db", 20)
    states = re.findall(r"^\$ (callboard .* state .*)\n(.*)", text, re.MULTILINE)
    (line, shown), (last_line, last_shown) = states
    assert shell(tmp_path, line) == [shown]
    with Child(run, cwd=tmp_path) as shop:
        shop.wait_for("mail: order 1 was not paid and is cancelled")
        assert shell(tmp_path, last_line) == [last_shown]
        assert len(shop.lines) == 1


@pytest.mark.slow
def test_the_tests_of_the_page_about_testing_pass(tmp_path: Path) -> None:
    write("howto/testing.md", tmp_path)
    assert any("5 passed" in line for line in shell(tmp_path, "pytest ."))


@pytest.mark.slow
def test_a_backup_beside_an_owner_is_restored(tmp_path: Path) -> None:
    write("howto/backup.md", tmp_path)
    handled: list[int] = []
    copy = tmp_path / "copy.db"
    rt = Runtime(tmp_path / "shop.db")
    rt.mailbox("mail", handled.append)
    rt.tell("mail", 1)
    rt.pause("mail")
    with rt:
        shell(tmp_path, f"python back_up.py shop.db {copy}")
        assert copy.stat().st_mode & 0o777 == 0o600
        rt.resume("mail")
        rt.tell("mail", 2)
    wait = typed("howto/backup.md")
    assert [line.split()[0] for line in wait[2:6]] == ["mkdir", "mv", "cp", "chmod"]
    (tmp_path / "broken").mkdir()
    for path in tmp_path.glob("shop.db*"):
        path.rename(tmp_path / "broken" / path.name)
    shutil.copy(copy, tmp_path / "shop.db")
    handled.clear()
    (mailbox,) = rt.mailboxes()
    assert (mailbox.waiting, mailbox.paused) == (1, True)
    shell(tmp_path, "callboard -s shop.db resume mail")
    done = threading.Event()
    rt.events.subscribe(lambda _: done.set(), "message.handled")
    with rt:
        assert done.wait(PATIENCE)
    assert handled == [1]


# Runs until nothing waits, or as many events of a kind have come as were asked for.
OWN = """
import collections, threading
from callboard.clock import monotonic
told, changed = collections.Counter(), threading.Semaphore(0)
rt.events.subscribe(lambda event: (told.update([event.name]), changed.release()))
until = monotonic() + 20
with rt:
    while rt.mailboxes()[0].waiting and not wanted <= set(told):
        assert monotonic() < until, told
        changed.acquire(timeout=0.05)
print([rt.state(Cart, key) for key in ("ada", "bob")])
"""


def run(folder: Path, version: str, code: str) -> list[str]:
    """Run code with one version of the page's module."""
    code = f"import sys; sys.path.insert(0, {version!r}); wanted = {{'never'}}\n" + code
    return shell(folder, shlex.join(["python", "-c", f"{code}"]))


@pytest.mark.slow
def test_old_and_new_code_take_over_from_each_other(tmp_path: Path) -> None:
    write("howto/upgrade.md", tmp_path)
    shop = "from shop import AddItem, Cart, rt\n"
    run(tmp_path, "old", f"{shop}rt.tell(Cart, AddItem('lamp'), key='ada')\n{OWN}")
    # What the old one wrote, the new one reads: a state, and a message that waits.
    run(tmp_path, "old", f"{shop}rt.tell(Cart, AddItem('lamp'), key='ada')")
    said = run(tmp_path, "new", shop + OWN)
    assert said == ["[CartState(counts={'lamp': 2}), CartState(counts={})]"]
    # The other way round it waits, and nothing is lost.
    run(tmp_path, "new", f"{shop}rt.tell(Cart, AddItem('chair', 3), key='bob')")
    run(tmp_path, "old", f"{shop}rt.tell(Cart, AddItem('sofa'), key='ada')")
    wanted = "wanted = {'message.unknown', 'actor.faulted'}\n"
    run(tmp_path, "old", f"{shop}{wanted}{OWN.replace('rt.state(Cart, key)', 'key')}")
    said = run(tmp_path, "new", shop + OWN)
    assert said == ["[CartState(counts={'lamp': 2, 'sofa': 1}), CartState(counts={'chair': 3})]"]


@pytest.mark.slow
def test_what_waits_under_an_old_name_is_handed_over(tmp_path: Path) -> None:
    write("howto/upgrade.md", tmp_path)
    before = Runtime(tmp_path / "shop.db")
    before.mailbox("mail", print)
    before.tell("mail", "ada@example.org")
    before.stop()
    own = "import runpy; runpy.run_path('renamed/shop.py')['rt'].run()"
    with Child(own, cwd=tmp_path) as shop:
        shop.wait_for("letter to ada@example.org")


# --- programs of those who move from elsewhere -------------------------------------------------


@pytest.mark.slow
def test_the_last_part_of_a_batch_sends_its_summary(tmp_path: Path) -> None:
    write("howto/move-from-celery.md", tmp_path)
    with Child("import runpy; runpy.run_path('batches.py', run_name='__main__')",
               cwd=tmp_path) as program:  # fmt: skip
        program.wait_for(f"total {sum(n * n for n in range(10))}")


@pytest.mark.slow
def test_a_call_that_tells_itself_again_goes_on_after_a_kill(tmp_path: Path) -> None:
    write("howto/move-from-apscheduler.md", tmp_path)
    path = tmp_path / "poll.py"
    path.write_text(path.read_text().replace('"90m"', "0.3"))
    store = Runtime(tmp_path / "jobs.db")
    for _ in range(2):
        with Child("import runpy; runpy.run_path('poll.py', run_name='__main__')",
                   cwd=tmp_path) as program:  # fmt: skip
            program.wait_for("polled")
            program.wait_for("polled")
        (mailbox,) = store.mailboxes()
        assert mailbox.waiting + mailbox.later == 1
    store.stop()


def test_a_future_call_of_serverpods_kind_is_told_and_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ((_, code),) = FENCE.findall(PAGES["howto/move-from-serverpod.md"])
    names: dict[str, Any] = {}
    code = code.replace("rt.cancel", "before = rt.timers()\nrt.cancel")
    exec(compile(code, "page", "exec"), names)  # noqa: S102  (our own page)
    assert [timer.name for timer in names["before"]] == ["welcome-7"]
    assert names["rt"].timers() == []
    names["rt"].stop()


# --- cron expressions --------------------------------------------------------------------------


def expressions() -> list[tuple[str, list[str]]]:
    """Return the rows of the page's table: an expression, and the instants that it says."""
    found = re.findall(r"^\| `([^`]+)` \| ([^|]*) \| ([^|]*) \|$", PAGES["reference/cron.md"],
                       re.MULTILINE)  # fmt: skip
    return [(expression, re.findall(r"`([^`]+)`", runs)) for expression, _, runs in found]


def test_the_expressions_mean_what_the_page_says(tmp_path: Path) -> None:
    start = datetime(2030, 1, 1, 12, tzinfo=UTC)
    rt = Runtime(tmp_path / "board.db", clock=ManualClock(start))
    rt.mailbox("work", print)
    assert len(expressions()) > 5
    for expression, runs in expressions():
        name = rt.cron(expression, name=expression, to="work", message="now")
        next_runs = rt.next_runs(name, n=len(runs))
        assert [f"{run:%a %d %b %H:%M:%S}".removesuffix(":00") for run in next_runs] == runs
    rt.stop()


# --- operations --------------------------------------------------------------------------------


def test_the_health_check_says_who_owns_and_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ((_, code),) = FENCE.findall(PAGES["howto/operate.md"])
    names: dict[str, Any] = {}
    exec(compile(code, "health.py", "exec"), names)  # noqa: S102  (our own page)
    rt, health = names["rt"], names["health"]
    rt.mailbox("mail", print)
    rt.pause("mail")
    rt.tell("mail", "hello")
    assert (health()["ok"], health()["waiting"]) == (False, 1)
    with rt:
        assert health()["ok"] is True
        assert health()["owner"] == os.getpid()


def test_the_pages_about_operations_name_events_and_errors_that_exist() -> None:
    text = PAGES["howto/operate.md"]
    events = set(re.findall(r"^\| `([a-z]+\.[a-z]+)` \|", text, re.MULTILINE))
    errors = set(re.findall(r"^\| `([A-Z]\w+)` \|", text, re.MULTILINE))
    assert events
    assert errors
    assert events <= set(EVENTS)
    assert all(issubclass(getattr(callboard, name), callboard.CallboardError) for name in errors)


# --- asyncio, and tables of one's own ----------------------------------------------------------


@pytest.mark.slow
def test_the_asyncio_program_says_what_it_does(tmp_path: Path) -> None:
    write("howto/asyncio.md", tmp_path)
    said = "".join(shell(tmp_path, "python prices.py"))  # two threads may share a line
    assert said.startswith("prices [6.0, 7.5]")
    assert "told 3" in said
    assert "heard of order.paid chair" in said


@pytest.mark.filterwarnings("ignore:SQLite .* can corrupt a database:RuntimeWarning")
def test_orders_and_bills_are_one_transaction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    connection = sqlite3.connect("shop.db")
    connection.execute(
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, price INT, paid INT DEFAULT 0)"
    )
    code = dict(FENCE.findall(PAGES["howto/own-tables.md"]))["shop.py"]
    names: dict[str, Any] = {}
    exec(compile(code, "shop.py", "exec"), names)  # noqa: S102  (our own page)
    rt = names["rt"]
    names["place"](7, 40)
    names["place_with_my_connection"](connection, 8, 50)
    for place in (
        names["place"],
        lambda *order: names["place_with_my_connection"](connection, *order),
    ):
        with pytest.raises(sqlite3.IntegrityError):
            place(7, 1)
    done = threading.Semaphore(0)
    rt.events.subscribe(lambda _: done.release(), "message.handled")
    with rt:
        for _ in range(4):
            assert done.acquire(timeout=PATIENCE)
    assert sorted(capsys.readouterr().out.splitlines()) == ["order 7: 40 paid", "order 8: 50 paid"]
    assert connection.execute("SELECT id, paid FROM orders").fetchall() == [(7, 1), (8, 1)]
    connection.close()
