"""Start the runtime in those of Django's processes that serve, and in no other."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from django.apps import AppConfig
from django.conf import settings
from django.core import mail
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.signals import request_started
from django.utils.module_loading import import_string

from ...errors import ConfigError
from ..embed import Embedding, loaded_by_server
from ..runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Sequence


class CallboardConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """The runtime of a Django project.

    Attributes:
        runtime: what ``CALLBOARD_RUNTIME`` names, once the applications are ready.

    """

    name = "callboard.runtime.django"
    label = "callboard"
    verbose_name = "callboard"
    runtime: Runtime

    def ready(self) -> None:
        """Import the runtime with its declarations, and start it if this process serves.

        Raises:
            ConfigError: ``CALLBOARD_RUNTIME`` names no Runtime.
            StoreError: this process serves, and the store cannot be opened.

        """
        self.runtime = _configured()
        if not getattr(settings, "CALLBOARD_EMBED", True):
            return
        timeout = getattr(settings, "CALLBOARD_TIMEOUT", 10.0)
        self._embedding = Embedding(self.runtime._host, timeout)  # noqa: SLF001  (one piece)
        request_started.connect(self._requested, dispatch_uid="callboard")
        if loaded_by_server() or development_server(sys.argv):
            self._embedding.start()

    def _requested(self, sender: Any, **_: object) -> None:
        """Start with the first request, unless a test makes it.

        The test client has a handler of its own; a live test server has not, but Django's test
        environment then has an outbox.
        """
        served = isinstance(sender, type) and issubclass(sender, (WSGIHandler, ASGIHandler))
        if served and not self._embedding.started and not hasattr(mail, "outbox"):
            self._embedding.start()


def development_server(argv: Sequence[str]) -> bool:
    """Whether this is ``manage.py runserver``, and not the parent of its autoreloader.

    Programs that are started from a view inherit ``RUN_MAIN``, so the command counts too.

    Args:
        argv: of this process.

    """
    if list(argv[1:2]) != ["runserver"]:
        return False
    return "--noreload" in argv or os.environ.get("RUN_MAIN") == "true"


def _configured() -> Runtime:
    path = getattr(settings, "CALLBOARD_RUNTIME", None)
    if not isinstance(path, str):
        msg = f'CALLBOARD_RUNTIME is a dotted path such as "shop.board.rt", got {path!r}'
        raise ConfigError(msg)
    found = import_string(path)
    if not isinstance(found, Runtime):
        msg = f"CALLBOARD_RUNTIME = {path!r} is no Runtime but a {type(found).__name__}"
        raise ConfigError(msg)
    return found
