"""A page as its reader follows it: its files in a folder, its commands in an environment."""

from __future__ import annotations

import os
import re
import shlex
import sys
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from .hosts import Server
from .pages import ROOT, SHELL
from .processes import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = re.compile(
    r"^```\{code-block\} \w+\n:caption: (.*?)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
CURL = re.compile(r"curl (?:-X (POST) )?localhost:\d+/([\w/@.]+)")
#: A free port for each server that a page starts.
PORTS = {
    "uvicorn": ["--port=0"],
    "gunicorn": ["--bind=127.0.0.1:0", "--no-control-socket"],
    "flask": ["--port=0"],
    "python manage.py runserver": ["127.0.0.1:0"],
}


class Typed(Server):
    """A command as it is typed, nothing of ours added but where it finds its programs."""

    def __init__(
        self,
        page: Page,
        command: str,
        *args: object,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Start it in the folder of the page, or elsewhere."""
        path = os.pathsep.join([str(page.environment / "bin"), os.defpath])
        own = {"PATH": path, "PYTHONPATH": "", **(env or {})}
        super().__init__(command, *args, cwd=cwd or page.folder, **own)
        self.folder = page.folder

    def command(self, source: str) -> list[str]:
        """Take the words of the command."""
        return shlex.split(source)


class Page:
    """A page, followed in a folder and in a virtual environment.

    Args:
        name: of its file, from the root of the repository.
        folder: where the reader works; stands for ``/srv/shop`` and ``/var/lib/shop`` as well.
        environment: whose programs are run; else the one that runs the tests.
        brisk: what the reader waits for is shorter, a minute is a second; else every file is
            written as it stands.

    """

    def __init__(
        self, name: str, folder: Path, *, environment: Path | None = None, brisk: bool = False
    ) -> None:
        """Read it; nothing is written yet."""
        self.text = (ROOT / name).read_text()
        self.folder = folder
        self.environment = environment or Path(sys.prefix)
        self.files: dict[str, str] = dict(FILE.findall(self.text))
        self.commands = [line for fence in SHELL.findall(self.text) for line in fence.splitlines()]
        self._brisk = brisk

    def write(self, *captions: str) -> None:
        """Write files: in full, or where the caption says so at the end of what is there."""
        for caption in captions:
            name, _, rest = caption.partition(", ")
            path = self.folder / Path(name).relative_to("/srv/shop" if name[0] == "/" else ".")
            text = self.files[caption]
            if self._brisk:
                text = re.sub(r"after=[12]\b", "after=0.5", text)
                text = text.replace('cron("* * * * *")', 'cron("* * * * * *")')
            before = path.read_text() if rest not in {"", "in full"} else ""
            path.write_text(before + text)

    def run(self, command: str, env: Mapping[str, str] | None = None) -> Typed:
        """Run a command of the page, a server on a free port."""
        assert command in self.commands
        ports = [each for start, each in PORTS.items() if command.startswith(f"{start} ")]
        return Typed(self, self.local(command), *chain(*ports), env=env)

    def follow(
        self, command: str, patience: float = PATIENCE, env: Mapping[str, str] | None = None
    ) -> None:
        """Run a command of the page to its end, which is a good one."""
        with self.run(command, env) as process:
            assert process.end(patience) == 0, "\n".join(process.lines)

    def local(self, text: str) -> str:
        """Put this folder, this environment and this user in place of the reader's."""
        for there, here in {
            "/srv/shop/.venv": self.environment,
            "/srv/shop": self.folder,
            "/var/lib/shop": self.folder,
            "sudo -u shop": "env",
        }.items():
            text = text.replace(there, str(here))
        return text

    def requests(self) -> list[tuple[str, str]]:
        """Return what the reader sends by curl: paths and methods, in order."""
        return [
            (path, method or "GET") for line in self.commands for method, path in CURL.findall(line)
        ]
