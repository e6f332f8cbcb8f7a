"""The small file system that tests fill: it is gone afterwards, whatever happened on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .small_disk import small_disk

if TYPE_CHECKING:
    from pathlib import Path


def fail_beside_an_open_file(folder: Path) -> None:
    with small_disk(folder) as disk, (disk / "file").open("w"):
        assert disk.is_mount()
        # The innermost block ends last here: the file is still open when the disk goes.
        raise ValueError(disk)


def test_it_is_gone_when_a_test_fails_and_while_a_file_on_it_is_open(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mnt"):
        fail_beside_an_open_file(tmp_path)
    assert not (tmp_path / "mnt").is_mount()
    (tmp_path / "mnt").rmdir()
