"""The end of a turn: what a failure leaves is staged, and what became of a commit is learnt.

The committer calls :meth:`Settling.ended` in commit order. Only then does a message stop being
held, does its retry go to the timers, and is the event told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ..clock import SECOND
from ..errors import ActorStopped, MessageError
from ..persistence.store import Dead, Done, Execute, Outcome, Retry, Unit
from .fate import decide
from .mail import Blocked, Refill

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..persistence.store import Message
    from .activation import Activation
    from .mailbox import MailboxActor
    from .turn import Turn


class Settling:
    """Ends the turns of one mailbox.

    Args:
        mailbox: whose window and activations are brought up to date, under its lock.

    """

    def __init__(self, mailbox: MailboxActor) -> None:
        """Keep nothing beside the mailbox's own, and count."""
        self._mailbox = mailbox
        self.handled = self.failures = 0

    def failed(self, turn: Turn, activation: Activation | None, error: BaseException) -> None:
        """Stage what a failed handler leaves: another attempt, or a dead letter.

        Runs: on the handler's thread, or on the clock thread after a timeout.
        """
        mailbox, message = self._mailbox, turn.message
        if message.number < 0:
            mailbox.asks.failed(turn, activation, error)
            return
        if mailbox.stopping and isinstance(error, ActorStopped):
            return  # its ask was refused by the stop: it was interrupted, which does not count
        self._stage_failure(message, activation, turn.generation, error)
        mailbox.finished(message)

    def expired(self, message: Message, done: Callable[[], None] | None = None) -> None:
        """Remove a message whose time is over; its handler does not run.

        Runs: on the handler thread that would have run it, or as the mailbox's actor; ``done`` on
        the committing thread, when that is on disk.
        """
        unit = Unit(ack=message, size=64, settle=lambda unit: self._over(unit, message, done))
        self._mailbox.environment.committer.stage(unit)

    def ended(self, units: Sequence[Unit]) -> None:
        """Learn what became of handled messages' turns: the usual, in few steps for all."""
        mailbox = self._mailbox
        if mailbox.environment.events.flow or mailbox.recovery.draining or not _usual(units):
            for unit in units:
                if unit.ack is not None:
                    self._settled(unit, unit.ack, cast("Activation | None", unit.lineage))
            return
        with mailbox.lock:
            for unit in units:
                activation: Any = unit.lineage
                if activation is not None:
                    activation.pending -= 1
            mailbox.window.settled(*[unit.ack for unit in units if unit.ack is not None])
            self.handled += len(units)

    # --- inside ------------------------------------------------------------------------------

    def _settled(self, unit: Unit, message: Message, activation: Activation | None) -> None:
        """Learn what became of a turn. Runs: on the committing thread, after the commit."""
        mailbox, outcome = self._mailbox, unit.outcome
        if outcome is Outcome.FAILED:
            self._failed_in_store(unit, message, activation)
            return
        held = activation is not None and unit.ops is not None and _has_execute(unit)
        with mailbox.lock:
            if activation is not None:
                activation.pending -= 1
                if outcome is Outcome.VOID:
                    activation.overturn()
                    mailbox.recovery.overturned(activation.key)
            if outcome is Outcome.AGAIN:
                mailbox.window.again(message)
            else:
                mailbox.window.settled(message)
                self._count(unit)
            if held:
                mailbox.window.finished(message)
        events = mailbox.environment.events
        if events.flow or (events.on and (unit.fate is not None or outcome is Outcome.VOID)):
            self._tell(unit, message)
        if isinstance(unit.fate, Retry):
            self._retried(unit.fate, message, outcome)
        if held or outcome is Outcome.AGAIN or mailbox.recovery.draining:
            mailbox.post(Refill())

    def _stage_failure(
        self, message: Message, activation: Activation | None, generation: int,
        error: BaseException,
    ) -> None:  # fmt: skip
        mailbox = self._mailbox
        shared = mailbox.environment
        fate = decide(message, error, mailbox.spec, shared.clock.now(), shared.random)
        unit = Unit(
            ack=message, fate=fate, lineage=activation, generation=generation, size=256,
            settler=self,
        )  # fmt: skip
        blocks = isinstance(fate, Retry) and fate.retry_at is not None
        with mailbox.lock:
            if blocks:
                mailbox.recovery.failing(mailbox.key(message))
            if activation is not None:
                activation.pending += 1
        shared.committer.stage(unit)

    def _count(self, unit: Unit) -> None:
        if unit.outcome is Outcome.COMMITTED:
            if unit.fate is None or isinstance(unit.fate, Done):
                self.handled += 1
            else:
                self.failures += 1

    def _retried(self, fate: Retry, message: Message, outcome: Outcome | None) -> None:
        """After the commit: hand the message to the timers, or let its key go on in time."""
        mailbox = self._mailbox
        timers = mailbox.environment.timers
        if fate.retry_at is not None:
            key = mailbox.key(message)
            with mailbox.lock:
                mailbox.recovery.failed(key)
            # Void, or to run again: nothing keeps the key waiting.
            at = fate.retry_at if outcome is Outcome.COMMITTED else None
            mailbox.post(Blocked(key, at))
        elif outcome is not Outcome.COMMITTED:
            return
        elif timers is not None:
            message.attempt, message.due, message.error = fate.attempt, fate.due, fate.error
            message.value = None
            if later := mailbox.later([message]):
                timers.later(later)

    def _failed_in_store(self, unit: Unit, message: Message, activation: Activation | None) -> None:
        """Fail a turn after all: a statement of its own was refused at its commit."""
        mailbox = self._mailbox
        error = unit.error or MessageError("the turn could not be written")
        generation = 0
        if activation is not None:
            with mailbox.lock:
                activation.pending -= 1
                activation.overturn()
                mailbox.recovery.overturned(activation.key)
            generation = activation.generation
        self._stage_failure(message, activation, generation, error)
        if activation is not None and _has_execute(unit):  # it has kept its key busy until now
            mailbox.finished(message)
        mailbox.post(Refill())

    def _over(self, unit: Unit, message: Message, done: Callable[[], None] | None) -> None:
        mailbox = self._mailbox
        with mailbox.lock:
            mailbox.window.settled(message)
        if mailbox.environment.events.on and unit.outcome is Outcome.COMMITTED:
            mailbox.environment.events.emit(
                "message.expired", mailbox=mailbox.spec.name, id=message.number, key=message.key
            )
        if done is not None:
            done()

    def _tell(self, unit: Unit, message: Message) -> None:
        mailbox = self._mailbox
        events, name = mailbox.environment.events, mailbox.spec.name
        if unit.outcome is Outcome.AGAIN:
            return
        if unit.outcome is Outcome.VOID:
            events.emit("message.void", mailbox=name, id=message.number, key=message.key)
            return
        match unit.fate:
            case None | Done():
                took = (mailbox.environment.clock.now() - unit.began) / SECOND
                events.emit("message.handled", mailbox=name, id=message.number, key=message.key,
                            took=took, told=[each.number for each in unit.told])  # fmt: skip
            case Dead(error, _, attempts, _):
                events.emit("message.dead", mailbox=name, id=message.number, key=message.key,
                            attempts=attempts, error=error)  # fmt: skip
            case Retry(attempt, due, retry_at, error):
                later = attempt == message.attempt
                events.emit(
                    "message.later" if later else "message.failed", mailbox=name,
                    id=message.number, key=message.key, due=due if due is not None else retry_at,
                    **({} if later else {"attempt": attempt, "error": error}),
                )  # fmt: skip


def _usual(units: Sequence[Unit]) -> bool:
    """Say whether all are on disk and left nothing to do but to count them."""
    committed = Outcome.COMMITTED
    return all(
        unit.outcome is committed
        and unit.fate is None
        and (unit.lineage is None or unit.ops is None)
        for unit in units
    )


def _has_execute(unit: Unit) -> bool:
    return any(isinstance(op, Execute) for op in unit.ops or ())
