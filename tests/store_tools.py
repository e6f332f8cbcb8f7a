"""Short words for what the tests of stores do all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callboard.persistence.store import Depth, Execute, Message, Op, Unit, Written

if TYPE_CHECKING:
    from callboard.persistence.store import Store


def message(box: int, body: bytes = b"1", **fields: Any) -> Message:
    return Message(box, "json", body, **fields)


def write(store: Store, *units: Unit, epoch: int | None = None, seen: int | None = None) -> Written:
    return store.write(units, epoch=epoch, seen=seen)


def depth(store: Store, box: int, now: int) -> Depth:
    """Return how much one mailbox holds."""
    return next(depth for row, depth in store.depths(now) if row.id == box)


def tell(store: Store, box: int, *bodies: bytes, **fields: Any) -> list[Message]:
    """Tell a message for each body, in one unit; returns them with their numbers."""
    told = [message(box, body, **fields) for body in bodies]
    write(store, Unit(tells=told))
    return told


def do(store: Store, *ops: Op, **fields: Any) -> Unit:
    """Write one unit of operations and return it."""
    unit = Unit(ops=list(ops), **fields)
    write(store, unit)
    return unit


def run(store: Store, *statements: str) -> None:
    """Run statements of the user's, which must come out."""
    for sql in statements:
        unit = do(store, Execute(sql, ()))
        assert unit.error is None, unit.error


def bodies(store: Store, box: int) -> list[bytes]:
    """Return the bodies of what waits, in order."""
    return [each.body for each in store.waiting(box, after=None, limit=10_000)]


def numbers(found: list[Message]) -> list[int]:
    return [each.number for each in found]
