"""Web servers for tests: started on a free port, asked, their processes killed, always reaped.

Every application under test says one line for each thing that happens, whole and at once, whichever
of its processes it happens in::

    role 4711 standby
    got 4711 1
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import textwrap
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

from callboard import Runtime
from callboard.clock import SECOND, SystemClock, micros, monotonic
from callboard.runtime.ownership import Ownership

from .processes import PATIENCE, Child

if TYPE_CHECKING:
    from pathlib import Path

#: The runtime of every application: `got PID N` for a message, `tick PID INSTANT` every second,
#: `role PID ROLE` for a start.
BOARD = textwrap.dedent("""
    import os
    import threading
    from callboard import Runtime, Tick

    def say(*words):
        os.write(1, (" ".join(map(str, words)) + "\\n").encode())

    rt = Runtime("board.db")
    rt.events.subscribe(lambda e: say("role", os.getpid(), e["role"]), "runtime.started")
    rt.events.subscribe(lambda e: say("stopped", os.getpid()), "runtime.stopped")

    @rt.mailbox("work")
    def work(n: int) -> None:
        say("got", os.getpid(), n)

    @rt.cron("* * * * * *")
    def tick(tick: Tick) -> None:
        say("tick", os.getpid(), tick.at.isoformat())

    @rt.mailbox("slow")
    def slow() -> None:
        say("begun")
        threading.Event().wait(0.3)
        say("ended")

    def post(n):
        if n == 0:
            rt.tell(slow)
            return {}
        rt.tell(work, n)
        rt.tell(work, n + 1000, after=0.2)
        return {"role": rt.role, "pid": os.getpid()}
""")


class Server(Child):
    """A server started by ``python -m``, its own process group, and what its processes say."""

    own_session = True

    def __init__(self, module: str, *args: object, cwd: Path, **env: str) -> None:
        """Start it."""
        self.folder = cwd
        self._n = 0
        super().__init__(module, *args, cwd=cwd, env={"PYTHONPATH": str(cwd), **env})
        self.port = 0

    @staticmethod
    def program(source: str) -> list[str]:
        """Run a module."""
        return ["-m", source]

    @property
    def owner(self) -> int:
        """The process that owns the store."""
        pid = self.owns()
        assert pid, "\n".join(self.lines)
        return pid

    def owns(self) -> int | None:
        """Return the process that owns the store, if there is one at this moment."""
        (path,) = self.folder.glob("*.callboard/owner")
        return Ownership(path).owner()

    def up(self, *roles: str, listens: bool = True) -> None:
        """Wait for the port and for that many processes in these roles, in whatever order."""
        wanted = sorted(roles)
        until = monotonic() + PATIENCE
        while (listens and not self.port) or self.roles() != wanted:
            assert monotonic() < until, "\n".join(self.lines)
            self.take()

    def take(self, patience: float = PATIENCE) -> str:
        """Return the next line, whatever it says; the port is read off it."""
        line = self.wait_for("", patience)
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
            self.port = int(found[1])
        return line

    def roles(self) -> list[str]:
        """Return what each started process has said to be, at the last."""
        said = [line.split() for line in self.lines if line.startswith("role ")]
        return sorted({pid: role for _, pid, role in said}.values())

    @property
    def started(self) -> set[str]:
        """The processes that have said what they are."""
        return {line.split()[1] for line in self.lines if line.startswith("role ")}

    def ask(self, path: str, method: str = "GET") -> Any:
        """Send a request; returns the answer, decoded.

        uvicorn's supervisors say the port before their child listens.
        """
        until = monotonic() + PATIENCE
        while True:
            try:
                url = f"http://127.0.0.1:{self.port}/{path}"
                request = urllib.request.Request(url, method=method)
                with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                raise AssertionError(error.read().decode()[:5000]) from None
            except urllib.error.URLError as error:
                if not isinstance(error.reason, ConnectionRefusedError) or monotonic() > until:
                    raise
                threading.Event().wait(0.01)

    def works(self) -> dict[str, Any]:
        """Post one message and its future call; both are handled. Returns who posted."""
        self._n += 1
        answer: dict[str, Any] = self.ask(f"post/{self._n}")
        self.handled(self._n)
        self.handled(self._n + 1000)
        return answer

    def handled(self, n: int) -> None:
        """Wait until a message was handled."""
        self.says(rf"^got \d+ {n}$")

    def says(self, pattern: str, patience: float = PATIENCE, since: int = 0) -> None:
        """Wait for what matches, unless it has come already, after so many lines.

        It may be in the middle of a line: two threads print their texts first, their ends after.
        """
        until = monotonic() + patience
        while not any(re.search(pattern, line) for line in self.lines[since:]):
            assert monotonic() < until, "\n".join(self.lines)
            self.take(patience)

    def ticks(self) -> datetime:
        """Wait for a tick of the owner's that is still to come; returns its instant."""
        before, head = len(self.lines), f"tick {self.owner} "
        until = monotonic() + PATIENCE
        while True:
            for line in self.lines[before:]:
                if line.startswith(head):
                    return datetime.fromisoformat(line.removeprefix(head))
            assert monotonic() < until, "\n".join(self.lines)
            self.take()

    def a_standby_posts(self) -> None:
        """Post until one that stands by has taken the request; what it told is handled."""
        until = monotonic() + PATIENCE
        with ThreadPoolExecutor(8) as pool:
            while monotonic() < until:
                numbers = range(self._n + 1, self._n + 9)
                self._n += 8
                answers = list(pool.map(lambda n: self.ask(f"post/{n}"), numbers))
                for n in numbers:
                    self.handled(n)
                if any(answer["role"] == "standby" for answer in answers):
                    return
        raise AssertionError(f"no standby took a request: {self.lines}")

    def a_standby_answers(self) -> None:
        """Ask for health, many at a time, until one that stands by has answered."""
        until = monotonic() + PATIENCE
        with ThreadPoolExecutor(8) as pool:
            while monotonic() < until:
                if any(each["role"] == "standby" for each in pool.map(self.ask, ["health"] * 8)):
                    return
        raise AssertionError(f"no standby answered: {self.lines}")

    def kill_owner(self) -> None:
        """Kill the owner; another process of the server owns the store within a second.

        It dies with nothing in hand, just after a tick and well before the next: killed before a
        commit it would have that message handled again. Returns when another process has come in
        its place: a stop before it listens to signals would wait for it.
        """
        until = monotonic() + PATIENCE
        while True:
            last = self.ticks()
            wait_until_handled(self.folder)
            if SystemClock().now() - micros(last) < 0.6 * SECOND:
                break
            assert monotonic() < until, self.lines
        killed, begun, known = self.owner, monotonic(), self.started
        os.kill(killed, signal.SIGKILL)
        while True:
            line = self.take()
            if line.endswith(" owner") and line != f"role {killed} owner":
                break
        assert monotonic() - begun < 1.0
        assert self.owner != killed
        while self.started <= known:
            assert monotonic() < until, self.lines
            self.take()
        self.ticks()

    def once(self) -> None:
        """Nothing was handled twice, in this process or that, and no instant ticked twice."""
        done = [line.split()[2] for line in self.lines if line.startswith(("got ", "tick "))]
        assert done
        assert sorted(done) == sorted(set(done))

    def drain(self) -> int:
        """Send SIGTERM while a handler runs, which ends and is not run again."""
        self.ask("post/0")
        self.wait_for("begun")
        code = self.terminate()
        assert self.lines.count("begun") == self.lines.count("ended") == 1
        wait_until_handled(self.folder, "slow")  # a tick may have been told at the last moment
        return code

    def terminate(self, seconds: float = 10.0) -> int:
        """Send SIGTERM; returns the exit code, which comes within so many seconds."""
        begun = monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.end()
        assert monotonic() - begun < seconds
        return code

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill every process of the group, also those whose parent has died."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        super().kill(number)


def wait_until_handled(folder: Path, *names: str) -> None:
    """Wait until all turns of a folder's board have committed; or of these mailboxes alone."""
    client = Runtime(folder / "board.db")
    until = monotonic() + PATIENCE
    while any(m.waiting for m in client.mailboxes() if not names or m.name in names):
        assert monotonic() < until
        threading.Event().wait(0.01)
    client.stop()
