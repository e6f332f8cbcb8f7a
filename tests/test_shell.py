"""The interactive console: typed into as a person does, through a pipe and through a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pty
import re
import select
import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from prompt_toolkit.validation import ValidationError

from callboard import Runtime
from callboard.clock import monotonic
from callboard.errors import ConfigError
from callboard.repl.console import Console
from callboard.repl.registry import Desk
from callboard.repl.shell import HISTORY, Readable, Shell, broken
from callboard.repl.status import look

from .consoles import make

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Typed = Callable[[str], str]

CTRL_C, CTRL_D = "\x03", "\x04"
UP, RIGHT = "\x1b[A", "\x1b[C"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TERM", "xterm")
    return make(tmp_path / "shop.db")


@pytest.fixture
def typed(store: Path, capfd: pytest.CaptureFixture[str]) -> Typed:
    """Return a call that types into a console of its own, and returns what it printed."""

    def run(text: str) -> str:
        desk = Desk(str(store), "jsonl")
        with contextlib.closing(desk), create_pipe_input() as keys:
            keys.send_text(text + CTRL_D)
            with create_app_session(input=keys, output=DummyOutput()):
                run.code = Shell(Console(desk)).run()  # type: ignore[attr-defined]
        said = capfd.readouterr()
        return said.out + said.err

    return run


# --- through a pipe ------------------------------------------------------------------------------


def test_a_line_is_run(typed: Typed) -> None:
    assert '"message":"one"' in typed("peek mail -n 1\r")


def test_ctrl_c_ends_the_line_and_ctrl_d_leaves(typed: Typed) -> None:
    said = typed(f"discard 1{CTRL_C}dead\r")
    assert '"error":"no such thing"' in said  # the line before was dropped
    assert typed.code == 0  # type: ignore[attr-defined]


def test_exit_leaves_with_its_code(typed: Typed) -> None:
    typed("exit 4\r")
    assert typed.code == 4  # type: ignore[attr-defined]


def test_an_open_bracket_goes_on_in_the_next_line(typed: Typed) -> None:
    typed('tell shop {"item":\r"nut",\r"count": 5} --key oslo --id x\r')
    assert '"count":5' in typed("show x\r")


def test_broken_json_is_not_sent(typed: Typed) -> None:
    # Refused at Enter; Ctrl-C drops it.
    typed(f'tell shop {{"item" "nut"}} --key oslo --id x\r{CTRL_C}')
    assert "no message 'x'" in typed("show x\r")


@pytest.mark.parametrize(
    ("line", "at"),
    [('tell shop {"item" "nut"}', 18), ("say 'it", 4), ("dead |", 6), ('x [1, {"a": }]', 12)],
)
def test_what_is_wrong_with_a_line_is_shown_at_its_place(line: str, at: int) -> None:
    with pytest.raises(ValidationError) as caught:
        Readable().validate(Document(line))
    assert caught.value.cursor_position == at


def test_json_is_checked_with_its_place() -> None:
    assert broken('{"a": [1, 2]}') is None
    assert broken('{"a": 1,}') == (7, "no JSON: illegal trailing comma before end of object") or (
        broken('{"a": 1,}') or (0, "")
    )[0] in (7, 8)


def test_the_history_is_kept_for_each_store_for_its_user_alone(typed: Typed, store: Path) -> None:
    typed("peek mail -n 1\r")
    file = store.with_name("shop.db.callboard") / HISTORY
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert typed("history\r").count("peek mail -n 1") == 1


@contextlib.contextmanager
def opened(store: Path) -> Iterator[tuple[Shell, PipeInput]]:
    """Open a console, with what types into it."""
    desk = Desk(str(store), "jsonl")
    with (
        contextlib.closing(desk), create_pipe_input() as keys,
        create_app_session(input=keys, output=DummyOutput()),
    ):  # fmt: skip
        yield Shell(Console(desk)), keys


def test_up_brings_back_what_an_earlier_console_has_run(
    typed: Typed, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    typed("peek mail -n 1\r")
    with opened(store) as (shell, keys):
        buffer = shell._session.default_buffer
        runs: list[str] = []

        def shown(_: object) -> None:
            if runs:
                keys.send_text(CTRL_C + CTRL_D)
            elif buffer.text == "":
                keys.send_text(UP)  # until the history has been read: there is one line in it
            else:
                runs.append(buffer.text)
                keys.send_text("\r")

        shell._session.app.after_render += shown
        shell.run()
    assert runs == ["peek mail -n 1"]
    assert '"message":"one"' in capfd.readouterr().out


def test_what_the_history_suggests_is_taken_with_the_right_arrow(
    typed: Typed, store: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    typed("peek mail -n 1\r")
    with opened(store) as (shell, keys):
        buffer = shell._session.default_buffer
        suggested: list[str] = []
        begun = threading.Event()

        def offered(_: object) -> None:
            if buffer.suggestion is not None and buffer.suggestion.text and not suggested:
                suggested.append(buffer.suggestion.text)
                keys.send_text(f"{RIGHT}\r{CTRL_D}")

        def shown(_: object) -> None:
            if not begun.is_set() and buffer.history.get_strings():
                begun.set()
                keys.send_text("pe")  # what is typed before the history has been read is too early

        buffer.on_suggestion_set += offered
        shell._session.app.after_render += shown
        shell.run()
    assert suggested == ["ek mail -n 1"]
    assert '"message":"one"' in capfd.readouterr().out


def test_tab_completes_from_the_store(store: Path) -> None:
    with opened(store) as (shell, keys):
        buffer = shell._session.default_buffer
        found: list[str] = []

        def offered(_: object) -> None:
            state = buffer.complete_state
            if state is not None and state.completions and not found:
                found.extend(each.text for each in state.completions)
                keys.send_text(CTRL_C + CTRL_D)

        buffer.on_completions_changed += offered
        keys.send_text("peek ml")
        shell.run()
    assert found[0] == "mail"  # fuzzy: m…l


def test_the_status_line_counts_what_waits_is_dead_and_fails(store: Path) -> None:
    with contextlib.closing(Desk(str(store), "jsonl")) as desk:
        found = look(desk)
    assert (found.waiting, found.dead, found.due) == (2, 1, 0)


def test_a_store_that_vanishes_is_said_in_the_status_line(store: Path) -> None:
    with contextlib.closing(Desk(str(store), "jsonl")) as desk:
        from callboard.repl.status import Status

        status = Status(desk)
        status._look()
        assert "depth 2" in "".join(text for _, text in status.parts())
        for each in store.parent.glob("shop.db*"):
            if each.is_file():
                each.write_bytes(b"no database" * 500)
        desk.rt._store.renew()
        status._look()
        assert len(status.parts()) == 1


# --- inside a program ----------------------------------------------------------------------------


def test_repl_needs_a_terminal(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    rt = Runtime(store)
    with pytest.raises(ConfigError, match="needs a terminal"):
        rt.repl()


@pytest.mark.parametrize("where", ["main thread", "thread", "event loop"])
def test_repl_works_on_any_thread(
    store: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rt = Runtime(store)
    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)

    def poke() -> None:
        with create_pipe_input() as keys:
            keys.send_text(f"peek mail -n 1\r{CTRL_D}")
            with create_app_session(input=keys, output=DummyOutput()):
                rt.repl()

    async def on_loop() -> None:
        poke()

    if where == "thread":
        thread = threading.Thread(target=poke)
        thread.start()
        thread.join(20)
        assert not thread.is_alive()
    elif where == "event loop":
        asyncio.run(on_loop())
    else:
        poke()
    assert "one" in capfd.readouterr().out
    assert rt.tell("mail", "three")  # the runtime is as it was
    rt.stop()


# --- through a terminal --------------------------------------------------------------------------


# Ctrl-C goes to the processes whose terminal it is; where the tests run in a shell's background, it
# was ignored.
_PROGRAM = """
import fcntl, signal, sys, termios
signal.signal(signal.SIGINT, signal.default_int_handler)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from callboard.repl.cli import main
sys.exit(main())
"""


class Terminal:
    """A console in a terminal of its own."""

    def __init__(self, store: Path, *options: str, **environment: str) -> None:
        self._main, side = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, "-s", str(store), *options],
            stdin=side, stdout=side, stderr=side, start_new_session=True,
            env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30", **environment},
        )  # fmt: skip
        os.close(side)
        self.raw = ""

    def type(self, text: str) -> None:
        self.raw = ""
        self._write(text)

    def _write(self, text: str) -> None:
        os.write(self._main, text.encode())

    def press_until(self, key: str, pattern: str) -> None:
        """Press a key again and again until it shows something."""
        self.raw = ""
        deadline = monotonic() + 20
        while not re.search(pattern, plain(self.raw), re.DOTALL):
            assert monotonic() < deadline, plain(self.raw)
            self._write(key)
            while select.select([self._main], [], [], 0.1)[0]:
                self.raw += os.read(self._main, 65536).decode(errors="replace")

    def wait_for(self, pattern: str) -> str:
        """Read until it has shown since the last key; returns it without control sequences."""
        deadline = monotonic() + 20
        while not re.search(pattern, shown := plain(self.raw), re.DOTALL):
            ready, _, _ = select.select([self._main], [], [], max(0, deadline - monotonic()))
            assert ready, shown
            try:
                data = os.read(self._main, 65536).decode(errors="replace")
            except OSError:
                data = ""
            assert data, f"it has ended: {shown}"
            if "\x1b[6n" in data:  # where is the cursor?
                self._write("\x1b[1;1R")
            self.raw += data
        return plain(self.raw)

    def close(self, patience: float = 10) -> int:
        """Return its exit code; it is killed when it has not ended in so many seconds."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(patience)
        self.process.kill()
        code = self.process.wait()
        if self._main >= 0:
            os.close(self._main)
            self._main = -1
        return code


def plain(text: str) -> str:
    return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07]*\x07|[=>])", "", text)


@pytest.fixture
def terminal(store: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_one(*options: str, **environment: str) -> Terminal:
        opened.append(Terminal(store, *options, **environment))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close(0)


@pytest.mark.slow
def test_a_terminal_shows_prompt_table_and_status(terminal: Any) -> None:
    screen = terminal()
    screen.wait_for(r"shop\.db offline >")
    screen.wait_for(r"depth 2 .*dead 1")
    screen.type("peek mail -n 1 --format jsonl\r")
    screen.wait_for(r'"message":"one".*offline >')
    screen.type("mailboxes\r")
    assert "no" in screen.wait_for(r"name +waiting +running.*shop\.db offline >")
    screen.type(CTRL_D)
    assert screen.close() == 0


@pytest.mark.slow
def test_the_prompt_says_who_owns_the_store(terminal: Any, store: Path) -> None:
    with Runtime(store):
        screen = terminal()
        screen.wait_for(rf"shop\.db live {os.getpid()} >")
    screen.type("\r")
    screen.wait_for("offline >")  # a prompt that is there already changes in this part alone


@pytest.mark.slow
def test_ctrl_c_ends_a_running_command_and_not_the_console(terminal: Any) -> None:
    screen = terminal()
    screen.wait_for(r"offline >")
    screen.type("watch 1 mailboxes\r")
    screen.wait_for(r"every 1 s: mailboxes.*shop")
    screen.type(CTRL_C)
    screen.wait_for(r"offline >")
    screen.type("exit 7\r")
    assert screen.close() == 7


@pytest.mark.slow
def test_in_a_terminal_up_and_the_suggestion_bring_a_line_back(terminal: Any) -> None:
    screen = terminal()
    screen.wait_for(r"offline >")
    screen.type("peek mail -n 1 --format jsonl\r")
    screen.wait_for(r'"message":"one".*offline >')
    screen.type(CTRL_D)
    screen.close()
    screen = terminal()
    screen.wait_for(r"offline >")
    screen.press_until(UP, "peek mail -n 1 --format jsonl")
    screen.type("\r")
    screen.wait_for(r'"message":"one".*offline >')
    screen.type("pee")
    screen.wait_for("k mail -n 1 --format jsonl")  # in grey
    screen.type(f"{RIGHT}\r")
    screen.wait_for(r'"message":"one".*offline >')
    screen.type(CTRL_D)
    assert screen.close() == 0


@pytest.mark.slow
def test_no_color_is_obeyed(terminal: Any) -> None:
    screen = terminal(NO_COLOR="1")
    screen.wait_for(r"offline >")
    screen.type("nothing such\r")
    screen.wait_for("there is no command 'nothing'")
    assert not re.search(r"\x1b\[(\d+;)*3[0-7]m", screen.raw)


@pytest.mark.slow
def test_a_dumb_terminal_works(terminal: Any) -> None:
    screen = terminal(TERM="dumb")
    screen.wait_for(r"shop\.db offline >")
    screen.type("peek mail -n 1\r")
    screen.wait_for(r"one.*offline >")
    assert "\x1b[" not in screen.raw
    screen.type("exit\r")
    assert screen.close() == 0
