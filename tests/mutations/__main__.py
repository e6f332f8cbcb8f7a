"""Search for each planted defect from seed 0 on: ``python -m tests.mutations``."""

from __future__ import annotations

import logging
import sys

from ..simulate import one, say
from ..simulated_model import Violated
from .planted import DEFECTS, Defect

#: So many seeds have to be enough.
MOST = 1000


def search(defect: Defect) -> int | None:
    """Return the first seed that finds a defect; None: none of them does."""
    with defect.planted():
        for seed in range(MOST):
            try:
                one(seed)
            except Violated as error:
                say(f"{defect.name}: found by seed {seed}: {error}")
                return seed
    say(f"{defect.name}: NOT FOUND within {MOST} seeds")
    return None


def main() -> int:
    """Search for all of them, or for those whose names hold an argument."""
    logging.disable()
    wanted = [each for each in DEFECTS
              if not sys.argv[1:] or any(word in each.name for word in sys.argv[1:])]  # fmt: skip
    found = [search(each) for each in wanted]
    return 1 if None in found else 0


if __name__ == "__main__":
    sys.exit(main())
