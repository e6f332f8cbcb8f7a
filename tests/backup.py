"""The program that docs/howto/backup.md shows, run as it stands there."""

from __future__ import annotations

from pathlib import Path

from .processes import Child

_PAGE = Path(__file__).parents[1] / "docs" / "howto" / "backup.md"


class Backup(Child):
    """Copies a store while others use it.

    Args:
        store: what is copied.
        copy: the new file.

    """

    def __init__(self, store: Path, copy: Path) -> None:
        """Start it."""
        self.copy = copy
        _, _, rest = _PAGE.read_text().partition(":caption: back_up.py\n")
        source, closed, _ = rest.partition("```")
        assert closed, f"{_PAGE} shows no back_up.py"
        super().__init__(source, store, copy, cwd=store.parent)
