"""A table of what was expected and what came, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence


def show(rows: Sequence[tuple[str, object, object]]) -> bool:
    """Print (what, expected, got) for each; says whether all are as expected."""
    lines = [("what", "expected", "got", ""), *(
        (what, str(expected), str(got), "ok" if expected == got else "WRONG")
        for what, expected, got in rows
    )]  # fmt: skip
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())
    return all(expected == got for _, expected, got in rows)
