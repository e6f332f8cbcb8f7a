"""Customers: a reminder a day after they signed up, a coupon that is good for a week."""

from __future__ import annotations

import sqlite3
from uuid import uuid4

from callboard import Context, Runtime

from .mails import Mail, Mails
from .settings import Settings


class EmailTaken(ValueError):
    """Somebody has signed up with this address already."""


class Customers:
    def __init__(self, rt: Runtime, settings: Settings, mails: Mails) -> None:
        self._rt, self._settings, self._mails = rt, settings, mails
        rt.mailbox("customers.remind", self.remind)
        rt.mailbox("coupons.expire", self.expire_coupon)

    def sign_up(self, email: str) -> tuple[str, str]:
        """Add a customer; returns their number and their coupon."""
        customer, coupon = uuid4().hex, uuid4().hex[:8]
        try:
            # Two rows, a mail and two future calls: all of them, or none.
            with self._rt.transaction() as tx:
                tx.execute("INSERT INTO customers (id, email) VALUES (?, ?)", (customer, email))
                tx.execute("INSERT INTO coupons (code, customer) VALUES (?, ?)", (coupon, customer))
                tx.tell(self._mails.send, Mail(email, "welcome", f"Your coupon: {coupon}"))
                tx.tell(self.remind, customer, after=self._settings.reminder)
                tx.tell(self.expire_coupon, coupon, after=self._settings.coupon, id=coupon)
        except sqlite3.IntegrityError as error:
            raise EmailTaken(email) from error
        return customer, coupon

    def remind(self, customer: str, context: Context) -> None:
        """Write to who has not ordered anything."""
        rows = context.query(
            "SELECT email FROM customers WHERE id = :id"
            " AND NOT EXISTS (SELECT 1 FROM orders WHERE customer = :id)",
            {"id": customer},
        )
        for (email,) in rows:
            self._rt.tell(self._mails.send, Mail(email, "nothing for you yet?"))

    def expire_coupon(self, code: str, context: Context) -> None:
        context.execute(
            "UPDATE coupons SET state = 'expired' WHERE code = ? AND state = 'valid'", (code,)
        )
