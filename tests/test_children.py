"""The child processes of tests: what their threads print comes in whole lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

PRINTS = """
import sys, threading
sys.setswitchinterval(1e-6)
def say(word):
    for n in range(2000):
        print(word, n, flush=True)
threads = [threading.Thread(target=say, args=(word,)) for word in ("one", "two")]
for each in threads:
    each.start()
for each in threads:
    each.join()
"""


def test_the_lines_of_two_threads_are_not_mixed(tmp_path: Path) -> None:
    with Child(PRINTS, cwd=tmp_path) as child:
        assert child.end() == 0
    said = sorted(f"{word} {n}" for word in ("one", "two") for n in range(2000))
    assert sorted(child.lines) == said


def test_one_that_has_ended_is_reaped_and_what_it_said_is_shown(tmp_path: Path) -> None:
    with Child("print('no more')", cwd=tmp_path) as child:
        assert child.end() == 0
        with pytest.raises(AssertionError, match="no more"):
            child.say("stop")
