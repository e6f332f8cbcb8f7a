"""Owning a store is a lock that others may look at."""

import os
import stat
import threading
from pathlib import Path

from callboard.runtime.ownership import Ownership


def test_one_takes_and_others_see_who(tmp_path: Path) -> None:
    first, second = Ownership(tmp_path / "owner"), Ownership(tmp_path / "owner")
    assert second.owner() is None
    assert first.take()
    assert second.owner() is not None
    assert not second.take()
    first.release()
    assert second.take()
    second.release()


def test_who_looks_is_in_nobodys_way(tmp_path: Path) -> None:
    owner, looker = Ownership(tmp_path / "owner"), Ownership(tmp_path / "owner")
    assert owner.take()  # the file is there from now on
    owner.release()
    ended = threading.Event()

    def look() -> None:
        while not ended.is_set():
            looker.owner()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for _ in range(500):
            assert owner.take()
            owner.release()
    finally:
        ended.set()
        thread.join()


def test_the_lock_says_who_holds_it_now_and_is_not_inherited(tmp_path: Path) -> None:
    (tmp_path / "owner").write_text("123456789012")  # a longer number of one before
    owner = Ownership(tmp_path / "owner")
    assert owner.take()
    assert owner.owner() == os.getpid()
    assert owner._fd is not None
    assert not os.get_inheritable(owner._fd)
    owner.release()


def test_the_lock_file_is_for_this_user_alone(tmp_path: Path) -> None:
    owner = Ownership(tmp_path / "owner")
    assert owner.take()
    assert stat.S_IMODE((tmp_path / "owner").stat().st_mode) == 0o600
    owner.release()


def test_who_stands_by_can_be_told_to_stop(tmp_path: Path) -> None:
    owner, standby = Ownership(tmp_path / "owner"), Ownership(tmp_path / "owner")
    assert owner.take()
    standby.stand_by(lambda: None)
    thread = standby._thread
    assert thread is not None
    standby.release()
    assert not thread.is_alive()
    owner.release()
    assert not standby.held
