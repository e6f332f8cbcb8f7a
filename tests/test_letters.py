"""All dead letters at once: page by page, each page whole, the rest as it was."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from callboard import MailboxNotFound, Reject, Runtime
from callboard.repl import cli
from callboard.runtime import letters

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from callboard.runtime.testing import Board

DEAD = 25


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "PAGE", 10)


@pytest.fixture
def client(board: Board) -> Iterator[Runtime]:
    """Make a client of a store with dead letters of two mailboxes, whose owner has ended."""
    rt = board.rt

    def broken(n: int) -> None:
        raise Reject(str(n))

    rt.mailbox("broken", broken)
    rt.mailbox("other", broken)
    board.start()
    rt.tell_many("broken", list(range(DEAD)))
    rt.tell("other", 1)
    board.settle()
    board.stop()
    made = Runtime(rt._config.path, clock=rt._config.clock)
    yield made
    made.stop()


def begins(rt: Runtime) -> list[str]:
    """Return a list that grows with each transaction."""
    found: list[str] = []
    rt._store.probe = lambda what: found.append(what) if what == "committed" else None
    return found


def test_all_dead_letters_are_sent_again_a_page_in_a_transaction(client: Runtime) -> None:
    was = [each.id for each in client.dead("broken")]
    commits, pages = begins(client), list[list[tuple[int, int]]]()
    assert client.requeue_all("broken", progress=pages.append) == DEAD
    assert [len(page) for page in pages] == [10, 10, 5]
    assert len(commits) == 3
    pairs = [pair for page in pages for pair in page]
    assert [then for then, _ in pairs] == was
    waiting = client.peek("broken", 100)
    assert [each.id for each in waiting] == [now for _, now in pairs]
    assert [each.message for each in waiting] == list(range(DEAD))
    assert [each.mailbox for each in client.dead()] == ["other"]


def test_all_dead_letters_are_deleted_a_page_in_a_transaction(client: Runtime) -> None:
    commits, counts = begins(client), list[int]()
    assert client.discard_all(progress=counts.append) == DEAD + 1
    assert (counts, len(commits)) == ([10, 20, 26], 3)
    assert client.dead() == []


def test_a_message_may_be_sent_instead_of_all_of_one_mailbox(client: Runtime) -> None:
    client.requeue_all("broken", edited=7)
    assert {each.message for each in client.peek("broken", 100)} == {7}
    with pytest.raises(MailboxNotFound):
        client.requeue_all("nowhere")


@pytest.mark.slow
def test_what_dies_again_meanwhile_is_not_sent_again_by_the_same_call(board: Board) -> None:
    seen: list[int] = []

    def broken(n: int) -> None:
        seen.append(n)
        raise Reject(str(n))

    board.rt.mailbox("broken", broken)
    board.start()
    board.rt.tell_many("broken", list(range(DEAD)))
    board.settle()
    count = board.rt.requeue_all(progress=lambda _: board.settle())
    assert count == DEAD
    assert len(seen) == 2 * DEAD


def test_ctrl_c_leaves_the_rest_and_says_how_many_are_done(
    client: Runtime, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = client._config.path
    delete = letters.Letters._delete

    def interrupted(self: letters.Letters, numbers: list[int]) -> list[int]:
        if numbers[0] > 10:
            raise KeyboardInterrupt
        return delete(self, numbers)

    monkeypatch.setattr(letters.Letters, "_delete", interrupted)
    code = cli.main(["-s", str(path), "discard", "--all", "--mailbox", "broken", "--yes"])
    assert code == cli.INTERRUPTED
    assert "10 of 25 deleted, the rest is as it was" in capsys.readouterr().err
    assert len(client.dead("broken")) == DEAD - 10
    assert len(client.audits()) == 1


@pytest.mark.slow
def test_there_is_no_most_that_are_deleted(
    client: Runtime, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path: Path = client._config.path
    monkeypatch.setattr(letters, "PAGE", 1000)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE callboard_counter SET last = last + 12000")
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 11099) "
            "INSERT INTO callboard_dead (number, mailbox, kind, version, body, told_at, error, "
            "traceback, attempts, failed_at, priority, deliveries) "
            "SELECT i, mailbox, kind, version, body, told_at, error, traceback, attempts, "
            "failed_at, priority, deliveries FROM n, callboard_dead WHERE number = 1"
        )
    connection.close()
    assert cli.main(["-s", str(path), "discard", "--all", "--yes"]) == cli.OK
    assert capsys.readouterr().out == '{"count":11026}\n'
    assert client.dead() == []
