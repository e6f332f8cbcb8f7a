"""Follow each guide in a new virtual environment: ``python -m tests.guides [PAGE …]``.

Nothing is there but what the commands of the page install. They find callboard as a wheel of this
checkout, where a reader finds it in a registry. Every file is written as it stands: a schedule of
every minute takes one.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from callboard.clock import monotonic

from .guide import Page
from .guide_hosts import GUIDES
from .guide_terminal import LONG, READ, own_tests
from .pages import ROOT

if TYPE_CHECKING:
    from concurrent.futures import Future

#: What is checked in the environment that the commands of a page have made.
CHECKS = GUIDES | {"docs/howto/testing.md": (own_tests,)}
#: Pages followed at a time: mostly they wait for the next minute.
WIDTH = 3


def wheel(folder: Path) -> dict[str, str]:
    """Build this checkout; returns the environment in which pip takes it for callboard."""
    build = ["pip", "wheel", "-q", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run([sys.executable, "-m", *build], check=True)
    (built,) = folder.glob("callboard-*.whl")
    constraint = folder / "callboard.txt"
    constraint.write_text(f"callboard @ {built.as_uri()}\n")
    return {"PIP_CONSTRAINT": f"{os.environ.get('PIP_CONSTRAINT', '')} {constraint}".strip()}


def place(root: Path, path: str, name: str = "") -> Page:
    """Give a page a new folder, and the environment that all folders of the page share."""
    home = root / Path(path).stem
    (home / name).mkdir(parents=True)
    return Page(path, home / name, environment=home / ".venv")


def install(page: Page, env: dict[str, str]) -> str:
    """Make the virtual environment of a page, with what its commands install."""
    begun = monotonic()
    subprocess.run([sys.executable, "-m", "venv", page.environment], check=True)
    commands = [line for line in page.commands if "pip install " in line]
    assert commands
    for command in commands:
        page.follow(command, LONG, env)
    return f"{'; '.join(commands)} ({monotonic() - begun:.0f} s)"


def told(what: str, future: Future[str]) -> bool:
    """Print what came out of it; returns whether it was good."""
    error = future.exception()
    said = "".join(traceback.format_exception(error)) if error else future.result()
    print(f"{what}: {said}", flush=True)  # noqa: T201
    return error is None


def follow(root: Path, pages: list[str]) -> list[str]:
    """Follow pages, some at a time; returns what has failed."""
    env = wheel(root)
    with ThreadPoolExecutor(WIDTH) as pool:
        begun = {
            path: pool.submit(install, place(root, path, "install"), env)
            for path in pages
            if path in CHECKS
        }
        good = [path for path, future in begun.items() if told(path, future)]
        checks = [(path, check) for path in good for check in CHECKS[path]]
        running = {
            f"{path}, {check.__name__}": pool.submit(check, place(root, path, check.__name__))
            for path, check in checks
        }
        running |= {
            path: pool.submit(READ[path], place(root, path), env) for path in pages if path in READ
        }
        bad = [what for what, future in running.items() if not told(what, future)]
    return [*(path for path in begun if path not in good), *bad]


def main() -> None:
    """Follow all pages, or those that are named; print what was measured."""
    pages = sys.argv[1:] or [*READ, *CHECKS]
    with tempfile.TemporaryDirectory(prefix="callboard-") as folder:
        bad = follow(Path(folder).resolve(), pages)
    sys.exit(f"guides: FAILED: {'; '.join(bad)}" if bad else 0)


if __name__ == "__main__":
    main()
