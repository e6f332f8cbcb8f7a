"""Every example runs as it stands and prints what its last comment says."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from callboard import Runtime

FOLDER = Path(__file__).parents[1] / "examples"
HELLO = FOLDER / "01_hello.py"
PROGRAMS = sorted(FOLDER.glob("*.py"))
# Else what a killed program has printed into a pipe would be lost with its buffer.
ENVIRONMENT = os.environ | {"PYTHONUNBUFFERED": "1"}


def expected(program: Path) -> list[list[str]]:
    """Return the quoted lines of each block of comments at the end of a program."""
    blocks = re.findall(r"^# [^>\n]*:\n((?:# > .*\n)+)", program.read_text(), re.MULTILINE)
    return [[line.removeprefix("# > ") for line in block.splitlines()] for block in blocks]


@contextmanager
def running(program: Path, folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, str(program)], cwd=folder, env=ENVIRONMENT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    assert process.stdout is not None
    return [process.stdout.readline().rstrip("\n") for _ in range(count)]


def wait_until_handled(store: Path) -> None:
    """Wait for the commit of what was just printed: killed before it, it would be printed again."""
    looker = Runtime(store)
    while any(mailbox.waiting for mailbox in looker.mailboxes()):
        pass
    looker.stop()


def test_they_are_numbered() -> None:
    numbers = [program.name[:2] for program in PROGRAMS]
    assert numbers == [f"{n:02}" for n in range(1, len(PROGRAMS) + 1)]
    assert len(numbers) >= 9


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.stem)
def test_fits_on_a_screen(program: Path) -> None:
    assert len(program.read_text().splitlines()) < 60


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", [each for each in PROGRAMS if each != HELLO], ids=lambda program: program.stem
)
def test_prints_what_it_says(program: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, str(program)], cwd=tmp_path, env=ENVIRONMENT, text=True, timeout=45,
        capture_output=True, check=False,
    )  # fmt: skip
    assert ended.stderr == ""
    assert [ended.stdout.splitlines()] == expected(program)
    assert ended.returncode == 0


@pytest.mark.slow
def test_hello_resumes_after_it_was_killed(tmp_path: Path) -> None:
    first, second = expected(HELLO)

    with running(HELLO, tmp_path) as process:
        assert lines(process, len(first)) == first
        wait_until_handled(tmp_path / "board.db")
        process.kill()
    assert process.returncode == -signal.SIGKILL

    with running(HELLO, tmp_path) as process:
        assert lines(process, len(second)) == second
        process.send_signal(signal.SIGINT)
        rest, errors = process.communicate()
    assert (rest, errors, process.returncode) == ("", "", 0)
