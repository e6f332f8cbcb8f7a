"""The Django application: runserver, gunicorn, its command, and all that starts nothing."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pytest

from .hosts import BOARD, Server

if TYPE_CHECKING:
    from pathlib import Path

FILES = {
    "board.py": BOARD,
    "manage.py": """
        import os, sys
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
        from django.core.management import execute_from_command_line
        execute_from_command_line(sys.argv)
    """,
    "site_settings.py": """
        DEBUG = True
        SECRET_KEY = "of a test"
        ALLOWED_HOSTS = ["*"]
        ROOT_URLCONF = "site_urls"
        WSGI_APPLICATION = "site_wsgi.application"
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "site.db"}}
        INSTALLED_APPS = ["django.contrib.staticfiles", "callboard.runtime.django"]
        STATIC_URL, STATIC_ROOT = "static/", "static"
        CALLBOARD_RUNTIME = "board.rt"
        TEST_RUNNER = "django.test.runner.DiscoverRunner"
    """,
    "site_urls.py": """
        from django.http import JsonResponse
        from django.urls import path
        from board import post
        urlpatterns = [path("post/<int:n>", lambda request, n: JsonResponse(post(n)))]
    """,
    "site_wsgi.py": """
        import os
        from django.core.wsgi import get_wsgi_application
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
        application = get_wsgi_application()
    """,
    "site_asgi.py": """
        import os
        from callboard.runtime.django.asgi import get_asgi_application
        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_settings")
        application = get_asgi_application()
    """,
    "tests.py": """
        import urllib.request
        from django.test import LiveServerTestCase
        from board import rt

        class Posts(LiveServerTestCase):
            def test_client(self):
                assert self.client.get("/post/1").json()["role"] == "client"

            def test_live_server(self):
                with urllib.request.urlopen(self.live_server_url + "/post/2") as answer:
                    assert b'"client"' in answer.read()
    """,
}
# As developers do in a shell: it is no test, and yet nothing serves.
ASK = "from django.test import Client; assert b'client' in Client().get('/post/1').content"
QUIET = ("--no-control-socket", "--bind=127.0.0.1:0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(textwrap.dedent(text))
    return tmp_path


@pytest.mark.slow
def test_runserver_runs_in_the_autoreloaders_child_alone(folder: Path) -> None:
    with Server("manage", "runserver", "127.0.0.1:0", cwd=folder) as server:
        server.up("owner")
        first = server.works()["pid"]
        assert first == server.owner
        assert first != server.process.pid
        (folder / "site_urls.py").write_text(textwrap.dedent(FILES["site_urls.py"]) + "# new\n")
        server.wait_for("stopped")
        server.wait_for("role")
        server.port = 0
        while not server.port:
            server.take()
        assert server.works()["pid"] == server.owner != first
        server.ticks()
        server.once()
        server.terminate()


@pytest.mark.slow
def test_of_four_gunicorn_workers_one_owns_and_three_stand_by(folder: Path) -> None:
    workers = ("site_wsgi", "--workers=4", *QUIET)
    with Server("gunicorn", *workers, cwd=folder) as server:
        server.up("owner", "standby", "standby", "standby")
        server.works()
        server.a_standby_posts()
        server.kill_owner()
        server.works()
        assert server.drain() == 0
        assert sum(line.startswith("stopped") for line in server.lines) >= 4
        server.once()


@pytest.mark.slow
def test_a_preloaded_worker_starts_with_its_first_request(folder: Path) -> None:
    with Server("gunicorn", "site_wsgi", "--preload", *QUIET, cwd=folder) as server:
        server.up()
        assert server.works()["pid"] == server.owner != server.process.pid
        assert server.drain() == 0
        assert any(line.startswith("stopped") for line in server.lines)


@pytest.mark.slow
def test_under_uvicorn_the_lifespan_is_the_runtimes(folder: Path) -> None:
    with Server("uvicorn", "site_asgi:application", "--port=0", cwd=folder) as server:
        server.up("owner")
        server.works()
        server.drain()
        assert any(line.startswith("stopped") for line in server.lines)


@pytest.mark.slow
def test_under_uvicorn_a_store_that_cannot_be_opened_ends_the_server(folder: Path) -> None:
    (folder / "board.db").mkdir()
    with Server("uvicorn", "site_asgi:application", "--port=0", cwd=folder) as server:
        assert server.end() == 3
        assert any("is a directory" in line for line in server.lines)


@pytest.mark.slow
def test_the_command_handles_what_web_processes_send(folder: Path) -> None:
    settings = folder / "site_settings.py"
    settings.write_text(settings.read_text() + "CALLBOARD_EMBED = False\n")
    run = ("runserver", "--noreload", "127.0.0.1:0")
    with (
        Server("manage", "callboard", cwd=folder) as worker,
        Server("manage", *run, cwd=folder) as web,
    ):
        worker.up("owner", listens=False)
        web.up()
        assert web.ask("post/1")["role"] == "client"
        worker.handled(1)
        worker.handled(1001)
        assert worker.terminate() == 0
        assert web.roles() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [["migrate"], ["collectstatic", "--noinput"], ["shell", "-c", ASK], ["test"]],
    ids=lambda command: command[0],
)
def test_other_commands_start_nothing(folder: Path, command: list[str]) -> None:
    # What a view starts inherits the mark of the autoreloader's child.
    with Server("manage", *command, cwd=folder, RUN_MAIN="true") as process:
        assert process.end() == 0, process.lines
        assert process.roles() == []


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("None", "CALLBOARD_RUNTIME is a dotted path"),
        ("'board.post'", "no Runtime but a function"),
    ],
)
@pytest.mark.slow
def test_a_wrong_setting_is_refused(folder: Path, setting: str, says: str) -> None:
    settings = folder / "site_settings.py"
    settings.write_text(settings.read_text() + f"CALLBOARD_RUNTIME = {setting}\n")
    with Server("manage", "check", cwd=folder) as process:
        assert process.end() == 1
        assert says in process.lines[-1]
