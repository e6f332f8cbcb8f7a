"""Looking at a store: the same answers for owner, client and offline, from what is committed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..actors.messages import plain
from ..clock import SECOND, instant
from ..errors import MailboxNotFound, MessageError
from ..persistence.slots import read as read_slots
from .names import check_key, check_target

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..clock import Clock
    from ..persistence.sqlite import SqliteStore
    from ..persistence.store import DeadRow, DoneRow, MailboxRow, Message, State
    from .host import Host
    from .records import DeadLetter, MailboxInfo, MessageInfo, Stats, TimerInfo
    from .registry import Registry

#: The most that one listing returns.
MOST = 10_000


class Looking:
    """Reads for people, consoles and tests.

    Args:
        store: read through its own connections; never waits for a commit.
        registry: the types that this process declares.
        clock: for ages.
        slots: where the owner's run slots are.
        owned: says whether somebody owns the store now.

    """

    def __init__(
        self,
        store: SqliteStore,
        registry: Registry,
        clock: Clock,
        slots: Path,
        owned: Callable[[], bool],
    ) -> None:
        """Open nothing."""
        self._store = store
        self._registry = registry
        self._clock = clock
        self._slots = slots
        self._owned = owned

    def mailboxes(self) -> list[MailboxInfo]:
        """See Runtime.mailboxes."""
        from .records import MailboxInfo

        now = self._clock.now()
        live = self._owned()
        running = self._running() if live else {}
        found = []
        for row, depth in self._store.depths(now):
            age = None if depth.oldest is None else max(0.0, (now - depth.oldest) / SECOND)
            found.append(MailboxInfo(
                row.name, depth.waiting, len(running.get(row.id, ())), depth.later, depth.dead,
                age, row.declaration.workers if live else 0, row.paused,
            ))  # fmt: skip
        return found

    def stats(self, host: Host) -> Stats:
        """See Runtime.stats."""
        from .records import Stats

        told, epoch, _ = self._store.heartbeat()
        found = self.mailboxes()
        ages = [m.oldest_age for m in found if m.oldest_age is not None]
        handled, failed = host.counts()
        return Stats(
            str(self._store.path), host.role, host.owner(), epoch, self._store.schema, told,
            len(found), sum(m.waiting for m in found), sum(m.running for m in found),
            sum(m.later for m in found), sum(m.dead for m in found), max(ages, default=None),
            _size(self._store.path), _size(Path(f"{self._store.path}-wal")), host.commits, handled,
            failed,
        )  # fmt: skip

    def timers(self, mailbox: Any) -> list[TimerInfo]:
        """See Runtime.timers."""
        from .records import TimerInfo

        names = self._names()
        number = None if mailbox is None else self.row(mailbox).id
        return [
            TimerInfo(m.number, m.name, names.get(m.mailbox, "?"), m.key, m.kind,
                      instant(m.due or 0), m.attempt)
            for m in self._store.later(number, self._clock.now(), MOST)
        ]  # fmt: skip

    def peek(self, mailbox: Any, n: int) -> list[MessageInfo]:
        """See Runtime.peek."""
        row = self.row(mailbox)
        running = self._running().get(row.id, set()) if self._owned() else set()
        found = self._store.peek(row.id, self._clock.now(), max(0, min(n, MOST)))
        return [self._info(m, row.name, running) for m in found]

    def dead(self, mailbox: Any) -> list[DeadLetter]:
        """See Runtime.dead."""
        names = self._names()
        number = None if mailbox is None else self.row(mailbox).id
        return [_letter(row, names.get(row.mailbox, "?")) for row in self._store.dead(number, MOST)]

    def find(self, target: int | str, mailbox: Any = None) -> MessageInfo | None:
        """See Runtime.find."""
        check_target(target)
        if mailbox is None:
            return self._find(None, target)
        row = self.row(mailbox)
        found = self._find(row.id, target)
        return found if found is not None and found.mailbox == row.name else None

    def _find(self, mailbox: int | None, target: int | str) -> MessageInfo | None:
        from .records import MessageInfo

        names = self._names()
        message = self._store.find(mailbox, target)
        if message is not None:
            running = self._running().get(message.mailbox, set()) if self._owned() else set()
            info = self._info(message, names.get(message.mailbox, "?"), running)
            said = self._store.progress(message.number)
            return info if said is None else replace(info, progress=said.fraction, note=said.note)
        done = self._store.done(target)
        if done is not None:
            return _handled(done, names.get(done.mailbox, "?"))
        if isinstance(target, int) and (row := self._store.dead_letter(target)) is not None:
            return MessageInfo(
                row.number, None, names.get(row.mailbox, "?"), row.key, row.kind, plain(row.body),
                "dead", instant(row.told_at), None, row.attempts, row.error,
                traceback=row.traceback or None,
            )  # fmt: skip
        return None

    def state(self, mailbox: Any, key: str | int | None) -> Any:
        """See Runtime.state."""
        row = self.actor(mailbox, key)
        return self.loaded(row, self._store.state(row.id, "" if key is None else str(key)))

    def actor(self, mailbox: Any, key: str | int | None) -> MailboxRow:
        """Return the store's row of an actor's mailbox; MessageError where its key is missing."""
        check_key(key)
        row = self.row(mailbox)
        if row.declaration.keyed and key is None:
            msg = f"mailbox {row.name!r} is keyed: say whose state with key=..."
            raise MessageError(msg)
        return row

    def loaded(self, row: MailboxRow, stored: State | None) -> Any:
        """Return a state as its declared type, else as plain data; None: the one to begin with."""
        spec = self._registry.specs.get(row.name)
        codec = spec.behaviour.state if spec is not None else None
        if stored is None:
            return None if codec is None else codec.fresh()
        return plain(stored.body) if codec is None else codec.decode(stored)

    def pause(self, mailbox: Any, *, paused: bool) -> None:
        """See Runtime.pause."""
        self._store.pause(self.row(mailbox).id, paused=paused)

    def row(self, mailbox: Any) -> MailboxRow:
        """Return the store's row of a mailbox.

        Raises:
            MailboxNotFound: nobody declares it.

        """
        name = self._registry.name_of(mailbox)
        rows = {row.name: row for row in self._store.mailboxes()}
        if name in rows:
            return rows[name]
        if name in self._registry.specs:
            return self._registry.row(name)
        raise MailboxNotFound(name, [*self._registry.specs, *rows])

    def _names(self) -> dict[int, str]:
        return {row.id: row.name for row in self._store.mailboxes()}

    def _running(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = {}
        for number in read_slots(self._slots):
            message = self._store.find(None, number)
            if message is not None:
                found.setdefault(message.mailbox, set()).add(number)
        return found

    def _info(self, message: Message, name: str, running: set[int]) -> MessageInfo:
        from .records import MessageInfo

        if message.number in running:
            state = "running"
        elif message.due is not None and message.due > self._clock.now():
            state = "later"
        else:
            state = "waiting"
        return MessageInfo(
            message.number, message.name, name, message.key, message.kind, plain(message.body),
            state, instant(message.told_at),
            None if message.due is None else instant(message.due), message.attempt, message.error,
        )  # fmt: skip


def _letter(row: DeadRow, name: str) -> DeadLetter:
    from .records import DeadLetter

    return DeadLetter(
        row.number, name, row.key, row.kind, plain(row.body), row.error, row.traceback,
        row.attempts, instant(row.failed_at),
    )  # fmt: skip


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _handled(row: DoneRow, name: str) -> MessageInfo:
    from .records import MessageInfo

    return MessageInfo(
        row.number, row.name, name, row.key, row.kind, plain(row.body), "handled",
        instant(row.told_at), None, row.attempts, None,
        result=None if row.result is None else plain(row.result),
        handled_at=instant(row.handled_at), took=row.took / SECOND,
    )  # fmt: skip
