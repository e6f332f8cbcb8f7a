"""`rt.init_app` under gunicorn and Flask's own server, and where nothing serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .hosts import BOARD, Server
from .processes import Child

if TYPE_CHECKING:
    from pathlib import Path

APP = """
from flask import Flask
from board import post, rt

app = Flask(__name__)
rt.init_app(app)

@app.get("/post/<int:n>")
def take(n):
    return post(n)
"""
QUIET = ("--no-control-socket", "--bind=127.0.0.1:0", "--access-logfile=/dev/null")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "board.py").write_text(BOARD)
    (tmp_path / "web.py").write_text(APP)
    return tmp_path


@pytest.mark.slow
def test_of_four_gunicorn_workers_one_owns_and_three_stand_by(folder: Path) -> None:
    with Server("gunicorn", "web:app", "--workers=4", *QUIET, cwd=folder) as server:
        server.up("owner", "standby", "standby", "standby")
        server.works()
        server.a_standby_posts()
        server.kill_owner()
        server.works()
        assert server.drain() == 0
        assert sum(line.startswith("stopped") for line in server.lines) >= 4
        server.once()


@pytest.mark.slow
def test_a_preloading_master_runs_nothing_and_its_forked_workers_start(folder: Path) -> None:
    (folder / "gunicorn.conf.py").write_text(
        "def post_worker_init(worker):\n    from board import rt\n    rt.start()\n"
        "def worker_exit(server, worker):\n    from board import rt\n    rt.stop()\n"
    )
    # The master has the store open as it forks.
    (folder / "web.py").write_text(APP + "rt.tell('work', 99)\n")
    threads = ("--worker-class=gthread", "--threads=2", "--workers=2", "--preload")
    with Server("gunicorn", "web:app", *threads, *QUIET, cwd=folder) as server:
        server.up("owner", "standby")
        assert server.owner != server.process.pid
        server.handled(99)
        server.works()
        server.kill_owner()
        server.works()
        assert server.drain() == 0
        server.once()


@pytest.mark.slow
def test_without_a_hook_a_preloaded_worker_starts_with_its_first_request(folder: Path) -> None:
    with Server("gunicorn", "web:app", "--preload", *QUIET, cwd=folder) as server:
        server.up()
        assert server.works()["pid"] == server.owner != server.process.pid
        assert server.drain() == 0
        assert any(line.startswith("stopped") for line in server.lines)


@pytest.mark.slow
def test_the_parent_of_the_reloader_runs_nothing(folder: Path) -> None:
    run = ("--app=web", "--debug", "run", "--port=0")
    with Server("flask", *run, cwd=folder) as server:
        server.up("owner")
        first = server.works()["pid"]
        assert first == server.owner
        assert first != server.process.pid
        (folder / "web.py").write_text(APP + "# changed\n")
        server.wait_for("stopped")
        server.wait_for("role")
        assert server.works()["pid"] == server.owner != first
        server.ticks()
        server.once()
        server.terminate()


@pytest.mark.slow
def test_flask_run_without_a_reloader_starts_before_the_first_request(folder: Path) -> None:
    with Server("flask", "--app=web", "run", "--port=0", cwd=folder) as server:
        server.up("owner")
        assert server.owner == server.process.pid
        assert server.works()["pid"] == server.process.pid


@pytest.mark.slow
def test_a_handler_that_does_not_end_keeps_the_worker_no_longer_than_its_timeout(
    folder: Path,
) -> None:
    hung = APP.replace("init_app(app)", "init_app(app, timeout=0.3)")
    hung += "\n@rt.mailbox('hung')\ndef hang() -> None:\n"
    hung += "    print('hangs', flush=True)\n    import threading\n    threading.Event().wait(60)\n"
    (folder / "web.py").write_text(hung + "rt.tell(hang)\n")
    with Server("gunicorn", "web:app", *QUIET, cwd=folder) as server:
        server.wait_for("hangs")
        assert server.terminate(seconds=3.0) == 0


@pytest.mark.slow
def test_commands_and_test_clients_start_nothing(folder: Path) -> None:
    program = APP + (
        "import os\n"
        "for environ in ({}, {'FLASK_RUN_FROM_CLI': 'true', 'WERKZEUG_RUN_MAIN': 'true'}):\n"
        "    os.environ |= environ\n"
        "    again = Flask('again')\n"
        "    rt.init_app(again)\n"
        "    assert app.test_client().get('/post/1').json['role'] == 'client'\n"
        "app.testing = True\n"
        "answer = app.test_client().get('/post/1', headers={'User-Agent': 'mine'})\n"
        "assert answer.json['role'] == 'client'\n"
        "assert app.extensions['callboard'] is rt\n"
    )
    with Child(program, cwd=folder, env={"PYTHONPATH": str(folder)}) as child:
        assert child.end() == 0, child.lines
    with Server("flask", "--app=web", "routes", cwd=folder, WERKZEUG_RUN_MAIN="true") as command:
        assert command.end() == 0
        assert not any(line.startswith("role") for line in command.lines)


@pytest.mark.slow
def test_callboard_run_is_not_flask_run(folder: Path) -> None:
    (folder / "web.py").write_text(APP + "print('loaded', rt.role, flush=True)\n")
    with Server("callboard", "run", "web:rt", cwd=folder) as worker:
        worker.up("owner", listens=False)
        assert "loaded client" in worker.lines
        assert worker.terminate() == 0
