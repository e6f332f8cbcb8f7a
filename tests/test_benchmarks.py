"""A small part of the benchmark: a large regression fails here. Ratios only, with wide bounds.

The sides run in turn and the best of each counts: what a busy machine takes away, it takes from
single runs. It goes on until the bound is reached, so only a regression takes all rounds.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .modules import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterable

sys.path.insert(0, str(ROOT))
from benchmarks import bare, w01_tell, w03_bulk, w04_handle, w08_actors
from benchmarks.case import Target, WrongResultError, expect
from benchmarks.chart import draw
from benchmarks.workloads import CASES, chosen

sys.path.remove(str(ROOT))

if TYPE_CHECKING:
    from benchmarks.case import Side


ROUNDS = 12


def best(tmp_path: Path, ours: Side, other: Side, size: int, least: float) -> float:
    """Return the best rate of ours over the best of the other; no more rounds than are needed."""
    mine = others = 0.0
    for number in range(ROUNDS):
        for name in ("ours", "other"):
            (tmp_path / f"{name}{number}").mkdir()
        others = max(others, other(tmp_path / f"other{number}", size)["per s"])
        mine = max(mine, ours(tmp_path / f"ours{number}", size)["per s"])
        if mine >= least * others:
            break
    return mine / others


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize(
    ("ours", "other", "size", "least"),
    [
        pytest.param(w01_tell.tells, bare.commits, 100, 0.4, id="one by one"),
        pytest.param(w03_bulk.bulk, bare.bulk, 10_000, 0.1, id="in bulk"),
        pytest.param(w04_handle.handled, bare.life, 10_000, 0.1, id="handled"),
        pytest.param(w08_actors.tells, w08_actors.pykka_tells, 10_000, 1.5, id="actors"),
    ],
)
def test_callboard_is_not_far_behind_what_is_possible(
    tmp_path: Path, ours: Side, other: Side, size: int, least: float
) -> None:
    """The targets are two to four times as high: see benchmarks/RESULTS.md."""
    assert best(tmp_path, ours, other, size, least) >= least


def test_a_run_with_a_wrong_result_is_no_result() -> None:
    with pytest.raises(WrongResultError, match="rows: 3 instead of 4"):
        expect("rows", 3, 4)


def test_a_target_is_met_from_its_side_only() -> None:
    assert Target("p99 ms", 3.0, most=True).met(3.0)
    assert not Target("p99 ms", 3.0, most=True).met(3.1)
    assert Target("per s", 0.85, over="bare").met(0.85)
    assert not Target("per s", 0.85, over="bare").met(0.84)


def names(cases: Iterable[object]) -> list[str]:
    return [str(getattr(case, "name", "")) for case in cases]


def test_every_workload_of_the_contract_has_a_case() -> None:
    assert {name.split("-")[0] for name in names(CASES)} == {f"W{n}" for n in range(1, 13)}
    assert len(set(names(CASES))) == len(CASES)
    assert names(chosen(["W4-one", "W2"])) == ["W2-threads", "W2-tasks", "W4-one"]


def test_the_chart_shows_each_side_with_its_figure(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text(
        '{"cases": {"W1": {"figures": [{"side": "callboard", "figure": "per s", "value": 5000},'
        ' {"side": "quick", "figure": "per s", "value": 9000}]}},'
        ' "peers": [{"name": "quick", "durable": "**no**"}]}'
    )
    draw(tmp_path / "results.json", tmp_path / "results.svg")
    drawn = (tmp_path / "results.svg").read_text()
    assert ">callboard</text>" in drawn
    assert ">5,000</text>" in drawn
    assert ">quick *</text>" in drawn, "its call returns before the message is on disk"


@pytest.mark.slow
def test_one_side_runs_in_a_process_of_its_own_and_prints_its_figures(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--side", "W3", "bare", "1000", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert '"per s":' in done.stdout
