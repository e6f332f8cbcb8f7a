"""Django as an ASGI application that starts the runtime with the server and stops it with it.

Django itself refuses the lifespan protocol, and uvicorn ends a process by the signal itself, so
that nothing else would let running handlers end. In ``asgi.py``, instead of Django's::

    from callboard.runtime.django.asgi import get_asgi_application

    application = get_asgi_application()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from django.apps import apps
from django.conf import settings
from django.core import asgi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from ..runtime import Runtime

    Scope: TypeAlias = MutableMapping[str, Any]
    Receive: TypeAlias = Callable[[], Awaitable[Scope]]
    Send: TypeAlias = Callable[[Scope], Awaitable[None]]
    Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


def get_asgi_application() -> Application:
    """Return Django's application, with a lifespan that is the runtime's.

    ``async def`` handlers run on the server's event loop then. With ``CALLBOARD_EMBED = False``
    nothing is started.
    """
    inner: Application = asgi.get_asgi_application()
    runtime: Runtime = apps.get_app_config("callboard").runtime
    embeds = getattr(settings, "CALLBOARD_EMBED", True)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan" or not embeds:
            await inner(scope, receive, send)
            return
        await receive()
        try:
            await runtime.__aenter__()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await runtime.__aexit__()
        await send({"type": "lifespan.shutdown.complete"})

    return application
