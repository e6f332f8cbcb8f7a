"""The owner's socket, spoken to by hand."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from callboard import Runtime

PATIENCE = 20.0


def dial(rt: Runtime) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.settimeout(PATIENCE)
    client.connect(str(rt._store.companion.socket))
    return client


def frame(**fields: Any) -> bytes:
    body = json.dumps(fields).encode()
    return len(body).to_bytes(4, "big") + body


def answer(client: socket.socket) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(exactly(client, int.from_bytes(exactly(client, 4), "big")))
    return found


def exactly(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += client.recv(count - len(data))
    return data


def hung_up(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True
