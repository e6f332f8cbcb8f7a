"""The programs of the how-to pages about hosts do what the pages say."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import callboard

from . import guide_hosts
from .guide import Page
from .hosts import Server
from .pages import PAGES

if TYPE_CHECKING:
    from collections.abc import Callable

#: These pages `make guides` alone runs in this way; in the suite `test_embed_*.py` does it with
#: programs of its own.
ELSEWHERE = {
    guide_hosts.uvicorn_workers,
    guide_hosts.flask,
    guide_hosts.django_gunicorn,
    guide_hosts.django_separate,
    guide_hosts.django_uvicorn,
    guide_hosts.workers,
    guide_hosts.separate,
}
CHECKS = [
    pytest.param(name, check, id=check.__name__)
    for name, checks in guide_hosts.GUIDES.items()
    for check in checks
    if check not in ELSEWHERE
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_a_guide_does_what_it_says(name: str, check: Callable[[Page], str], tmp_path: Path) -> None:
    assert check(Page(name, tmp_path, brisk=True))


def test_every_setting_of_the_django_application_is_on_its_page() -> None:
    package = Path(callboard.__file__).parent / "runtime" / "django"
    code = "".join(file.read_text() for file in package.rglob("*.py"))
    settings = set(re.findall(r'settings, "(\w+)"', code))
    assert "CALLBOARD_RUNTIME" in settings
    rows = set(re.findall(r"^\| `(CALLBOARD_\w+)`", PAGES["howto/embed-django.md"], re.MULTILINE))
    assert rows == settings


@pytest.mark.slow
def test_containers(tmp_path: Path) -> None:
    page = Page("docs/howto/containers.md", tmp_path, brisk=True)
    page.write("shop.py")
    command = json.loads(re.findall(r"^CMD (.*)", page.files["Dockerfile"], re.MULTILINE)[0])
    command[command.index("--host") + 1] = "127.0.0.1"
    command[command.index("--port") + 1] = "0"
    with Server(*command, cwd=tmp_path, SHOP_DB="board.db") as server:
        server.up()
        server.ask("mails/ada@example.org", "POST")
        server.says("mail to ada@example.org")
        assert server.terminate() == 0
