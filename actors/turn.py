"""The turn: what a handler does is collected, and happens if and only if the turn commits.

A call joins the turn only while it is open, from entry to return; it is sealed under a lock. What
comes later commits on its own, and what comes from a handler that ran past its timeout raises
TurnEnded: nothing ever joins a dead turn and vanishes::

    open --returns--> sealed --commit--> handled
      |                  '--its message was cancelled--> void
      |--raises--> sealed: nothing it did is kept
      '--past its timeout--> abandoned: later calls raise TurnEnded
"""

from __future__ import annotations

import enum
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import msgspec

from ..clock import instant
from ..errors import MessageError, TurnEnded
from ..persistence.store import Execute, Message, Op, Params, Progress, Tell, Unit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from datetime import datetime

    from .environment import Environment


class Phase(enum.IntEnum):
    """Where a turn stands."""

    OPEN = 0
    SEALED = 1
    ABANDONED = 2


# Read several times for each message; as attributes of the enum they cost 50 ns each on 3.11.
_OPEN, _SEALED, _ABANDONED = Phase


class Turn(msgspec.Struct, eq=False):
    """One run of a handler for one message. Used through its lock by every thread that joins."""

    environment: Environment
    mailbox: str
    message: Message
    now: int
    lock: threading.Lock
    phase: Phase = _OPEN
    #: Nothing but messages without a name, where it is plain.
    ops: list[Any] | None = None
    plain: bool = True
    has_execute: bool = False
    deadline: float | None = None
    size: int = 0
    generation: int = 0
    #: Where it may be abandoned.
    thread: threading.Thread | None = None
    #: What the handler has returned, and when it last said how far it is.
    result: Any = None
    reported: float = 0.0

    @property
    def home(self) -> object:
        """The runtime that it belongs to."""
        return self.environment.home

    def join(self, ops: list[Op]) -> bool:
        """Add operations; False when the turn has ended and they are to commit on their own.

        Raises:
            TurnEnded: its handler ran past its timeout.

        """
        with self.lock:
            if self.phase is _SEALED:
                return False
            if self.phase is _ABANDONED:
                raise TurnEnded(self.ended())
            cause = self.message.number if self.message.number > 0 else None  # else it is an ask
            for op in ops:
                if isinstance(op, Message):
                    op.cause, op.sender = cause, self.mailbox
                    self.size += len(op.body)
                else:
                    self.plain = False
                    self.has_execute = self.has_execute or isinstance(op, Execute)
                    if isinstance(op, Tell):
                        op.message.cause, op.message.sender = cause, self.mailbox
                        self.size += len(op.message.body)
            if self.ops is None:
                self.ops = []
            self.ops += ops
            return True

    def seal(self) -> bool:
        """Close the turn after its handler; False when it was abandoned meanwhile."""
        with self.lock:
            if self.phase is _ABANDONED:
                return False
            self.phase = _SEALED
            return True

    def abandon(self) -> bool:
        """Close the turn of a handler that runs on; False when it has just ended by itself."""
        with self.lock:
            if self.phase is not _OPEN:
                return False
            self.phase = _ABANDONED
            return True

    def ended(self) -> str:
        """Say that the turn is over, and why."""
        return (
            f"the turn of message {self.message.number} in {self.mailbox!r} has ended: its handler "
            "ran past its timeout, nothing it still does is kept; give it more time or split it"
        )


_current: ContextVar[Turn | None] = ContextVar("callboard_turn", default=None)


def current(home: object) -> Turn | None:
    """Return the turn that the calling code runs in, if it is one of that runtime."""
    turn = _current.get()
    return turn if turn is not None and turn.home is home else None


#: Makes a turn the current one, in the context that is running.
enter: Callable[[Turn], object] = _current.set


class Context:
    """What a handler may know and do beside its message: its second argument, or ``self.context``.

    Attributes are those of the message's turn; ``execute`` joins the turn.
    """

    __slots__ = ("_turn",)

    def __init__(self, turn: Turn) -> None:
        """Wrap a turn; the runtime does this."""
        self._turn = turn

    @property
    def message_id(self) -> int:
        """The message's number, the idempotency key for effects outside the store.

        An ask is not stored: its number is negative, and names it in this process only.
        """
        return self._turn.message.number

    @property
    def key(self) -> str | None:
        """The key that the message was told for."""
        return self._turn.message.key

    @property
    def mailbox(self) -> str:
        """Name of the mailbox."""
        return self._turn.mailbox

    @property
    def attempt(self) -> int:
        """1 for the first run, 2 after one failure, and so on."""
        return self._turn.message.attempt + 1

    @property
    def due(self) -> datetime | None:
        """When it was due, UTC, if it was a future call or a retry."""
        return None if self._turn.message.due is None else instant(self._turn.message.due)

    @property
    def now(self) -> datetime:
        """When the turn began, UTC."""
        return instant(self._turn.now)

    @property
    def sender(self) -> str | None:
        """Name of the mailbox whose turn told the message; None where it came from outside."""
        return self._turn.message.sender

    def execute(self, sql: str, params: Params = (), *, expect: int | None = None) -> None:
        """Stage a write for the turn's transaction; it runs after the handler has returned.

        Args:
            sql: one statement, with ``?`` or ``:name`` for values. Transaction words, ATTACH,
                PRAGMA and writes to callboard's own tables are refused here.
            params: the values.
            expect: so many rows must change, else the turn fails and the message is tried again.

        Raises:
            MessageError: the statement may not run in a turn.
            TurnEnded: the turn has ended.

        """
        turn = self._turn
        if turn.phase is not _OPEN:
            raise TurnEnded(turn.ended() if turn.phase is _ABANDONED else _OVER)
        turn.environment.store.check(sql, params)
        if not turn.join([Execute(sql, params, expect)]):
            raise TurnEnded(_OVER)

    def query(self, sql: str, params: Params = ()) -> list[Any]:
        """Read what is committed (not what this turn has staged); returns the rows as tuples."""
        return self._turn.environment.store.query(sql, params)

    def progress(self, fraction: float, note: str = "") -> None:
        """Say how far the handler is, for :meth:`Runtime.find` and consoles.

        It is written at once, beside the turn, and does not wait for the disk; more often than four
        times a second is not written, but for the end (1.0).

        Args:
            fraction: from 0.0 to 1.0.
            note: a few words.

        Raises:
            MessageError: the fraction is no number from 0 to 1.
            TurnEnded: the turn has ended.

        """
        turn = self._turn
        if turn.phase is not _OPEN:
            raise TurnEnded(turn.ended() if turn.phase is _ABANDONED else _OVER)
        if not isinstance(fraction, (int, float)) or not 0 <= fraction <= 1:
            msg = f"progress takes a fraction from 0.0 to 1.0, got {fraction!r}"
            raise MessageError(msg)
        now = turn.environment.driver.seconds()
        if fraction < 1 and now - turn.reported < _SELDOM:
            return
        turn.reported = now
        number, environment = turn.message.number, turn.environment
        note = str(note).encode("utf-8", "replace").decode()[:_LONGEST_NOTE]
        at = environment.clock.now()
        environment.committer.stage(
            Unit(ops=[Progress(number, float(fraction), note, at)], size=len(note))
        )
        if environment.events.flow:
            environment.events.emit(
                "message.progress", mailbox=turn.mailbox, id=number, fraction=fraction, note=note
            )


_SELDOM = 0.25
_LONGEST_NOTE = 1000
_OVER = "the turn has ended: execute() belongs inside its handler"
