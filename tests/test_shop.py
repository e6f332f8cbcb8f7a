"""Each background work of `examples/shop` on a clock that is turned by hand."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from httpx import ASGITransport, AsyncClient, Response
from PIL import Image
from shop import tables
from shop.app import make_app
from shop.postoffice import PostOffice
from shop.settings import Settings
from shop.shop import Shop, make_shop

from callboard import ManualClock
from callboard.runtime.testing import Board

ANNE = "anne@example.org"


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

    def rows(self, sql: str, *params: object) -> list[Any]:
        return tables.read(self.shop.settings.store, sql, *params)

    def get(self, path: str) -> Response:
        return self._loop.run(self._http.get(path))

    def post(self, path: str, json: object = None, status: int = 201, **more: Any) -> Any:
        answer = self._loop.run(self._http.post(path, json=json, **more))
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
    board = Board((shop := make_shop(settings, ManualClock())).rt)
    with board, asyncio.Runner() as loop:
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
    assert len(bench.shop.rt.timers()) == 2
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
    bench.sign_up()
    bench.settle()
    ((number,),) = bench.rows("SELECT message_id FROM mails")
    (letter,) = bench.office.letters
    assert letter["Message-ID"] == f"<{number}@shop.example.org>"


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
