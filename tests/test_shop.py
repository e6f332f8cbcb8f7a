"""Each background work of `examples/shop` on a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Coroutine, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
from httpx import ASGITransport, AsyncClient, Response
from PIL import Image
from shop import tables
from shop.app import live, make_app
from shop.postoffice import PostOffice
from shop.settings import Settings
from shop.shop import Shop, make_shop

from callboard import ManualClock
from callboard.runtime.testing import Board

T = TypeVar("T")
ANNE, OWNER = "anne@example.org", "owner@example.org"
START = datetime(2024, 3, 27, 12, tzinfo=UTC)  # the clocks of Paris go forward on the 31st


@pytest.fixture(scope="module")
def post_office() -> Iterator[PostOffice]:
    with PostOffice() as office:
        yield office


@pytest.fixture
def office(post_office: PostOffice) -> PostOffice:
    post_office.letters.clear()
    post_office.refusing = False
    return post_office


class Bench:
    """A shop, its clock, its mail server and a visitor."""

    def __init__(self, shop: Shop, board: Board, office: PostOffice, loop: asyncio.Runner) -> None:
        self.shop, self.board, self.office = shop, board, office
        self._loop = loop
        self._http = AsyncClient(transport=ASGITransport(make_app(shop)), base_url="http://shop")
        self.advance = board.advance
        self.settle = board.settle

    def outage(self, by: str) -> None:
        """Stop, and start again so much later."""
        self.board.stop()
        self.board.clock.shift(by)
        self.board.start()
        self.settle()

    def rows(self, sql: str, *params: object) -> list[Any]:
        return tables.read(self.shop.settings.store, sql, *params)

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)

    def get(self, path: str) -> Response:
        return self.do(self._http.get(path))

    def post(self, path: str, json: object = None, status: int = 201, **more: Any) -> Any:
        answer = self.do(self._http.post(path, json=json, **more))
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    def sign_up(self, email: str = ANNE) -> dict[str, str]:
        who: dict[str, str] = self.post("/customers", {"email": email})
        return who

    def place(self, customer: str, **more: str) -> str:
        asked = {"customer": customer, "item": "lamp", **more}
        order: str = self.post("/orders", asked)["order"]
        self.settle()
        return order

    def buy(self, customer: str) -> str:
        order = self.place(customer)
        self.post(f"/orders/{order}/payment", status=204)
        self.settle()
        return order

    def upload(self, data: bytes) -> str:
        image: str = self.post("/images", status=202, files={"file": ("a.png", data)})["image"]
        return image

    def state(self, order: str) -> str:
        state: str = self.get(f"/orders/{order}").json()["state"]
        return state

    def mails(self, email: str = ANNE) -> list[str]:
        """Return what the mail server got; the store has recorded the very same, each once."""
        recorded = self.rows("SELECT subject FROM mails WHERE recipient = ?", email)
        got = self.office.subjects(email)
        assert sorted(got) == sorted(subject for (subject,) in recorded)
        return got


@pytest.fixture
def bench(tmp_path: Path, office: PostOffice) -> Iterator[Bench]:
    settings = Settings(
        store=str(tmp_path / "shop.db"), smtp_host="127.0.0.1", smtp_port=office.port
    )
    shop = make_shop(settings, ManualClock(START))
    with Board(shop.rt) as board, asyncio.Runner() as loop:
        yield Bench(shop, board, office, loop)


# --- future calls --------------------------------------------------------------------------------


def test_who_signs_up_is_reminded_after_24_hours(bench: Bench) -> None:
    bench.sign_up()
    bench.settle()
    assert bench.mails() == ["welcome"]
    bench.advance("23h 59m 59s")
    assert bench.mails() == ["welcome"]
    bench.advance("1s")
    assert bench.mails() == ["welcome", "nothing for you yet?"]


def test_who_has_ordered_is_not_reminded(bench: Bench) -> None:
    bench.place(bench.sign_up()["customer"])
    bench.advance("25h")
    assert "nothing for you yet?" not in bench.mails()


def test_an_address_signs_up_once_and_what_is_refused_leaves_nothing(bench: Bench) -> None:
    bench.sign_up()
    bench.post("/customers", {"email": ANNE}, status=409)
    assert len(bench.rows("SELECT * FROM coupons")) == 1
    assert len(bench.shop.rt.timers()) == 2  # the reminder, the coupon
    bench.settle()
    assert bench.mails() == ["welcome"]


def test_a_coupon_expires_after_7_days(bench: Bench) -> None:
    who = bench.sign_up()
    bench.advance("6d 23h")
    assert bench.rows("SELECT state FROM coupons") == [("valid",)]
    bench.advance("1h")
    assert bench.rows("SELECT state FROM coupons") == [("expired",)]
    bench.post("/orders", {**who, "item": "lamp"}, status=409)
    assert bench.rows("SELECT * FROM orders") == []


def test_a_used_coupon_makes_it_cheaper_once_and_never_expires(bench: Bench) -> None:
    who = bench.sign_up()
    order = bench.place(who["customer"], coupon=who["coupon"])
    assert bench.get(f"/orders/{order}").json()["cents"] == 3510
    assert bench.shop.rt.timers("coupons.expire") == []
    bench.post("/orders", {**who, "item": "lamp"}, status=409)
    bench.advance("8d")
    assert bench.rows("SELECT state FROM coupons") == [("used",)]


def test_an_unpaid_order_is_cancelled_after_30_minutes(bench: Bench) -> None:
    order = bench.place(bench.sign_up()["customer"])
    bench.advance("29m 59s")
    assert bench.state(order) == "open"
    bench.advance("1s")
    assert bench.state(order) == "cancelled"
    assert bench.mails()[-1] == "your order was cancelled"
    bench.post(f"/orders/{order}/payment", status=409)
    assert bench.state(order) == "cancelled"


def test_a_payment_cancels_the_call(bench: Bench) -> None:
    order = bench.place(bench.sign_up()["customer"])
    bench.advance("29m")
    bench.post(f"/orders/{order}/payment", status=204)
    assert bench.shop.rt.timers("orders.unpaid") == []
    bench.advance("2h")
    assert bench.state(order) == "paid"
    assert "your order was cancelled" not in bench.mails()
    assert bench.rows("SELECT order_id FROM shipments") == [(order,)]
    bench.post(f"/orders/{order}/payment", status=409)


def test_a_purchase_is_followed_up_after_3_days(bench: Bench) -> None:
    order = bench.place(bench.sign_up()["customer"])
    bench.post(f"/orders/{order}/payment", status=204)
    bench.advance("2d 23h")
    assert bench.mails()[-1] == "your receipt"
    bench.board.crash()
    bench.advance("1h")
    assert bench.mails()[-1] == "are you happy with it?"


def test_all_of_it_survives_a_crash_before_it_is_due(bench: Bench) -> None:
    customer = bench.sign_up()["customer"]
    open_, paid = bench.place(customer), bench.place(customer)
    bench.post(f"/orders/{paid}/payment", status=204)
    bench.board.crash()
    bench.advance("8d")
    assert (bench.state(open_), bench.state(paid)) == ("cancelled", "paid")
    assert bench.rows("SELECT state FROM coupons") == [("expired",)]
    assert bench.shop.rt.timers() == []
    assert bench.shop.rt.dead() == []


def test_an_order_of_nobody_or_for_nothing_we_sell_is_refused(bench: Bench) -> None:
    bench.post("/orders", {"customer": "nobody", "item": "lamp"}, status=409)
    customer = bench.sign_up()["customer"]
    bench.post("/orders", {"customer": customer, "item": "yacht"}, status=409)
    assert bench.rows("SELECT * FROM orders") == []
    assert bench.shop.rt.timers("orders.unpaid") == []


# --- schedules -----------------------------------------------------------------------------------


def test_a_report_at_midnight_in_paris_adds_up_the_day_of_paris(bench: Bench) -> None:
    customer = bench.sign_up()["customer"]
    bench.buy(customer)
    bench.advance("10h 59m")  # 23:59 in Paris
    bench.buy(customer)
    assert bench.rows("SELECT * FROM reports") == []
    bench.advance("1m")
    assert bench.rows("SELECT * FROM reports") == [("2024-03-27", 2, 7800)]
    bench.buy(customer)
    bench.advance("24h")
    assert bench.rows("SELECT * FROM reports")[1:] == [("2024-03-28", 1, 3900)]
    assert bench.mails(OWNER) == ["report of 2024-03-27", "report of 2024-03-28"]


def test_the_day_on_which_the_clocks_change_has_one_report_after_23_hours(bench: Bench) -> None:
    bench.advance("83h")
    assert bench.board.now == datetime(2024, 3, 30, 23, tzinfo=UTC)
    bench.buy(bench.sign_up()["customer"])
    bench.advance("22h 59m")
    assert bench.rows("SELECT max(day) FROM reports") == [("2024-03-30",)]
    bench.advance("1m")
    assert bench.rows("SELECT * FROM reports WHERE day > '2024-03-30'") == [("2024-03-31", 1, 3900)]


def test_after_an_outage_each_day_has_its_report(bench: Bench) -> None:
    bench.buy(bench.sign_up()["customer"])
    bench.outage("60h")
    assert bench.rows("SELECT * FROM reports") == [
        ("2024-03-27", 1, 3900), ("2024-03-28", 0, 0), ("2024-03-29", 0, 0),
    ]  # fmt: skip


def test_the_month_is_billed_on_the_1st_once(bench: Bench) -> None:
    anne, _ = bench.sign_up()["customer"], bench.sign_up("bob@example.org")
    bench.buy(anne)
    bench.buy(anne)
    bench.advance("4d 9h 59m")  # 23:59 in Paris on the 31st
    assert bench.rows("SELECT * FROM invoices") == []
    bench.advance("1m")
    bench.board.crash()
    bench.settle()
    assert bench.rows("SELECT * FROM invoices") == [(anne, "2024-03", 2, 7800)]
    assert bench.mails()[-1] == "invoice for 2024-03"
    bench.buy(anne)
    bench.outage("30d")
    assert bench.rows("SELECT month, orders FROM invoices") == [("2024-03", 2), ("2024-04", 1)]
    assert "invoice for 2024-03" not in bench.mails("bob@example.org")


def test_the_cache_is_cleaned_up_hourly(bench: Bench) -> None:
    bench.advance("30m")
    bench.get("/search?text=lamp")
    bench.advance("30m")
    assert len(bench.rows("SELECT * FROM cache")) == 1  # 13:00: good until 13:30
    bench.advance("59m")
    assert len(bench.rows("SELECT * FROM cache")) == 1
    bench.advance("1m")
    assert bench.rows("SELECT * FROM cache") == []


def test_the_database_is_looked_after_on_sundays(bench: Bench) -> None:
    bench.buy(bench.sign_up()["customer"])
    assert bench.rows("SELECT name FROM sqlite_master WHERE name = 'sqlite_stat1'") == []
    bench.advance("4d")
    (looked,) = [each for each in bench.shop.rt.schedules() if each.name == "maintenance"]
    assert looked.last_at == datetime(2024, 3, 31, 2, tzinfo=UTC)  # 04:00, summer time
    assert bench.rows("SELECT DISTINCT tbl FROM sqlite_stat1") == [("orders",)]
    assert "welcome" in bench.mails()
    bench.outage("91d")
    subjects = {subject for (subject,) in bench.rows("SELECT subject FROM mails")}
    assert "welcome" not in subjects
    assert "report of 2024-06-29" in subjects


# --- messages ------------------------------------------------------------------------------------


def test_a_mail_waits_for_its_server(bench: Bench) -> None:
    bench.office.refusing = True
    bench.sign_up()
    bench.settle()
    assert bench.mails() == []
    (waiting,) = bench.shop.rt.timers("mails")
    assert waiting.attempt == 1
    bench.office.refusing = False
    bench.advance("2s")
    assert bench.mails() == ["welcome"]


def test_a_mail_carries_the_number_of_its_message(bench: Bench) -> None:
    for name in ("anne", "bob"):
        bench.sign_up(f"{name}@example.org")
    bench.settle()
    recorded = bench.rows("SELECT message_id FROM mails")
    names = {f"<{number}@shop.example.org>" for (number,) in recorded}
    assert len(names) == 2
    assert {letter["Message-ID"] for letter in bench.office.letters} == names


def test_an_uploaded_image_becomes_a_thumbnail(bench: Bench) -> None:
    picture = io.BytesIO()
    Image.new("RGBA", (600, 300), "teal").save(picture, "PNG")
    image = bench.upload(picture.getvalue())
    bench.settle()
    small = bench.get(f"/images/{image}/thumbnail")
    with Image.open(io.BytesIO(small.content)) as made:
        assert (made.format, made.size) == ("JPEG", (128, 64))


def test_what_is_no_image_is_a_dead_letter_at_once(bench: Bench) -> None:
    image = bench.upload(b"x")
    bench.settle()
    (dead,) = bench.shop.rt.dead()
    assert (dead.mailbox, dead.message, dead.attempts) == ("images.thumbnail", image, 1)
    assert bench.get(f"/images/{image}/thumbnail").status_code == 404


def test_orders_are_seen_live(bench: Bench) -> None:
    customer = bench.sign_up()["customer"]

    async def watch() -> list[str]:
        stream = live(bench.shop.rt)
        assert await anext(stream) == ": listening\n\n"
        order = await asyncio.to_thread(bench.shop.orders.place, customer, "lamp")
        seen = [await anext(stream)]
        await asyncio.to_thread(bench.shop.orders.pay, order)
        seen.append(await anext(stream))
        await stream.aclose()
        return [event.replace(order, "...") for event in seen]

    assert bench.do(watch()) == [
        'event: order.placed\ndata: {"order": "...", "state": "placed"}\n\n',
        'event: order.paid\ndata: {"order": "...", "state": "paid"}\n\n',
    ]


def test_visits_are_counted_each_once_over_a_crash(bench: Bench) -> None:
    for _ in range(10):
        bench.post("/visits", ["lamp", "chair"] * 100, status=202)
    bench.board.crash()
    bench.settle()
    assert [bench.get(f"/visits/{item}").json() for item in ("lamp", "chair")] == [1000, 1000]


def test_a_search_is_answered_from_the_cache(bench: Bench) -> None:
    assert bench.get("/search?text=a").json() == ["lamp", "chair", "table"]
    bench.settle()
    bench.shop.rt.pause("cache.remember")
    assert bench.get("/search?text=a").json() == ["lamp", "chair", "table"]
    assert bench.shop.rt.peek("cache.remember") == []
