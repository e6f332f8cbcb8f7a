"""``python -m callboard``: the same as the command ``callboard``."""

from __future__ import annotations

from .repl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
