"""The conformance suite on SQLite, and what holds for SQLite alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from callboard.persistence.sqlite import SqliteStore
from callboard.persistence.store import Store

from .store_contract import StoreContract


class TestSqliteStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = SqliteStore(tmp_path / "board.db")
        yield store
        store.close()

    @pytest.fixture
    def other(self, store: Store, tmp_path: Path) -> Iterator[Store]:
        other = SqliteStore(tmp_path / "board.db")
        yield other
        other.close()
