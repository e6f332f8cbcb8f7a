"""Kill the shop in the middle, again and again, and look at every order afterwards.

``python -m shop.crash [kills]``: this process is the web side, a client that takes orders and
payments; another one owns the store, does the work and is killed with ``kill -9``.
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

from . import tables
from .orders import Refused
from .postoffice import PostOffice
from .settings import Settings
from .shop import Shop, make_shop
from .table import show

PER_KILL = 12  # customers between two kills
PATIENCE = 30  # seconds for what is left after the last kill
SHORT = Settings(smtp_host="127.0.0.1", reminder=1.0, coupon=1.5, payment=0.4, follow_up=0.8)
MAILS = {
    "visitor": ["nothing for you yet?", "welcome"],
    "paid": ["are you happy with it?", "welcome", "your order", "your receipt"],
    "cancelled": ["welcome", "your order", "your order was cancelled"],
}


@dataclass
class Visit:
    """What one customer did, and what must come of it."""

    email: str
    order: str = ""
    outcome: str = "visitor"


class Owner:
    """The process that is killed."""

    def __init__(self, settings: Settings) -> None:
        self._command = [
            sys.executable, "-m", __spec__.name, "own", settings.store, str(settings.smtp_port)
        ]  # fmt: skip
        self._process = self._start()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def kill_and_start(self) -> None:
        self.kill()
        self._process = self._start()

    def stop(self) -> int:
        self._process.terminate()
        return self._process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, cwd=Path(__file__).parents[1])


def own(store: str, smtp_port: str) -> None:
    make_shop(replace(SHORT, store=store, smtp_port=int(smtp_port))).rt.run()


def visit(shop: Shop, number: int) -> Visit:
    """Sign up; two of three order; half of those pay."""
    made = Visit(f"{number}@example.org")
    customer, _ = shop.customers.sign_up(made.email)
    if number % 3:
        made.order = shop.orders.place(customer, "lamp")
        made.outcome = "cancelled"
        if number % 2:
            pay(shop, made)
    return made


def pay(shop: Shop, made: Visit) -> None:
    try:
        shop.orders.pay(made.order)
        made.outcome = "paid"
    except Refused:
        made.outcome = "cancelled"


def run(store: str, kills: int, office: PostOffice) -> bool:
    """Run the shop over so many kills; says whether everything came out right."""
    settings = replace(SHORT, store=store, smtp_port=office.port)
    shop = make_shop(settings)  # never started: a client
    chance, pause = random.Random(kills), threading.Event()
    visits: list[Visit] = []
    owner = Owner(settings)
    try:
        for _ in range(kills):
            begun = len(visits)
            for number in range(begun, begun + PER_KILL):
                visits.append(visit(shop, number))
                pause.wait(chance.uniform(0, 0.1))
            owner.kill_and_start()
            # Paid about when the order is cancelled: one of the two, never both.
            late = next(each for each in reversed(visits) if each.outcome == "cancelled")
            pause.wait(chance.uniform(0, 0.4))
            pay(shop, late)
        for _ in range(PATIENCE * 50):
            if not any(box.waiting or box.later for box in shop.rt.mailboxes()):
                break
            pause.wait(0.02)
        stopped = owner.stop()
    finally:
        owner.kill()
    good = verdict(shop, visits, kills, stopped)
    shop.rt.stop()
    doubled = len(office.letters) - len({each["Message-ID"] for each in office.letters})
    print(f"mails that the server got again because of a kill: {doubled}")
    return good


def verdict(shop: Shop, visits: list[Visit], kills: int, stopped: int) -> bool:
    """Compare every customer's order, mails, coupon and shipment with what was done."""
    store = shop.settings.store
    states = dict(tables.read(store, "SELECT id, state FROM orders"))
    shipped = [order for (order,) in tables.read(store, "SELECT order_id FROM shipments")]
    mails = defaultdict[str, list[str]](list)
    for recipient, subject in tables.read(store, "SELECT recipient, subject FROM mails"):
        mails[recipient].append(subject)

    outcomes = Counter(each.outcome for each in visits)
    right = Counter(
        each.outcome
        for each in visits
        if sorted(mails[each.email]) == MAILS[each.outcome]
        and states.get(each.order, "visitor") == each.outcome
        and shipped.count(each.order) == (each.outcome == "paid")
    )
    print(f"{kills} kills, {len(visits)} customers, {sum(map(len, mails.values()))} mails")
    return show([
        *((f"{outcome}: state, mails, shipment", outcomes[outcome], right[outcome])
          for outcome in sorted(outcomes)),
        ("coupons expired", len(visits),
         tables.read(store, "SELECT count(*) FROM coupons WHERE state = 'expired'")[0][0]),
        ("dead letters", 0, len(shop.rt.dead())),
        ("the last owner's exit code", 0, stopped),
    ])  # fmt: skip


def main(kills: int) -> int:
    with tempfile.TemporaryDirectory() as folder, PostOffice() as office:
        return 0 if run(f"{folder}/shop.db", kills, office) else 1


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["own", store, smtp_port]:
            own(store, smtp_port)
        case [kills]:
            sys.exit(main(int(kills)))
        case _:
            sys.exit(main(10))
