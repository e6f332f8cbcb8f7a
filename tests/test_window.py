"""The window on its own: what happens while a page is read, and when it must ask for the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.actors import window as window_module
from callboard.actors.sizes import PER_KEY, WINDOW
from callboard.actors.window import Page, Window
from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Declaration, Message

from .store_tools import do, tell


def message(
    number: int, key: str | None = None, *, due: int | None = None, priority: int = 0
) -> Message:
    return Message(1, "json", b"1", key, due, priority=priority, number=number)


def fill(window: Window, stored: list[Message]) -> None:
    while window.hungry and (page := window.pages()) is not None:
        window.paged(page, rows(page, stored))


def run(window: Window, *stored: Message) -> list[int]:
    """Read pages from what is stored and handle messages, until there is nothing left to do."""
    left = list(stored)
    handled: list[int] = []
    while True:
        fill(window, left)
        taken = window.take()
        if taken is None:
            return handled
        handled.append(taken.number)
        left.remove(taken)
        window.settled(taken)
        window.finished(taken)


def rows(page: Page, stored: list[Message]) -> list[Message]:
    found = [m for m in stored if (m.due is not None) == page.due and m.key not in page.skip]
    if page.key is not None:
        found = [m for m in found if m.key == page.key]
    found.sort(key=lambda m: m.due_sort if page.due else m.sort)
    at = [m.due_sort if page.due else m.sort for m in found]
    beyond = [m for m, place in zip(found, at, strict=True)
              if page.after is None or place > page.after]  # fmt: skip
    return beyond[: page.limit]


def waiting_page(window: Window) -> Page:
    """Return the next page of what waits; nothing is due."""
    page = window.pages()
    while page is not None and page.due:
        window.paged(page, [])
        page = window.pages()
    assert page is not None
    return page


def take(window: Window) -> Message:
    taken = window.take()
    assert taken is not None
    return taken


# --- while a page is read --------------------------------------------------------------------


def test_a_message_offered_while_a_page_is_read_is_read_afterwards() -> None:
    window = Window(keyed=False)
    page = waiting_page(window)
    assert not window.offer(message(7), due=False)  # told after the rows of the page were read
    window.paged(page, [])
    assert run(window, message(7)) == [7]


def test_one_of_higher_priority_offered_while_a_page_is_read_is_read_afterwards() -> None:
    window = Window(keyed=False)
    page = waiting_page(window)
    urgent = message(7, priority=5)
    assert not window.offer(urgent, due=False)
    window.paged(page, [message(1), message(2)])  # the page has gone beyond its place
    assert run(window, message(1), message(2), urgent) == [7, 1, 2]


def test_what_a_page_has_brought_already_is_not_taken_again_when_it_arrives() -> None:
    window = Window(keyed=False)
    page = waiting_page(window)
    window.paged(page, [message(1), message(2)])  # committed, and not yet handed over
    window.offer_all([message(1), message(2), message(3)], due=False)
    assert [take(window).number for _ in range(window.loaded)] == [1, 2, 3]


def test_a_key_blocked_while_its_page_is_read_has_nothing_loaded_and_goes_on_later() -> None:
    window = Window(keyed=True, per_key=2)
    stored = [message(number, "a") for number in range(1, 6)]
    while "a" not in window.waiting.behind:
        first = window.pages()
        assert first is not None
        window.paged(first, rows(first, stored))
    taken = take(window)
    page = waiting_page(window)
    assert page.key == "a"
    window.block("a")  # the first one has failed and waits for its retry
    window.paged(page, stored[2:4])
    window.settled(taken)
    window.finished(taken)
    assert (window.loaded, window.held) == (0, {})
    window.unblock("a")
    assert run(window, *stored) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("key", ["a", None])
def test_an_actor_is_idle_when_nothing_of_it_is_loaded_runs_or_is_blocked(key: str | None) -> None:
    window = Window(keyed=key is not None, exclusive=True)
    fill(window, [])
    assert window.idle(key)
    window.offer(message(1, key), due=False)
    assert not window.idle(key)
    taken = take(window)
    assert not window.idle(key)
    window.settled(taken)
    window.finished(taken)
    assert window.idle(key)
    window.block(key)
    assert not window.idle(key)
    window.unblock(key)
    assert window.idle(key)


def test_what_is_settled_while_a_page_is_read_is_not_handed_out_again() -> None:
    window = Window(keyed=False)
    stored = [message(number, due=number) for number in (1, 2)]
    fill(window, stored)
    taken = take(window)
    window.due_in_store()  # more has become due: the due lane is read from its beginning
    page = window.pages()
    assert page is not None
    found = rows(page, stored)  # the first row is read while its turn is about to commit
    window.settled(taken)
    window.paged(page, found)
    assert run(window, stored[1]) == [2]


def test_what_is_cancelled_while_a_page_is_read_is_not_handed_out() -> None:
    window = Window(keyed=False)
    page = waiting_page(window)
    window.drop(1)
    window.paged(page, [message(1), message(2)])
    assert run(window, message(2)) == [2]


def test_what_a_page_has_brought_before_it_is_offered_is_loaded_once() -> None:
    """A page may be read between a commit and its hand-over."""
    window = Window(keyed=True)
    fill(window, [message(1, "a")])
    assert window.offer(message(1, "a"), due=False)
    assert window.loaded == 1
    assert run(window, message(1, "a")) == [1]


def test_a_row_without_a_key_that_waits_for_its_retry_hides_no_other_without_a_key() -> None:
    # A mailbox that is declared keyed now may hold rows that were told when it was not.
    window = Window(keyed=True)
    stored = [message(1), message(2), message(3, "a")]
    page = waiting_page(window)
    blocked = window.paged(page, stored, must_wait=lambda m: 9 if m.number == 1 else None)
    assert blocked == [(None, 9)]
    window.unblock(None)
    assert sorted(run(window, *stored)) == [1, 2, 3]


def test_what_is_given_back_after_a_reset_does_not_overtake_others_of_its_key() -> None:
    window = Window(keyed=True)
    stored = [message(number, "a") for number in (1, 2, 3)]
    fill(window, stored)
    first = take(window)
    window.finished(first)  # it is staged, and the next of its key runs
    second = take(window)
    window.again(first)
    window.reset()  # the first is thrown away, and is to be read again
    window.again(second)
    window.finished(second)
    assert run(window, *stored) == [1, 2, 3]


# --- when to ask for the next page -----------------------------------------------------------


def test_nothing_of_a_blocked_key_is_read_however_much_there_is() -> None:
    stored = [*(message(n, "many") for n in range(1, 101)), message(101, "other")]
    window = Window(keyed=True, size=4)
    window.block("many")
    page = waiting_page(window)
    window.paged(page, rows(page, stored))
    assert take(window).number == 101


def test_memory_is_bounded_however_many_keys_wait_for_a_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(window_module, "MOST_BLOCKED", 20)
    stored = [message(n, f"key {n}") for n in range(1, 101)]
    window = Window(keyed=True, size=8)
    while window.hungry and (page := window.pages()) is not None:
        window.paged(page, rows(page, stored), must_wait=lambda _: 1)
    assert 20 <= len(window.blocked) < 28
    for name in [*window.blocked]:
        window.unblock(name)
    assert sorted(run(window, *stored)) == [*range(1, 101)]


def test_a_key_that_is_blocked_with_more_in_the_store_is_not_asked_for() -> None:
    stored = [message(n, "many") for n in range(1, 101)]
    window = Window(keyed=True, size=4, per_key=2)
    fill(window, stored)
    window.block("many")
    assert window.hungry
    assert window.pages() is None
    window.unblock("many")
    assert run(window, *stored) == [*range(1, 101)]


def test_when_all_that_is_loaded_is_blocked_at_once_others_are_read() -> None:
    window = Window(keyed=True, size=8, per_key=3)
    stored = [message(number, "abc"[number % 3]) for number in range(1, 9)]
    stored.append(message(9, "d"))
    fill(window, stored)
    failed = [take(window) for _ in range(3)]  # one of each key; more than half is still loaded
    assert not window.hungry
    for each in failed:
        window.block(each.key)
        window.settled(each)
        window.finished(each)
    fill(window, stored)
    assert take(window).key == "d"


def test_a_key_that_is_unblocked_while_the_window_is_full_is_read_when_there_is_room() -> None:
    window = Window(keyed=True, size=4, per_key=2)
    fill(window, [])
    window.block("x")
    others = [message(number, "ab"[number % 2]) for number in range(2, 6)]
    for each in others:
        assert window.offer(each, due=False)
    window.unblock("x")
    assert window.pages() is None
    assert sorted(run(window, message(1, "x"), *others)) == [1, 2, 3, 4, 5]


def test_one_that_sorts_before_its_key_in_memory_is_read_from_the_store() -> None:
    window = Window(keyed=True, size=8, per_key=2)
    stored = [message(number, "a", due=10 + number) for number in (1, 2)]
    fill(window, stored)
    overdue = message(3, "a", due=1)
    assert not window.offer(overdue, due=True)
    assert sorted(run(window, *stored, overdue)) == [1, 2, 3]


# --- bounds ----------------------------------------------------------------------------------


def test_memory_is_bounded_however_many_sort_before_what_has_been_seen() -> None:
    window = Window(keyed=False, size=8)
    stored = [message(number, due=100) for number in range(1, 10)]
    fill(window, stored)
    overdue = [message(number, due=1) for number in range(10, 60)]
    for each in overdue:
        window.offer(each, due=True)
    assert window.loaded <= window.size
    assert sorted(run(window, *stored, *overdue)) == [*range(1, 60)]


def test_a_hundred_thousand_of_one_key_delay_another_by_at_most_one_page(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "board.db")
    box = store.declare([Declaration("jobs", keyed=True)])[0].id
    many = [Message(box, "json", b"1", "many") for _ in range(100_000)]
    for at in range(0, len(many), 10_000):
        do(store, *many[at : at + 10_000])
    other = tell(store, box, b"1", key="other")[0].number
    window = Window(keyed=True)
    taken: list[int] = []
    read = 0
    while other not in taken:
        while (page := window.pages()) is not None:
            found = [] if page.due else store.waiting(
                box, after=page.after, limit=page.limit, skip=page.skip, key=page.key
            )  # fmt: skip
            window.paged(page, found)
            read += len(found)
            assert window.loaded <= WINDOW
        each = take(window)
        taken.append(each.number)
        window.finished(each)
        window.settled(each)
        assert len(taken) <= PER_KEY
    assert read <= 2 * WINDOW
    store.close()


@pytest.mark.parametrize("keyed", [False, True])
def test_when_all_that_was_loaded_is_taken_out_the_next_are_read(*, keyed: bool) -> None:
    """What has expired leaves room, and nobody else may come by."""
    stored = [message(n, str(n) if keyed else None) for n in range(1, 11)]
    window = Window(keyed=keyed, size=4, per_key=2)
    fill(window, stored)
    for each in stored[:4]:
        assert window.take_out(each)
    assert run(window, *stored[4:]) == [5, 6, 7, 8, 9, 10]
