"""The mixed load: what the service under test declares, and its programs, an owner and clients.

Effects are written to a table of our own in the handler's turn; what clients were told is written
to a file of each client, after the call returned, so that nothing depends on the store under test.
The programs are run as ``python tests/load_app.py ROLE FOLDER ...`` (see load.py).
"""

from __future__ import annotations

import json
import logging
import os
import random
import sqlite3
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from callboard import (
    Context,
    MailboxFull,
    RetryPolicy,
    Runtime,
    StoreBusy,
    StoreOwned,
    Tick,
    WorkerActor,
)
from callboard.clock import SystemClock, micros, monotonic, sleep

if TYPE_CHECKING:
    from collections.abc import Callable

STORE = "board.db"
#: Of the mailbox `line`, whose level the store counts.
CAPACITY = 400
#: Failures after which a message of `flaky` is a dead letter.
ATTEMPTS = 4
ACCOUNTS = 12
KEYS = 8
#: Seconds between two ticks: far apart, so that a lost wake-up is not hidden by the next tick.
BEAT = 3
_EFFECT = (
    "INSERT INTO effects (box, tag, number, key, began, attempt, amount) "
    "VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_clock = SystemClock()


@dataclass(frozen=True, slots=True)
class Item:
    """A message with a name of its own.

    Attributes:
        tag: unique among all that are told to its mailbox.
        key: of the mailboxes that are keyed.
        fails: how often its handler fails.

    """

    tag: str
    key: str = ""
    fails: int = 0


@dataclass(frozen=True, slots=True)
class Transfer:
    """Take money from ``key`` and tell ``to`` to take it."""

    tag: str
    key: str
    to: str
    amount: int


@dataclass(frozen=True, slots=True)
class Credit:
    """Money on its way: whatever else happens, it is in a state or in one of these."""

    tag: str
    key: str
    amount: int


@dataclass
class Account:
    """State of one account; it may be below zero."""

    balance: int = 0


class FlakyError(Exception):
    """What the handler of `flaky` raises."""


def make_tables(store: Path) -> None:
    """Make the store with the table of effects, before anybody starts."""
    connection = sqlite3.connect(store)
    connection.execute(
        "CREATE TABLE IF NOT EXISTS effects (row INTEGER PRIMARY KEY AUTOINCREMENT, "
        "box TEXT, tag TEXT, number INTEGER, key TEXT, began INTEGER, attempt INTEGER, "
        "amount INTEGER)"
    )
    connection.commit()
    connection.close()


def build(
    store: Path, ran: Callable[[str], None] = lambda _tag: None, linger: float = 0.0
) -> Runtime:
    """Declare the service.

    Args:
        store: its store, with our table in it.
        ran: called with the tag at every run of a handler, before its effect is staged.
        linger: seconds that one handler in four holds its thread.

    """
    rt = Runtime(store)

    def note(tag: str, context: Context, amount: int = 0) -> None:
        ran(f"{context.mailbox} {tag}")
        if linger and context.message_id % 4 == 0:
            sleep(linger)
        began = micros(context.now)
        values = (context.mailbox, tag, context.message_id, context.key, began, context.attempt)
        context.execute(_EFFECT, (*values, amount))

    def keep(item: Item, context: Context) -> None:
        note(item.tag, context)

    def flaky(item: Item, context: Context) -> None:
        note(item.tag, context)
        if context.attempt <= item.fails:
            raise FlakyError(item.tag)

    def beat(tick: Tick, context: Context) -> None:
        note(str(micros(tick.at)), context)

    class AccountActor(WorkerActor):
        state: Account

        def on_receive(self, message: Transfer | Credit) -> None:
            if isinstance(message, Credit):
                self.state.balance += message.amount
                note(message.tag, self.context, message.amount)
                return
            self.state.balance -= message.amount
            rt.tell("accounts", Credit(f"{message.tag}+", message.to, message.amount))
            note(message.tag, self.context, -message.amount)

    rt.mailbox("notes", keep, keyed=lambda item: item.key)
    rt.mailbox("plain", keep, workers=4)
    rt.mailbox("line", keep, capacity=CAPACITY)
    rt.mailbox("calls", keep, workers=2)
    rt.mailbox("flaky", flaky, workers=2, retry=RetryPolicy(attempts=ATTEMPTS, delay=0.05))
    rt.mailbox("papers", keep, topics=("news.*",))
    rt.mailbox("radios", keep, workers=2, topics=("news.*",))
    rt.mailbox("accounts", AccountActor, keyed=lambda message: message.key)
    rt.cron(f"* * * * * */{BEAT}", name="beat", missed="all", overlap="allow")(beat)
    return rt


class Ledger:
    """What a client was told, a JSON line each, on disk's way before the next call.

    Args:
        path: its file; made.

    """

    def __init__(self, path: Path) -> None:
        """Open it for appending."""
        path.parent.mkdir(exist_ok=True)
        self._fd = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)

    def write(self, what: str, box: str, tag: str, **more: Any) -> None:
        """Write one line, whole."""
        line = json.dumps({"what": what, "box": box, "tag": tag, "at": _clock.now(), **more})
        os.write(self._fd, line.encode() + b"\n")


class Client:
    """Tells of every sort, one after the other, in an order that a seed decides.

    Args:
        rt: the service, never started here.
        name: unique among all clients of the store.
        ledger: where is written what it was told.
        seed: of its choices.

    """

    def __init__(self, rt: Runtime, name: str, ledger: Ledger, seed: int) -> None:
        """Tell nothing yet."""
        self.told = 0
        self._rt = rt
        self._name = name
        self._ledger = ledger
        self._random = random.Random(seed)
        self._n = 0
        self._calls: list[str] = []
        self._acts = (
            self._note, self._note, self._plain, self._line, self._many, self._call, self._call,
            self._cancel, self._move, self._flaky, self._publish, self._transfer, self._transfer,
        )  # fmt: skip

    def act(self) -> None:
        """Do one thing."""
        self._random.choice(self._acts)()

    # --- inside ------------------------------------------------------------------------------

    def _tag(self) -> str:
        self._n += 1
        return f"{self._name}-{self._n}"

    def _tell(self, box: str, message: Item | Transfer, **options: Any) -> None:
        due = None
        if "after" in options:
            due = _clock.now() + round(options["after"] * 1_000_000)
        try:
            number = self._rt.tell(box, message, **options)
        except (MailboxFull, StoreBusy) as error:
            self._ledger.write("refused", box, message.tag, error=type(error).__name__)
            return
        self.told += 1
        fails = message.fails if isinstance(message, Item) else 0
        self._ledger.write("told", box, message.tag, number=number, due=due, fails=fails)

    def _note(self) -> None:
        self._tell("notes", Item(self._tag(), f"k{self._random.randrange(KEYS)}"))

    def _plain(self) -> None:
        self._tell("plain", Item(self._tag()))

    def _line(self) -> None:
        self._tell("line", Item(self._tag()))

    def _many(self) -> None:
        items = [Item(self._tag()) for _ in range(self._random.randint(2, 12))]
        try:
            numbers = self._rt.tell_many("line", items)
        except (MailboxFull, StoreBusy) as error:
            for item in items:
                self._ledger.write("refused", "line", item.tag, error=type(error).__name__)
            return
        self.told += len(items)
        for item, number in zip(items, numbers, strict=True):
            self._ledger.write("told", "line", item.tag, number=number, due=None)

    def _call(self) -> None:
        tag = self._tag()
        self._calls = [*self._calls[-20:], tag]
        self._tell("calls", Item(tag), after=self._random.uniform(0.02, 1.5), id=tag)

    def _cancel(self) -> None:
        if not self._calls:
            return
        tag = self._calls.pop(self._random.randrange(len(self._calls)))
        self._ledger.write("cancelling", "calls", tag)
        try:
            gone = self._rt.cancel("calls", tag)
        except StoreBusy:
            gone = False
        self._ledger.write("cancelled" if gone else "stayed", "calls", tag)

    def _move(self) -> None:
        """Replace a future call: one of the same id, another tag."""
        if not self._calls:
            return
        old = self._calls.pop(self._random.randrange(len(self._calls)))
        new = self._tag()
        self._ledger.write("replacing", "calls", old)
        self._tell("calls", Item(new), after=self._random.uniform(0.02, 1.0), id=old)

    def _flaky(self) -> None:
        self._tell("flaky", Item(self._tag(), fails=self._random.randint(0, ATTEMPTS)))

    def _publish(self) -> None:
        tag = self._tag()
        try:
            copies = self._rt.publish("news.local", Item(tag))
        except StoreBusy as error:
            for box in ("papers", "radios"):
                self._ledger.write("refused", box, tag, error=type(error).__name__)
            return
        assert copies == 2, copies
        self.told += copies
        for box in ("papers", "radios"):
            self._ledger.write("told", box, tag, number=None, due=None)

    def _transfer(self) -> None:
        source, target = self._random.sample(range(ACCOUNTS), 2)
        amount = self._random.randint(1, 100)
        self._tell("accounts", Transfer(self._tag(), f"a{source}", f"a{target}", amount))


# --- programs ------------------------------------------------------------------------------------


def say(*words: object) -> None:
    """Write one line, whole and at once, with the monotonic time as its last word."""
    line = " ".join(str(word) for word in (*words, f"{monotonic():.6f}"))
    os.write(1, line.encode() + b"\n")


def own(folder: Path, linger: float, standby: bool) -> None:  # noqa: FBT001  (of the command line)
    """Own the store, or stand by: until SIGTERM, or until the parent is gone.

    Says ``standby``, ``owner``, ``work`` (its first handler runs) and ``lost``, or ``refused``.
    """
    _end_with_parent()
    fd = os.open(folder / "runs", os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    first = [True]

    def ran(tag: str) -> None:
        if first:
            first.clear()
            say("work")
        os.write(fd, tag.encode() + b"\n")

    rt = build(folder / STORE, ran, linger)
    words = {"owner.taken": "owner", "owner.lost": "lost"}
    rt.events.subscribe(lambda e: say(words[e.name]) if e.name in words else None, "owner.")
    rt.events.subscribe(
        lambda e: say("standby") if e["role"] == "standby" else None, "runtime.started"
    )
    if not standby:
        try:
            rt.start(standby=False)
        except StoreOwned:
            say("refused")
            return
    rt.run()


def visit(folder: Path, name: str, seed: int, pace: float) -> None:
    """Act as a client, at random intervals, until the line ``stop`` or until the parent is gone.

    Says ``up``, and ``stopped N`` with the number of messages that it was told are on disk.
    """
    enough = _end_with_parent()
    rt = build(folder / STORE)
    client = Client(rt, name, Ledger(folder / "ledger" / name), seed)
    pauses = random.Random(seed)
    say("up")
    while not enough.wait(pauses.expovariate(1 / pace)):
        client.act()
    rt.stop()
    say("stopped", client.told)


def _end_with_parent() -> threading.Event:
    """Set the event at a line on standard input; end this process when that is closed."""
    enough = threading.Event()

    def read() -> None:
        # os.read, not sys.stdin: a daemon thread in a buffered reader breaks the interpreter's end.
        while os.read(0, 64):
            enough.set()
        os._exit(3)

    threading.Thread(target=read, name="load-parent", daemon=True).start()
    return enough


def main(role: str, folder: str, *rest: str) -> None:
    """Run one of the programs."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(message)s")
    if role == "visit":
        visit(Path(folder), rest[0], int(rest[1]), float(rest[2]))
    else:
        own(Path(folder), float(rest[0]), standby=role == "own")


if __name__ == "__main__":
    main(*sys.argv[1:])
