"""The whole shop in real time with short delays: ``python -m shop.demo``, a few seconds.

A server on a free port, a visitor, a mail server, and at the end a table of what happened; the exit
code is 1 if anything in it is wrong.
"""

from __future__ import annotations

import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import uvicorn
from PIL import Image

from . import tables
from .app import make_app
from .postoffice import PostOffice
from .settings import Settings
from .shop import Shop, make_shop
from .table import show

SECONDS = 15  # the longest that it may take
SCHEDULES = ("billing", "cleanup", "maintenance", "report")  # each second, here


@contextmanager
def serving(shop: Shop) -> Iterator[httpx.Client]:
    """Serve the shop on a thread; gives a visitor's client."""
    server = uvicorn.Server(uvicorn.Config(make_app(shop), port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive())
        port = server.servers[0].sockets[0].getsockname()[1]
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as visitor:
            yield visitor
    finally:
        server.should_exit = True
        thread.join()


def watch(http: httpx.Client, seen: list[str], listening: threading.Event) -> None:
    """Note what is said about orders, until one was paid and one cancelled."""
    with http.stream("GET", "/events", timeout=SECONDS) as stream:
        for line in stream.iter_lines():
            listening.set()
            if line.startswith("event: "):
                seen.append(line.removeprefix("event: order."))
            if {"paid", "cancelled"} <= {*seen}:
                return


def visit(http: httpx.Client) -> dict[str, str]:
    """Do what visitors do; returns the numbers of their orders and images."""
    anne, bob, _ = (
        http.post("/customers", json={"email": f"{name}@example.org"}).json()
        for name in ("anne", "bob", "carl")
    )
    paid, unpaid = (
        http.post("/orders", json={**who, "item": item}).json()["order"]
        for who, item in ((anne, "lamp"), ({"customer": bob["customer"]}, "chair"))
    )
    http.post(f"/orders/{paid}/payment").raise_for_status()

    picture = io.BytesIO()
    Image.new("RGB", (640, 480), "teal").save(picture, "PNG")
    image = http.post("/images", files={"file": ("teal.png", picture.getvalue())}).json()["image"]

    for _ in range(10):
        http.post("/visits", json=["lamp"] * 500).raise_for_status()
    http.get("/search", params={"text": "a"}).raise_for_status()
    return {"paid": paid, "unpaid": unpaid, "image": image}


def outcome(
    shop: Shop, http: httpx.Client, office: PostOffice, made: dict[str, str], seen: list[str]
) -> list[tuple[str, object, object]]:
    """Return what was expected and what came."""

    def rows(sql: str) -> object:
        return tables.read(shop.settings.store, sql)[0][0]

    def mails(name: str) -> str:
        return ", ".join(sorted(office.subjects(f"{name}@example.org")))

    thumbnail = http.get(f"/images/{made['image']}/thumbnail").content
    with Image.open(io.BytesIO(thumbnail)) as small:
        size = small.size
    return [
        ("the paid order", "paid", http.get(f"/orders/{made['paid']}").json()["state"]),
        ("the unpaid order", "cancelled", http.get(f"/orders/{made['unpaid']}").json()["state"]),
        ("mails to who paid",
         "are you happy with it?, welcome, your order, your receipt", mails("anne")),
        ("mails to who did not", "welcome, your order, your order was cancelled", mails("bob")),
        ("mails to who only looked", "nothing for you yet?, welcome", mails("carl")),
        ("their mails recorded", 9,
         rows("SELECT count(*) FROM mails WHERE recipient != 'owner@example.org'")),
        ("coupons used", 1, rows("SELECT count(*) FROM coupons WHERE state = 'used'")),
        ("coupons expired", 2, rows("SELECT count(*) FROM coupons WHERE state = 'expired'")),
        ("orders shipped", 1, rows("SELECT count(*) FROM shipments")),
        ("the thumbnail", (128, 96), size),
        ("visits counted", 5000, http.get("/visits/lamp").json()),
        ("searches kept", 1, rows("SELECT count(*) FROM cache")),
        ("ran by the calendar", ", ".join(SCHEDULES), ", ".join(sorted(
            each.name for each in shop.rt.schedules() if each.last_at is not None
        ))),
        ("seen live", "cancelled, paid, placed, placed", ", ".join(sorted(seen))),
        ("dead letters", 0, len(shop.rt.dead())),
    ]  # fmt: skip


def main() -> int:
    with tempfile.TemporaryDirectory() as folder, PostOffice() as office:
        settings = Settings(
            store=str(Path(folder) / "shop.db"), smtp_host="127.0.0.1", smtp_port=office.port,
            reminder=1.2, coupon=1.5, payment=1.5, follow_up=1.5,
            **dict.fromkeys(SCHEDULES, "* * * * * *"),
        )  # fmt: skip
        shop = make_shop(settings)
        seen, listening = list[str](), threading.Event()
        with serving(shop) as http:
            watcher = threading.Thread(target=watch, args=(http, seen, listening))
            watcher.start()
            listening.wait(SECONDS)
            made = visit(http)
            until(lambda: not any(box.waiting or box.later for box in shop.rt.mailboxes()))
            watcher.join()
            good = show(outcome(shop, http, office, made, seen))
    return 0 if good else 1


def until(done: Callable[[], bool]) -> None:
    """Look now and then, until it is done or the time is up."""
    for _ in range(SECONDS * 50):
        if done():
            return
        threading.Event().wait(0.02)


if __name__ == "__main__":
    sys.exit(main())
