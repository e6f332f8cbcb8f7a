"""Messages that somebody types: their kind and fields, with the code at hand and without it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from callboard import ConfigError, MessageError, Runtime, message
from callboard.repl.plain import spoken

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class AddItem:
    item: str
    count: int = 1


@dataclass
class Checkout:
    pass


@message("order.moved", version=2)
@dataclass
class Moved:
    item: str
    to: str


def declare(rt: Runtime) -> None:
    def one(_: AddItem) -> None: ...
    def several(_: AddItem | Checkout | Moved) -> None: ...

    rt.mailbox("one", one, topics=("news",))
    rt.mailbox("several", several)
    rt.mailbox("any", lambda _: None)


@pytest.fixture(params=["code", "no code"])
def rt(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Runtime]:
    """Return a client that has the code, or only a store in which an owner has declared it."""
    owner = Runtime(tmp_path / "board.db")
    declare(owner)
    owner.start()
    owner.stop()
    made = Runtime(tmp_path / "board.db")
    if request.param == "code":
        declare(made)
    yield made
    made.stop()


@pytest.mark.parametrize(("mailbox", "words", "kind", "body"), [
    ("one", ["item=nut", "count=2"], "AddItem", {"item": "nut", "count": 2}),
    ("one", ['{"item": "nut", "count": 2}'], "AddItem", {"item": "nut", "count": 2}),
    ("one", ["AddItem", "item=75", "count=2"], "AddItem", {"item": "75", "count": 2}),
    ("several", ["item=nut", "count=2"], "AddItem", {"item": "nut", "count": 2}),
    ("several", ["item=nut", "to=rome"], "order.moved", {"item": "nut", "to": "rome"}),
    ("several", ["order.moved", '{"item": "nut", "to": "oslo"}'], "order.moved",
     {"item": "nut", "to": "oslo"}),
    ("several", ["Checkout"], "Checkout", {}),
    ("any", ["item=75"], "json", {"item": 75}),
    ("any", ['"AddItem"'], "json", "AddItem"),
])  # fmt: skip
def test_a_message_is_what_its_kind_and_fields_say(
    rt: Runtime, mailbox: str, words: list[str], kind: str, body: Any
) -> None:
    rt.tell(mailbox, spoken(rt, mailbox, words))
    (told,) = rt.peek(mailbox)
    assert (told.kind, told.message) == (kind, body)


@pytest.mark.parametrize(("mailbox", "words", "says"), [
    ("several", ["item=nut"], "write the kind before them, as in tell several AddItem"),
    ("several", ["{}"], "write the kind before them"),
    ("one", ["item=nut", "colour=red"], "no field 'colour': it has item, count"),
])  # fmt: skip
def test_what_may_be_several_kinds_or_is_none_is_refused(
    rt: Runtime, mailbox: str, words: list[str], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        rt.tell(mailbox, spoken(rt, mailbox, words))


def test_the_code_at_hand_refuses_a_value_of_the_wrong_type(tmp_path: Path) -> None:
    rt = Runtime(tmp_path / "board.db")
    declare(rt)
    with pytest.raises(MessageError, match="does not accept this message"):
        spoken(rt, "one", ["item=nut", "count=many"])
    rt.stop()
