"""The checker of the crash harness: each planted violation is reported, and nothing else is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from .invariants import (
    Dead,
    Effect,
    Line,
    Name,
    Reign,
    Seen,
    Waiting,
    check,
    check_reigns,
    check_waits,
)

BEAT = 3_000_000
LINES = (
    Line("told", Name("notes", "a-1"), 10, 1),
    Line("told", Name("notes", "a-2"), 20, 2),
    Line("told", Name("calls", "a-3"), 30, 3, due=500),
    Line("told", Name("calls", "a-4"), 40, 4, due=500),
    Line("cancelling", Name("calls", "a-4"), 45),
    Line("cancelled", Name("calls", "a-4"), 50),
    Line("refused", Name("line", "a-5"), 60),
    Line("told", Name("flaky", "a-6"), 70, 6, fails=2),
    Line("told", Name("flaky", "a-7"), 80, 7, fails=4),
    Line("told", Name("accounts", "a-8"), 90, 8),
    Line("told", Name("plain", "a-9"), 95, 9),
)
EFFECTS = (
    Effect(1, Name("notes", "a-1"), 1, "k", 100, 1),
    Effect(2, Name("notes", "a-2"), 2, "k", 110, 1),
    Effect(3, Name("calls", "a-3"), 3, None, 510, 1),
    Effect(4, Name("flaky", "a-6"), 6, None, 600, 3),
    Effect(5, Name("accounts", "a-8"), 8, "x", 610, 1, -7),
    Effect(6, Name("beat", str(BEAT)), 20, None, BEAT, 1),
    Effect(7, Name("beat", str(2 * BEAT)), 21, None, 2 * BEAT, 1),
)
GOOD = Seen(
    effects=EFFECTS,
    waiting=(Waiting(Name("accounts", "a-8+"), 30, 7), Waiting(Name("plain", "a-9"), 9)),
    dead=(Dead(Name("flaky", "a-7"), 7, 4, "FlakyError: a-7"),),
    balances={"x": -7},
    levels={"line": (0, 0)},
    ran=Counter(each.name for each in EFFECTS),
)


def without(row: int) -> Seen:
    return replace(GOOD, effects=[each for each in EFFECTS if each.row != row])


def changed(row: int, /, **more: Any) -> Seen:
    effects = [replace(each, **more) if each.row == row else each for each in EFFECTS]
    return replace(GOOD, effects=effects)


def more(effect: Effect) -> Seen:
    return replace(GOOD, effects=[*EFFECTS, effect])


def test_a_good_store_has_no_violation() -> None:
    assert check(LINES, GOOD) == []


PLANTED = [
    ("lost: notes a-1", without(1)),
    ("lost: plain a-9", replace(GOOD, waiting=GOOD.waiting[:1])),
    ("lost: flaky a-7", replace(GOOD, dead=())),
    ("doubled: notes a-1", more(Effect(8, Name("notes", "a-1"), 1, "other", 900, 1))),
    ("doubled: notes a-1", replace(GOOD, waiting=(*GOOD.waiting, Waiting(LINES[0].name, 1)))),
    ("doubled: notes a-1", replace(GOOD, dead=(*GOOD.dead, Dead(
        LINES[0].name, 1, 1, "its process died 3 times")))),
    ("number: notes a-2 was told as 2", changed(2, number=12)),
    ("order: notes a-1 (1) after notes a-2 (2)", changed(1, row=9)),
    ("ghost: calls a-4 was cancelled", more(Effect(8, Name("calls", "a-4"), 4, None, 900, 1))),
    ("ghost: calls a-4 was cancelled",
     replace(GOOD, waiting=(*GOOD.waiting, Waiting(Name("calls", "a-4"), 4)))),
    ("ghost: line a-5 was refused", more(Effect(8, Name("line", "a-5"), 5, None, 900, 1))),
    ("early: calls a-3 began 1 us before", changed(3, began=499)),
    ("money: 7 made", replace(GOOD, balances={"x": 0})),
    ("money: -7 lost", replace(GOOD, waiting=GOOD.waiting[1:])),
    ("money: y holds 7, its effects sum to 0",
     replace(GOOD, balances={"x": -7, "y": 7}, waiting=GOOD.waiting[1:])),
    (f"tick: {BEAT} doubled", more(Effect(8, Name("beat", str(BEAT)), 22, None, BEAT, 1))),
    ("tick: 1 missing", changed(7, name=Name("beat", str(3 * BEAT)))),
    ("tick: none after", replace(GOOD, ticked=9 * BEAT)),
    ("attempts: flaky a-6 handled in attempt 4, not 3", changed(4, attempt=4)),
    ("attempts: notes a-1 handled in attempt 2, not 1", changed(1, attempt=2)),
    ("attempts: flaky a-7 dead after 3, not 4",
     replace(GOOD, dead=(replace(GOOD.dead[0], attempts=3),))),
    ("dead: plain a-9 of itself", replace(GOOD, waiting=GOOD.waiting[:1], dead=(
        *GOOD.dead, Dead(Name("plain", "a-9"), 9, 1, "ValueError: no")))),
    ("level: line counts 2, 0 are there", replace(GOOD, levels={"line": (2, 0)})),
    ("run: notes a-1 has an effect", replace(GOOD, ran=GOOD.ran - Counter([LINES[0].name]))),
    ("the file is damaged", replace(GOOD, integrity="row 3 missing from index")),
]  # fmt: skip


@pytest.mark.parametrize(("violation", "seen"), PLANTED, ids=[each[0] for each in PLANTED])
def test_each_planted_violation_is_reported(violation: str, seen: Seen) -> None:
    found = check(LINES, seen)
    assert any(each.startswith(violation) for each in found), found


def test_what_nobody_wrote_down_may_be_there_or_not() -> None:
    extra = Effect(8, Name("plain", "a-10"), 40, None, 900, 1)
    assert check(LINES, replace(more(extra), ran=GOOD.ran + Counter([extra.name]))) == []


@pytest.mark.parametrize("intent", ["cancelling", "replacing"])
def test_what_was_perhaps_cancelled_may_be_gone_and_is_not_doubled(intent: str) -> None:
    lines = [*LINES, Line(intent, LINES[0].name, 99)]
    assert check(lines, GOOD) == []
    assert check(lines, without(1)) == []
    twice = more(Effect(8, Name("notes", "a-1"), 1, "other", 900, 1))
    assert any(each.startswith("doubled") for each in check(lines, twice))


def test_a_message_that_was_killed_three_times_may_be_dead() -> None:
    letter = Dead(Name("plain", "a-9"), 9, 0, "its process died 3 times while its handler ran")
    assert check(LINES, replace(GOOD, waiting=GOOD.waiting[:1], dead=(*GOOD.dead, letter))) == []


def test_one_owner_after_the_other_is_well() -> None:
    assert check_reigns([Reign("b", 2.0, 3.0), Reign("a", 1.0, 2.0), Reign("c", 3.5)]) == []


def test_two_owners_at_once_are_reported() -> None:
    assert check_reigns([Reign("a", 1.0, 2.0), Reign("b", 1.9, 3.0)]) == [
        "owners: b began while a owned the store"
    ]
    assert check_reigns([Reign("a", 1.0), Reign("b", 1.9)])


def test_an_owner_that_loses_the_store_is_reported() -> None:
    assert check_reigns([Reign("a", 1.0, 2.0, lost=True)]) == [
        "owners: a lost the store while it lived"
    ]


def test_one_long_wait_is_a_machine_and_half_of_them_are_a_lost_wake_up() -> None:
    assert check_waits([0.01, 0.01, 2.0], median=0.5, worst=8.0) == []
    assert check_waits([0.01, 0.9, 2.0], median=0.5, worst=8.0)
    assert check_waits([0.01, 0.01, 9.0], median=0.5, worst=8.0)
    assert check_waits([], median=0.5, worst=8.0) == []
