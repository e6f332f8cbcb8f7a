"""The shop's own tables, in the same file as the messages: one transaction holds both."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS customers (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS coupons (
    code TEXT PRIMARY KEY,
    customer TEXT NOT NULL REFERENCES customers,
    state TEXT NOT NULL DEFAULT 'valid' CHECK (state IN ('valid', 'used', 'expired'))
);
CREATE TABLE IF NOT EXISTS orders (
    id TEXT PRIMARY KEY,
    customer TEXT NOT NULL REFERENCES customers,
    item TEXT NOT NULL,
    cents INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'paid', 'cancelled')),
    paid_at INTEGER
);
CREATE INDEX IF NOT EXISTS orders_customer ON orders (customer);
CREATE INDEX IF NOT EXISTS orders_paid ON orders (paid_at);
CREATE TABLE IF NOT EXISTS shipments (
    order_id TEXT PRIMARY KEY REFERENCES orders
);
CREATE TABLE IF NOT EXISTS mails (  -- the number of its message: a mail is here once
    message_id INTEGER PRIMARY KEY,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    sent_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS images (
    id TEXT PRIMARY KEY,
    original BLOB NOT NULL,
    thumbnail BLOB
);
CREATE TABLE IF NOT EXISTS cache (
    search TEXT PRIMARY KEY,
    found TEXT NOT NULL,
    expires_at INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS reports (
    day TEXT PRIMARY KEY,
    orders INTEGER NOT NULL,
    cents INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS invoices (
    customer TEXT NOT NULL REFERENCES customers,
    month TEXT NOT NULL,
    orders INTEGER NOT NULL,
    cents INTEGER NOT NULL,
    PRIMARY KEY (customer, month)
);
COMMIT;
"""


def create(store: str) -> None:
    """Make the tables that are not there yet."""
    with closing(sqlite3.connect(store, isolation_level=None)) as database:
        database.executescript(SCHEMA)


def read(store: str, sql: str, *params: object) -> list[Any]:
    """Return rows, outside a turn; in a turn it is ``context.query``.

    It opens the file for reading alone: what is written goes through the runtime.
    """
    place = f"{Path(store).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(place, uri=True)) as database:
        return database.execute(sql, params).fetchall()
