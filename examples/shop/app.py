"""The HTTP side: plain ``def``, because each request that writes waits for the disk."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Annotated, Any

from fastapi import APIRouter, Body, FastAPI, HTTPException, Request, Response, UploadFile
from fastapi.responses import JSONResponse, StreamingResponse

from callboard import Runtime

from . import tables
from .customers import EmailTaken
from .orders import Refused
from .shop import Shop


def make_app(shop: Shop) -> FastAPI:
    app = FastAPI(lifespan=shop.rt.lifespan)  # the runtime starts and stops with the server
    app.include_router(sales(shop))
    app.include_router(pages(shop))

    @app.exception_handler(EmailTaken)
    @app.exception_handler(Refused)
    def refuse(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=409)

    return app


def sales(shop: Shop) -> APIRouter:
    """Return the routes of customers and orders."""
    router = APIRouter()

    @router.post("/customers", status_code=201)
    def sign_up(email: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        customer, coupon = shop.customers.sign_up(email)
        return {"customer": customer, "coupon": coupon}

    @router.post("/orders", status_code=201)
    def place(
        customer: Annotated[str, Body()],
        item: Annotated[str, Body()],
        coupon: Annotated[str | None, Body()] = None,
    ) -> dict[str, str]:
        return {"order": shop.orders.place(customer, item, coupon)}

    @router.post("/orders/{order}/payment", status_code=204)
    def pay(order: str) -> None:
        shop.orders.pay(order)

    @router.get("/events")
    def events() -> StreamingResponse:
        return StreamingResponse(live(shop.rt), media_type="text/event-stream")

    @router.get("/orders/{order}")
    def look(order: str) -> dict[str, Any]:
        rows = tables.read(
            shop.settings.store, "SELECT item, cents, state FROM orders WHERE id = ?", order
        )
        if not rows:
            raise HTTPException(404)
        return dict(zip(("item", "cents", "state"), rows[0], strict=True))

    return router


async def live(rt: Runtime) -> AsyncGenerator[str]:
    """Give what is published about orders as server-sent events, to whoever listens now."""
    async with rt.listen("order.*") as feed:
        yield ": listening\n\n"
        async for event in feed:
            yield f"event: {feed.topic}\ndata: {json.dumps(event)}\n\n"


def pages(shop: Shop) -> APIRouter:
    """Return the routes of search, images and visits."""
    router = APIRouter()

    @router.get("/search")
    def search(text: str) -> list[str]:
        return shop.catalogue.search(text)

    @router.post("/images", status_code=202)
    def upload(file: UploadFile) -> dict[str, str]:
        return {"image": shop.images.upload(file.file.read())}

    @router.get("/images/{image}/thumbnail")
    def thumbnail(image: str) -> Response:
        rows = tables.read(shop.settings.store, "SELECT thumbnail FROM images WHERE id = ?", image)
        if not rows or rows[0][0] is None:
            raise HTTPException(404, "no such image, or its thumbnail is not ready")
        return Response(rows[0][0], media_type="image/jpeg")

    @router.post("/visits", status_code=202)
    def visit(items: Annotated[list[str], Body()]) -> None:
        shop.visits.add(items)

    @router.get("/visits/{item}")
    def visits(item: str) -> int:
        return shop.visits.total(item)

    return router
