"""A campaign: 50,000 visits at once, and how long other requests take meanwhile.

``python -m shop.spike [visits]``: uvicorn serves the shop in a process of its own; this one is the
load: one thread sends the visits as fast as they are taken, and four visitors search and order, 100
requests a second in all. A request's time counts from when it should have been sent, so that no
wait is left out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from itertools import cycle
from pathlib import Path
from typing import Any

from callboard.clock import monotonic

from .postoffice import PostOffice

BATCH = 500
VISITORS = 4
PAUSE = 0.04  # seconds between two requests of one visitor
BAR = 0.025  # seconds, for 99 of 100


class Client(HTTPConnection):
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        super().__init__("127.0.0.1", port, timeout=60)

    def call(self, method: str, path: str, body: object = None) -> Any:
        self.request(method, path, json.dumps(body), {"content-type": "application/json"})
        answer = self.getresponse()
        content = answer.read()
        if answer.status >= 400:  # noqa: PLR2004  (where HTTP's errors begin)
            raise RuntimeError(f"{method} {path}: {answer.status} {content!r}")
        return json.loads(content)


@contextmanager
def serving(store: str, smtp_port: int) -> Iterator[int]:
    """Serve the shop; gives the port."""
    with subprocess.Popen(
        [sys.executable, "-m", "uvicorn", "shop.main:app", "--port=0", "--no-access-log"],
        cwd=Path(__file__).parents[1],
        env=os.environ
        | {"SHOP_STORE": store, "SHOP_SMTP_HOST": "127.0.0.1", "SHOP_SMTP_PORT": str(smtp_port)},
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        try:
            port = next(
                filter(None, (re.search(r"127.0.0.1:(\d+)", each) for each in server.stderr))
            )
            threading.Thread(target=server.stderr.read).start()  # else a full pipe would block it
            yield int(port[1])
        finally:
            server.terminate()


def measure(port: int, number: int, stop: threading.Event) -> list[float]:
    """Order and search until told to stop; returns what each request took, in seconds."""
    with closing(Client(port)) as client:
        return list(requests(client, number, stop))


def requests(client: Client, number: int, stop: threading.Event) -> Iterator[float]:
    email = f"{number}@example.org"
    customer = client.call("POST", "/customers", {"email": email})["customer"]
    due = monotonic() + PAUSE * number / VISITORS
    for ordering in cycle((True, False)):
        stop.wait(max(0.0, due - monotonic()))
        if stop.is_set():
            return
        if ordering:
            client.call("POST", "/orders", {"customer": customer, "item": "lamp"})
        else:
            client.call("GET", "/search?text=a")
        yield monotonic() - due
        due += PAUSE


def spike(client: Client, visits: int) -> tuple[float, float]:
    """Send the visits; returns the seconds until they were taken, and until all were counted."""
    begun = monotonic()
    for _ in range(visits // BATCH):
        client.call("POST", "/visits", ["lamp", "chair"] * (BATCH // 2))
    taken = monotonic() - begun
    while client.call("GET", "/visits/lamp") + client.call("GET", "/visits/chair") < visits:
        threading.Event().wait(0.05)
    return taken, monotonic() - begun


def percentile(took: list[float], percent: float) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * percent / 100))]


def run(visits: int) -> tuple[list[float], float, float]:
    """Return what other requests took, and what :func:`spike` returns."""
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        PostOffice() as office,
        serving(f"{folder}/shop.db", office.port) as port,
        closing(Client(port)) as crowd,
        ThreadPoolExecutor() as pool,
    ):
        others = [pool.submit(measure, port, number, stop) for number in range(VISITORS)]
        try:
            taken, counted = spike(crowd, visits)
        finally:
            stop.set()
        return [each for other in others for each in other.result()], taken, counted


def main(visits: int) -> int:
    took, taken, counted = run(visits)
    print(f"{visits} visits: taken in {taken:.2f} s, all counted after {counted:.2f} s")
    p50, p99, worst = (percentile(took, percent) * 1000 for percent in (50, 99, 100))
    print(f"{len(took)} other requests: p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms")
    return 0 if percentile(took, 99) < BAR else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 50_000))
