"""What the Looking calls return: frozen records, the same for owner, client and offline."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class MailboxInfo:
    """A mailbox.

    Attributes:
        name: of it.
        waiting: told, due and not yet acknowledged; running ones included.
        running: being handled now; 0 offline.
        later: future calls and retries not yet due.
        dead: dead letters.
        oldest_age: seconds since the oldest waiting one was told or due; None: nothing waits.
        workers: how many handlers may run at once; 0 offline.
        paused: it takes no new turns.

    """

    name: str
    waiting: int
    running: int
    later: int
    dead: int
    oldest_age: float | None
    workers: int
    paused: bool


@dataclass(frozen=True, slots=True)
class TimerInfo:
    """A future call, or a retry, that is not yet due.

    Attributes:
        id: its number.
        name: the caller's ``id``, if it has one.
        mailbox: where it goes.
        key: for which actor.
        kind: of its message.
        due: when, UTC.
        attempt: 0 for a future call, else how often it has failed.

    """

    id: int
    name: str | None
    mailbox: str
    key: str | None
    kind: str
    due: datetime
    attempt: int


@dataclass(frozen=True, slots=True)
class ScheduleInfo:
    """A schedule.

    Attributes:
        name: of it.
        expression: as it was declared.
        tz: the zone that it is reckoned in.
        to: the mailbox that its ticks go to.
        next_at: the instant of its next tick, UTC, without jitter; None: it does not tick, because
            it is paused or the owner's code declares it no longer.
        last_at: the instant of its last tick, UTC; None: it has not ticked yet.
        paused: it does not tick.

    """

    name: str
    expression: str
    tz: str
    to: str
    next_at: datetime | None
    last_at: datetime | None
    paused: bool


@dataclass(frozen=True, slots=True)
class MessageInfo:
    """A message: one that waits or runs, one that was kept when it was handled, a dead letter.

    Attributes:
        id: its number.
        name: the caller's ``id``, if it has one.
        mailbox: where it waits.
        key: for which actor.
        kind: of the message.
        message: its body as plain data.
        state: ``"waiting"``, ``"running"``, ``"later"``, ``"handled"`` or ``"dead"``.
        told_at: when, UTC.
        due: not before, UTC; None: at once.
        attempt: how often its handler has failed; of a handled one, how often it ran.
        error: of the last failure.
        progress: how far its handler says it is, from 0.0 to 1.0; None: it has not said.
        note: what it said with that.
        result: what the handler of a kept message returned, as plain data.
        handled_at: when a kept message was handled, UTC.
        took: seconds that its handler ran.
        traceback: of a dead letter's last failure.

    """

    id: int
    name: str | None
    mailbox: str
    key: str | None
    kind: str
    message: Any
    state: str
    told_at: datetime
    due: datetime | None
    attempt: int
    error: str | None
    progress: float | None = None
    note: str = ""
    result: Any = None
    handled_at: datetime | None = None
    took: float | None = None
    traceback: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that was given up.

    Attributes:
        id: its number; ``rt.requeue(id)`` and ``rt.discard(id)`` take it.
        mailbox: where it was.
        key: for which actor.
        kind: of the message.
        message: its body as plain data.
        error: of the last failure, in one line.
        traceback: of the last failure.
        attempts: how often it was tried.
        failed_at: when it was given up, UTC.

    """

    id: int
    mailbox: str
    key: str | None
    kind: str
    message: Any
    error: str
    traceback: str
    attempts: int
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class CauseInfo:
    """One message of the chain that led to another.

    Attributes:
        id: its number.
        mailbox: where it was told; of a lost one the mailbox that handled it.
        key: for which actor.
        kind: of the message.
        state: as of a MessageInfo; ``"lost"``: it was handled and not kept, so the chain ends here.
        told_at: when, UTC.

    """

    id: int
    mailbox: str
    key: str | None
    kind: str | None
    state: str
    told_at: datetime | None


@dataclass(frozen=True, slots=True)
class AuditInfo:
    """A change that somebody made by hand.

    Attributes:
        at: when, UTC.
        who: user and process.
        command: as it was typed.

    """

    at: datetime
    who: str
    command: str


@dataclass(frozen=True, slots=True)
class EffectInfo:
    """One thing that a simulated turn would have done.

    Attributes:
        does: ``"tell"``, ``"cancel"``, ``"execute"``, ``"publish"`` or another operation's name.
        to: the mailbox, or the topic.
        key: for which actor.
        what: the message; of a cancel the target, of an execute the statement and its parameters.
        due: of a future call, UTC.
        id: the name that its sender gave it.

    """

    does: str
    to: str | None
    key: str | None
    what: Any
    due: datetime | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a message would have done; nothing of it is in the store.

    Attributes:
        mailbox: whose handler ran.
        key: of which actor.
        message: its body as plain data.
        outcome: ``"handled"``, or ``"failed"``, ``"later"`` or ``"dead"`` with the error.
        traceback: of the error.
        result: what the handler returned, as plain data.
        took: seconds.
        before: the actor's state before it, as plain data; None: it has none.
        after: the state after it; of one that was not handled the same.
        effects: what it would have told, cancelled and executed, in its order.

    """

    mailbox: str
    key: str | None
    message: Any
    outcome: str
    traceback: str | None
    result: Any
    took: float
    before: Any
    after: Any
    effects: tuple[EffectInfo, ...]


@dataclass(frozen=True, slots=True)
class Stats:
    """The store and this process in numbers.

    Attributes:
        store: path of the file.
        role: of this runtime: ``"client"``, ``"standby"`` or ``"owner"``.
        owner: process id of the owner; None: nobody owns the store.
        epoch: how often the store was taken over.
        schema: of the store.
        told: the newest message number: so many were ever told.
        mailboxes: how many the store knows.
        waiting: messages told, due and not yet acknowledged, in all mailboxes.
        running: being handled now.
        later: future calls and retries not yet due.
        dead: dead letters.
        oldest_age: seconds since the oldest waiting one was told or due; None: nothing waits.
        size: bytes of the file.
        wal: bytes of its write-ahead log.
        commits: transactions of this runtime since it was built.
        handled: messages that this runtime has handled as the owner.
        failed: of its handlers' runs, how many raised.

    """

    store: str
    role: str
    owner: int | None
    epoch: int
    schema: int
    told: int
    mailboxes: int
    waiting: int
    running: int
    later: int
    dead: int
    oldest_age: float | None
    size: int
    wal: int
    commits: int
    handled: int
    failed: int


@dataclass(frozen=True, slots=True)
class ActorInfo:
    """An actor of the supervision tree, with those below it.

    Attributes:
        name: of the supervisor or mailbox; the key of a keyed actor; a worker's place, from 1.
        kind: ``"supervisor"``, ``"mailbox"``, ``"worker"``, ``"actor"`` (one key), ``"timers"`` or
            ``"schedules"``.
        state: ``"running"``; ``"restarting"``: it waits for its restart; ``"faulted"``: it crashed
            too often, or its state cannot be loaded, and it is left alone; ``"paused"``;
            ``"declared"``: it does not live in this process.
        restarts: crashes within its supervisor's period.
        until: when it is to be restarted, UTC; None: it waits for the supervisor above.
        error: why it is restarting or faulted.
        strategy: of a supervisor that lives in this process.
        message: the number of the message that a worker runs now; an ask's is negative.
        since: when it began with that, UTC.
        key: of that message, in a keyed mailbox.
        handled: messages that a living mailbox has handled since its owner started.
        failed: runs of its handler that have failed since then.
        children: below it, in the order of their declaration.

    """

    name: str
    kind: str
    state: str
    restarts: int = 0
    until: datetime | None = None
    error: str | None = None
    strategy: str | None = None
    message: int | None = None
    since: datetime | None = None
    key: str | None = None
    handled: int | None = None
    failed: int | None = None
    children: tuple[ActorInfo, ...] = ()


@dataclass(frozen=True, slots=True)
class ActorDetail:
    """One actor in full, as :meth:`Runtime.actor` shows it.

    Attributes:
        mailbox: its name.
        key: of the actor; None: the mailbox, with all its actors.
        state: as of an :class:`ActorInfo`: ``"running"`` that it may run, not that it does.
        waiting: messages for it that are told and due.
        later: future calls and retries that are not yet due.
        dead: its dead letters.
        restarts: crashes within its supervisor's period.
        runs: numbers of the messages that it runs now; an ask's is negative.
        since: when it began with the oldest of them, UTC.
        until: when it is to be restarted, UTC.
        error: why it is restarting or faulted.
        kind: of its stored state; None: none is stored, or a whole keyed mailbox is meant.
        bytes: of that state.

    """

    mailbox: str
    key: str | None
    state: str
    waiting: int
    later: int
    dead: int
    restarts: int = 0
    runs: tuple[int, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    error: str | None = None
    kind: str | None = None
    bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check of :meth:`Runtime.doctor` has found.

    Attributes:
        severity: ``"error"``: something will not work; ``"warning"``: something may not;
            ``"note"``: good to know; ``"ok"``: the check found nothing wrong.
        check: which one.
        text: what it found, in one line.
        advice: what to do next; "" where there is nothing to do.
        mailbox: whose messages or states it is about.
        kind: of them.
        version: of them.
        count: how many there are.
        examples: the first of them: each with ``id`` (a message's number), ``key`` and ``error``.

    """

    severity: Literal["error", "warning", "note", "ok"]
    check: str
    text: str
    advice: str = ""
    mailbox: str | None = None
    kind: str | None = None
    version: int | None = None
    count: int = 0
    examples: tuple[dict[str, Any], ...] = ()
