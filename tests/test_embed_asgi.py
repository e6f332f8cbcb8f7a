"""`rt.lifespan` under uvicorn: one worker, four workers, and the reloader."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from .hosts import BOARD, Server

if TYPE_CHECKING:
    from pathlib import Path

APP = """
from fastapi import FastAPI
from board import post, rt

app = FastAPI(lifespan=rt.lifespan)

@app.get("/post/{n}")
def take(n: int) -> dict[str, object]:
    return post(n)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "board.py").write_text(BOARD)
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


@pytest.mark.slow
def test_one_worker_owns_and_stops_with_the_server(folder: Path) -> None:
    with Server("uvicorn", "web:app", "--port=0", cwd=folder) as server:
        server.up("owner")
        assert server.works()["role"] == "owner"
        server.ticks()
        assert server.drain() == -signal.SIGTERM  # uvicorn raises it again when it has stopped
        assert any(line.startswith("stopped") for line in server.lines)
        server.once()


@pytest.mark.slow
def test_of_four_workers_one_owns_and_three_stand_by(folder: Path) -> None:
    with Server("uvicorn", "web:app", "--port=0", "--workers=4", cwd=folder) as server:
        server.up("owner", "standby", "standby", "standby")
        server.works()
        server.a_standby_posts()
        server.kill_owner()
        server.works()
        assert server.drain() == 0
        server.once()


@pytest.mark.slow
def test_the_reloader_runs_nothing_and_its_next_child_takes_over(folder: Path) -> None:
    with Server("uvicorn", "web:app", "--port=0", "--reload", cwd=folder) as server:
        server.up("owner")
        first = server.works()["pid"]
        assert first == server.owner
        assert first != server.process.pid
        (folder / "web.py").write_text(APP + "# changed\n")
        server.wait_for("role")
        assert server.works()["pid"] == server.owner != first
        server.ticks()
        assert server.terminate() == 0
        server.once()
