"""Who writes beside the owner: ``python -m tests.neighbour KIND FOLDER SECONDS``.

It prints ``up``, waits for a line, works for so many seconds, and prints ``done {…}``: how often,
with which errors, and how long it waited, in milliseconds. The owner is a kind too.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callboard import Runtime
from callboard.clock import monotonic

#: Seconds between two writes of a foreign connection.
PAUSE = 0.01
#: How many threads one process tells from.
THREADS = 16
Act = Callable[[int], object]


class Waits:
    """How long each act took, and what it raised; of any thread."""

    def __init__(self) -> None:
        self.all: list[float] = []
        self.errors: list[str] = []

    def act(self, act: Act, n: int) -> None:
        """Do it once."""
        begun = monotonic()
        try:
            act(n)
        except Exception as error:  # noqa: BLE001  (whatever it is, it is reported)
            self.errors.append(repr(error))
        self.all.append((monotonic() - begun) * 1000)

    def loop(self, act: Act, seconds: float, pause: float = 0.0) -> None:
        """Do it for so long, back to back or with a pause after each."""
        until, n, rest = monotonic() + seconds, 0, threading.Event()
        while monotonic() < until:
            self.act(act, n)
            n += 1
            if pause:
                rest.wait(pause)

    def report(self) -> str:
        """Return one line of JSON."""
        found = sorted(self.all)
        at = {"p50": len(found) // 2, "p99": int(len(found) * 0.99), "worst": len(found) - 1}
        waits = {name: round(found[index], 2) for name, index in at.items()}
        return json.dumps({"count": len(found), "errors": self.errors[:20], **waits})


def say(*words: str) -> None:
    """Print one line at once."""
    print(*words, flush=True)  # noqa: T201  (a program of its own)


def run(act: Act, seconds: float, *, pause: float = 0.0, threads: int = 1) -> None:
    """Do it in so many threads, once the others are up too."""
    waits = Waits()
    say("up")
    sys.stdin.readline()
    workers = [threading.Thread(target=waits.loop, args=(act, seconds, pause))
               for _ in range(threads - 1)]  # fmt: skip
    for each in workers:
        each.start()
    waits.loop(act, seconds, pause)
    for each in workers:
        each.join()
    say("done", waits.report())


def owner(folder: Path, seconds: float) -> None:
    """Own the store and keep it busy: handlers are staged back to back."""
    rt = Runtime(folder / "board.db")
    rt.mailbox("work", lambda _n: None, workers=2)
    rt.mailbox("single", lambda _n: None)
    stop = threading.Event()
    refused: list[str] = []
    rt.events.subscribe(lambda event: refused.append(str(event["error"])), "store.refused")

    def saturate() -> None:
        while not stop.is_set():
            rt.tell_many("work", range(500))

    with rt:
        teller = threading.Thread(target=saturate)
        teller.start()
        run(lambda n: rt.tell("single", n), seconds, pause=PAUSE)
        stop.set()
        teller.join()
    say("refused", json.dumps(refused))


def client(folder: Path, seconds: float) -> None:
    """Tell in a loop, as a process that owns nothing."""
    rt = Runtime(folder / "board.db")
    run(lambda n: rt.tell("work", n), seconds)
    rt.stop()


def crowd(folder: Path, seconds: float) -> None:
    """Tell in loops of many threads of one client."""
    rt = Runtime(folder / "board.db")
    run(lambda n: rt.tell("work", n), seconds, threads=THREADS)
    rt.stop()


def standby(folder: Path, seconds: float) -> None:
    """Stand by, and tell meanwhile."""
    rt = Runtime(folder / "board.db")
    rt.mailbox("work", lambda _n: None)
    with rt:
        assert rt.role == "standby"
        run(lambda n: rt.tell("work", n), seconds, pause=PAUSE)


def plain(folder: Path, seconds: float) -> None:
    """Write with the standard library's sqlite3, as it comes: it waits 5 s for a lock."""
    host = sqlite3.connect(folder / "board.db")

    def write(n: int) -> None:
        with host:
            host.execute("INSERT INTO mine (n) VALUES (?)", (n,))

    run(write, seconds, pause=PAUSE)
    host.close()


def django(folder: Path, seconds: float) -> None:
    """Write with Django's ORM; blocks that read first begin as docs/howto/own-tables.md says."""
    import django as package
    from django.conf import settings

    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "board.db"),
                "OPTIONS": {"transaction_mode": "IMMEDIATE"},
            }
        }
    )
    package.setup()
    from django.db import models, transaction

    def text(self: Any) -> str:
        return str(self.n)

    meta = type("Meta", (), {"app_label": "mine", "db_table": "mine", "managed": False})
    mine: Any = type(
        "Mine",
        (models.Model,),
        {
            "__module__": __name__,
            "__str__": text,
            "Meta": meta,
            "id": models.AutoField(primary_key=True),
            "n": models.IntegerField(),
        },
    )
    mine.objects.count()

    def write(n: int) -> None:
        row = mine.objects.create(n=n)
        with transaction.atomic():
            found = mine.objects.get(pk=row.pk)
            found.n += 1
            found.save()

    run(write, seconds, pause=PAUSE)


def sqlalchemy(folder: Path, seconds: float) -> None:
    """Write with SQLAlchemy's ORM; it begins as docs/howto/own-tables.md says."""
    from sqlalchemy import Integer, create_engine, event
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

    engine = create_engine(f"sqlite:///{folder / 'board.db'}")

    @event.listens_for(engine, "connect")
    def connect(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None

    @event.listens_for(engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    class Base(DeclarativeBase):
        pass

    class Mine(Base):
        __tablename__ = "mine"
        id = mapped_column(Integer, primary_key=True)
        n = mapped_column(Integer)

    def write(n: int) -> None:
        with Session(engine) as session, session.begin():
            row = Mine(n=n)
            session.add(row)
            session.flush()
            found = session.get_one(Mine, row.id)
            found.n += 1

    run(write, seconds, pause=PAUSE)
    engine.dispose()


KINDS = {each.__name__: each for each in (
    owner, client, crowd, standby, plain, django, sqlalchemy)}  # fmt: skip

if __name__ == "__main__":
    KINDS[sys.argv[1]](Path(sys.argv[2]), float(sys.argv[3]))
