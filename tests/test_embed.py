"""An embedding starts once in a process, anew in a forked one, and again after it failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from callboard import Runtime, StoreError
from callboard.clock import monotonic
from callboard.runtime.embed import Embedding, loaded_by_server

from .processes import PATIENCE, Child

if TYPE_CHECKING:
    from pathlib import Path

FORKS = """
import os, threading
from callboard import Runtime
from callboard.runtime.embed import Embedding
rt = Runtime("board.db")
embedding = Embedding(rt._host, 5.0)
embedding.start()
embedding.start()
exits = [t for t in threading.enumerate() if t.name == "callboard-exit"]
if os.fork() == 0:
    inherited = embedding.started
    embedding.start()
    os.write(1, b"child %d %s\\n" % (inherited, rt.role.encode()))
    rt.stop()
    os._exit(0)
os.wait()
rt.events.subscribe(lambda event: os.write(1, b"stopped\\n"), "runtime.stopped")
os.write(1, b"parent %s %d\\n" % (rt.role.encode(), len(exits)))
"""


@pytest.mark.slow
def test_a_forked_child_starts_for_itself_and_the_parent_stops_at_its_end(tmp_path: Path) -> None:
    with Child(FORKS, cwd=tmp_path) as child:
        assert child.wait_for("child") == "child 0 standby"
        assert child.wait_for("parent") == "parent owner 1"
        child.wait_for("stopped")
        assert child.end() == 0


LAST = """
import threading
from callboard import Runtime
from callboard.runtime.embed import Embedding
rt = Runtime("board.db")
begun = threading.Event()
@rt.mailbox("work")
def work(n: int) -> None:
    begun.set()
    threading.main_thread().join()
Embedding(rt._host, 20.0).start()
rt.tell("work", 1)
begun.wait()
"""


@pytest.mark.slow
def test_a_turn_that_ends_after_the_main_thread_is_committed_without_delay(tmp_path: Path) -> None:
    """From Python 3.12 on no thread can be started then, and none has committed before."""
    with Child(LAST, cwd=tmp_path) as child:
        begun = monotonic()
        assert child.end() == 0
        assert monotonic() - begun < PATIENCE / 2
    rt = Runtime(tmp_path / "board.db")
    assert [box.waiting for box in rt.mailboxes()] == [0]
    rt.stop()


def test_a_start_that_failed_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "board.db").mkdir()
    rt = Runtime(tmp_path / "board.db")
    embedding = Embedding(rt._host, 5.0)
    for _ in range(2):
        with pytest.raises(StoreError, match="directory"):
            embedding.start()
        assert not embedding.started
    rt.stop()


def test_a_test_is_no_server() -> None:
    assert not loaded_by_server()
