"""What differs between a laptop, a server and a test."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

Delay = float | str | timedelta


@dataclass(frozen=True)
class Settings:
    #: The database: the shop's tables and the runtime's, in one file.
    store: str = "shop.db"
    smtp_host: str = "localhost"
    smtp_port: int = 25
    sender: str = "shop@example.org"
    owner: str = "owner@example.org"  # reads the daily report
    zone: str = "Europe/Paris"  # where a day and a month begin

    # Future calls.
    reminder: Delay = "24h"
    coupon: Delay = "7d"
    payment: Delay = "30m"
    follow_up: Delay = "3d"

    # Schedules.
    report: str = "0 0 * * *"
    cleanup: str = "@hourly"
    maintenance: str = "0 4 * * sun"
    billing: str = "0 0 1 * *"
