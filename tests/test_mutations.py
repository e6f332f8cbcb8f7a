"""Each planted defect is found by the seed that is kept with it, and only because of the defect."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from .mutations.planted import DEFECTS, Defect, Outdated
from .simulated import simulate
from .simulated_model import Violated

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def good() -> set[int]:
    """Hold the seeds that have passed without a defect; several defects share one."""
    return set()


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_planted_defect_is_found(tmp_path: Path, good: set[int], defect: Defect) -> None:
    if defect.seed not in good:
        simulate(tmp_path / "good.db", defect.seed)
        good.add(defect.seed)
    with defect.planted(), pytest.raises(Violated):
        simulate(tmp_path / "bad.db", defect.seed)


def test_a_defect_that_no_longer_applies_fails() -> None:
    with pytest.raises(Outdated), replace(DEFECTS[0], old="no such line").planted():
        pytest.fail("it was planted all the same")
