"""Every piece of code in the README is true, and every public name is explained somewhere."""

import asyncio
import re
import shlex
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

import callboard
from callboard import ManualClock, Runtime
from callboard.repl.cli import main
from callboard.runtime.testing import Board

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def fences(language: str) -> list[str]:
    """Return the code of every fence of a language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


# By a word that stands in one of them alone, so that a new piece moves no other.
_PIECES = fences("python")


def piece(word: str) -> str:
    """Return the one piece of code in which a word stands."""
    (found,) = [each for each in _PIECES if word in each]
    return found


HELLO, CART, TELL, SEND = map(
    piece, ["def greet", "class CartState", 'AddItem("lamp")', "def send"]
)
DEAD, LIMITS, BILL, PLACE = map(
    piece, ["for letter in", "def thumbnail", "def bill", "CREATE TABLE"]
)
HTTP, TEST, LOOK = map(piece, ["FastAPI", "a_reminder_comes", "rt.mailboxes()"])
CRON = piece("@rt.cron")


class Tour:
    """The module that the tour writes, piece by piece."""

    def __init__(self) -> None:
        self.module = ModuleType("shop")
        self.up = False
        self.delivered: list[tuple[str, int]] = []
        self.names = vars(self.module)
        self.names |= {"server_is_up": lambda: self.up, "deliver": self._deliver}

    def read(self, *pieces: str) -> None:
        for piece in pieces:
            exec(compile(piece, "README.md", "exec"), self.names)  # noqa: S102  (our own README)

    def settle(self) -> None:
        """Let an owner handle all that is due."""
        rt: Runtime = self.names["rt"]
        changed = threading.Semaphore(0)
        off = rt.events.subscribe(lambda _: changed.release(), "message.")
        with rt:
            while any(mailbox.waiting for mailbox in rt.mailboxes()):
                changed.acquire(timeout=1.0)
        off()

    def _deliver(self, address: str, *, key: int) -> None:
        self.delivered.append((address, key))


@pytest.fixture
def tour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Tour]:
    monkeypatch.chdir(tmp_path)
    made = Tour()
    monkeypatch.setitem(sys.modules, "shop", made.module)
    made.read(CART, SEND, BILL)
    yield made
    made.names["rt"].stop()


def open_orders(tour: Tour) -> sqlite3.Connection:
    connection = sqlite3.connect("shop.db")
    connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, paid INTEGER)")
    return connection


# --- the opening -------------------------------------------------------------------------------


def test_it_opens_with_the_first_example_and_what_it_prints() -> None:
    example = (ROOT / "examples/01_hello.py").read_text()
    program, comment = example.split("\n# First run", 1)
    assert program == HELLO
    printed = [line for line in fences("console")[0].splitlines() if line[0] not in "$^"]
    assert printed == re.findall(r"# > (.*)", comment)


def test_the_test_line_is_where_the_build_looks_for_it() -> None:
    marked = re.findall(r"^<!-- test-line -->\n```sh\n(.*)\n```$", TEXT, re.MULTILINE)
    assert len(marked) == 1
    assert marked[0].endswith("-m pytest -n 2")


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert [link for link in links if "://" not in link and not (ROOT / link).exists()] == []


def test_every_public_name_is_explained() -> None:
    pages = TEXT + "".join(page.read_text() for page in (ROOT / "docs").rglob("*.md"))
    words = set(re.findall(r"\w+", pages))
    assert [name for name in callboard.__all__ if name not in words] == []


def test_every_error_is_below_what_the_table_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (`[^|]*`)? *\|", TEXT, re.MULTILINE)
    also = {name: re.findall(r"\w+", builtins) for name, builtins in rows if builtins}
    assert "StoreBusy" in also
    for name, bases in also.items():
        above = {cls.__name__ for cls in getattr(callboard, name).__mro__}
        assert {"CallboardError", *bases} <= above


# --- the tour ----------------------------------------------------------------------------------


def test_a_cart_has_what_was_told(tour: Tour) -> None:
    tour.read(TELL)
    tour.settle()
    state = tour.names["rt"].state(tour.names["Cart"], "ada")
    assert state == tour.names["CartState"](["lamp"])


def test_a_mail_is_rejected_postponed_or_sent(
    tour: Tour, capsys: pytest.CaptureFixture[str]
) -> None:
    rt, send = tour.names["rt"], tour.names["send"]
    rt.tell(send, "nowhere")
    rt.tell(send, "ada@example.org", id="postponed")
    tour.settle()
    assert [timer.name for timer in rt.timers(send)] == ["postponed"]
    tour.up = True
    number = rt.tell(send, "bob@example.org")
    tour.settle()
    assert tour.delivered == [("bob@example.org", number)]
    tour.read(DEAD)
    assert capsys.readouterr().out == "nowhere 'nowhere' is no address\n"
    assert [message.message for message in rt.peek(send, 1)] == ["nowhere"]


def test_what_is_published_and_limited_is_handled_and_kept(tour: Tour) -> None:
    tour.up = True
    tour.read(LIMITS)
    tour.settle()
    rt = tour.names["rt"]
    (kept,) = [m for n in range(1, 9) if (m := rt.find(n)) is not None and m.state == "handled"]
    assert (kept.mailbox, kept.result) == ("invoices", "invoice-7.pdf")
    assert [address for address, _ in tour.delivered] == ["ada@example.org"]


def test_schedules_tick(tour: Tour) -> None:
    tour.up = True
    tour.module.rt = Runtime("ticks.db", clock=ManualClock())  # type: ignore[attr-defined]
    tour.read(SEND, CRON)
    rt: Runtime = tour.names["rt"]
    with Board(rt) as board:
        board.advance("31d 6h")
        assert [address for address, _ in tour.delivered if "boss" in address] == [
            "boss@example.org"
        ] * 31
        assert [address for address, _ in tour.delivered if "billing" in address] == [
            "billing@example.org"
        ] * 2


@pytest.mark.filterwarnings("ignore:SQLite .* can corrupt a database:RuntimeWarning")
def test_orders_are_placed_and_billed(tour: Tour) -> None:
    tour.up = True
    tour.read(PLACE)
    tour.settle()
    connection: sqlite3.Connection = tour.names["connection"]
    assert connection.execute("SELECT id, paid FROM orders").fetchall() == [(7, 1), (8, 1)]
    assert len(tour.delivered) == 2
    connection.close()


@pytest.mark.slow
def test_the_endpoint_answers_at_once(tour: Tour) -> None:
    tour.up = True
    open_orders(tour).close()
    tour.read(HTTP)

    async def order() -> httpx.Response:
        app: Any = tour.names["app"]
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://shop"
        ) as client:
            return await client.post("/orders/7")

    answer = asyncio.run(order())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 7})
    tour.settle()
    assert [timer.name for timer in tour.names["rt"].timers()] == ["review of 7"]
    assert len(tour.delivered) == 1


def test_the_test_passes(board: Board) -> None:
    names: dict[str, Any] = {}
    exec(compile(TEST, "README.md", "exec"), names)  # noqa: S102  (our own README)
    names["test_a_reminder_comes_after_a_week"](board)


def test_a_board_takes_a_runtime_of_yours(tmp_path: Path) -> None:
    with Board(Runtime(tmp_path / "own.db", clock=ManualClock())) as board:
        assert board.rt.role == "owner"


def test_looking_works_as_written(tour: Tour) -> None:
    tour.read(LOOK)
    assert not any(mailbox.paused for mailbox in tour.names["rt"].mailboxes())


def test_only_callboard_writes_into_the_folder_beside_the_store(tour: Tour) -> None:
    tour.settle()
    assert {path.name for path in Path().iterdir()} == {"shop.db", "shop.db.callboard"}


# --- the shell ---------------------------------------------------------------------------------

COMMANDS = re.findall(r"(?:^|bin/)callboard (.*)", "".join(fences("sh")), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_the_shell_knows_the_command(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*shlex.split(line), "--help"]) == 0
    assert "Usage: callboard" in capsys.readouterr().out
