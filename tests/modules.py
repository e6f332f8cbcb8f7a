"""Modules of the tests as programs in processes of their own."""

from __future__ import annotations

from pathlib import Path

from .processes import Child

ROOT = Path(__file__).parent.parent


class Module(Child):
    """A module of the tests, with its arguments; it runs at the root of the repository."""

    def __init__(self, name: str, *args: object) -> None:
        super().__init__(name, *args, cwd=ROOT)

    @staticmethod
    def program(source: str) -> list[str]:
        return ["-m", source]
