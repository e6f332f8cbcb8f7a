"""The shop: its parts on one runtime, and nothing that starts by itself."""

from __future__ import annotations

from dataclasses import dataclass

from callboard import Runtime
from callboard.clock import Clock

from . import tables
from .catalogue import Catalogue
from .customers import Customers
from .images import Images
from .mails import Mails
from .orders import Orders
from .reports import Reports
from .settings import Settings
from .visits import Counter


@dataclass(frozen=True)
class Shop:
    settings: Settings
    rt: Runtime
    mails: Mails
    customers: Customers
    orders: Orders
    images: Images
    catalogue: Catalogue
    visits: Counter
    reports: Reports


def make_shop(settings: Settings, clock: Clock | None = None) -> Shop:
    """Make the tables and declare the mailboxes; ``shop.rt`` is started by who serves.

    Args:
        settings: where it lives, and how long things take.
        clock: a ManualClock in tests.

    """
    tables.create(settings.store)
    rt = Runtime(settings.store, clock=clock)
    mails = Mails(rt, settings)
    customers = Customers(rt, settings, mails)
    return Shop(
        settings=settings,
        rt=rt,
        mails=mails,
        customers=customers,
        orders=Orders(rt, settings, mails, customers),
        images=Images(rt),
        catalogue=Catalogue(rt, settings),
        visits=Counter(rt),
        reports=Reports(rt, settings, mails),
    )
