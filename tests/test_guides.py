"""`make guides` follows every page that installs something, and sees what the page shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .guide import Page
from .guide_terminal import READ, Terminal
from .guides import CHECKS
from .pages import PAGES, SHELL

if TYPE_CHECKING:
    from pathlib import Path


def test_every_page_that_installs_something_is_followed() -> None:
    pages = {
        f"docs/{path}"
        for path, text in PAGES.items()
        if any("pip install" in fence for fence in SHELL.findall(text))
    }
    assert pages == {*CHECKS, *READ} - {"README.md"}


def test_a_terminal_sees_what_a_page_shows_whatever_its_numbers_are(tmp_path: Path) -> None:
    with Terminal(Page("docs/tutorial.md", tmp_path)) as terminal:
        terminal.follow("$ echo 'order 12   paid' &\norder 7 paid\n$ echo 3; echo 4\n9\n9\n")
        terminal.follow("sleep 60 &\nkill -9 $!\n")
        assert terminal.typed == 4
        with pytest.raises(AssertionError, match="ended 3"):
            terminal.follow("(exit 3)\n")
