"""The simulation: seeds that must pass, and that one seed is one run."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from callboard import ConfigError, ManualClock, Runtime
from callboard.persistence.committer import Committer
from callboard.runtime.simulation import Crashed, Simulation

from .simulated import World, simulate

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100, 20))
def test_nothing_is_lost_and_nothing_happens_twice(tmp_path: Path, first: int) -> None:
    for seed in range(first, first + 20):
        simulate(tmp_path / f"{seed}.db", seed, steps=200)


@pytest.mark.slow
def test_a_seed_is_always_the_same_run(tmp_path: Path) -> None:
    """Also in processes whose sets of texts have another order."""
    here = simulate(tmp_path / "a.db", 11).simulation.trace
    assert simulate(tmp_path / "b.db", 12).simulation.trace != here
    for hashes in ("1", "2"):
        run = subprocess.run(
            [sys.executable, "-m", "tests.simulate", "--seed", "11"], cwd=ROOT, check=True,
            capture_output=True, text=True, env={**os.environ, "PYTHONHASHSEED": hashes},
        )  # fmt: skip
        assert f"trace {here}" in run.stdout


#: Faults of the simulation, what became of messages, and calls that were told before.
HAPPENS = ("crashes", "stops", "refusals", "unclear", "meanwhile", "message.expired", "kept out",
           "actor.restarted", "ask.answered", "owner.lost")  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 8, 17])
def test_runtimes_that_have_crashed_leave_nothing_in_memory(tmp_path: Path, seed: int) -> None:
    """Seeds that once did: a part of a cycle was hidden from the garbage collector."""

    def runtimes() -> int:
        gc.collect()
        return sum(isinstance(each, Committer) for each in gc.get_objects())

    before = runtimes()
    simulate(tmp_path / "board.db", seed)
    assert runtimes() <= before


def test_what_is_to_happen_in_a_run_does_happen(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    for seed in range(12):
        world = World(tmp_path / f"{seed}.db", seed)
        for rt in world.runtimes:
            rt.events.subscribe(lambda event: counts.update([event.name]))
        world.run(300)
        counts.update(world.simulation.counts)
        counts["kept out"] += world.model.kept
    assert all(counts[name] > 5 for name in HAPPENS), counts


def test_a_call_whose_process_crashes_says_so_and_the_process_is_back(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "a.db", clock=ManualClock())
    handled: list[int] = []
    rt.mailbox("numbers", handled.append)
    with Simulation(0, rt, crashes=0.4, refusals=0.0) as simulation:
        told, crashed = 0, 0
        while not (told and crashed):
            try:
                simulation.call(rt, lambda: rt.tell("numbers", 1))
                told += 1
            except Crashed:
                crashed += 1
        assert rt.role == "owner"
        simulation.settle()
    assert len(handled) >= told


@pytest.mark.parametrize("first", [0, 1])
def test_it_has_not_settled_before_who_stands_by_has_looked(tmp_path: Path, first: int) -> None:
    clock = ManualClock()
    runtimes = [Runtime(tmp_path / "a.db", clock=clock) for _ in range(2)]
    for rt in runtimes:
        rt.mailbox("numbers", print)
    with Simulation(1, *runtimes, crashes=0.0, refusals=0.0) as simulation:
        assert [rt.role for rt in runtimes] == ["owner", "standby"]
        if first:
            simulation._processes.reverse()
        simulation.call(runtimes[0], runtimes[0].stop)
        simulation.settle()
        assert simulation.owners == [runtimes[1]]


def test_time_passes_only_when_it_is_moved(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "a.db", clock=ManualClock())
    handled: list[int] = []
    rt.mailbox("numbers", handled.append)
    with Simulation(0, rt, crashes=0.0, refusals=0.0) as simulation:
        simulation.call(rt, lambda: rt.tell("numbers", 1, after="7d"))
        simulation.advance("6d")
        assert handled == []
        simulation.advance("1d")
        assert handled == [1]


def test_runtimes_that_share_no_manual_clock_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="share one ManualClock"):
        Simulation(0, Runtime(tmp_path / "a.db"))


def test_a_world_has_two_processes_and_no_thread(tmp_path: Path) -> None:
    import threading

    before = set(threading.enumerate())
    world = World(tmp_path / "a.db", 3)
    world.run(50)
    assert set(threading.enumerate()) <= before
