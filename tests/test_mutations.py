"""Each planted defect is found by the seed kept with it or a later one, and is the reason."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from .mutations.planted import DEFECTS, Defect, Outdated
from .simulated import simulate
from .simulated_model import Violated

if TYPE_CHECKING:
    from pathlib import Path


#: When the runtime takes other steps than it did, a seed does something else: the next ones may do.
MORE = 200


@pytest.mark.slow
@pytest.mark.parametrize("defect", DEFECTS, ids=lambda each: each.name.replace(" ", "-"))
def test_a_planted_defect_is_found(tmp_path: Path, defect: Defect) -> None:
    with defect.planted():
        found = next(
            seed
            for seed in range(defect.seed, defect.seed + MORE)
            if violates(tmp_path / f"{seed}.db", seed)
        )
    assert not violates(tmp_path / "good.db", found)


def violates(path: Path, seed: int) -> bool:
    try:
        simulate(path, seed)
    except Violated:
        return True
    return False


def test_a_defect_that_no_longer_applies_fails() -> None:
    with pytest.raises(Outdated), replace(DEFECTS[0], old="no such line").planted():
        pytest.fail("it was planted all the same")
