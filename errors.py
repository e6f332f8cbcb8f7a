"""Every error that callboard raises, and the two exceptions that a handler raises on purpose.

Each is also the builtin that a reader expects (``MailboxNotFound`` is a ``LookupError``), says in
one line what happened, with the name and the value, and what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

# The longest name that a line of text repeats in full.
_SHOWN = 200


class CallboardError(Exception):
    """Anything that callboard itself raises."""


class ConfigError(CallboardError, ValueError):
    """A declaration or an option cannot work; raised where it is written, never later."""


class StoreError(CallboardError):
    """The store refused: it cannot be opened, read or written.

    Attributes:
        unclear: the write may be on disk all the same, as the machine failed while it was
            committed; else nothing was written. With ``id=`` and ``dedupe=`` it is safe to tell
            again.
        written: where a group was refused half-way while it was written unit by unit, what its
            commits showed so far; else None.

    """

    unclear: bool = False
    written: Any = None


class SchemaTooNew(StoreError):
    """A newer callboard has written this store, and this one no longer suffices as its client."""


class StoreOwned(StoreError):
    """Another process owns the store, and standing by was not wanted or is no longer possible."""


class StoreGone(StoreError):
    """The database, its log or its lock files were deleted or replaced while they were in use.

    The owner stops: what it has in memory is of another file. A client has written nothing; its
    next call opens what is there then, and refuses as long as nothing is.
    """


class StoreBusy(StoreError, TimeoutError):
    """Another connection held the write lock for longer than we wait (5 seconds)."""


class StoreFull(StoreError, OSError):
    """The disk is full. Nothing is half-written; work goes on as soon as there is room."""


class MailboxNotFound(CallboardError, LookupError):
    """Neither this process nor the store knows a mailbox of that name.

    Attributes:
        name: the name that was asked for.
        nearest: known names that look like it, best first.

    """

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        """Say which name is unknown and which known ones look like it."""
        import difflib  # only a mistake takes its time

        self.name = name
        self.nearest = difflib.get_close_matches(name, list(known), n=3)
        hint = (
            f"did you mean {' or '.join(repr(n) for n in self.nearest)}?"
            if self.nearest
            else "declare it with @rt.mailbox(...), here or in the process that handles it"
        )
        shown = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
        super().__init__(f"no mailbox {shown!r}: {hint}")


class MailboxFull(CallboardError):
    """A mailbox has a capacity, and it is used up; nothing was sent."""


class MessageError(CallboardError, ValueError):
    """A message cannot be sent or read: wrong type, no key, too large, or a broken body."""


class BadSchedule(CallboardError, ValueError):
    """A schedule's expression or zone cannot work; the bad field stands between ``>`` and ``<``."""


class AlreadyTold(CallboardError, ValueError):
    """``if_exists="raise"``: a message of this id is waiting in the mailbox already."""


class TurnEnded(CallboardError, RuntimeError):
    """The turn has returned, failed or timed out; nothing can join it any more."""


class HandlerTimeout(CallboardError, TimeoutError):
    """A handler ran past its mailbox's ``timeout``; its turn is void and counts as failed."""


class NotStarted(CallboardError, RuntimeError):
    """Nobody owns the store, so nobody can answer; what is told waits, an ask does not."""


class ActorStopped(CallboardError):
    """The actor that was asked will not answer: its runtime stops or has ended, or it is faulted.

    The handler may have run all the same, if the owner ended while the answer was on its way.
    """


class AskTimeout(CallboardError, TimeoutError):
    """No answer came within the ask's ``timeout``; the handler may still run, and commit."""


class AskDeadlock(CallboardError, RuntimeError):
    """The ask could never be answered: its actor waits for the one that asks."""


class RemoteError(CallboardError):
    """A handler raised what cannot be raised again as it was: its class is not loaded here.

    Also for what is no ``Exception`` (SystemExit, a cancelled task): it must not end the asker.

    Attributes:
        kind: full name of the exception's class.
        trace: its traceback in the owner, as text.

    """

    def __init__(self, kind: str, text: str, trace: str = "") -> None:
        """Say what was raised."""
        self.kind = kind
        self.trace = trace
        super().__init__(f"{kind}: {text}")


class RetryLater(Exception):
    """Raise in a handler to have the message tried again later; it is not a failure.

    The turn is void: nothing told or stored. The attempt is not counted.

    Args:
        after: seconds, a ``timedelta``, or text such as ``"30m"``. Default: the retry policy's
            first delay.

    """

    def __init__(self, after: object = None) -> None:
        """Remember the delay; it is read when the turn ends."""
        self.after = after
        super().__init__(f"try again after {after}" if after is not None else "try again later")


class Reject(Exception):
    """Raise in a handler to send the message straight to the dead letters.

    Args:
        reason: kept as the dead letter's error.

    """

    def __init__(self, reason: str = "rejected by the handler") -> None:
        """Remember the reason."""
        self.reason = reason
        super().__init__(reason)
