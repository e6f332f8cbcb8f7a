"""Kinds and bodies: what is stored, what is handed out, and what is refused in one line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from callboard import ConfigError, MessageError
from callboard.actors import messages
from callboard.actors.messages import (
    LARGEST_MESSAGE,
    PLAIN,
    Accepts,
    Unknown,
    encode,
    is_record,
    kind_of,
    message,
    upcast,
)

WHAT = "mailbox 'shop'"


@dataclass
class Placed:
    order: int
    price: float = 0.0


@dataclass
class Cancelled:
    order: int
    reason: str = ""


class Packed(msgspec.Struct):
    order: int


class Paid(pydantic.BaseModel):
    order: int
    euros: float = 1.0


class Twin:
    @dataclass
    class Placed:
        other: str


@dataclass
class Renamed:
    total: int


@dataclass
class Inner:
    values: list[Any]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """Leave the names and upcasts as they were."""
    kinds, upcasts = dict(messages._kinds), dict(messages._upcasts)
    yield
    for kept, before in ((messages._kinds, kinds), (messages._upcasts, upcasts)):
        kept.clear()
        kept.update(before)  # type: ignore[arg-type]


def refused(call: Any, *args: Any) -> str:
    with pytest.raises(MessageError) as caught:
        call(*args)
    told = str(caught.value)
    assert "\n" not in told
    assert told.startswith(WHAT)
    assert len(told) < 400
    return told


# --- kinds --------------------------------------------------------------------------------------


def test_a_kind_is_the_class_s_name_or_the_one_that_was_given() -> None:
    assert kind_of(Placed) == ("Placed", 1)
    message("order.placed", version=3)(Placed)
    assert kind_of(Placed) == ("order.placed", 3)
    assert kind_of(Packed) == ("Packed", 1)
    assert kind_of(Paid) == ("Paid", 1)
    for plain in (int, str, dict, list, object):
        assert kind_of(plain) == (PLAIN, 1)
    assert not is_record(Placed(1))
    assert not is_record(list[int])


@pytest.mark.parametrize(
    ("name", "version"),
    [("", 1), (None, 1), (PLAIN, 1), ("a", 0), ("a", -1), ("a", "2"), ("a", 1.5)],
)
def test_a_kind_that_cannot_be_is_refused(name: Any, version: Any) -> None:
    with pytest.raises(ConfigError):
        message(name, version=version)


def test_two_types_of_one_kind_are_refused() -> None:
    with pytest.raises(ConfigError, match="two types of one kind 'Placed'"):
        Accepts(Placed | Twin.Placed, WHAT)
    message("twin")(Twin.Placed)
    assert Accepts(Placed | Twin.Placed, WHAT).kinds == ("Placed", "twin")


ALIKE: list[tuple[Any, list[Any]]] = [
    (Placed, [Placed(1), Placed(2, 2.5)]),
    (Placed | Cancelled | str, [Cancelled(1), Cancelled(2, "late")]),
    (Placed | Cancelled | str, ["one", "two"]),
    (Packed, [Packed(1), Packed(2)]),
    (Any, [{"a": 1}, {"b": [2, None]}]),
]


@pytest.mark.parametrize(("annotation", "values"), ALIKE)
def test_many_of_one_type_are_encoded_as_each_of_them_is(
    annotation: Any, values: list[Any]
) -> None:
    accepts = Accepts(annotation, WHAT)
    alike = accepts.encode_alike(values)
    assert alike is not None
    kind, version, bodies, copies = alike
    one_by_one = [accepts.encode(value) for value in values]
    assert [(kind, version, *each) for each in zip(bodies, copies, strict=True)] == one_by_one
    assert not any(copy is value for copy, value in zip(copies, values, strict=True)
                   if not isinstance(value, str))  # fmt: skip


@pytest.mark.parametrize(
    ("annotation", "values"),
    [
        (Placed | Cancelled, [Placed(1), Cancelled(1)]),
        (Placed, [Placed(1), Placed("two")]),  # type: ignore[arg-type]
        (Placed, [Placed(1), Placed(object())]),  # type: ignore[arg-type]
        (Placed, [Cancelled(1), Cancelled(2)]),
        (Placed, [1, 2]),
        (Paid, [Paid(order=1), Paid(order=2)]),
        (str, ["a", "x" * LARGEST_MESSAGE]),
        (Any, [Placed(1), Placed(2)]),
        (str, []),
    ],
)
def test_many_that_are_not_alike_or_do_not_all_pass_are_left_to_be_encoded_one_by_one(
    annotation: Any, values: list[Any]
) -> None:
    assert Accepts(annotation, WHAT).encode_alike(values) is None


def test_an_annotation_that_is_no_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="is no message type"):
        Accepts(list[int] | dict[str, int] | set[int], WHAT)


# --- there and back -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value", [Placed(1, 2.5), Cancelled(2, "no"), Packed(3), Paid(order=4), "text", 5]
)
def test_a_union_is_decoded_by_the_stored_kind(value: Any) -> None:
    accepts = Accepts(Placed | Cancelled | Packed | Paid | str | int, WHAT)
    kind, version, body, decoded = accepts.encode(value)
    assert (kind, version) == kind_of(type(value))
    assert decoded == value
    assert type(decoded) is type(value)
    again = accepts.decode(kind, version, body)
    assert again == value
    assert type(again) is type(value)
    assert accepts.knows(kind, version)


def test_what_is_handed_out_is_a_copy() -> None:
    value = Inner([1, [2]])
    decoded = Accepts(Inner, WHAT).encode(value)[3]
    value.values.append(3)
    assert decoded == Inner([1, [2]])


@given(JSON)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    accepts = Accepts(Any, WHAT)
    kind, version, body, decoded = accepts.encode(value)
    assert (kind, version) == (PLAIN, 1)
    assert decoded == accepts.decode(kind, version, body) == value


def test_any_takes_records_too_and_finds_named_ones_again() -> None:
    message("order.placed", version=2)(Placed)
    accepts = Accepts(Any, WHAT)
    assert accepts.kinds == ()
    assert accepts.versions == ()
    kind, version, body, decoded = accepts.encode(Placed(1))
    assert (kind, version, decoded) == ("order.placed", 2, Placed(1))
    assert accepts.decode(kind, version, body) == Placed(1)
    assert accepts.decode("never.seen", 7, b'{"a":1}') == {"a": 1}
    assert accepts.knows("never.seen", 7)


def test_kinds_and_versions_are_listed_together() -> None:
    message("order.placed", version=4)(Placed)
    accepts = Accepts(Placed | Cancelled | str, WHAT)
    assert accepts.kinds == ("order.placed", "Cancelled", PLAIN)
    assert accepts.versions == (4, 1, 1)


def test_a_pydantic_model_is_checked_as_pydantic_does() -> None:
    accepts = Accepts(Paid, WHAT)
    kind, version, body, decoded = accepts.encode(Paid(order=1, euros=2.5))
    assert decoded == Paid(order=1, euros=2.5)
    assert accepts.decode(kind, version, b'{"order":"7"}') == Paid(order=7)
    assert accepts.decode(kind, version, body) == decoded
    refused(accepts.decode, kind, version, b'{"order":"seven"}')


# --- versions -----------------------------------------------------------------------------------


def test_upcasts_chain_from_any_old_version() -> None:
    message("bill", version=3)(Renamed)

    @upcast("bill", version=1)
    def _(data: Any) -> Any:
        return {"sum": data["amount"]}

    @upcast("bill", version=2)
    def _(data: Any) -> Any:
        return {"total": data["sum"] * 100}

    for accepts in (Accepts(Renamed, WHAT), Accepts(Any, WHAT)):
        assert accepts.decode("bill", 1, b'{"amount":5}') == Renamed(500)
        assert accepts.decode("bill", 2, b'{"sum":5}') == Renamed(500)
        assert accepts.decode("bill", 3, b'{"total":5}') == Renamed(5)
        assert [accepts.knows("bill", version) for version in (1, 2, 3, 4)] == [
            True, True, True, False,
        ]  # fmt: skip
        with pytest.raises(Unknown, match="bill version 4"):
            accepts.decode("bill", 4, b"{}")


def test_an_upcast_may_return_the_object_itself() -> None:
    message("bill", version=2)(Renamed)
    upcast("bill", version=1)(lambda data: Renamed(data["amount"]))
    assert Accepts(Renamed, WHAT).decode("bill", 1, b'{"amount":5}') == Renamed(5)


def test_a_gap_in_the_chain_is_unknown() -> None:
    message("bill", version=3)(Renamed)
    upcast("bill", version=1)(lambda data: data)
    accepts = Accepts(Renamed, WHAT)
    for version in (1, 2):
        assert not accepts.knows("bill", version)
        with pytest.raises(Unknown):
            accepts.decode("bill", version, b'{"total":5}')


def test_an_upcast_that_fails_or_gives_nonsense_is_a_message_error() -> None:
    message("bill", version=2)(Renamed)
    accepts = Accepts(Renamed, WHAT)
    upcast("bill", version=1)(lambda data: data["nothing"])
    assert "upcast of 'bill' version 1 failed" in refused(accepts.decode, "bill", 1, b"{}")
    upcast("bill", version=1)(lambda _: 1 / 0)
    assert "ZeroDivisionError" in refused(accepts.decode, "bill", 1, b"{}")
    upcast("bill", version=1)(lambda _: {"total": "many"})
    assert "does not accept" in refused(accepts.decode, "bill", 1, b"{}")
    upcast("bill", version=1)(lambda _: {"total": object()})
    refused(accepts.decode, "bill", 1, b"{}")


@pytest.mark.parametrize("kind", ["Cancelled", "never.seen", PLAIN])
def test_a_kind_that_the_code_does_not_take_is_unknown(kind: str) -> None:
    accepts = Accepts(Placed, WHAT)
    assert not accepts.knows(kind, 1)
    with pytest.raises(Unknown):
        accepts.decode(kind, 1, b"{}")


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("annotation", "value", "part"),
    [
        (Placed, Cancelled(1), "takes Placed, got Cancelled: Cancelled(order=1"),
        (Placed, {"order": 1}, "takes Placed, got dict"),
        (Placed | str, Cancelled(1), "takes Placed or plain JSON, got Cancelled"),
        (Placed, Placed("one"), "Expected `int`, got `str`"),  # type: ignore[arg-type]
        (Placed, Placed(1, math.nan), "Expected `float`, got `null`"),
        (Placed, Placed(1, math.inf), "Expected `float`, got `null`"),
        (int, "text", "Expected `int`, got `str`"),
        (float, math.nan, "Expected `float`, got `null`"),
        (Any, object(), "cannot be stored as JSON"),
        (Any, {1, object}, "cannot be stored as JSON"),
        (Any, "\ud800", "cannot be stored as JSON"),
        (Any, {"\udfff": 1}, "cannot be stored as JSON"),
        (Inner, Inner([object()]), "cannot be stored as JSON"),
        (Inner, Inner(["\ud800"]), "cannot be stored as JSON"),
        (Paid, Paid.model_construct(order="\ud800"), "cannot be stored as JSON"),
        (Any, "x\n" * 1000 + "\ud800", "cannot be stored as JSON"),
    ],
)
def test_what_is_not_accepted_is_refused_in_one_line(
    annotation: Any, value: Any, part: str
) -> None:
    assert part in refused(Accepts(annotation, WHAT).encode, value)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
def test_a_pydantic_model_that_breaks_its_own_schema_is_refused() -> None:
    refused(Accepts(Paid, WHAT).encode, Paid.model_construct(order="seven"))


def test_a_value_that_holds_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert "cannot be stored as JSON" in refused(Accepts(Any, WHAT).encode, loop)
    refused(Accepts(Inner, WHAT).encode, Inner(loop))


def test_a_value_nested_too_deep_to_read_is_refused() -> None:
    refused(Accepts(Any, WHAT).decode, PLAIN, 1, b"[" * 100_000 + b"]" * 100_000)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"nonsense", b'{"order":"x"}', b"[]", b"null", b"\xff"]
)
def test_a_broken_body_of_a_known_kind_is_a_message_error(body: bytes) -> None:
    refused(Accepts(Placed, WHAT).decode, "Placed", 1, body)


def test_the_limit_is_sixteen_mebibytes_of_text() -> None:
    assert LARGEST_MESSAGE == 16 * 1024 * 1024
    most = "x" * (LARGEST_MESSAGE - 2)
    assert len(encode(most, WHAT)) == LARGEST_MESSAGE
    told = refused(Accepts(str, WHAT).encode, most + "x")
    assert "16,777,217 bytes are over the limit of 16 MiB" in told


# --- fields -------------------------------------------------------------------------------------


class Camel(msgspec.Struct, rename="camel"):
    first_name: str
    of: int | None = None


def test_the_fields_of_a_kind_are_known_by_their_names_in_json() -> None:
    found = Accepts(Camel | int, WHAT)
    assert dict(zip(found.kinds, found.fields, strict=True)) == {
        "Camel": {"firstName": "str", "of": "int | None"},
        PLAIN: {},
    }
