"""The page on the console: every command has an example there, and each of them is valid."""

from __future__ import annotations

import re

import pytest

from callboard.repl import cli, syntax
from callboard.repl.grammar import parse
from callboard.repl.registry import COMMANDS, CONSENT

from .pages import PAGES

PAGE = PAGES["console.md"]
EXAMPLES = {
    name: line.replace(r"\|", "|")
    for name, line in re.findall(r"^\| `(\w+)` \| `(.*)` \|$", PAGE, re.MULTILINE)
}


def test_every_command_of_the_console_has_an_example() -> None:
    assert set(EXAMPLES) == {each.name for each in COMMANDS.values() if not each.outer}


@pytest.mark.parametrize(("name", "line"), EXAMPLES.items())
def test_an_example_is_valid(name: str, line: str) -> None:
    first, *rest = parse(line).words
    assert first == name
    command = syntax.lines().commands[name]
    command.make_context(name, list(rest))  # raises for what the command does not take


def test_the_options_of_all_commands_are_documented() -> None:
    known = {text for each in cli._options() for text in each.opts}
    known |= {each.typed for each in CONSENT} | {"--help", "-h"}
    text = PAGE + PAGES["reference/cli.md"]
    assert [each for each in sorted(known) if f"`{each}`" not in text] == []
