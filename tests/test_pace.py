"""How often threads give way: often where handlers compute for long, else as usual."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from callboard.runtime.pace import COMPUTING, USUAL, Pace


@pytest.fixture(autouse=True)
def interval() -> Iterator[None]:
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


def chosen() -> float:
    return round(sys.getswitchinterval(), 6)


def test_it_is_short_only_while_the_processor_is_busy_and_few_are_handled() -> None:
    pace = Pace(10.0, 1.0, 0)
    assert chosen() == USUAL
    pace.look(10.2, 1.19, 3)  # computes
    assert chosen() == COMPUTING
    pace.look(10.4, 1.38, 5000)  # many small ones
    assert chosen() == USUAL
    pace.look(10.6, 1.57, 5001)
    assert chosen() == COMPUTING
    pace.look(10.8, 1.58, 5002)  # idle
    assert chosen() == USUAL


def test_it_leaves_python_as_it_was() -> None:
    sys.setswitchinterval(0.003)
    pace = Pace(0.0, 0.0, 0)
    pace.look(1.0, 1.0, 0)
    pace.end()
    assert chosen() == 0.003
