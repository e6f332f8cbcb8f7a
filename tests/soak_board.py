"""The board of the soak: a mailbox for each thing that the runtime can do, and what it has done."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from callboard import Context, MailboxFull, Reject, RetryPolicy, Runtime, Tick, WorkerActor
from callboard.clock import monotonic

from .soak_meter import Latency

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds from one beat to the next; a beat tells a bit of everything.
BEAT = 0.05
KEYS, TIMERS = 2000, 40


class LostError(Exception):
    """Restarts a cart."""


@dataclass
class Total:
    sum: int = 0


class Board:
    """The runtime with all its mailboxes, and the counts of what was told and handled."""

    def __init__(self, folder: Path) -> None:
        self.rt = Runtime(folder / "board.db")
        self.told: Counter[str] = Counter()
        self.errors: list[str] = []
        self.handled: Counter[str] = Counter()
        self.tell, self.handle, self.ask = Latency(), Latency(), Latency()
        self._lock = threading.Lock()
        self._declare_failing()
        self._declare_working()
        self._declare_limited()

    def count(self, name: str) -> None:
        with self._lock:
            self.handled[name] += 1

    def _declare_failing(self) -> None:
        rt, count = self.rt, self.count

        @rt.mailbox("flaky", retry=RetryPolicy(attempts=5, delay=0.1, factor=1.0))
        def flaky(n: int, context: Context) -> None:
            if context.attempt < 3:
                raise ValueError(n)
            count("flaky")

        @rt.mailbox("broken")
        def broken(n: int) -> None:
            raise Reject(f"{n} is of no use")

        class Cart(WorkerActor):
            state: Total
            restart_on = (LostError,)
            lost = 0

            def on_receive(self, n: int) -> int:
                self.state.sum += n
                number = self.context.message_id
                # Once for a message; an ask, whose number is negative, would be told of it.
                if number > 0 and number % 499 == 0 and Cart.lost != number:
                    Cart.lost = number
                    raise LostError
                count("carts")
                return self.state.sum

        rt.mailbox("carts", Cart, keyed=True, workers=2)

    def _declare_working(self) -> None:
        rt, count = self.rt, self.count

        @rt.mailbox("quick")
        def quick(told_at: float) -> None:
            self.handle.note(monotonic() - told_at)
            count("quick")

        @rt.mailbox("order")
        def order(n: int, context: Context) -> None:
            context.execute("UPDATE orders SET n = n + 1", expect=1)
            rt.tell("ranked", n, priority=n % 5)
            count("order")

        @rt.mailbox("coro", workers=4)
        async def coro(n: int) -> None:
            await rt.tell_async("ranked", n)
            count("coro")

        @rt.mailbox("sum", workers=2)
        def double(n: int) -> int:
            return n + n

        @rt.cron("* * * * * *", overlap="allow")
        def second(tick: Tick) -> None:
            count("second")

        for name in ("bulk", "ranked", "later", "once", "guests"):
            self._counted(name)

    def _declare_limited(self) -> None:
        rt, count = self.rt, self.count
        rt.mailbox("kept", lambda _: count("kept"), retain=20)
        rt.mailbox("rated", lambda _: count("rated"), rate="15/s")
        rt.mailbox("stale", lambda _: count("stale"), rate="2/s")
        rt.mailbox("small", lambda _: count("small"), rate="3/s", capacity=5)
        for name in ("here", "there"):
            rt.mailbox(name, lambda _: count("news"), topics=("news",))

    def _counted(self, name: str) -> None:
        self.rt.mailbox(name, lambda _: self.count(name), workers=2)


class Load:
    """Tells a bit of everything at each beat, until it is stopped."""

    def __init__(self, board: Board, stop: threading.Event) -> None:
        self._board = board
        self._stop = stop
        self.thread = threading.Thread(target=self._run, name="load")

    def _run(self) -> None:
        n, due = 0, monotonic()
        while not self._stop.is_set():
            try:
                self.beat(n)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
                self._board.errors.append(repr(error))
            n, due = n + 1, max(due + BEAT, monotonic())
            self._stop.wait(due - monotonic())

    def beat(self, n: int) -> None:
        """Send each kind of message in its turn."""
        board, rt = self._board, self._board.rt
        begun = monotonic()
        rt.tell("quick", begun)
        board.tell.note(monotonic() - begun)
        board.told["quick"] += 1
        for name in ("carts", "order", "coro"):
            rt.tell(name, n, key=f"key {n % KEYS}" if name == "carts" else None)
            board.told[name] += 1
        rt.tell("later", n, after=0.1 + n % 20 * 0.1, id=f"later {n % TIMERS}")
        match n % 10:
            case 0:
                rt.tell_many("bulk", range(200))
                board.told["bulk"] += 200
            case 1:
                rt.cancel("later", f"later {(n - 5) % TIMERS}")
            case 2:
                rt.publish("news", n)
                board.told["news"] += 2
            case 3:
                begun = monotonic()
                assert rt.ask("sum", n) == n + n
                board.ask.note(monotonic() - begun)
            case 4:
                rt.tell("flaky", n)
                rt.tell("broken", n)
                board.told["flaky"] += 1
            case 5:
                with rt.transaction() as tx:
                    tx.tell("kept", n)
                    tx.tell("ranked", n, priority=3)
                board.told["kept"] += 1
            case _:
                self._limited(n)

    def _limited(self, n: int) -> None:
        rt = self._board.rt
        rt.tell("rated", n)
        self._board.told["rated"] += 1
        rt.tell("stale", n, expires=0.5)
        rt.tell("once", n, id=f"once {n // 20}", dedupe=15)
        try:
            rt.tell("small", n)
            self._board.told["small"] += 1
        except MailboxFull:
            self._board.handled["refused"] += 1
        if n % 100 == 99:
            for dead in rt.dead():
                rt.discard(dead.id)
