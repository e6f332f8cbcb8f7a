"""What a server loads: ``uvicorn shop.main:app``."""

from __future__ import annotations

import os

from .app import make_app
from .settings import Settings
from .shop import make_shop

shop = make_shop(
    Settings(
        store=os.environ.get("SHOP_STORE", "shop.db"),
        smtp_host=os.environ.get("SHOP_SMTP_HOST", "localhost"),
        smtp_port=int(os.environ.get("SHOP_SMTP_PORT", "25")),
    )
)
app = make_app(shop)
