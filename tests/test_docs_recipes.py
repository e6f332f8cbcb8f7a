"""The recipes of the documentation, one module, on a clock that is turned by hand."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from callboard import ManualClock, Runtime
from callboard.runtime.testing import Board

from .pages import FENCE, PAGES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Shop:
    """The module of the page, on a clock that is turned by hand."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self.seen: list[int] = []
        self.down = 0
        self.names: dict[str, Any] = {"deliver": self.deliver, "orders_seen": self.seen}
        connection = sqlite3.connect("shop.db")
        connection.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY, state TEXT)")
        connection.close()
        code = "\n".join(code for _, code in FENCE.findall(PAGES["howto/recipes.md"]))
        manual = code.replace('Runtime("shop.db")', 'Runtime("shop.db", clock=ManualClock())')
        self.names["ManualClock"] = ManualClock
        exec(compile(manual, "recipes.md", "exec"), self.names)  # noqa: S102  (our own page)
        self.rt: Runtime = self.names["rt"]

    def deliver(self, mail: Any, message_id: str) -> None:
        if self.down:
            self.down -= 1
            raise self.names["ServerDown"]
        self.mails.append(f"{mail.to}: {mail.text}")

    def orders(self) -> list[Any]:
        connection = sqlite3.connect("shop.db")
        rows = connection.execute("SELECT id, state FROM orders ORDER BY id").fetchall()
        connection.close()
        return rows


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Shop, Board]]:
    monkeypatch.chdir(tmp_path)
    made = Shop()
    for name in ("daily_report", "billing"):
        made.rt.pause(name)
    with Board(made.rt) as board:
        board.settle()
        yield made, board


def test_recipe_a_reminder_unless_it_is_needless(shop: tuple[Shop, Board]) -> None:
    made, board = shop
    made.down = 1
    made.names["sign_up"]("ada@example.org")
    made.names["sign_up"]("bob@example.org")
    board.settle()
    assert len(made.mails) == 1
    board.advance("5m")
    assert made.mails[1:] == ["ada@example.org: welcome"]
    made.names["first_visit"]("bob@example.org")
    made.names["sign_up"]("nobody")
    board.advance("24h")
    assert made.mails[2:] == ["ada@example.org: you have not been here yet"]
    assert {letter.error for letter in made.rt.dead()} == {"'nobody' is no address"}


def test_recipe_an_order_is_cancelled_unless_it_is_paid(shop: tuple[Shop, Board]) -> None:
    made, board = shop
    for order in (1, 2, 3):
        made.names["place"](order)
    made.names["pay"](2)
    board.advance("30m")
    with pytest.raises(ValueError, match="expected 1 rows"):
        made.names["pay"](3)
    assert made.orders() == [(1, "cancelled"), (2, "paid"), (3, "cancelled")]


def test_recipe_reports_and_bills(shop: tuple[Shop, Board]) -> None:
    made, board = shop
    for name in ("daily_report", "billing"):
        made.rt.resume(name)
    board.settle()
    board.advance("31d")
    assert sum("report of" in mail for mail in made.mails) == 31
    made.rt.stop()
    made.mails.clear()
    board.clock.shift("62d")
    board.start()
    board.settle()
    assert sum("report of" in mail for mail in made.mails) == 1
    bills = [mail.rpartition(" ")[2] for mail in made.mails if "bills" in mail]
    assert sorted(bills) == ["April", "February", "March"]


def test_recipe_once_a_day_and_when_it_is_quiet(shop: tuple[Shop, Board]) -> None:
    made, board = shop
    for _ in range(3):
        made.names["low_stock"]("lamp")
        made.names["changed"]()
        board.advance(5)
    assert made.mails == ["stock@shop.example: lamp runs out"]
    (timer,) = made.rt.timers("index")
    assert timer.name == "build"
    board.advance("1d")
    made.names["low_stock"]("lamp")
    board.settle()
    assert len(made.mails) == 2


def test_recipe_everybody_hears_and_a_long_job_says_how_far_it_is(
    shop: tuple[Shop, Board],
) -> None:
    made, board = shop
    assert made.rt.publish("order.paid", 7) == 2
    number = made.names["begin_export"]()
    board.settle()
    assert made.seen == [7]
    assert made.mails == ["accounts@shop.example: invoice for 7"]
    assert made.names["look"](number) == {
        "state": "handled",
        "progress": None,
        "file": "export.csv",
    }
    assert made.names["look"](10_000) == {"state": "unknown"}
