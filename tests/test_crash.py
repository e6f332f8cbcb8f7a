"""Real processes under a mixed load, killed at random: nothing lost, nothing twice (make crash)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .attack import attack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.prove
def test_twenty_kills_lose_nothing_and_repeat_nothing(tmp_path: Path) -> None:
    report = attack(tmp_path, kills=20, seed=4)
    assert report.violations == [], str(report)
    assert report.kills >= 20
    assert report.effects > 500
