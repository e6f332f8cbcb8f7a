"""The folder beside a store."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from callboard.persistence.companion import Companion


def test_it_lies_beside_the_file_and_is_for_this_user_alone(tmp_path: Path) -> None:
    companion = Companion(tmp_path / "board.db")
    assert companion.make() == tmp_path / "board.db.callboard"
    assert companion.folder.stat().st_mode & 0o777 == 0o700
    assert companion.make() == companion.folder
    for each in (companion.owner, companion.slots, companion.socket):
        assert each.parent == companion.folder


def test_two_names_of_one_file_share_it(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "board.db")
    names = [tmp_path / "link.db", tmp_path / "sub" / ".." / "board.db", tmp_path / "board.db"]
    assert len({Companion(name).folder for name in names}) == 1


def test_a_socket_whose_path_is_too_long_lies_in_the_runtime_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    one, two = Companion(deep / "one.db"), Companion(deep / "two.db")
    for each in (one, two):
        each.make()
        assert each.socket.parent == Path("/run/user/1")
        assert len(os.fsencode(each.socket)) <= 100
    assert one.socket != two.socket
    assert one.socket == Companion(deep / "one.db").socket
