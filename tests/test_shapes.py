"""Statements over many rows: whatever the number of rows, few and fixed lengths."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard.persistence.shapes import chunks, flat, numbered, padded, values


@given(st.integers(0, 5000))
def test_chunks_cover_every_row_once_in_order(count: int) -> None:
    covered = [row for start, length in chunks(count) for row in range(start, start + length)]
    assert covered == list(range(count))


@given(st.integers(0, 5000))
def test_there_are_few_statements_and_few_lengths(count: int) -> None:
    lengths = [length for _, length in chunks(count)]
    assert len(lengths) <= 20
    assert set(lengths) <= {1000, 256, 64, 16, 4, 1}


@given(st.integers(0, 5000))
def test_what_is_left_over_is_one_statement_that_takes_fewer_rows(count: int) -> None:
    cut = list(padded(count))
    covered = [row for start, length in cut for row in range(start, min(start + length, count))]
    assert covered == list(range(count))
    assert {length for _, length in cut} <= {1000, 256, 64, 16, 4, 1}
    assert sum(length < 256 or start + length > count for start, length in cut) <= 1
    assert all(length == 1 or count - start > length // 4 for start, length in cut)


@pytest.mark.parametrize("length", [length for _, length in chunks(1341)])
def test_the_marks_take_as_many_values_as_there_are(length: int) -> None:
    connection = sqlite3.connect(":memory:")
    rows = [(n, str(n)) for n in range(length)]
    got = connection.execute(f"VALUES {values(length, 2)}", flat(rows)).fetchall()
    assert got == rows
    got = connection.execute(f"VALUES {numbered(length, 2)}", flat(rows)).fetchall()
    assert got == [(n, *row) for n, row in enumerate(rows)]
    connection.close()


def test_the_widest_statement_stays_below_sqlites_limit() -> None:
    """32,766 variables; a message has 15 columns."""
    longest = max(length for _, length in chunks(100_000))
    assert longest * 15 <= 32_766
