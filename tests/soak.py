"""The soak: ``python -m tests.soak MINUTES [FOLDER]``; see that nothing grows, and draw it.

The samples go to FOLDER (else a new temporary one) as they come. With MINUTES 0 nothing runs: what
FOLDER has, also of a soak that was cut, is judged and drawn again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .soak_plot import plot
from .soak_run import SAMPLES, soak
from .soak_run import read as read_samples
from .soak_trend import Sample, trends

#: Seconds from one sample to the next, at most; a short soak has two hundred.
EVERY, SHORTEST = 10.0, 0.5


def judge(who: str, samples: list[Sample]) -> list[str]:
    """Print how everything has gone; returns what is wrong."""
    found = trends(samples)
    print(f"\n{who}, {found[0].seconds / 60:.1f} min after the warm-up")  # noqa: T201
    for each in found:
        label = f"{each.line.label} ({each.line.unit})" if each.line.unit else each.line.label
        allowed = each.line.allowed(each.seconds)
        print(  # noqa: T201
            f"  {label:32}{each.middle:10.2f}, grew {each.growth:7.3f} of {allowed:6.2f} allowed",
            flush=True,
        )
    return [f"{who}: {each.complaint}" for each in found if each.complaint]


def main() -> None:
    """Run for so many minutes, judge and draw."""
    seconds = float(sys.argv[1]) * 60
    folder = Path(sys.argv[2] if sys.argv[2:] else tempfile.mkdtemp(prefix="callboard-soak-"))
    print(f"samples: {folder / SAMPLES}", flush=True)  # noqa: T201
    complaints = []
    if seconds:
        complaints = soak(folder, seconds, max(SHORTEST, min(EVERY, seconds / 200))).complaints()
    samples = read_samples(folder / SAMPLES)
    complaints += judge("owner", samples["owner"]) + judge("client", samples["client"])
    minutes = samples["owner"][-1]["at"] / 60
    drawn = folder / "soak.svg"
    drawn.write_text(plot(samples["owner"], f"The owner under mixed load for {minutes:.0f} min"))
    print(f"plot: {drawn}")  # noqa: T201
    sys.exit("\n".join(complaints) or 0)


if __name__ == "__main__":
    main()
