"""A module of the user's in the working folder, for one test."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def at_hand(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, source: str) -> None:
    """Work in a folder that holds such a module, and forget it after the test.

    ``sys.modules`` itself stays what it is: imports from C go by the interpreter's own.
    """
    (folder / f"{name}.py").write_text(source)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setitem(sys.modules, name, sys)  # whatever stands there goes when this is undone
    monkeypatch.delitem(sys.modules, name)
