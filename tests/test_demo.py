"""The demo: it passes under kills, it would notice a wrong total, and its plan can be repeated."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from callboard.errors import ConfigError
from callboard.repl import cli, demo, demo_run
from callboard.repl.demo_app import Overview, Package, measures
from callboard.repl.demo_bar import Bar, Progress
from callboard.repl.demo_child import Child
from callboard.repl.demo_count import MEASURES, Count, count
from callboard.repl.demo_plan import File, Plan, find_files, make_plan
from callboard.repl.demo_report import Figures, compare, report

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCES = (
    b"",
    b"def f():\n    pass\n",
    b"async def g():\r\n    return 1\r\n\tdef\n",
    b"\x0cdef h(): 'x' \x0b y\nno newline at the end",
    b"# \xff\xfe no text\ndefine = 1\nasync  def  i(): ...\n\n\n",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make 60 source files in four packages, and some that are not to be counted."""
    root = tmp_path / "sources"
    for number in range(60):
        package = root / ("", "one", "two", "two/three")[number % 4]
        package.mkdir(parents=True, exist_ok=True)
        (package / f"module{number}.py").write_bytes(SOURCES[number % len(SOURCES)] * (number + 1))
    for name in ("one/__pycache__/x.py", ".hidden/x.py", "site-packages/x.py", "one/x.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("def x(): ...\n")
    return root


def counted(plain: dict[str, Count]) -> tuple[dict[str, Package], Overview]:
    """Return what callboard has counted when all is well."""
    found = {
        name: Package(dict(each.files), *(getattr(each, what) for what in MEASURES))
        for name, each in plain.items()
    }
    sums = [sum(getattr(each, what) for each in plain.values()) for what in MEASURES]
    return found, Overview(sum(len(each.files) for each in plain.values()), *sums)


# --- the whole -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.prove
def test_every_total_is_equal_after_kills(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "demo.db"
    code = cli.main([
        "--format", "jsonl", "demo", "--dir", str(folder), "--kills", "4", "--seed", "1",
        "--store", str(store),
    ])  # fmt: skip
    said = capsys.readouterr()
    assert code == 0, said.err
    assert '"equal":true' in said.out
    assert '"kills":4' in said.out
    assert "seed 1" in said.err
    assert "kills 4 of 4" in said.err
    assert cli.main(["-s", str(store), "state", "overview"]) == 0
    assert '"files":60' in capsys.readouterr().out
    assert cli.main(["demo", "--store", str(store)]) == 2
    assert "exists: the demo counts into a new store" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.prove
def test_a_total_that_is_off_by_one_is_exit_code_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def count_one_more(files: Any) -> dict[str, Count]:
        plain = count(files)
        plain["two"].words += 1
        return plain

    monkeypatch.setattr(demo, "count", count_one_more)
    arguments = ["--format", "table", "demo", "--dir", str(folder), "--kills", "0", "--seed", "2"]
    assert cli.main(arguments) == 1
    said = capsys.readouterr()
    assert "totals are not equal; again: callboard demo --seed 2" in said.err
    assert "words" in said.out
    assert "DIFFERENT" in said.out
    assert "package two:" in said.out


@pytest.mark.slow
@pytest.mark.prove
def test_a_service_that_ends_by_itself_is_a_failure_with_its_last_words(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_owner(log: Path, role: str, *rest: object) -> Any:
        # The owner is given a number that is none, and dies of it.
        return Child(log, role, *([rest[0], "soon"] if role == "own" else rest))

    monkeypatch.setattr("callboard.repl.demo_run.Child", break_owner)
    assert cli.main(["demo", "--dir", str(folder), "--kills", "0"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("callboard: the service ended by itself with code 1; it said: ")
    assert "could not convert string to float: 'soon'" in said


def test_the_processes_end_with_their_parent(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "callboard.repl.demo_app", "own", tmp_path / "x.db", "0"],
        stdin=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(20) == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kills", "-1"], "kills must not be negative, got -1"),
        (["--dir", "no/such/folder"], "is no folder"),
        (["--dir", "{empty}"], "holds no .py file"),
    ],
)
def test_an_option_that_cannot_work_is_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    assert cli.main(["demo", *(each.format(empty=tmp_path) for each in arguments)]) == 2
    assert says in capsys.readouterr().err


# --- the comparison ------------------------------------------------------------------------------


def _off_by_one(found: dict[str, Package], overview: Overview) -> None:
    found["two"].lines += 1


def _lose(found: dict[str, Package], overview: Overview) -> None:
    del found["two"].files["module2.py"]


def _count_twice(found: dict[str, Package], overview: Overview) -> None:
    found["two"].files["module2.py"] += 1


def _lose_package(found: dict[str, Package], overview: Overview) -> None:
    del found["one"]


def _invent(found: dict[str, Package], overview: Overview) -> None:
    found["two"].files["invented.py"] = 1


def _overview(found: dict[str, Package], overview: Overview) -> None:
    overview.functions -= 1


@pytest.mark.parametrize(
    ("harm", "lost", "twice"),
    [
        (_off_by_one, 0, 0),
        (_lose, 1, 0),
        (_count_twice, 0, 1),
        (_lose_package, 15, 0),
        (_invent, 0, 1),
        (_overview, 0, 0),
    ],
)
def test_the_comparison_notices(
    folder: Path, harm: Callable[[Any, Any], None], lost: int, twice: int
) -> None:
    plain = count(find_files(folder))
    found, overview = counted(plain)
    assert compare(plain, found, overview).equal
    harm(found, overview)
    comparison = compare(plain, found, overview)
    assert not comparison.equal
    assert (comparison.lost, comparison.twice) == (lost, twice)
    said = report(comparison, Figures(0))
    assert said.fields["equal"] is False
    assert all(each in said.text for each in comparison.differences[:10])


def test_a_run_with_a_wrong_total_fails_even_if_all_kills_hit(folder: Path) -> None:
    run = demo_run.Run.__new__(demo_run.Run)
    run.plan, run.figures = make_plan(find_files(folder), 1, 3), Figures(3, kills=1, kills_wanted=1)
    demo._judge(True, False, 0, run)
    with pytest.raises(demo_run.DemoFailed, match="not equal"):
        demo._judge(False, False, 1, run)
    with pytest.raises(demo_run.DemoFailed, match="changed while they were counted"):
        demo._judge(False, True, 1, run)
    run.figures.kills = 0
    with pytest.raises(demo_run.DemoFailed, match="before kill 1 of 1"):
        demo._judge(True, False, 0, run)


def test_both_ways_of_counting_agree_on_awkward_files(tmp_path: Path) -> None:
    dice = random.Random(7)
    parts = [b"def", b"async", b" ", b"\t", b"\n", b"\r", b"\x0c", b"\x0b", b"x", b"f(", b"\xff"]
    for number in range(300):
        data = b"".join(dice.choices(parts, k=dice.randrange(30)))
        path = tmp_path / f"m{number}.py"
        path.write_bytes(data)
        (plain,) = count([File(".", str(path))]).values()
        found = measures(".", path.name, data)
        assert [getattr(found, each) for each in MEASURES] == [
            getattr(plain, each) for each in MEASURES
        ], data


# --- the plan ------------------------------------------------------------------------------------


def test_only_source_files_are_found(folder: Path) -> None:
    files = find_files(folder)
    assert len(files) == 60
    assert {each.package for each in files} == {".", "one", "two", "two/three"}


@pytest.mark.parametrize("kills", [0, 1, 5, 25])
@pytest.mark.parametrize("many", [1, 2, 60])
def test_a_plan_posts_each_file_once_and_kills_as_often_as_wanted(
    folder: Path, kills: int, many: int
) -> None:
    files = find_files(folder)[:many]
    plan = make_plan(files, kills, 5)
    posted = [file for group in (*plan.client, *plan.batches) for file in group]
    assert sorted(posted, key=lambda each: each.path) == sorted(files, key=lambda each: each.path)
    assert len(plan.kills) == kills
    assert [kill.after for kill in plan.kills] == sorted(kill.after for kill in plan.kills)
    assert all(kill.after < many for kill in plan.kills)
    assert not any(kill.starting for kill in plan.kills[:1])


def test_a_seed_makes_the_same_choices(folder: Path) -> None:
    def plan(seed: int) -> Plan:
        return make_plan(find_files(folder), 9, seed)

    assert plan(4) == plan(4)
    assert plan(4) != plan(5)


def test_a_negative_number_of_kills_is_refused() -> None:
    with pytest.raises(ConfigError, match="must not be negative"):
        make_plan([File(".", "x.py")], -1, 0)


# --- progress ------------------------------------------------------------------------------------


class Screen(io.StringIO):
    """A terminal that can show what one encoding can."""

    def __init__(self, encoding: str) -> None:
        super().__init__()
        self._encoding = encoding

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return True


def test_the_bar_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Progress(1790, 5, told=1600, counted=895, killed=3, lines=123_456, doing="at work")
    for columns in (20, 40, 60, 80, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        screen = Screen("utf-8")
        Bar(screen).draw(progress, now=True)
        line = screen.getvalue().removeprefix("\r\x1b[K")
        assert len(line) < columns
        assert "895" in line
    assert line.startswith("█" * 15 + "░" * 15)
    screen = Screen("ascii")
    Bar(screen).draw(progress, now=True)
    assert "#" * 15 + "-" * 15 in screen.getvalue()


def test_without_a_terminal_progress_is_plain_lines() -> None:
    out = io.StringIO()
    bar = Bar(out)
    bar.draw(Progress(10, 1, counted=4), now=True)
    bar.draw(Progress(10, 1, counted=5))
    bar.clear()
    assert out.getvalue() == "demo: 4 of 10 files, kills 0 of 1, starting, told 0, 0 lines\n"
