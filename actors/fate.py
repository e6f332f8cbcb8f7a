"""What becomes of a message whose handler has raised: another attempt, or the dead letters."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

from ..clock import LATEST, duration
from ..errors import MessageError, Reject, RetryLater
from ..persistence.store import Dead, Done, Message, Retry
from .messages import Broken, encode

if TYPE_CHECKING:
    import random

    from .mail import MailboxSpec
    from .turn import Turn

# What stands in the store may be any number; one more than this can still be stored.
_MOST_ATTEMPTS = 2**31
_LONGEST_TRACEBACK = 20_000
_LONGEST_RESULT = 10_000


def decide(
    message: Message, error: BaseException, spec: MailboxSpec, now: int, random: random.Random
) -> Retry | Dead:
    """Return the message's fate.

    RetryLater counts no attempt; Reject, a broken body and what the policy names in ``never`` are
    final; all else is tried again until the policy's attempts are used up.
    """
    policy = spec.retry
    if isinstance(error, RetryLater):
        wait = policy.wait(1, random)
        try:
            wait = wait if error.after is None else duration(error.after)
        except ValueError as wrong:
            error = wrong  # RetryLater("soon") is a failure like any other
        else:
            return _retry(message.attempt, now + wait, message.error, spec)
    attempt = min(max(message.attempt, 0), _MOST_ATTEMPTS) + 1
    reason = error.reason if isinstance(error, Reject) else _describe(error)
    if isinstance(error, (Reject, Broken, *policy.never)) or attempt >= policy.attempts:
        trace = "".join(traceback.format_exception(error))[-_LONGEST_TRACEBACK:]
        return Dead(_storable(reason), _storable(trace), attempt, now)
    return _retry(attempt, now + policy.wait(attempt, random), _storable(reason), spec)


def kept(turn: Turn, now: int, retain: int) -> Done:
    """Return the fate of a handled message that is kept for so long (microseconds)."""
    result = turn.result
    try:
        body = None if result is None else encode(result, "the result")
    except MessageError:
        body = encode(_storable(repr(result)[:_LONGEST_RESULT]), "the result")
    return Done(now, max(0, now - turn.now), body, now + retain)


def _retry(attempt: int, at: int, error: str | None, spec: MailboxSpec) -> Retry:
    """Keep its place where order is strict; else set it aside."""
    at = min(at, LATEST)  # later ones could not be shown, and at last not be stored
    if spec.order == "block":
        return Retry(attempt, None, at, error)
    return Retry(attempt, at, None, error)


def _describe(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def _storable(text: str) -> str:
    """Return text that SQLite can take: lone surrogates become question marks."""
    return str(text).encode("utf-8", "replace").decode()
