"""The documentation is complete and true: whatever is public stands in it, and its code runs."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import callboard
from callboard import Runtime
from callboard.events import EVENTS
from callboard.repl import cli
from callboard.repl.registry import COMMANDS
from callboard.runtime.simulation import Crashed, Simulation
from callboard.runtime.testing import Board

from .pages import DOCS, FENCE, PAGES, ROOT, SHELL

REFERENCE = "".join(text for name, text in PAGES.items() if name.startswith("reference/"))
FENCES = [
    pytest.param(name, caption, code, id=f"{name}-{number}")
    for name, text in PAGES.items()
    for number, (caption, code) in enumerate(FENCE.findall(text), 1)
]
COMMAND_LINES = sorted({
    line
    for text in PAGES.values()
    for fence in SHELL.findall(text)
    for line in re.findall(r"^(?:\$ )?(?:\S*/)?callboard (.*?)(?: &.*)?$", fence, re.MULTILINE)
})  # fmt: skip
PUBLIC = [name for name in callboard.__all__ if name != "__version__"]
CLASSES = [cls for name in PUBLIC if inspect.isclass(cls := getattr(callboard, name))]
# Users get them from the runtime, and call them never.
GIVEN = {"Context", "Event", "Feed", "MailboxRef", "Transaction"}
# Not for users, though another part has to call it.
INNER = {"Feed": "put, missed, end", "RetryPolicy": "wait", "StoreError": "written"}


def directives() -> dict[str, str]:
    """Return what autodoc is asked for in the reference, with the options of each."""
    found = re.findall(r"^ *\.\. auto\w+:: ([\w.]+)\n((?: +:.*\n)*)", REFERENCE, re.MULTILINE)
    inside = re.compile(r"callboard\.(?:runtime\.(?:testing|simulation)\.)?")
    return {inside.sub("", name): opts for name, opts in found}


DIRECTIVES = directives()


def members(cls: type) -> list[str]:
    """Return the public methods and properties that we have written ourselves."""
    return [
        name for name, value in inspect.getmembers(cls)
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, property))
    ]  # fmt: skip


def rows(page: str) -> dict[str, list[str]]:
    """Return the rows of a page's tables by the code in their first cell."""
    cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in PAGES[page].splitlines()
             if line.startswith("| ")]  # fmt: skip
    return {
        name: [cell.strip() for cell in row[1:]]
        for row in cells if (name := row[0].replace("°", "").strip().strip("`"))
    }  # fmt: skip


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_in_the_reference(name: str) -> None:
    assert name in DIRECTIVES


@pytest.mark.parametrize("cls", [*CLASSES, Board], ids=lambda cls: cls.__name__)
def test_a_public_class_shows_each_of_its_members(cls: type) -> None:
    options = DIRECTIVES[cls.__name__]
    hidden = re.findall(r":exclude-members: (.*)", options)
    shown = set(members(cls)) if ":members:" in options else set()
    missing = [name for name in members(cls)
               if name not in shown and f"{cls.__name__}.{name}" not in DIRECTIVES
               and not issubclass(cls, BaseException)]  # fmt: skip
    assert missing == []
    assert [name for name in shown if not inspect.getdoc(getattr(cls, name))] == []
    assert "".join(hidden) == INNER.get(cls.__name__, "")


def test_the_reference_names_nothing_that_is_gone() -> None:
    known = {name: getattr(callboard, name) for name in PUBLIC}
    known |= {"Board": Board, "Simulation": Simulation, "Crashed": Crashed}
    for name in DIRECTIVES:
        first, _, rest = name.partition(".")
        assert not rest or hasattr(known[first], rest)


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - GIVEN))
def test_a_parameter_of_a_public_call_is_explained(name: str) -> None:
    value = getattr(callboard, name)
    calls = {name: value}
    if inspect.isclass(value):
        calls = {f"{name}.{each}": getattr(value, each) for each in members(value)
                 if each not in DIRECTIVES[name]}  # fmt: skip
        if not issubclass(value, BaseException) or name in {"Reject", "RetryLater"}:
            calls[name] = value
    for each, call in calls.items():
        if isinstance(call, property):
            continue
        text = inspect.getdoc(call) or ""
        takes = [name for name in inspect.signature(call).parameters if name != "self"]
        assert [name for name in takes if not re.search(rf"\b{name}\b", text)] == [], each


def test_the_version_is_mentioned() -> None:
    assert "callboard.__version__" in REFERENCE


# --- events ------------------------------------------------------------------------------------


class Emits(ast.NodeVisitor):
    """Collects the events that the source emits, with their fields."""

    def __init__(self) -> None:
        self.found: dict[str, set[str]] = defaultdict(set)
        #: Fields that come or not, as is decided where the source runs; "*": any.
        self.maybe: dict[str, set[str]] = defaultdict(set)
        self._functions: list[ast.AST] = []

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._functions.append(node)
        self.generic_visit(node)
        self._functions.pop()

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        called = node.func
        if isinstance(called, ast.Attribute) and called.attr == "emit" and node.args:
            for name in self._texts(node.args[0]):
                for keyword in node.keywords:
                    self._take(name, keyword)
        elif isinstance(called, ast.Name) and called.id == "Event":
            match node.args:
                case [ast.Constant(value=str(name)), _, ast.Dict(keys=keys)]:
                    self.found[name] |= {ast.literal_eval(key) for key in keys if key}

    def _take(self, name: str, keyword: ast.keyword) -> None:
        if keyword.arg is not None:
            self.found[name].add(keyword.arg)
            return
        dicts = [each for each in ast.walk(keyword.value) if isinstance(each, ast.Dict)]
        for each in dicts:
            self.maybe[name] |= {ast.literal_eval(key) for key in each.keys if key}
        if not dicts:
            self.maybe[name].add("*")

    def _texts(self, node: ast.expr) -> list[str]:
        """Return what an expression may be: a text, a choice of texts, or a name for such."""
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.IfExp(body=body, orelse=other):
                return [*self._texts(body), *self._texts(other)]
            case ast.Name(id=name):
                given = [
                    each.value for each in ast.walk(self._functions[-1])
                    if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == name
                ]  # fmt: skip
                assert given, f"emit({name}, ...): which event is it?"
                return [text for value in given for text in self._texts(value)]
        msg = f"emit({ast.unparse(node)}, ...): which event is it?"
        raise AssertionError(msg)


@pytest.fixture(scope="module")
def emits() -> Emits:
    found = Emits()
    for folder in ("actors", "persistence", "repl", "runtime"):
        for path in (ROOT / folder).rglob("*.py"):
            found.visit(ast.parse(path.read_text()))
    found.visit(ast.parse((ROOT / "events.py").read_text()))
    return found


def test_every_event_is_documented_and_no_other(emits: Emits) -> None:
    documented = {name for name in rows("reference/events.md") if "." in name}
    assert set(emits.found) == documented == set(EVENTS)


def test_every_field_of_an_event_is_documented_and_no_other(emits: Emits) -> None:
    for name, (_, fields) in (item for item in rows("reference/events.md").items()
                              if "." in item[0]):  # fmt: skip
        documented = set(re.findall(r"`(\w+)`", fields))
        assert emits.found[name] <= documented, name
        maybe = emits.maybe[name]
        assert "*" in maybe or documented <= emits.found[name] | maybe, name


# --- tables and commands -----------------------------------------------------------------------


def test_every_table_of_the_schema_is_documented_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "board.db"
    with Runtime(path):
        pass
    connection = sqlite3.connect(path)
    tables = {name for (name,) in connection.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'callboard%'"
    )}  # fmt: skip
    connection.close()
    documented = {name for name in rows("reference/tables.md") if name.startswith("callboard_")}
    assert tables == documented


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_and_what_it_takes_is_documented(name: str) -> None:
    takes, does = rows("reference/cli.md")[name]
    assert does == " ".join(COMMANDS[name].help.split("\n\n")[0].split())
    for each in COMMANDS[name].parameters:
        if each.option:
            flag = f"-{each.name}" if len(each.name) == 1 else f"--{each.name.replace('_', '-')}"
        else:
            flag = each.name.upper()
        assert re.search(rf"`\[?{re.escape(flag)}\]?`", takes), flag


def test_the_exit_codes_are_those_of_the_command_line() -> None:
    codes = {int(name) for name in rows("reference/cli.md") if name.isdigit()}
    assert codes == {cli.OK, cli.FAILED, cli.USAGE, cli.NOT_FOUND, cli.TIMED_OUT, cli.UNREACHABLE,
                     cli.PROBLEMS, cli.INTERRUPTED}  # fmt: skip


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_shell_knows_the_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line, comments=True)
    assert cli.main([*words, "--help"]) == 0
    assert "Usage: callboard" in capsys.readouterr().out


# --- code and links ----------------------------------------------------------------------------


@pytest.mark.parametrize(("page", "caption", "code"), FENCES)
def test_code_compiles(page: str, caption: str, code: str) -> None:
    compile(code, f"{page} {caption}", "exec")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty working folder in which the code of a page runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("page", "caption", "code"),
    [each for each in FENCES if str(each.values[0]).startswith(("explanation/", "reference/"))],
)
def test_code_that_explains_runs(folder: Path, page: str, caption: str, code: str) -> None:
    names: dict[str, Any] = {"__name__": "shop"}
    exec(compile(code, page, "exec"), names)  # noqa: S102  (our own page)
    names["rt"].stop()


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    found = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", PAGES[page])
    here = (DOCS / page).parent
    assert [to for to in found if "://" not in to and not (here / to).exists()] == []
