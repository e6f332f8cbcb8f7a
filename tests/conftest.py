"""What all tests share: kept byte code, and which run beside each other with several workers."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# Hundreds of children import the package: it is compiled once, as in an installation.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put those that run alone last: in between, each would wait for what runs beside it."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)


@pytest.fixture(autouse=True)
def _place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Keep a test that is marked ``alone`` from running beside any other of the same run."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        yield
        return
    folder = tmp_path_factory.getbasetemp().parent  # that of all workers
    mode = fcntl.LOCK_EX if request.node.get_closest_marker("alone") else fcntl.LOCK_SH
    with (folder / "next").open("w") as turnstile, (folder / "running").open("w") as running:
        # Whoever waits for the others to end keeps the next ones out meanwhile.
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(running, mode)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
        # Said, not left to close(): a process that a test has forked may still have the file.
        fcntl.flock(running, fcntl.LOCK_UN)
