"""Every test that docs/promises.md names is there, and every promise has one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "promises.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith("| promise |")
]
NAMED = re.compile(r"`(\w+)::(\w+)`")


@cache
def names(module: str) -> set[str]:
    """Return what a test module defines: functions, also in classes, and classes given a name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse((TESTS / f"{module}.py").read_text())):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize(("module", "name"), sorted(set(NAMED.findall(PAGE))))
def test_a_test_that_is_named_exists(module: str, name: str) -> None:
    assert name.lower().startswith("test")
    assert name in names(module)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_a_promise_names_its_tests(row: tuple[str, ...]) -> None:
    promise, tests = row
    assert promise
    assert tests == "not built yet" or NAMED.sub("", tests).replace(", ", "") == ""
