"""What is done by the calendar: a report a day, invoices a month, and cleaning up."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from callboard import Context, Runtime, Tick

from .mails import Mail, Mails
from .settings import Settings

KEPT = timedelta(days=90)
SALES = """
    SELECT count(*), coalesce(sum(cents), 0) FROM orders WHERE paid_at >= ? AND paid_at < ?
"""
PURCHASES = """
    SELECT customers.id, email, count(*), sum(cents)
    FROM orders JOIN customers ON customers.id = customer
    WHERE paid_at >= ? AND paid_at < ? GROUP BY customers.id
"""


class Reports:
    def __init__(self, rt: Runtime, settings: Settings, mails: Mails) -> None:
        self._rt, self._settings, self._mails = rt, settings, mails
        self._zone = zone = ZoneInfo(settings.zone)
        # After an outage of three days there are three reports; the cache is cleaned up once.
        rt.cron(settings.report, name="report", tz=zone.key, missed="all")(self.report)
        rt.cron(settings.billing, name="billing", tz=zone.key, missed="all")(self.bill)
        rt.cron(settings.cleanup, name="cleanup")(self.clean_up)
        rt.cron(settings.maintenance, name="maintenance", tz=zone.key)(self.maintain)

    def report(self, tick: Tick, context: Context) -> None:
        """Add up the day that has ended; it has 23 or 25 hours when the clocks change."""
        today = tick.at.astimezone(self._zone).date()
        day = today - timedelta(days=1)
        ((orders, cents),) = context.query(SALES, self._midnights(day, today))
        context.execute(
            "INSERT OR REPLACE INTO reports (day, orders, cents) VALUES (?, ?, ?)",
            (str(day), orders, cents),
        )
        text = f"{orders} orders, {cents / 100:.2f} EUR"
        self._rt.tell(self._mails.send, Mail(self._settings.owner, f"report of {day}", text))

    def bill(self, tick: Tick, context: Context) -> None:
        """Write an invoice to each customer for the month that has ended."""
        today = tick.at.astimezone(self._zone).date().replace(day=1)
        first = (today - timedelta(days=1)).replace(day=1)
        month = f"{first:%Y-%m}"
        bought = context.query(PURCHASES, self._midnights(first, today))
        for customer, email, orders, cents in bought:
            # The table's key refuses a second one; then none of the mails goes out either.
            context.execute(
                "INSERT INTO invoices (customer, month, orders, cents) VALUES (?, ?, ?, ?)",
                (customer, month, orders, cents),
            )
            text = f"{orders} orders, {cents / 100:.2f} EUR"
            self._rt.tell(self._mails.send, Mail(email, f"invoice for {month}", text))

    def clean_up(self, tick: Tick, context: Context) -> None:
        context.execute("DELETE FROM cache WHERE expires_at <= ?", (int(tick.at.timestamp()),))

    def maintain(self, tick: Tick, context: Context) -> None:
        """Forget old mails, and have the planner look at the orders again."""
        old = int((tick.at - KEPT).timestamp())
        context.execute("DELETE FROM mails WHERE sent_at < ?", (old,))
        context.execute("ANALYZE orders")

    def _midnights(self, *days: date) -> tuple[int, ...]:
        return tuple(int(datetime.combine(day, time.min, self._zone).timestamp()) for day in days)
