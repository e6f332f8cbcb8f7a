"""What a store must do: the page to read first.

The runtime speaks to a store in three ways. It *writes* groups of units, each of them all or
nothing; it *pages* rows into memory, in the order in which they are to be handled; and it *looks*
at what is there for people and consoles. SQLite is one implementation, PostgreSQL another; both
pass the one conformance suite in ``tests/store_contract.py``.

Instants are integer microseconds since 1970, UTC. A message has a *number*, given inside the
transaction from one counter row: number order is commit order and none is used twice.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

#: The schema this code writes, and the oldest code that may still be a client of it.
SCHEMA = 4
MIN_CLIENT = 1

By: TypeAlias = Literal["message", "ask", "hand"]
IfExists: TypeAlias = Literal["replace", "keep", "raise"]
Params: TypeAlias = "Sequence[Any] | dict[str, Any]"
#: A message's place: (-priority, number) among the waiting, (due, number) among the due.
Place: TypeAlias = tuple[int, int]
#: A number beyond all of them: ``(due, LAST)`` is the place after all that is due then.
LAST = 1 << 62


class Message(msgspec.Struct, gc=False):
    """One message: a row of the store, and the object that is handed over in memory.

    Attributes:
        mailbox: the store's number of its mailbox.
        kind: stable name of its type (``"json"`` for plain values); never a class path.
        version: version of that kind.
        body: its JSON text.
        key: the actor that it is for, in a keyed mailbox.
        due: not before this instant; None for a message that was told without a delay.
        retry_at: a failed message that keeps its place and blocks its key until then.
        name: the caller's ``id``, unique among the mailbox's waiting messages.
        told_at: when it was told.
        attempt: how often its handler has failed.
        deliveries: how often a process died while it ran.
        cause: number of the message whose turn told it.
        number: 0 until its commit.
        error: of its last failure.
        value: the decoded body, where this process has already decoded it; handed out once.
        gone: cancelled or replaced after it was loaded; set by whoever sees the commit.
        look: the look at the store that has found it there, until its handler is about to run.

    """

    mailbox: int
    kind: str
    body: bytes
    key: str | None = None
    due: int | None = None
    name: str | None = None
    version: int = 1
    told_at: int = 0
    cause: int | None = None
    sender: str | None = None
    headers: str | None = None
    retain: int | None = None
    priority: int = 0
    expires_at: int | None = None
    retry_at: int | None = None
    attempt: int = 0
    deliveries: int = 0
    error: str | None = None
    number: int = 0
    value: Any = None
    gone: bool = False
    look: Any = None

    @property
    def sort(self) -> Place:
        """Its place among the waiting: by (priority, number), highest priority first."""
        return (-self.priority, self.number)

    @property
    def due_sort(self) -> Place:
        """Its place among the due: by (due, number)."""
        return (self.due or 0, self.number)


class State(msgspec.Struct, frozen=True, gc=False):
    """The durable state of one actor: of a mailbox, and of a key where it is keyed (else "")."""

    mailbox: int
    key: str
    kind: str
    version: int
    body: bytes


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A state that is kept: since when it was the actor's, and what has made it so.

    Attributes:
        at: since when.
        by: a turn of a message or of an ask, or somebody by hand.
        message: number of that message, which may be kept no longer.
        state: None: it was reset.

    """

    at: int
    by: By
    message: int | None
    state: State | None


class Tell(msgspec.Struct, gc=False):
    """Tell a message that has a name: look for its namesake first.

    Attributes:
        until: of ``dedupe``: nothing of this name is told again before; None: that is not asked.

    """

    message: Message
    if_exists: IfExists = "replace"
    until: int | None = None


class Room(msgspec.Struct, gc=False):
    """Have room for the messages that follow, in a mailbox with a capacity.

    Attributes:
        count: how many follow.
        now: what is due until then is waiting.
        drop_oldest: remove so many as are too many; else MailboxFull.
        waits: the sender tries again when there is none.

    """

    mailbox: int
    count: int
    capacity: int
    now: int
    drop_oldest: bool = False
    waits: bool = False


class Publish(msgspec.Struct, gc=False):
    """Say, after the commit, what was published: who listens hears of it. Writes nothing."""

    topic: str
    kind: str
    body: bytes


class Progress(msgspec.Struct, gc=False):
    """Note how far a running handler is; nothing when its message is gone."""

    number: int
    fraction: float
    note: str
    at: int


class Cancel(msgspec.Struct, gc=False):
    """Remove a waiting message, by the caller's id (text) or by its number."""

    mailbox: int
    target: str | int


class Move(msgspec.Struct, gc=False):
    """Remove a message, and tell it again as this one, which is due at another instant.

    The unit is void when it is gone: it was handled, cancelled or replaced meanwhile.
    """

    was: int
    message: Message


class Audit(msgspec.Struct, gc=False):
    """Note who has changed what by hand, unless the operations before it did nothing."""

    at: int
    who: str
    command: str


class Execute(msgspec.Struct, gc=False):
    """Run a statement of the user's in the transaction."""

    sql: str
    params: Params
    expect: int | None = None


class Reserve(msgspec.Struct, gc=False):
    """Note that a limited mailbox may start so many handlers from now on.

    ``forget``: what was used up before this instant need not be known any more.
    """

    mailbox: int
    at: int
    count: int
    forget: int


class Advance(msgspec.Struct, gc=False):
    """Move a schedule on; the operations that follow in its unit are its ticks.

    The schedule must be found as it was read, or the unit is void: whoever is second ticks nothing.

    Attributes:
        was: the instant that it is due at.
        next_at: the one it is due at from now on.
        at: the instant of the last of its ticks; None: there are none.
        count: how many messages follow.
        alone: none of them is told while the message of its last tick is waiting.

    """

    schedule: str
    was: int
    next_at: int
    at: int | None = None
    count: int = 0
    alone: bool = False


class Edit(msgspec.Struct, gc=False):
    """Write an actor's state by hand; None: delete it, so that it begins anew."""

    mailbox: int
    key: str
    state: State | None


class Remember(msgspec.Struct, gc=False):
    """Keep the state that the operations before it leave an actor with, as of an instant.

    The one that was kept before it ends then, and is kept for ``retain`` microseconds from then on.

    Attributes:
        by: what has changed it.
        number: of the message whose turn has.

    """

    mailbox: int
    key: str
    at: int
    retain: int
    by: By
    number: int | None = None


class Note(msgspec.Struct, gc=False):
    """Leave a note for the owner, which looks for notes when the counter of changes has moved."""

    body: str


class Noted(msgspec.Struct, gc=False):
    """Strike off a note: what it asks for is in this transaction, or done."""

    name: str


Op: TypeAlias = (
    Message | Tell | Cancel | Execute | Room | Publish | Progress | Reserve | Advance
    | Edit | Remember | Note | Noted | Move | Audit
)  # fmt: skip


class Retry(msgspec.Struct, gc=False):
    """Keep the turn's message for another attempt.

    ``due`` sets it aside until then; ``retry_at`` keeps its place instead.
    """

    attempt: int
    due: int | None
    retry_at: int | None
    error: str | None


class Dead(msgspec.Struct, gc=False):
    """Move the turn's message to the dead letters."""

    error: str
    traceback: str
    attempts: int
    failed_at: int


class Done(msgspec.Struct, gc=False):
    """Keep the turn's message, handled, until an instant; ``took`` in microseconds."""

    handled_at: int
    took: int
    result: bytes | None
    until: int


class Outcome(enum.IntEnum):
    """What became of a unit."""

    COMMITTED = 1
    VOID = 2
    """Its own message had been cancelled or replaced: nothing of it was written."""
    AGAIN = 3
    """It stood on a turn of the same actor that became void: its message is to run again."""
    FAILED = 4
    """Its own statement was refused: nothing of it was written, ``unit.error`` says why."""


class Lineage:
    """The chain of turns of one stateful actor; each stands on the state of the one before.

    A turn remembers the generation it started in. When one of the chain becomes void, the
    generation is raised, and all that were started in the old one are void too.
    """

    __slots__ = ("generation",)

    def __init__(self) -> None:
        """Start at generation 0."""
        self.generation = 0


class Settler(Protocol):
    """Learns what became of a mailbox's turns."""

    def ended(self, units: Sequence[Unit]) -> None:
        """Take units whose outcome is known, in commit order."""
        ...


class Unit(msgspec.Struct, kw_only=True, eq=False):
    """One all-or-nothing piece of a group: a turn, or what one call outside a turn does.

    The acknowledgement comes first, then the state, then the operations in the order in which they
    were made (a handler that re-schedules its own ``id`` would run for ever otherwise).

    Attributes:
        ack: the message whose turn this is; its row is removed, exactly one, and that is checked.
        fate: instead of removing it: try again, move it to the dead letters, or keep it.
        state: the actor's new state.
        tells: messages without a name, where there is nothing but such (the quick path).
        ops: operations in their order, where names, cancels or statements are among them.
        lineage: the actor's chain, with the generation in which the turn started.
        outcome: set by the store.
        error: why it failed.
        results: what each operation gave: a tell its number (0: kept what was there), a cancel a
            bool, a statement its row count.
        settler: told of the turns of one mailbox that stand together in a group, at once.
        began: when its handler began (microseconds).
        removed: numbers of the messages that it cancelled or replaced, or dropped to make room.
        dropped: those of them that were dropped to make room.
        kept: messages that ``if_exists="keep"`` or ``dedupe`` did not tell.
        once: nothing in it would stop a second one: where the first may be on disk, it fails.

    """

    ack: Message | None = None
    fate: Retry | Dead | Done | None = None
    state: State | None = None
    tells: list[Message] | None = None
    ops: list[Op] | None = None
    lineage: Lineage | None = None
    generation: int = 0
    settle: Callable[[Unit], None] | None = None
    settler: Settler | None = None
    began: int = 0
    size: int = 0
    outcome: Outcome | None = None
    error: BaseException | None = None
    results: Sequence[Any] = ()
    removed: Sequence[int] = ()
    dropped: Sequence[int] = ()
    kept: Sequence[Message] = ()
    waiter: Any = None
    lead: bool = False
    calls: bool = False
    follows: bool = False
    staged: bool = False
    once: bool = False

    @property
    def changed(self) -> bool:
        """It has done something, as far as its results say: all that it cancels may be gone."""
        return not self.results or any(self.results)

    @property
    def overtaken(self) -> bool:
        """It stands on a turn of its lineage that became void."""
        return self.lineage is not None and self.generation != self.lineage.generation

    @property
    def told(self) -> Iterable[Message]:
        """The messages that it told, in order; after its commit they have their numbers."""
        if self.ops is None:
            return self.tells or ()
        return [
            m
            for op in self.ops
            if (m := op if isinstance(op, Message) else getattr(op, "message", None)) is not None
            and m.number
        ]


class Written(msgspec.Struct, gc=False):
    """What a commit showed.

    Attributes:
        last: the counter after it; every number up to it is known now.
        foreign: what other processes have told since ``seen``, in order.
        flood: there was more of it than is worth handing over: page it in, from ``flood`` on.

    """

    last: int
    foreign: list[Message]
    flood: int | None = None


class Declaration(msgspec.Struct, frozen=True):
    """What the owner stores of a mailbox, for clients and consoles."""

    name: str
    workers: int = 1
    keyed: bool = False
    kinds: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    """Of the kinds, in their order: what plain data that somebody types is stored as."""
    topics: tuple[str, ...] = ()
    capacity: int | None = None
    overflow: str = "reject"
    retain: int | None = None
    """Microseconds that handled messages are kept."""
    supervisors: tuple[str, ...] = ()
    """Those that its code declares above it, the uppermost first."""
    fields: tuple[dict[str, str], ...] = ()
    """Of the kinds, in their order: their fields' names and types, for who types a message."""


class MailboxRow(msgspec.Struct, frozen=True):
    """A mailbox as the store knows it."""

    id: int
    name: str
    paused: bool
    declaration: Declaration


class ScheduleRow(msgspec.Struct, frozen=True):
    """A schedule as the store knows it.

    Attributes:
        mailbox: name of the one that its ticks go to.
        options: JSON, for people.
        message: the body of what is told; None: a tick.
        next_at: the instant it is due at.
        last_at: the instant of its last tick.
        last_number: the message of that tick.
        zone: a fingerprint of the zone's rules that ``next_at`` was reckoned with.
        declared_at: since when the owner's code declares it; 0: it does so no longer.

    """

    name: str
    expression: str
    tz: str
    mailbox: str
    options: str
    message: bytes | None
    next_at: int | None
    last_at: int | None
    last_number: int | None
    paused: bool
    zone: str
    declared_at: int


class Depth(msgspec.Struct, frozen=True):
    """How much a mailbox holds.

    ``waiting`` are told and due, ``later`` future calls and retries not yet due, ``oldest`` is the
    instant when the oldest waiting one was told or due.
    """

    waiting: int
    later: int
    dead: int
    oldest: int | None


class DoneRow(msgspec.Struct, frozen=True):
    """A handled message that is kept: the message as it was, and what came of it."""

    number: int
    mailbox: int
    name: str | None
    key: str | None
    kind: str
    body: bytes
    told_at: int
    attempts: int
    handled_at: int
    took: int
    result: bytes | None


class DeadRow(msgspec.Struct, frozen=True):
    """A dead letter: the message as it was, and why it was given up."""

    number: int
    mailbox: int
    key: str | None
    kind: str
    version: int
    body: bytes
    error: str
    traceback: str
    attempts: int
    told_at: int
    failed_at: int


class Store(Protocol):
    """A place that survives. Every call may be made from any thread.

    Errors: :class:`~callboard.StoreError` and what is below it, from every call.
    """

    # --- writing -----------------------------------------------------------------------------

    def write(self, units: Sequence[Unit], *, epoch: int | None, seen: int | None) -> Written:
        """Commit a group in one transaction and set each unit's outcome.

        On a mismatch, a lost transaction or an error at COMMIT nothing of the group stays, and its
        units are run again, each alone, in order. When the store refuses as a whole (full, I/O,
        locked) it raises; units that have no outcome then were not written, or with ``unclear`` on
        the error may have been. A COMMIT that fails and is found on disk has not failed.

        Args:
            units: the group, in the order of their staging.
            epoch: this owner's; another one in the store raises StoreOwned and writes nothing.
                None for a client.
            seen: the highest number handed over so far; None when foreign messages are of no
                interest.

        """
        ...

    def look(self, *, epoch: int | None, seen: int) -> Written:
        """Return what other processes have told since ``seen``, without writing."""
        ...

    def declare(self, declarations: Sequence[Declaration]) -> list[MailboxRow]:
        """Store what code declares; returns a row for each, in order.

        Of a mailbox that retains nothing the states of before go: from now on none is kept, and
        what is left would look as if it were still so.
        """
        ...

    def take_over(self, running: Sequence[int], failed_at: int) -> tuple[int, int, list[DeadRow]]:
        """Begin a new epoch, and count one delivery for what ran when the last owner died.

        Returns:
            the epoch, the last number, and the messages that have killed three processes: they
            are dead letters now.

        Raises:
            SchemaTooNew: a newer callboard has brought the store to its schema meanwhile.

        """
        ...

    def pause(self, mailbox: int, *, paused: bool) -> None:
        """Store whether a mailbox is paused."""
        ...

    def declare_schedules(
        self, decide: Callable[[list[ScheduleRow]], list[ScheduleRow]]
    ) -> list[ScheduleRow]:
        """Store what ``decide`` makes of the stored schedules; returns that.

        It is called in the transaction. What it leaves out stays as it is, and so do ``paused`` and
        what is known of the last tick.
        """
        ...

    def pause_schedule(self, name: str, next_at: int | None) -> bool:
        """Pause a schedule (None), or let it go on, due at an instant; False: no such schedule."""
        ...

    def requeue(self, number: int, now: int, edited: Message | None = None) -> Message | None:
        """Move a dead letter back under a new number, its attempts forgotten; None: no such.

        Args:
            number: of the dead letter.
            now: when it is told again.
            edited: whose kind and body it has from now on; None: its own.

        """
        ...

    def requeue_many(
        self, numbers: Sequence[int], now: int, edited: dict[int, Message]
    ) -> list[tuple[int, Message]]:
        """Do as :meth:`requeue` to several, in one transaction, in the order of their numbers.

        Returns:
            the number of each that was there, and the message that it is now.

        """
        ...

    def discard(self, number: int) -> bool:
        """Delete a dead letter."""
        ...

    def discard_many(self, numbers: Sequence[int]) -> list[int]:
        """Delete dead letters in one transaction; returns those that were there."""
        ...

    # --- paging ------------------------------------------------------------------------------

    def waiting(
        self, mailbox: int, *, after: Place | None, limit: int, skip: Iterable[str] = (),
        key: str | None = None,
    ) -> list[Message]:  # fmt: skip
        """Return waiting messages beyond ``after``, by (priority, number).

        Args:
            mailbox: whose.
            after: a message's ``sort``; None: from the first.
            limit: at most so many.
            skip: keys that are of no interest now.
            key: only those of this key.

        """
        ...

    def due(
        self, mailbox: int, *, upto: int, after: Place | None, limit: int,
        skip: Iterable[str] = (), key: str | None = None,
    ) -> list[Message]:  # fmt: skip
        """Return messages due at ``upto`` or before and beyond ``after``, by (due, number)."""
        ...

    def timers(self, mailbox: int, *, after: Place | None, limit: int) -> list[Message]:
        """Return future calls and retries of a mailbox beyond ``after``, by (due, number)."""
        ...

    def present(self, numbers: Sequence[int]) -> set[int]:
        """Return those of the messages that are still there."""
        ...

    def state(self, mailbox: int, key: str) -> State | None:
        """Return an actor's state; None when it has none yet."""
        ...

    def state_at(self, mailbox: int, key: str, at: int) -> Kept | None:
        """Return the state that an actor had at an instant; None where that is not kept."""
        ...

    def kept_after(self, mailbox: int, key: str, at: int) -> int | None:
        """Return since when the first state that is kept of after an instant was the actor's."""
        ...

    def query(self, sql: str, params: Params) -> list[Any]:
        """Run a reading statement of the user's on what is committed."""
        ...

    def check(self, sql: str, params: Params) -> None:
        """Refuse a user's statement that may not run in a turn; raises MessageError."""
        ...

    def notes(self) -> list[tuple[str, str]]:
        """Return the (name, body) of the notes that wait for the owner, oldest first."""
        ...

    # --- looking -----------------------------------------------------------------------------

    def mailboxes(self) -> list[MailboxRow]:
        """Return every mailbox ever declared, by name."""
        ...

    def schedules(self) -> list[ScheduleRow]:
        """Return every schedule ever declared, by name."""
        ...

    def depths(self, now: int) -> list[tuple[MailboxRow, Depth]]:
        """Return every mailbox and how much it holds, by name, as of one moment."""
        ...

    def later(self, mailbox: int | None, now: int, limit: int) -> list[Message]:
        """Return future calls and retries not yet due, by (due, number)."""
        ...

    def peek(self, mailbox: int, now: int, limit: int) -> list[Message]:
        """Return the first messages of a mailbox: the due, then the waiting."""
        ...

    def find(self, mailbox: int | None, target: str | int) -> Message | None:
        """Return a message by number or by its caller's id."""
        ...

    def dead(self, mailbox: int | None, limit: int) -> list[DeadRow]:
        """Return dead letters, oldest first."""
        ...

    def dead_letter(self, number: int) -> DeadRow | None:
        """Return one dead letter."""
        ...

    def others(self) -> int | None:
        """Return what changes with every commit of another process; None: that cannot be said.

        It changes before that process hears of its commit: so for as long as it stays the same,
        nobody else has been told that what was read since it was asked is otherwise now. What is
        written without an epoch changes it too: a client's commit that is under way while its
        process becomes the owner. What is written through a caller's own connection need not.
        Quick: it is asked before each future call's handler, and by any number of threads.
        """
        ...

    def others_wrote(self) -> bool:
        """Say whether another connection has committed since this was last asked."""
        ...

    def breathe(self, pause: Callable[[], None], apart: float) -> bool:
        """Keep every process of ours from writing while ``pause`` runs, for who is not ours.

        Nothing is done where one of our processes has paused within ``apart`` seconds.

        Returns:
            whether a connection that is not ours has written in the last pause.

        """
        ...

    def done(self, target: str | int) -> DoneRow | None:
        """Return a kept message, by number, or the last one by the caller's id."""
        ...

    def progress(self, number: int) -> Progress | None:
        """Return how far a running handler is, as far as it has said."""
        ...

    def room(self, mailbox: int, capacity: int, now: int) -> int:
        """Return how many more a mailbox with a capacity takes now."""
        ...

    def reserved(self, mailbox: int) -> list[tuple[int, int]]:
        """Return the (instant, count) of what a limited mailbox has reserved, by instant."""
        ...

    def expired(self, mailbox: int, now: int, limit: int) -> list[Message]:
        """Return messages of a mailbox whose time is over, the longest first."""
        ...

    def next_expiry(self, mailbox: int, now: int) -> int | None:
        """Return when the next message of a mailbox expires, after now."""
        ...

    def sweep(self, now: int) -> int:
        """Delete what is kept no longer: handled messages, states of before, told names, progress.

        Returns:
            how many rows, at most some thousands at once.

        """
        ...

    def heartbeat(self) -> tuple[int, int, int]:
        """Return (last number, epoch, changes): what an idle owner looks at four times a second."""
        ...

    def tell_on(self, connection: Any, unit: Unit) -> None:
        """Write a unit through the caller's own connection, inside its transaction."""
        ...

    def close(self) -> None:
        """Close every connection."""
        ...

    def forked(self) -> None:
        """Keep inherited connections unused: this is a forked child; open new ones when needed."""
        ...
