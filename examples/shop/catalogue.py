"""The catalogue: what was found is kept for an hour, and what is too old is removed hourly."""

from __future__ import annotations

import json
from dataclasses import dataclass

from callboard import Context, Runtime, message

from . import tables
from .orders import PRICES
from .settings import Settings

HOUR = 3600


@message("shop.found")
@dataclass(frozen=True)
class Found:
    search: str
    items: list[str]


class Catalogue:
    def __init__(self, rt: Runtime, settings: Settings) -> None:
        self._rt, self._settings = rt, settings
        rt.mailbox("cache.remember", self.remember)

    def search(self, text: str) -> list[str]:
        rows = tables.read(self._settings.store, "SELECT found FROM cache WHERE search = ?", text)
        if rows:
            cached: list[str] = json.loads(rows[0][0])
            return cached
        items = [item for item in PRICES if text in item]
        self._rt.tell(self.remember, Found(text, items))  # the visitor does not wait for a write
        return items

    def remember(self, found: Found, context: Context) -> None:
        context.execute(
            "INSERT OR REPLACE INTO cache (search, found, expires_at) VALUES (?, ?, ?)",
            (found.search, json.dumps(found.items), int(context.now.timestamp()) + HOUR),
        )
