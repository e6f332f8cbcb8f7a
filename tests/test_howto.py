"""The programs of the how-to pages about hosts do what the pages say."""

from __future__ import annotations

import configparser
import json
import re
import shlex
import signal
from pathlib import Path

import pytest

import callboard

from .hosts import Server
from .processes import Child
from .test_notify import manager

PAGES = Path(__file__).parents[1] / "docs" / "howto"
PORTS = {"uvicorn": ["--port=0"], "gunicorn": ["--bind=127.0.0.1:0", "--no-control-socket"],
         "manage": ["127.0.0.1:0"]}  # fmt: skip


FILE = re.compile(
    r"^```\{code-block\} \w+\n:caption: (.*?)\n\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
SHELL = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Page:
    """A page, its files written into a folder, and its commands."""

    def __init__(self, name: str, folder: Path) -> None:
        self.text = (PAGES / f"{name}.md").read_text()
        self.folder = folder
        self.files: dict[str, str] = dict(FILE.findall(self.text))

    def write(self, *captions: str) -> None:
        """Write files; where the caption says so, at the end of what is there."""
        for caption in captions:
            name, _, rest = caption.partition(", ")
            path = self.folder / Path(name).relative_to("/srv/shop" if name[0] == "/" else ".")
            before = path.read_text() if rest else ""
            # What the reader waits for is shorter in a test.
            text = self.files[caption].replace("after=2", "after=0.2")
            path.write_text(before + text.replace('cron("* * * * *")', 'cron("* * * * * *")'))

    def run(self, command: str) -> Server:
        """Run a command of the page, on a free port."""
        assert any(command in fence.splitlines() for fence in SHELL.findall(self.text))
        words = shlex.split(command.removeprefix("python ").replace("manage.py", "manage"))
        return Server(*words, *PORTS[words[0]], cwd=self.folder)


def place_orders(server: Server) -> None:
    server.up()
    server.ask("orders/1", "POST")
    server.ask("orders/2", "POST")
    assert server.ask("orders/2/payment", "POST") == {"in_time": True}
    server.says("mail to ada@example.org")
    server.says("order 1 is not paid yet")
    server.says("good morning")
    assert not any("order 2 is not paid yet" in line for line in server.lines)
    assert server.ask("health")["role"] in {"owner", "standby"}


@pytest.mark.slow
def test_fastapi(tmp_path: Path) -> None:
    page = Page("embed-fastapi", tmp_path)
    page.write("shop.py", "shop_and_mailer.py")
    with page.run("uvicorn shop:app") as server:
        place_orders(server)
    with page.run("uvicorn shop_and_mailer:app") as server:
        server.up()
        server.ask("mails/bob@example.org", "POST")
        server.says("mail to bob@example.org")
        server.terminate()
        said = "".join(server.lines)
        assert said.count("mailer is open") == said.count("mailer is closed") == 1


@pytest.mark.slow
def test_flask(tmp_path: Path) -> None:
    page = Page("embed-flask", tmp_path)
    page.write("shop.py", "reports.py")
    with page.run('gunicorn "shop:create_app()" --workers 4 --bind 127.0.0.1:5000') as server:
        place_orders(server)
    with page.run("gunicorn reports:app") as server:
        server.up()
        server.ask("reports/today", "POST")
        server.says("report of today")


@pytest.mark.slow
def test_django(tmp_path: Path) -> None:
    page = Page("embed-django", tmp_path)
    with Server("django", "startproject", "mysite", ".", cwd=tmp_path) as process:
        assert process.end() == 0
    page.write("mysite/board.py", "mysite/settings.py, at the end", "mysite/urls.py")
    page.write("mysite/asgi.py")
    with page.run("python manage.py runserver") as server:
        place_orders(server)
    with page.run("gunicorn mysite.wsgi --workers 4") as server:
        place_orders(server)
    with page.run("uvicorn mysite.asgi:application --workers 4") as server:
        place_orders(server)


def test_every_setting_of_the_django_application_is_on_its_page(tmp_path: Path) -> None:
    package = Path(callboard.__file__).parent / "runtime" / "django"
    code = "".join(file.read_text() for file in package.rglob("*.py"))
    settings = set(re.findall(r'settings, "(\w+)"', code))
    assert "CALLBOARD_RUNTIME" in settings
    rows = set(
        re.findall(r"^\| `(CALLBOARD_\w+)`", Page("embed-django", tmp_path).text, re.MULTILINE)
    )
    assert rows == settings


@pytest.mark.slow
def test_a_user_and_her_mail_are_one_transaction_in_django(tmp_path: Path) -> None:
    page = Page("embed-django", tmp_path)
    with Server("django", "startproject", "mysite", ".", cwd=tmp_path) as process:
        assert process.end() == 0
    page.write("mysite/board.py", "mysite/settings.py, at the end")
    page.write("mysite/settings.py, in place of CALLBOARD_STORE above", "mysite/views.py")
    (tmp_path / "mysite" / "urls.py").write_text(
        "from django.urls import path\nfrom mysite.views import sign_up\n"
        "urlpatterns = [path('welcome/<name>', sign_up)]\n"
    )
    with Server("manage", "migrate", cwd=tmp_path) as process:
        assert process.end() == 0
    with page.run("gunicorn mysite.wsgi --workers 4") as server:
        server.up()
        assert server.ask("welcome/ada") == {"welcome": "ada"}
        server.says("mail to ada@example.org")


@pytest.mark.slow
def test_systemd(tmp_path: Path) -> None:
    page = Page("daemon-systemd", tmp_path)
    page.write("/srv/shop/mailer.py", "/srv/shop/order.py")
    unit = configparser.ConfigParser()
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
    unit.read_string(page.files["/etc/systemd/system/mailer.service"])
    assert unit["Service"]["Type"] == "notify"
    assert unit["Service"]["ExecStart"].endswith(" /srv/shop/mailer.py")
    with manager(tmp_path / "socket") as systemd:
        environment = systemd.environment | {"SHOP_DB": "other.db", "WATCHDOG_USEC": "30000000"}
        run = "import runpy; runpy.run_path('mailer.py', run_name='__main__')"
        with Child(run, cwd=tmp_path, env=environment) as daemon:
            systemd.hear_until("READY=1")
            with Child("import order", cwd=tmp_path, env={"SHOP_DB": "other.db"}) as order:
                assert order.end() == 0, order.lines
            daemon.wait_for("INFO:root:mail to ada@example.org")
            daemon.wait_for("INFO:root:order 1 is not paid yet")
            daemon.wait_for("INFO:root:good morning")
            daemon.process.send_signal(signal.SIGTERM)
            assert daemon.end() == 0


@pytest.mark.slow
def test_several_workers(tmp_path: Path) -> None:
    page = Page("gunicorn-uvicorn", tmp_path)
    page.write("shop.py")
    for command in ("gunicorn shop:app --workers 4", "gunicorn shop:app"):
        with page.run(command) as server:
            server.up()
            server.ask("mails/ada@example.org", "POST")
            server.says(r"mail to ada@example.org from process \d+")
            by_owner = f"mail to ada@example.org from process {server.owner}"
            assert any(by_owner in line for line in server.lines)
            assert server.owner != server.process.pid
        page.write("gunicorn.conf.py")


@pytest.mark.slow
def test_containers(tmp_path: Path) -> None:
    page = Page("containers", tmp_path)
    page.write("shop.py")
    command = json.loads(re.findall(r"^CMD (.*)", page.files["Dockerfile"], re.MULTILINE)[0])
    command[command.index("--host") + 1] = "127.0.0.1"
    command[command.index("--port") + 1] = "0"
    with Server(*command, cwd=tmp_path, SHOP_DB="board.db") as server:
        server.up()
        server.ask("mails/ada@example.org", "POST")
        server.says("mail to ada@example.org")
        assert server.terminate() == 0
