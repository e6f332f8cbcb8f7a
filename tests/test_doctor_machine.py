"""The doctor on the machine: SQLite, file system, disk, modes and the log."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest

from callboard.persistence.companion import Companion
from callboard.persistence.sqlite_open import WAL_KEPT
from callboard.runtime import checks_machine

from .doctor_tools import copy, declared, make, only

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("made") / "board.db")


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return copy(made, tmp_path)


def place(tmp_path: Path) -> checks_machine.Place:
    return checks_machine.Place(tmp_path / "board.db", "ext4", 900 * MIB, MIB, 0, {}, writable=True)


@pytest.mark.parametrize(
    ("version", "severity"),
    [((3, 37, 2), "error"), ((3, 40, 1), "warning"), ((3, 51, 2), "warning"),
     ((3, 44, 6), "ok"), ((3, 50, 7), "ok"), ((3, 51, 3), "ok")],
)  # fmt: skip
def test_the_sqlite_that_runs_is_judged(version: tuple[int, ...], severity: str) -> None:
    found = checks_machine.check_sqlite(version)
    assert found.severity == severity
    assert "SQLite " + ".".join(map(str, version)) in found.text


def test_the_doctor_judges_the_sqlite_that_runs_here(store: Path) -> None:
    assert declared(store).doctor()[0] == checks_machine.check_sqlite()


@pytest.mark.parametrize(
    ("system", "network_ok", "severity"),
    [("nfs4", False, "error"), ("nfs4", True, "warning"), ("", False, "note"),
     ("ext4", False, "ok")],
)  # fmt: skip
def test_a_network_file_system_is_an_error_unless_one_insists(
    tmp_path: Path, *, system: str, network_ok: bool, severity: str
) -> None:
    at = replace(place(tmp_path), system=system)
    assert checks_machine.check_file_system(at, network_ok=network_ok).severity == severity


@pytest.mark.parametrize(
    ("free", "size", "severity"),
    [(31 * MIB, MIB, "error"), (200 * MIB, MIB, "warning"), (900 * MIB, 901 * MIB, "warning"),
     (900 * MIB, MIB, "ok")],
)  # fmt: skip
def test_a_disk_that_is_nearly_full_is_said(
    tmp_path: Path, free: int, size: int, severity: str
) -> None:
    at = replace(place(tmp_path), free=free, size=size)
    assert checks_machine.check_space(at).severity == severity


def test_a_log_that_is_not_cut_is_a_warning(tmp_path: Path) -> None:
    assert checks_machine.check_log(place(tmp_path)).severity == "ok"
    grown = replace(place(tmp_path), log=WAL_KEPT + 1)
    assert checks_machine.check_log(grown).severity == "warning"


def test_files_that_others_may_touch_are_named(store: Path) -> None:
    store.chmod(0o644)
    assert "board.db (0644)" in only(declared(store).doctor(), "modes").text
    store.chmod(0o600)
    folder = store.with_name("board.db.callboard")
    folder.chmod(0o755)
    (folder / "gate").chmod(0o666)
    text = only(declared(store).doctor(), "modes").text
    assert "board.db.callboard (0755)" in text
    assert "board.db.callboard/gate (0666)" in text


def test_files_of_another_user_and_read_only_ones_are_said(tmp_path: Path) -> None:
    at = replace(place(tmp_path), writable=False, modes={f"f{n}": (0o600, 1) for n in range(7)})
    unwritable, foreign = checks_machine.check_modes(at, 0)
    assert (unwritable.severity, foreign.severity) == ("error", "warning")
    assert foreign.text.endswith("f0, f1, f2, f3, f4 and 2 more")


def test_a_file_that_goes_away_while_one_looks_is_left_out(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.lstat

    def lstat(self: Path) -> object:
        if self.name == "gate":
            raise FileNotFoundError(errno.ENOENT, "gone")
        return real(self)

    monkeypatch.setattr(Path, "lstat", lstat)
    found = checks_machine.look(store, Companion(store))
    assert "board.db" in found.modes
    assert not any("gate" in name for name in found.modes)
