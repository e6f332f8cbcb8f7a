"""``rt.init_app(app)``: a runtime in a Flask application, in the processes that serve alone."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .embed import Embedding, loaded_by_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from flask import Flask

    from .host import Host


def embed(app: Flask, runtime: object, host: Host, timeout: float) -> None:
    """Start the runtime with the application, where it serves."""
    embedding = Embedding(host, timeout)
    app.extensions["callboard"] = runtime
    app.wsgi_app = _Entry(app, app.wsgi_app, embedding)  # type: ignore[method-assign]
    if loaded_by_server() or _development_server():
        embedding.start()


class _Entry:
    """Where requests come in: the first one of a process starts the runtime, if nothing else has.

    Flask's test client comes in here too and starts nothing.
    """

    def __init__(self, app: Flask, inner: Callable[..., Any], embedding: Embedding) -> None:
        """Stand before the application."""
        self._app = app
        self._inner = inner
        self._embedding = embedding

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Let a request through."""
        if not (self._embedding.started or self._app.testing or _of_test_client(environ)):
            self._embedding.start()
        return self._inner(environ, start_response)  # type: ignore[no-any-return]


def _of_test_client(environ: dict[str, Any]) -> bool:
    return str(environ.get("HTTP_USER_AGENT", "")).startswith("Werkzeug/")


def _development_server() -> bool:
    """Whether this is ``flask run`` or ``app.run()``, and not the parent of its reloader."""
    import click
    from flask.cli import ScriptInfo

    child = os.environ.get("WERKZEUG_RUN_MAIN") == "true"
    context = click.get_current_context(silent=True)
    if context is None:
        # A program's own app.run(): the parent of its reloader cannot be told from any other
        # program, the child can. (Programs that a server under `flask run` starts inherit both.)
        return child and os.environ.get("FLASK_RUN_FROM_CLI") != "true"
    if context.command.name != "run" or context.find_object(ScriptInfo) is None:
        return False  # `flask shell`, `flask db upgrade`; `callboard run`, which starts by itself
    from flask.helpers import get_debug_flag

    reload = context.params.get("reload")
    return child or not (get_debug_flag() if reload is None else reload)
