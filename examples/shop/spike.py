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

BATCH = 100
VISITORS = 4
PAUSE = 0.04  # seconds between two requests of one visitor
Request = tuple[float, float]
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


def measure(port: int, number: int, stop: threading.Event) -> list[Request]:
    """Order and search until told to stop; returns when each request was due, what it took."""
    with closing(Client(port)) as client:
        return list(requests(client, number, stop))


def requests(client: Client, number: int, stop: threading.Event) -> Iterator[Request]:
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
        yield due, monotonic() - due
        due += PAUSE


def spike(client: Client, visits: int) -> tuple[float, float]:
    """Send the visits; returns when all were taken, and when all were counted."""
    for _ in range(visits // BATCH):
        client.call("POST", "/visits", ["lamp", "chair"] * (BATCH // 2))
    taken = monotonic()
    while client.call("GET", "/visits/lamp") + client.call("GET", "/visits/chair") < visits:
        threading.Event().wait(0.05)
    return taken, monotonic()


def run(visits: int) -> tuple[list[float], list[float]]:
    """Return what other requests took while the visits came in, and until all were counted."""
    stop = threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        PostOffice() as office,
        serving(f"{folder}/shop.db", office.port) as port,
        closing(Client(port)) as crowd,
        ThreadPoolExecutor() as pool,
    ):
        others = [pool.submit(measure, port, number, stop) for number in range(VISITORS)]
        begun = monotonic()
        try:
            taken, counted = spike(crowd, visits)
        finally:
            stop.set()
        made = [each for other in others for each in other.result()]
    print(f"{visits} visits: taken in {taken - begun:.2f} s, counted after {counted - begun:.2f} s")
    return [took for due, took in made if due < taken], [took for _, took in made]


def percentile(took: list[float], percent: float) -> float:
    return sorted(took)[min(len(took) - 1, int(len(took) * percent / 100))]


def main(visits: int) -> int:
    meanwhile, all_ = run(visits)
    for what, took in (("while they came in", meanwhile), ("until all were counted", all_)):
        p50, p99, worst = (percentile(took, percent) * 1000 for percent in (50, 99, 100))
        print(f"{len(took)} other requests {what}:", end=" ")
        print(f"p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms")
    return 0 if percentile(all_, 99) < BAR else 1


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if sys.argv[1:] else 50_000))
