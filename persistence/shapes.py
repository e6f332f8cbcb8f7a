"""Statements over many rows at once.

``executemany`` gives up the GIL at every row: beside one computing thread it fell from 736,000 to
897 rows a second. So a group is a handful of statements, whatever its size: ``VALUES`` lists whose
lengths are a few fixed ones, which keeps each statement prepared.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_LENGTHS = (1000, 256, 64, 16, 4, 1)
# From here on a length is filled to the last row: the others may hold empty ones.
_LONG = 256


def chunks(count: int) -> Iterator[tuple[int, int]]:
    """Cut ``count`` rows into (start, length), the lengths few and fixed."""
    start = 0
    for length in _LENGTHS:
        while count - start >= length:
            yield start, length
            start += length


def padded(count: int) -> Iterator[tuple[int, int]]:
    """Cut as :func:`chunks` does, for a statement that takes fewer rows too: the last may be long.

    Some empty rows cost less than the statements that would do without them.
    """
    for start, length in chunks(count):
        if length < _LONG:
            yield start, min(each for each in _LENGTHS if each >= count - start)
            return
        yield start, length


@cache
def values(length: int, columns: int) -> str:
    """Return ``(?,?),(?,?)`` for so many rows of so many columns."""
    return ",".join(["(" + ",".join("?" * columns) + ")"] * length)


@cache
def numbered(length: int, columns: int) -> str:
    """Return ``(0,?,?),(1,?,?)``: each row begins with its index."""
    marks = ",?" * columns
    return ",".join(f"({index}{marks})" for index in range(length))


def flat(rows: Sequence[Sequence[Any]]) -> list[Any]:
    """Put the rows' values one behind the other."""
    return [value for row in rows for value in row]
