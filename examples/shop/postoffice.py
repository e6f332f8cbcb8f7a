"""A real SMTP server on loopback that keeps what it gets: for tests and for the demo."""

from __future__ import annotations

import asyncio
import threading
from email import message_from_bytes
from email.message import Message
from typing import Any, Self

from aiosmtpd.smtp import SMTP, Envelope, Session


class PostOffice:
    """An SMTP server on a free port, on a thread of its own, while its ``with`` block runs."""

    def __init__(self) -> None:
        self.letters: list[Message] = []
        self.port = 0
        self.refusing = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def subjects(self, recipient: str) -> list[str]:
        """Return the subjects of what somebody got, in order."""
        return [each["Subject"] for each in self.letters if each["To"] == recipient]

    async def handle_DATA(  # noqa: N802  (aiosmtpd's name)
        self, server: Any, session: Session, envelope: Envelope
    ) -> str:
        if self.refusing:
            return "451 try again later"
        self.letters.append(message_from_bytes(envelope.original_content or b""))
        return "250 OK"

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(lambda: SMTP(self, loop=self._loop), "127.0.0.1", 0)

    async def _close(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
