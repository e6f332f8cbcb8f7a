"""Testing with a clock that you turn: the ``Board``, and the pytest fixture ``board``.

::

    def test_reminder(board):
        sent = []
        board.rt.mailbox("mail", sent.append)
        board.start()
        board.rt.tell("mail", "welcome", after="24h")
        board.advance("23h")
        assert sent == []
        board.advance("1h")
        assert sent == ["welcome"]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import pytest

from ..clock import ManualClock, duration, instant, monotonic
from ..errors import ConfigError
from .runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

#: Real seconds after which settle() and advance() give up.
PATIENCE = 30.0


class Board:
    """A Runtime whose clock stands still until it is advanced.

    Handlers run on their real threads; what takes no time on the clock still takes real time.
    ``ask``, ``stop`` and handler timeouts are always real time.

    Args:
        runtime: built with ``clock=ManualClock(...)``.

    Raises:
        ConfigError: its clock is not a ManualClock.

    """

    def __init__(self, runtime: Runtime) -> None:
        """Take the runtime; start it with :meth:`start` once its mailboxes are declared."""
        clock = runtime._config.clock  # noqa: SLF001  (the two are one piece)
        if not isinstance(clock, ManualClock):
            msg = "a Board needs Runtime(..., clock=ManualClock())"
            raise ConfigError(msg)
        self.rt = runtime
        self.clock = clock

    @property
    def now(self) -> datetime:
        """Where the clock stands, UTC."""
        return instant(self.clock.now())

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exc: object) -> None:
        """Stop."""
        self.stop()

    def start(self) -> Self:
        """Own the store; ``StoreOwned`` when another process does."""
        self.rt.start(standby=False)
        return self

    def stop(self) -> None:
        """Stop the runtime."""
        self.rt.stop()

    def settle(self) -> None:
        """Wait until no row is due, no turn runs, nothing is staged, and all events are told.

        Raises:
            TimeoutError: after 30 real seconds; the text names what still runs.

        """
        until = monotonic() + PATIENCE
        while True:
            engine = self.rt._host.engine  # noqa: SLF001  (the two are one piece)
            if engine is None:
                return
            driver = engine.environment.driver
            before = driver.activity
            if engine.quiet and self.rt.events.flush(1.0) and engine.quiet:
                if driver.activity == before:
                    return
                continue
            if monotonic() > until:
                msg = f"not settled after {PATIENCE:g} s: {', '.join(engine.unsettled())}"
                raise TimeoutError(msg)
            driver.rest(0.0005)

    def advance(self, by: float | str | timedelta) -> None:
        """Turn the clock: settle, move to the earliest deadline, and so on up to the target.

        Args:
            by: seconds, a ``timedelta`` or text such as ``"7d"``.

        Raises:
            TimeoutError: it did not settle within 30 real seconds.

        """
        target = self.clock.now() + duration(by)
        self.settle()
        while True:
            deadline = self._next_deadline()
            if deadline is None or deadline > target:
                break
            self.clock.set(max(deadline, self.clock.now()))
            self.settle()
        self.clock.set(target)
        self.settle()

    def crash(self) -> None:
        """Throw away all memory, as a killed process does, and open again from the file.

        Turns that were staged and not yet committed are lost, as they would be; their messages run
        again.
        """
        self.rt._host.crash()  # noqa: SLF001  (the two are one piece)
        self.start()

    def _next_deadline(self) -> int | None:
        engine = self.rt._host.engine  # noqa: SLF001  (the two are one piece)
        return None if engine is None else engine.environment.driver.next_deadline()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    """Return a Board on a new store in a temporary folder; declare on ``board.rt``, then start."""
    made = Board(Runtime(tmp_path / "board.db", clock=ManualClock()))
    yield made
    made.rt.stop(timeout=2.0)
