"""What each guide about a host must show: it starts, handles, survives its owner's end, and stops.

One set of checks, run twice: by the suite in the environment of the developers, where a minute is a
second (`test_howto.py`), and by ``make guides`` with nothing but what the page has installed
(`guides.py`). Each returns what it has measured, in words.
"""

from __future__ import annotations

import configparser
import re
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .guide import Typed
from .guide_checks import MINUTE, STOP, kill, orders, revive, stop, wait_for_nothing
from .test_notify import manager

if TYPE_CHECKING:
    from collections.abc import Callable

    from .guide import Page

# --- FastAPI -----------------------------------------------------------------------------------


def uvicorn(page: Page) -> str:
    """Run one worker; uvicorn raises SIGTERM again when it has stopped."""
    page.write("shop.py")
    return orders(page, "uvicorn shop:app", alone=True, code=-signal.SIGTERM)


def uvicorn_workers(page: Page) -> str:
    """Run four workers."""
    page.write("shop.py")
    return orders(page, "uvicorn shop:app --workers 4")


def own_lifespan(page: Page) -> str:
    """Nest the runtime in a lifespan of the reader's own."""
    page.write("shop.py", "shop_and_mailer.py")
    with page.run("uvicorn shop_and_mailer:app") as server:
        server.up()
        server.ask("mails/bob@example.org", "POST")
        server.says("mail to bob@example.org")
        stopped = stop(server, -signal.SIGTERM)
        said = "".join(server.lines)
        assert said.count("mailer is open") == said.count("mailer is closed") == 1
    return stopped


# --- Flask -------------------------------------------------------------------------------------


def gunicorn(page: Page) -> str:
    """Run four workers."""
    page.write("shop.py")
    return orders(page, 'gunicorn "shop:create_app()" --workers 4 --bind 127.0.0.1:5000')


def flask(page: Page) -> str:
    """Run Flask's own server and its reloader, which ends its child as a crash would."""
    page.write("shop.py")
    return orders(page, "flask --app shop --debug run", alone=True, orderly=False)


def reports(page: Page) -> str:
    """Use the application in a handler."""
    page.write("shop.py", "reports.py")
    with page.run("gunicorn reports:app") as server:
        server.up()
        server.ask("reports/today", "POST")
        server.says("report of today")
        return stop(server)


# --- Django ------------------------------------------------------------------------------------


def runserver(page: Page) -> str:
    """Run Django's own server and its reloader, which ends its child as a crash would."""
    _project(page, "mysite/urls.py")
    return orders(page, "python manage.py runserver", alone=True, orderly=False)


def django_gunicorn(page: Page) -> str:
    """Run four workers."""
    _project(page, "mysite/urls.py")
    return orders(page, "gunicorn mysite.wsgi --workers 4")


def django_uvicorn(page: Page) -> str:
    """Run four workers of an ASGI server."""
    _project(page, "mysite/urls.py", "mysite/asgi.py")
    return orders(page, "uvicorn mysite.asgi:application --workers 4")


def django_users(page: Page) -> str:
    """Have a user and her mail in one transaction."""
    _project(page, "mysite/urls.py", "mysite/settings.py, in place of CALLBOARD_STORE above")
    page.write("mysite/views.py", "mysite/urls.py, at the end")
    page.follow("python manage.py migrate")
    with page.run("gunicorn mysite.wsgi --workers 4") as server:
        server.up()
        assert server.ask("welcome/ada", "POST") == {"welcome": "ada"}
        server.says("mail to ada@example.org")
        return stop(server)


def django_separate(page: Page) -> str:
    """Let web processes only send, and handle in a process of its own."""
    _project(page, "mysite/urls.py")
    settings = page.folder / "mysite" / "settings.py"
    settings.write_text(settings.read_text() + "\nCALLBOARD_EMBED = False\n")
    with (
        page.run("python manage.py callboard") as worker,
        page.run("gunicorn mysite.wsgi --workers 4") as web,
    ):
        web.up()
        web.ask("orders/1", "POST")
        worker.says("mail to ada@example.org")
        worker.says("order 1 is not paid yet")
        assert web.ask("health")["role"] == "client"
        return f"{stop(web, orderly=False)}, {stop(worker)}"


def _project(page: Page, *captions: str) -> None:
    page.follow("django-admin startproject mysite .")
    page.write("mysite/board.py", "mysite/settings.py, at the end", *captions)


# --- a daemon ----------------------------------------------------------------------------------


class Unit:
    """A service of the page, started as systemd starts it."""

    def __init__(self, page: Page, *changes: str) -> None:
        """Read the unit, and what the page has changed in it."""
        unit = configparser.ConfigParser()
        unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd's names have capitals
        for text in (page.files["/etc/systemd/system/mailer.service"], *changes):
            unit.read_string(page.local(text))
        self._service = unit["Service"]
        self._page = page
        assert self._service["Type"] == "notify"
        assert self._service["Restart"] == "on-failure"
        assert float(self._service["TimeoutStopSec"]) > STOP

    def start(self, stack: ExitStack) -> Typed:
        """Start it, and wait until it is ready."""
        name, _, value = self._service["Environment"].partition("=")
        watchdog = f"{int(self._service['WatchdogSec'])}000000"
        address = self._page.folder / "systemd"
        address.unlink(missing_ok=True)
        with manager(address) as systemd:
            process = Typed(
                self._page,
                self._service["ExecStart"],
                cwd=Path(self._service.get("WorkingDirectory", "/")),
                env=systemd.environment | {name: value, "WATCHDOG_USEC": watchdog},
            )
            stack.enter_context(process)
            systemd.hear_until("READY=1")
        return process


def daemon(page: Page) -> str:
    """Do what systemd does: run one, and a killed one again; then a second that stands by."""
    page.write("/srv/shop/mailer.py", "/srv/shop/order.py")
    (order,) = (line for line in page.commands if line.endswith("order.py"))
    (change,) = re.findall(r"^```ini\n(.*?)^```$", page.text, re.MULTILINE | re.DOTALL)
    unit, without_program = Unit(page), Unit(page, f"[Service]\n{change}")
    with ExitStack() as stack:
        killed = unit.start(stack)
        page.follow(order)
        killed.says("mail to ada@example.org")
        killed.says("order 1 is not paid yet")
        page.follow(order)
        owner, again = revive(killed, lambda: unit.start(stack))
        owner.says("order 1 is not paid yet")
        standby = without_program.start(stack)
        page.follow(order)
        survived = kill(owner, standby)
        standby.says("order 1 is not paid yet")
        other = unit.start(stack)
        standby.says("good morning", MINUTE)
        wait_for_nothing(page.folder)
        stopped = [stop(other, orderly=False), stop(standby)]
    return ", ".join([again, survived, *stopped])


# --- several workers ---------------------------------------------------------------------------


def workers(page: Page) -> str:
    """Have the owner, among four workers, handle what any of them sends, and another after it."""
    page.write("shop.py")
    return _mails(page, "gunicorn shop:app --workers 4")


def preloaded(page: Page) -> str:
    """Have the hooks start the runtime in workers of a master that has preloaded."""
    page.write("shop.py", "gunicorn.conf.py")
    return _mails(page, "gunicorn shop:app")


def separate(page: Page) -> str:
    """Let web processes only send, and handle in a process of its own."""
    page.write("shop.py")
    path = page.folder / "shop.py"
    path.write_text(path.read_text().replace("rt.init_app(app)\n", ""))
    with page.run("callboard run shop:rt") as worker, page.run("gunicorn shop:app") as web:
        web.up()
        web.ask("mails/ada@example.org", "POST")
        worker.says(f"mail to ada@example.org from process {worker.process.pid}")
        assert web.ask("health")["role"] == "client"
        return f"{stop(web, orderly=False)}, {stop(worker)}"


def _mails(page: Page, command: str) -> str:
    with page.run(command) as server:
        server.up()
        server.a_standby_answers()
        assert server.owner != server.process.pid
        server.ask("mails/ada@example.org", "POST")
        server.says(f"mail to ada@example.org from process {server.owner}")
        before = len(server.lines)
        survived = kill(server)
        # A stop before the new worker listens to signals would wait for it.
        server.says("Booting worker", since=before)
        server.ask("mails/bob@example.org", "POST")
        server.says(f"mail to bob@example.org from process {server.owner}")
        wait_for_nothing(page.folder)
        return f"{survived}, {stop(server)}"


#: The checks of each guide.
GUIDES: dict[str, tuple[Callable[[Page], str], ...]] = {
    "docs/howto/embed-fastapi.md": (uvicorn, uvicorn_workers, own_lifespan),
    "docs/howto/embed-flask.md": (gunicorn, flask, reports),
    "docs/howto/embed-django.md": (
        runserver,
        django_gunicorn,
        django_uvicorn,
        django_separate,
        django_users,
    ),
    "docs/howto/daemon-systemd.md": (daemon,),
    "docs/howto/gunicorn-uvicorn.md": (workers, preloaded, separate),
}
