"""The SQLite store: one writing connection behind the gate, read-only ones beside it."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import StoreError, StoreGone
from . import seal, sqlite_dead, sqlite_kept, sqlite_schedule
from ._sqlite3 import sqlite3
from .byline import Byline, take
from .companion import Companion
from .foreign import same_file, unwrap
from .forking import register
from .gate import PATIENCE, Gate
from .migrations import migrate
from .presence import Presence, gone
from .sqlite_level import keep_level
from .sqlite_open import check_owner, connect, fail, is_full, of_os, prepare_file
from .sqlite_read import SqliteReader, mailbox_row
from .sqlite_repair import repair
from .sqlite_text import fetch
from .sqlite_write import InsideWriter, SqliteWriter
from .store import DeadRow, Declaration, MailboxRow, Message, ScheduleRow, Unit, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DECLARE = """
INSERT INTO callboard_mailbox (name, declaration) VALUES (?, ?)
ON CONFLICT (name) DO UPDATE SET declaration = excluded.declaration
  WHERE declaration != excluded.declaration"""
_DECLARED = "SELECT id, name, paused, declaration FROM callboard_mailbox WHERE name = ?"
_SCHEMA = "SELECT CAST(value AS INTEGER) FROM callboard_meta WHERE name = 'schema'"
_EPOCH = "UPDATE callboard_counter SET epoch = epoch + 1 RETURNING epoch, last"
_CHANGED = "UPDATE callboard_counter SET changes = changes + 1"
_DELIVERED = """
UPDATE callboard_message SET deliveries = max(0, min(deliveries, 1000000)) + 1
WHERE number IN (SELECT value FROM json_each(?))"""
_STALE = """
SELECT EXISTS (SELECT 1 FROM callboard_told WHERE until <= :now)
  OR EXISTS (SELECT 1 FROM callboard_done WHERE until <= :now)
  OR EXISTS (SELECT 1 FROM callboard_past WHERE until <= :now)
  OR EXISTS (SELECT 1 FROM callboard_progress p
             WHERE NOT EXISTS (SELECT 1 FROM callboard_message m WHERE m.number = p.number))"""
# A few thousand at once: the lock is not held for long.
_SWEEPS = (
    """
DELETE FROM callboard_told WHERE (mailbox, name) IN
  (SELECT mailbox, name FROM callboard_told WHERE until <= :now LIMIT 2000)""",
    """
DELETE FROM callboard_done WHERE number IN
  (SELECT number FROM callboard_done WHERE until <= :now LIMIT 2000)""",
    sqlite_kept.SWEEP,
    """
DELETE FROM callboard_progress
WHERE :now IS NOT NULL AND number NOT IN (SELECT number FROM callboard_message)""",
)
_KILLERS = """
SELECT number, attempt FROM callboard_message
WHERE number IN (SELECT value FROM json_each(?)) AND deliveries >= ?"""
_BURY = """
INSERT OR REPLACE INTO callboard_dead
  (number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers, retain,
   priority, deliveries, error, traceback, attempts, failed_at)
SELECT number, mailbox, kind, version, key, body, due, name, told_at, cause, sender, headers,
   retain, priority, deliveries, ?, '', attempt, ?
FROM callboard_message WHERE number = ?"""
#: A message that was running in so many processes when they died is not run again.
DEADLY = 3
# Connections that a forked child may neither use nor close, because a thread was inside SQLite.
_torn: list[Any] = []


class SqliteStore(SqliteReader):
    """A store in one SQLite file, which may be the user's own database.

    Nothing is opened before the first call. Any number of processes may hold the same file, on one
    machine; every transaction of ours passes the write gate.

    Args:
        path: the file; made, mode 0600, if it does not exist.
        durability: ``"full"``: on disk at every commit; ``"normal"``: a power cut may lose the
            last commits, a crash of the process loses nothing.
        network_ok: trust a network file system's locks.

    """

    def __init__(self, path: Path, *, durability: str = "full", network_ok: bool = False) -> None:
        """Remember where; open nothing."""
        super().__init__(Path(path).absolute(), durability)
        self._network_ok = network_ok
        self._opening = threading.Lock()
        self._companion: Companion | None = None
        self._gate: Gate | None = None
        self._connection: sqlite3.Connection | None = None
        self._writer: SqliteWriter | None = None
        self._held = False
        self._torn = False
        self._presence: Presence | None = None
        self._gone: StoreGone | None = None
        self._was_gone = False
        #: Called before each transaction ("begin") and when it is on disk ("committed"), outside
        #: the gate: where a simulation refuses, crashes, or has others go on meanwhile; and around
        #: COMMIT itself ("commit", "on disk", "look" for it), where it raises as SQLite would.
        self.probe: Callable[[str], None] = lambda _: None
        #: Called when the files were found to be others.
        self.on_gone: Callable[[], None] = lambda: None
        register(self)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    @property
    def companion(self) -> Companion:
        """The folder of lock files beside it: of the file that is open, as links were then."""
        return self._companion or Companion(self._path)

    def open(self) -> None:
        """Open or make the file and bring it to this schema; again is nothing.

        Raises:
            ConfigError: the platform or SQLite is too old.
            StoreError: it cannot be a store (a directory, no database, read-only, ...).
            StoreGone: its files were deleted while they were in use, and are not there again.
            SchemaTooNew: a newer callboard wrote it.

        """
        with self._opening:
            if self._writer is not None:
                return
            if self._gone is not None:
                raise self._gone.with_traceback(None)
            self._check_whole()
            if self._was_gone and not self._path.exists():  # an empty one would hide the loss
                raise gone(self._path, "deleted", "put it back, or start this process again")
            prepare_file(self._path, network_ok=self._network_ok)
            companion = Companion(self._path)
            try:
                gate = Gate(companion.make())
            except OSError as error:
                raise of_os(error, companion.folder) from error
            try:
                connection = self._connect(gate)
            except BaseException:
                gate.close()
                raise
            self._gate, self._connection, self._companion = gate, connection, companion
            folder = companion.folder
            self._presence = Presence(self._path, [folder / "gate", folder / "next"])
            self._was_gone = False
            self._writer = SqliteWriter(connection, self._path, self._probed)

    def _connect(self, gate: Gate) -> sqlite3.Connection:
        connection = connect(self._path, durability=self._durability)
        try:
            with gate:
                _use_wal(connection, self._path)
                self.schema = migrate(connection, self._path)
        except sqlite3.Error as error:
            connection.close()
            fail(error, self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def intact(self) -> bool:
        """Say whether the files that are open are still those of the path.

        Once they are not, every call raises ``StoreGone`` until the store is closed.
        """
        presence = self._presence
        if self._gone is None and presence is not None and (error := presence.look()) is not None:
            self.lose(error)
        return self._gone is None

    @property
    def lost(self) -> bool:
        """It was found that the files are others."""
        return self._gone is not None

    def lose(self, error: StoreGone) -> None:
        """Write nothing more: every call raises this until the store is closed."""
        if self._gone is None:
            self._gone, self._was_gone, self._writer = error, True, None
            self.on_gone()

    def renew(self) -> None:
        """Open it; what is open already is opened anew if its files are gone."""
        if not self.intact():
            self.close()
        self.open()

    # --- writing -----------------------------------------------------------------------------

    def write(self, units: Sequence[Unit], *, epoch: int | None, seen: int | None) -> Written:
        """See Store."""
        if epoch is None:
            self._look_as_client()
        self.probe("begin")
        gate, writer = self._parts()
        with gate:
            if epoch is None:  # begun as a client: should we own the store by now, nobody is told
                gate.disown()
            written = writer.write(units, epoch, seen)
        self.probe("committed")
        return written

    def look(self, *, epoch: int | None, seen: int) -> Written:
        """See Store."""
        gate, writer = self._parts()
        with gate:
            try:
                return writer.look(epoch, seen)
            except sqlite3.Error as error:
                fail(error, self._path)

    def others(self) -> int | None:
        """See Store."""
        gate, presence = self._gate, self._presence
        if gate is None or presence is None or presence.linked:
            return None
        return gate.others()

    def others_wrote(self) -> bool:
        """See Store."""
        gate, writer = self._parts()
        with gate:
            try:
                return writer.others_wrote()
            except sqlite3.Error as error:
                fail(error, self._path)

    def breathe(self, pause: Callable[[], None], apart: float) -> bool:
        """See Store."""
        gate, writer = self._parts()
        with gate:
            if not gate.paused(apart):
                try:
                    writer.others_wrote()
                    pause()
                    gate.note_pause(used=writer.others_wrote())
                except sqlite3.Error as error:
                    fail(error, self._path)
            return gate.used

    def declare(self, declarations: Sequence[Declaration]) -> list[MailboxRow]:
        """See Store."""
        rows = []
        with self._transaction() as run:
            for each in declarations:
                text = msgspec.json.encode(each).decode()
                changed = run(_DECLARE, (each.name, text)).rowcount > 0
                rows.append(mailbox_row(run(_DECLARED, (each.name,)).fetchone()))
                if changed:
                    run(_CHANGED)
                    keep_level(run, rows[-1].id, each.capacity)
                    if each.retain is None:
                        run(sqlite_kept.FORGET, (rows[-1].id,))
        return rows

    def take_over(self, running: Sequence[int], failed_at: int) -> tuple[int, int, list[DeadRow]]:
        """See Store."""
        listed = (msgspec.json.encode(list(running)).decode(),)
        with self._transaction() as run:
            # It is open since long ago, if this was a standby.
            check_owner(run(_SCHEMA).fetchone()[0], self._path)
            epoch, last = run(_EPOCH).fetchall()[0]
            run(_DELIVERED, listed)
            killers = run(_KILLERS, (*listed, DEADLY)).fetchall()
            for number, _ in killers:
                reason = (
                    f"its process died {DEADLY} times while it ran (killed, out of memory, "
                    "crashed): not run again"
                )
                run(_BURY, (reason, failed_at, number))
                run("DELETE FROM callboard_message WHERE number = ?", (number,))
        dead = [self.dead_letter(number) for number, _ in killers]
        return epoch, last, [row for row in dead if row is not None]

    def sweep(self, now: int) -> int:
        """See Store."""
        if not self._rows(_STALE, {"now": now})[0][0]:
            return 0
        with self._transaction() as run:
            return sum(int(run(each, {"now": now}).rowcount) for each in _SWEEPS)

    def pause(self, mailbox: int, *, paused: bool) -> None:
        """See Store."""
        with self._transaction(by_hand=True) as run:
            run("UPDATE callboard_mailbox SET paused = ? WHERE id = ?", (int(paused), mailbox))
            run(_CHANGED)

    def declare_schedules(
        self, decide: Callable[[list[ScheduleRow]], list[ScheduleRow]]
    ) -> list[ScheduleRow]:
        """See Store."""
        with self._transaction() as run:
            found = fetch(self._open_one(), sqlite_schedule.SCHEDULES)
            return sqlite_schedule.declare(run, found, decide)

    def pause_schedule(self, name: str, next_at: int | None) -> bool:
        """See Store."""
        with self._transaction(by_hand=True) as run:
            run(_CHANGED)
            return sqlite_schedule.pause(run, name, next_at)

    def requeue(self, number: int, now: int, edited: Message | None = None) -> Message | None:
        """See Store."""
        found = self.requeue_many([number], now, {} if edited is None else {number: edited})
        return found[0][1] if found else None

    def requeue_many(
        self, numbers: Sequence[int], now: int, edited: dict[int, Message]
    ) -> list[tuple[int, Message]]:
        """See Store."""
        with self._transaction(by_hand=True):
            return sqlite_dead.revive(self._open_one(), numbers, now, edited)

    def discard(self, number: int) -> bool:
        """See Store."""
        return bool(self.discard_many([number]))

    def discard_many(self, numbers: Sequence[int]) -> list[int]:
        """See Store."""
        with self._transaction(by_hand=True):
            return sqlite_dead.delete(self._open_one(), numbers)

    def vacuum(self) -> None:
        """Write the file anew without what is free in it; nobody else writes meanwhile."""
        gate, _ = self._parts()
        with gate:
            try:
                if self._connection is not None:
                    self._connection.execute("VACUUM")
                    self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                fail(error, self._path)

    def tell_on(self, connection: Any, unit: Unit) -> None:
        """Write a unit inside the caller's own transaction.

        The caller's connection cannot pass the gate; it waits for SQLite's lock by its own timeout.

        Raises:
            StoreError: the connection is of another file, or not of the same SQLite.
            ConfigError: no connection to a SQLite database is found in it.

        """
        self._parts()
        raw = unwrap(connection)
        same_file(raw, self._path)
        InsideWriter(raw, self._path).write(unit)

    # --- end ---------------------------------------------------------------------------------

    def close(self) -> None:
        """Close every connection; the next call opens them again."""
        with self._opening:
            gate, connection = self._gate, self._connection
            self._gate = self._connection = self._writer = self._presence = self._gone = None
            self._companion = None
            if gate is None or connection is None:
                super().close()
                return
            # The last connection to close runs a checkpoint: inside the gate, as all of ours. One
            # that holds the gate for so long has a connection open, and we are not the last.
            with contextlib.suppress(StoreError), gate:
                super().close()
                connection.close()
            super().close()
            connection.close()
            gate.close()

    # --- around a fork -----------------------------------------------------------------------

    def hold(self) -> None:
        """Keep every thread of this process out of SQLite; see ``forking.py``."""
        quiet = self._opening.acquire(timeout=PATIENCE)
        if quiet and self._gate is not None and not (quiet := self._gate.hold()):
            self._opening.release()
        if quiet and not (quiet := self._hold_readers()):
            if self._gate is not None:
                self._gate.let_go()
            self._opening.release()
        self._held = quiet

    def let_go(self) -> None:
        """Go on, in the parent."""
        if not self._held:
            return
        self._held = False
        self._lock.release()
        if self._gate is not None:
            self._gate.let_go()
        self._opening.release()

    def forked(self) -> None:
        """See Store. Done by itself at a fork; again is nothing."""
        held, self._held = self._held, False
        if self._gate is not None:
            self._gate.forked()
        connections = [each for each in (self._connection, *self._all) if each is not None]
        self._gate = self._connection = self._writer = self._presence = self._gone = None
        self._companion = None
        self._forget_readers()
        self._opening = threading.Lock()
        if held:
            for connection in connections:
                connection.close()
        elif connections:
            self._torn = True
            _torn.extend(connections)

    # --- inside ------------------------------------------------------------------------------

    def _look_as_client(self) -> None:
        """Raise StoreGone once where the files are gone; the next call opens what is there then.

        An owner's pulse looks for it.
        """
        presence = self._presence
        if presence is not None and presence.due and not self.intact():
            error = self._gone
            self.close()
            if error is not None:
                raise error

    def _ensure(self) -> None:
        if self._writer is None:
            self.open()

    def _check_whole(self) -> None:
        if self._torn:
            msg = (
                f"{self._path} was in use while this process was forked, so it cannot be opened "
                "safely here: start processes before the runtime, or with spawn"
            )
            raise StoreError(msg)

    def _probed(self, point: str) -> None:
        self.probe(point)  # which may be another one later

    def _parts(self) -> tuple[Gate, SqliteWriter]:
        seal.check()
        if self._writer is None:
            self.open()
        if self._gate is None or self._writer is None:
            msg = f"{self._path} was closed meanwhile"
            raise StoreError(msg)
        return self._gate, self._writer

    def _transaction(self, *, by_hand: bool = False) -> _Transaction:
        gate, _ = self._parts()
        byline = take() if by_hand else None
        return _Transaction(gate, self._open_one(), self._path, self.probe, byline)

    def _open_one(self) -> sqlite3.Connection:
        """Return the writing connection, which is open."""
        if self._connection is None:
            msg = f"{self._path} was closed meanwhile"
            raise StoreError(msg)
        return self._connection


class _Transaction:
    """A small transaction behind the gate: ``with … as run: run(sql, params)``.

    With a byline it notes who has changed something, if anything was changed.
    """

    def __init__(
        self, gate: Gate, connection: sqlite3.Connection, path: Path,
        probe: Callable[[str], None], byline: Byline | None,
    ) -> None:  # fmt: skip
        self._gate, self._connection, self._path = gate, connection, path
        self._probe = probe
        self._byline = byline
        self._before = 0

    def __enter__(self) -> Any:
        self._probe("begin")
        self._gate.__enter__()
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        except BaseException as error:
            self._gate.__exit__()
            if isinstance(error, sqlite3.Error):
                fail(error, self._path)
            raise
        self._before = self._connection.total_changes
        return self._connection.execute

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        unclear = False
        try:
            if error is None:
                self._sign()
                self._probe("commit")
                self._connection.execute("COMMIT")
                self._probe("on disk")
        except sqlite3.Error as refused:
            error = refused
            unclear = not (self._connection.in_transaction or is_full(refused))
        finally:
            try:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
            finally:
                self._gate.__exit__()
        if isinstance(error, sqlite3.Error):
            fail(error, self._path, unclear=unclear)
        if error is None:
            self._probe("committed")

    def _sign(self) -> None:
        byline = self._byline
        if byline is not None:
            byline.taken = self._connection.total_changes != self._before
            if byline.taken:
                repair(self._connection.execute, byline.audit)


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        msg = (
            f"{path} cannot use a write-ahead log (journal mode stays {mode!r}): callboard needs "
            "one; is the folder writable and the file no in-memory database?"
        )
        raise StoreError(msg)
