"""The window on its own: what is offered or blocked while a page is being read."""

from __future__ import annotations

from callboard.actors.window import Page, Window
from callboard.persistence.store import Message


def message(number: int, key: str | None = None) -> Message:
    return Message(1, "json", b"1", key, number=number)


def run(window: Window, *stored: Message) -> list[int]:
    """Read pages from what is stored and handle messages, until there is nothing left to do."""
    left = list(stored)
    handled: list[int] = []
    while True:
        while (page := window.pages()) is not None:
            window.paged(page, _rows(page, left))
        taken = window.take()
        if taken is None:
            return handled
        handled.append(taken.number)
        left.remove(taken)
        window.settled(taken)
        window.finished(taken)


def _rows(page: Page, stored: list[Message]) -> list[Message]:
    if page.due:
        return []
    return [m for m in stored if page.after is None or m.sort > page.after][: page.limit]


def test_a_message_offered_while_a_page_is_read_is_read_afterwards() -> None:
    window = Window(keyed=False)
    due = window.pages()
    assert due is not None
    window.paged(due, [])
    page = window.pages()
    assert page is not None
    assert not window.offer(message(7), due=False)  # told after the rows of the page were read
    window.paged(page, [])
    assert run(window, message(7)) == [7]


def test_a_key_blocked_while_its_page_is_read_has_nothing_loaded_and_goes_on_later() -> None:
    window = Window(keyed=True, per_key=2)
    stored = [message(number, "a") for number in range(1, 6)]
    while "a" not in window.waiting.behind:
        first = window.pages()
        assert first is not None
        window.paged(first, _rows(first, stored))
    taken = window.take()
    assert taken is not None
    page = window.pages()
    assert page is not None
    assert page.key == "a"
    window.block("a")  # the first one has failed and waits for its retry
    window.paged(page, stored[2:4])
    window.settled(taken)
    window.finished(taken)
    assert (window.loaded, window.held) == (0, {})
    window.unblock("a")
    assert run(window, *stored) == [1, 2, 3, 4, 5]
