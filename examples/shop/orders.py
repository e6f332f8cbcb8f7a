"""Orders: cancelled when they are not paid in time; a payment cancels that future call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

from callboard import Context, Runtime

from .customers import Customers
from .mails import Mail, Mails
from .settings import Settings

PRICES = {"lamp": 3900, "chair": 12900, "table": 34900}
DISCOUNT = 10  # percent, with a coupon


class Refused(ValueError):
    """The order, the item or the coupon is not what it must be."""


@contextmanager
def refusing(why: str) -> Iterator[None]:
    """Say why a transaction was undone when one of its statements did not change its row."""
    try:
        yield
    except ValueError as error:
        raise Refused(why) from error


class Orders:
    def __init__(self, rt: Runtime, settings: Settings, mails: Mails, customers: Customers) -> None:
        self._rt, self._settings = rt, settings
        self._mails, self._customers = mails, customers
        rt.mailbox("orders.placed", self.placed)
        rt.mailbox("orders.unpaid", self.unpaid)
        rt.mailbox("orders.paid", self.paid)
        rt.mailbox("orders.follow_up", self.follow_up)
        # A copy of each such message that is published waits here, durably, until it is handled.
        rt.mailbox("shipments", self.ship, topics="order.paid")

    # --- requests: each is one transaction ---------------------------------------------------

    def place(self, customer: str, item: str, coupon: str | None = None) -> str:
        """Take an order; returns its number."""
        if item not in PRICES:
            raise Refused(f"we do not sell {item!r}")
        order, cents = uuid4().hex, PRICES[item]
        why = f"no customer {customer!r}, or coupon {coupon!r} is not valid"
        with refusing(why), self._rt.transaction() as tx:
            if coupon is not None:
                cents -= cents * DISCOUNT // 100
                tx.execute(
                    "UPDATE coupons SET state = 'used'"
                    " WHERE code = ? AND customer = ? AND state = 'valid'",
                    (coupon, customer),
                    expect=1,
                )
                tx.cancel(self._customers.expire_coupon, coupon)
            tx.execute(
                "INSERT INTO orders (id, customer, item, cents)"
                " SELECT ?, id, ?, ? FROM customers WHERE id = ?",
                (order, item, cents, customer),
                expect=1,
            )
            tx.tell(self.placed, order)
            tx.tell(self.unpaid, order, after=self._settings.payment, id=order)
        return order

    def pay(self, order: str) -> None:
        """Note a payment: from now on nothing cancels the order."""
        with refusing(f"order {order} is not open"), self._rt.transaction() as tx:
            tx.execute(
                "UPDATE orders SET state = 'paid' WHERE id = ? AND state = 'open'",
                (order,),
                expect=1,
            )
            tx.cancel(self.unpaid, order)
            tx.tell(self.paid, order)

    # --- turns -------------------------------------------------------------------------------

    def placed(self, order: str, context: Context) -> None:
        self._mail(order, "your order", context)
        self._say(order, "placed")

    def unpaid(self, order: str, context: Context) -> None:
        # If a payment commits while this runs, the turn is void: one of the two happens.
        context.execute(
            "UPDATE orders SET state = 'cancelled' WHERE id = ? AND state = 'open'",
            (order,),
            expect=1,
        )
        self._mail(order, "your order was cancelled", context)
        self._say(order, "cancelled")

    def paid(self, order: str, context: Context) -> None:
        context.execute(
            "UPDATE orders SET paid_at = ? WHERE id = ?",
            (int(context.now.timestamp()), order),
            expect=1,
        )
        self._mail(order, "your receipt", context)
        self._rt.tell(self.follow_up, order, after=self._settings.follow_up)
        self._say(order, "paid")

    def follow_up(self, order: str, context: Context) -> None:
        self._mail(order, "are you happy with it?", context)

    def ship(self, event: dict[str, Any], context: Context) -> None:
        context.execute("INSERT INTO shipments (order_id) VALUES (?)", (event["order"],))

    def _mail(self, order: str, subject: str, context: Context) -> None:
        rows = context.query(
            "SELECT email, item FROM orders JOIN customers ON customers.id = customer"
            " WHERE orders.id = ?",
            (order,),
        )
        for email, item in rows:
            self._rt.tell(self._mails.send, Mail(email, subject, f"{item}, order {order}"))

    def _say(self, order: str, state: str) -> None:
        self._rt.publish(f"order.{state}", {"order": order, "state": state})
