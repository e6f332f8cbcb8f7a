"""Some examples of each fuzzing target, and what is kept in the corpus; ``make fuzz`` runs long."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .fuzz import TARGETS, Ground, corpus, fuzz

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ground(tmp_path: Path) -> Iterator[Ground]:
    made = Ground(str(tmp_path))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_is_made_up_breaks_a_check(ground: Ground, name: str) -> None:
    count = TARGETS[name].some
    assert fuzz(ground, name, count) >= count // 2


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_what_is_kept_breaks_no_check(ground: Ground, name: str) -> None:
    kept = corpus(name)
    assert kept
    for value in kept:
        TARGETS[name].check(ground, value)
