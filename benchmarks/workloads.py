"""All cases, in the order of the tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import (
    w01_tell,
    w02_fleet,
    w03_bulk,
    w04_handle,
    w05_future,
    w06_reaction,
    w07_start,
    w08_actors,
    w09_growth,
    w10_idle,
    w11_computing,
    w12_neighbours,
)

if TYPE_CHECKING:
    from .case import Case

CASES: list[Case] = [
    case
    for module in (
        w01_tell, w02_fleet, w03_bulk, w04_handle, w05_future, w06_reaction, w07_start, w08_actors,
        w09_growth, w10_idle, w11_computing, w12_neighbours,
    )
    for case in module.CASES
]  # fmt: skip


def chosen(names: list[str]) -> list[Case]:
    """Return the cases that names mean: ``W4`` is all of W4, ``W4-keyed`` the one; [] all."""
    if not names:
        return CASES
    return [c for c in CASES if c.name in names or c.name.split("-")[0] in names]
