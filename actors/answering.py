"""Asks of one mailbox: how they come in, and what becomes of their turns.

Read asks.py first. What differs from a message's turn: there is no row to acknowledge, nothing is
tried again, and the outcome goes to the asker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..clock import SECOND
from ..errors import MessageError
from ..persistence.store import Execute, Outcome, Unit
from .asks import Asked, Reply, reply_of
from .mail import Refill

if TYPE_CHECKING:
    from collections.abc import Callable

    from .activation import Activation
    from .mailbox import MailboxActor
    from .turn import Turn


class Answering:
    """The part of a mailbox that takes asks and has them answered.

    Args:
        mailbox: whose asks these are; its lock guards its window.

    """

    def __init__(self, mailbox: MailboxActor) -> None:
        """Start with none."""
        self._mailbox = mailbox
        self._shared = mailbox.environment

    # --- in ----------------------------------------------------------------------------------

    def take(self, ask: Asked) -> None:
        """Put an ask behind what its actor has waiting. Runs: on any thread; it takes no time."""
        mailbox = self._mailbox
        key = ask.key if mailbox.spec.keyed else None
        with mailbox.lock:
            faulted = mailbox.recovery.faulted
            fault = faulted.get(None) or faulted.get(key)
            if fault is None and not ask.gone:  # its asker may have waited no longer for a look
                ask.after = self._shared.committer.seen or 0
                mailbox.window.park(ask)
            hungry = mailbox.window.hungry
            chosen = mailbox.choose() if fault is None else ()
        if fault is not None:
            self.faulted(key, fault)
            return
        if hungry or mailbox.limiter is not None:
            mailbox.post(Refill())
        for cell in chosen:
            cell.actor_inbox.nudge()

    def withdraw(self, ask: Asked) -> None:
        """Forget an ask that nobody waits for; one that runs goes on."""
        with self._mailbox.lock:
            self._mailbox.window.withdraw(ask)

    def faulted(self, key: str | None, reason: str) -> None:
        """Answer what waits for a faulted actor, or for all of a faulted mailbox."""
        mailbox = self._mailbox
        name = mailbox.name if key is None else f"{mailbox.name} key {key!r}"
        gone = self._shared.asks.fail(
            lambda ask: ask.target == mailbox.spec.name and key in (None, ask.key),
            f"{name} is faulted: {reason}",
        )
        for ask in gone:
            self.withdraw(ask)

    # --- turns -------------------------------------------------------------------------------

    def returned(self, turn: Turn) -> MessageError | None:
        """Encode what the handler returned; returns why that cannot be."""
        try:
            turn.result = reply_of(turn.result, turn.mailbox)
        except MessageError as error:
            return error
        return None

    def failed(self, turn: Turn, activation: Activation | None, error: BaseException) -> None:
        """Answer with what the handler raised, once what it had seen is on disk."""
        unit = Unit(lineage=activation, generation=turn.generation)
        turn.result = error
        if self.stage(unit, turn, activation):
            self.answer(turn)
        self._mailbox.finished(turn.message)

    def unchanged(self, turn: Turn) -> bool:
        """Settle a turn that may be answered at once: it has done nothing, and all is on disk."""
        if turn.ops is not None or self._shared.committer.pending:
            return False
        with self._mailbox.lock:
            self._mailbox.window.settled(turn.message)
        return True

    def stage(self, unit: Unit, turn: Turn, activation: Activation | None) -> bool:
        """Have the turn committed and then answered; True: it is the caller's to :meth:`answer`.

        That is so where there is nothing to commit: then whoever has run it gives the answer last
        of all, and the asker need not wait for its thread.
        """
        committer = self._shared.committer
        if not (unit.state or unit.tells or unit.ops or committer.pending or unit.overtaken):
            with self._mailbox.lock:
                self._mailbox.window.settled(turn.message)
            return True
        if activation is not None:
            with self._mailbox.lock:
                activation.pending += 1
        unit.once = True
        unit.settle = lambda done: self._settled(done, turn, activation)
        committer.stage(unit)
        return False

    def answer(self, turn: Turn) -> None:
        """Answer an ask whose turn had nothing to commit. Runs: on a handler thread."""
        if self._mailbox.recovery.draining:
            self._mailbox.post(Refill())
        if isinstance(turn.message, Asked):
            self._answer(turn.message, turn, None, self._shared.asks.answer)

    def _settled(self, unit: Unit, turn: Turn, activation: Activation | None) -> None:
        """Learn what became of an ask's turn. Runs: on the committing thread, after the commit."""
        mailbox, ask, outcome = self._mailbox, turn.message, unit.outcome
        held = activation is not None and any(isinstance(op, Execute) for op in unit.ops or ())
        with mailbox.lock:
            if activation is not None:
                activation.pending -= 1
                if outcome is Outcome.FAILED:
                    activation.overturn()
                    mailbox.recovery.overturned(activation.key)
            if outcome is Outcome.AGAIN:
                mailbox.window.again(ask)
            else:
                mailbox.window.settled(ask)
            if held:
                mailbox.window.finished(ask)
        if held or outcome is Outcome.AGAIN or mailbox.recovery.draining:
            mailbox.post(Refill())
        if outcome is not Outcome.AGAIN and isinstance(ask, Asked):
            refused = unit.error if outcome is Outcome.FAILED else None
            self._answer(ask, turn, refused, self._shared.asks.settle)

    def _answer(
        self, ask: Asked, turn: Turn, refused: BaseException | None,
        give: Callable[[Asked, Reply | None, BaseException | None], None],
    ) -> None:  # fmt: skip
        shared, result = self._shared, turn.result
        error = refused or (result if isinstance(result, BaseException) else None)
        reply = result if isinstance(result, Reply) and error is None else None
        if error is not None and shared.events.on:
            shared.events.emit("ask.failed", mailbox=ask.target, key=ask.key, error=repr(error))
        elif shared.events.flow:
            took = (shared.clock.now() - turn.now) / SECOND
            shared.events.emit("ask.answered", mailbox=ask.target, key=ask.key, took=took)
        give(ask, reply, error)
