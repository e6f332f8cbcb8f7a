"""A worker: takes messages from its mailbox and runs each as a turn.

One turn: look whether the message is still there (if it has an id, or a deadline), build or restore
the actor, decode the body, run the handler with the turn in a context variable, encode the state,
stage all of it, and go on with the next while the commit is under way.
"""

from __future__ import annotations

import threading
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, cast

from ..clock import monotonic
from ..errors import CallboardError, HandlerTimeout, MessageError, Reject, RetryLater
from ..persistence.store import Done, Remember, Unit
from .activation import Activation
from .cell import Cell
from .fate import kept
from .inbox import Control
from .look import still_there
from .messages import Broken
from .turn import Context, Turn, enter
from .worker import WorkerActor

if TYPE_CHECKING:
    from ..persistence.store import By, Message
    from .environment import Environment
    from .mailbox import MailboxActor


class Finished(Control):
    """A coroutine handler has ended."""

    __slots__ = ("activation", "error", "turn")

    def __init__(
        self, turn: Turn, activation: Activation | None, error: BaseException | None
    ) -> None:
        """Say which and how."""
        self.turn = turn
        self.activation = activation
        self.error = error


class Unbuilt(Exception):
    """The actor could not be built; the mailbox has been told."""


class WorkerCell(Cell):
    """Runs handlers, one at a time. Stepped by the pool of handler threads.

    Args:
        environment: the shared parts.
        mailbox: where its messages come from, and its supervisor's child.

    """

    system = False
    part_of: MailboxActor

    def __init__(self, environment: Environment, mailbox: MailboxActor) -> None:
        """Build it; it is busy until it finds nothing to do."""
        super().__init__(environment.driver, f"worker of {mailbox.name}", mailbox.supervisor)
        self.environment = environment
        self.mailbox = self.part_of = mailbox
        self.idle = False
        self.waiting = False
        self.left = False
        self.turn: Turn | None = None
        self.lock = threading.Lock()
        self.own: Activation | None = None
        # An ask that has been run and is to be answered: before anything else is run, or at last.
        self._answerable: Turn | None = None
        self._slot = environment.slots.claim()
        self._watching = False

    def step(self) -> None:
        """Run messages for about two milliseconds. Runs: on a handler thread."""
        inbox = self.actor_inbox
        while (taken := inbox.take()) is not None:
            self._handle(*taken)
        try:
            if not (self.waiting or self.crashed or self.left):
                self._work()
        except BaseException as error:  # no memory to take a message: it is in the window still
            self.crash(error)
        if not self.waiting:
            self.environment.slots.note(self._slot, 0)
        if self._answerable is not None:
            self._answer()
        inbox.finish()
        if not (self.idle or self.waiting or self.crashed or self.left or self._starved()):
            inbox.nudge()

    def on_receive(self, message: Any) -> None:
        """Go on after a coroutine."""
        if isinstance(message, Finished):
            self.waiting = False
            self._end(message.turn, message.activation, message.error)
            if self._answerable is not None:
                self._answer()

    def reload(self) -> None:
        """Go on after a crash of the cell itself; nothing of the message was kept."""

    def on_stop(self) -> None:
        """Give the slot back."""
        self.environment.slots.release(self._slot)

    def stop_own(self) -> None:
        """Stop the object of a mailbox without keys and without state."""
        if self.own is not None and self.own.object is not None:
            self.mailbox.stop_worker(self.own.object, None)

    # --- inside ------------------------------------------------------------------------------

    def _starved(self) -> bool:
        """Wait until the committer has room; it calls :meth:`Environment.feed`."""
        environment = self.environment
        if environment.may_run:
            return False
        environment.starved.append(self)
        # It may have recovered between the look and the note: then nobody would call.
        return not environment.may_run

    def _answer(self) -> None:
        turn, self._answerable = self._answerable, None
        if turn is not None:
            self.mailbox.asks.answer(turn)

    def _work(self) -> None:
        mailbox = self.mailbox
        until = monotonic() + self.driver.slice
        if self.own is not None and self.own.stale:
            self._renew(self.own)
        committer = self.environment.committer
        while committer.healthy and not committer.crowded:
            if mailbox.retiring and (retired := mailbox.retired()) is not None:
                if self._answerable is not None:
                    self._answer()
                self._put_away(retired)
                continue
            message = mailbox.next(self)
            if message is None:
                return
            if self._answerable is not None:
                self._answer()
            try:
                self._run(message)
            except Unbuilt:
                continue
            except BaseException as error:
                # Not the handler's: the store could not be read. Nothing has happened.
                mailbox.give_back(message)
                self.crash(error)
                return
            if self.waiting or self.left or monotonic() >= until:
                return

    def _run(self, message: Message) -> None:
        mailbox, environment = self.mailbox, self.environment
        if not self._still_there(message):
            mailbox.vanished(message)
            return
        now = environment.clock.now()
        if message.expires_at is not None and message.expires_at <= now:
            mailbox.settling.expired(message)
            mailbox.finished(message)
            return
        spec = mailbox.spec
        turn = Turn(environment, spec.name, message, now, self.lock)
        behaviour = spec.behaviour
        activation = None
        if behaviour.factory is not None:
            activation = self._activation(message)
            # Before its state is looked at: what is overturned from now on makes this turn void.
            turn.generation = activation.generation
            self._activate(message, activation)
        try:
            value = message.value
            message.value = None
            if value is None:
                value = self._decode(message)
        except CallboardError as error:
            turn.seal()
            mailbox.settling.failed(turn, activation, error)
            return
        self.turn = turn
        environment.slots.note(self._slot, message.number)
        if behaviour.is_async:
            self._begin(turn, activation, value)
            return
        if spec.timeout is not None:
            turn.thread = threading.current_thread()
            turn.deadline = monotonic() + spec.timeout
            self._watch(turn.deadline)
        self._end(turn, activation, self._attempt(turn, activation, value))

    def _attempt(
        self, turn: Turn, activation: Activation | None, value: Any
    ) -> BaseException | None:
        """Run the handler in a context of its own; returns what it raised, SystemExit included."""
        try:
            turn.result = copy_context().run(self._call, turn, activation, value)
        except BaseException as error:
            return error
        return None

    def _call(self, turn: Turn, activation: Activation | None, value: Any) -> Any:
        enter(turn)
        if activation is not None and activation.object is not None:
            activation.object._context = Context(turn)  # noqa: SLF001  (the two are one piece)
            return activation.object.on_receive(value)
        call = self.mailbox.spec.behaviour.call
        if call is None:
            msg = "a worker without a call"
            raise AssertionError(msg)
        return call(value, turn)

    def _end(self, turn: Turn, activation: Activation | None, error: BaseException | None) -> None:
        """Seal the turn and stage it."""
        environment, mailbox = self.environment, self.mailbox
        sealed = turn.seal()
        self.turn = None
        if not sealed:
            # Abandoned: its failure is staged already, and another worker has taken this place.
            self.left = True
            mailbox.recovery.came_back(threading.current_thread())
            return
        asked = turn.message.number < 0
        if error is not None and activation is not None and self._restarts_on(error):
            # An ask is not run again: its asker gets the error.
            mailbox.recovery.crashed(
                None if asked else turn.message, activation, error, starting=False
            )
            if asked:
                mailbox.settling.failed(turn, activation, error)
            return
        if asked:
            error = error or mailbox.asks.returned(turn)
            if error is None and activation is None and mailbox.asks.unchanged(turn):
                self._answerable = turn
                mailbox.finished(turn.message)
                return
        unit = Unit(ack=None if asked else turn.message, size=turn.size + 64)
        if not asked and mailbox.spec.limits.retain is not None and error is None:
            unit.fate = kept(turn, environment.clock.now(), mailbox.spec.limits.retain)
        if activation is not None:
            unit.lineage, unit.generation = activation, turn.generation
            error = error or self._take_state(unit, activation)
        if error is not None:
            if activation is not None:
                activation.clean = False
            mailbox.settling.failed(turn, activation, error)
        else:
            self._stage(unit, turn, activation)

    def _restarts_on(self, error: BaseException) -> bool:
        """Say whether the actor is to be restarted: it is not the message's fault."""
        restart_on = self.mailbox.spec.behaviour.restart_on
        return isinstance(error, restart_on) and not isinstance(error, (RetryLater, Reject))

    def _take_state(self, unit: Unit, activation: Activation) -> MessageError | None:
        """Put the state that the handler has changed into the unit; returns why it cannot be."""
        codec = self.mailbox.spec.behaviour.state
        if activation.object is not None:
            activation.object._context = None  # noqa: SLF001  (the two are one piece)
        if codec is None:
            return None
        try:
            unit.state = activation.changed(codec, self.mailbox.id)
        except MessageError as error:
            return error
        if unit.state is not None:
            unit.size += len(unit.state.body)
        return None

    def _stage(self, unit: Unit, turn: Turn, activation: Activation | None) -> None:
        mailbox = self.mailbox
        if unit.state is not None and mailbox.spec.limits.retain is not None:
            unit.ops = [*(turn.ops or ()), self._remember(unit, mailbox.spec.limits.retain)]
        elif turn.plain:
            unit.tells = turn.ops
        else:
            unit.ops = turn.ops
        if turn.message.number < 0:
            if mailbox.asks.stage(unit, turn, activation):
                self._answerable = turn
        else:
            self._stage_told(unit, turn, activation)
        if mailbox.window.exclusive and (activation is None or not turn.has_execute):
            mailbox.finished(turn.message)

    def _remember(self, unit: Unit, retain: int) -> Remember:
        """Return what keeps the state that the turn leaves, as of when it was handled."""
        ack, fate, key = unit.ack, unit.fate, cast("Activation", unit.lineage).key
        at = fate.handled_at if isinstance(fate, Done) else self.environment.clock.now()
        number = None if ack is None else ack.number
        by: By = "ask" if number is None else "message"
        return Remember(self.mailbox.id, key or "", at, retain, by, number)

    def _stage_told(self, unit: Unit, turn: Turn, activation: Activation | None) -> None:
        # The turn itself is not kept: what waits for the disk is many, and small.
        mailbox = self.mailbox
        unit.began, unit.settler = turn.now, mailbox.settling
        if activation is not None:
            with mailbox.lock:
                activation.pending += 1
        self.environment.committer.stage(unit)

    # --- the actor's object ------------------------------------------------------------------

    def _activate(self, message: Message, activation: Activation) -> None:
        """See that the message's actor is built and has its state; Unbuilt when that fails."""
        mailbox = self.mailbox
        codec = mailbox.spec.behaviour.state
        activation.touched = True
        if activation.stale:
            self._renew(activation)
        if activation.object is not None and (activation.clean or codec is None):
            return
        if activation.held:
            mailbox.give_back(message)
            raise Unbuilt
        try:
            if activation.object is None:
                self._build(activation)
            elif codec is not None:
                activation.restore(activation.object, codec, mailbox.id, self.environment.store)
        except BaseException as error:
            mailbox.recovery.crashed(message, activation, error, starting=True)
            raise Unbuilt from error

    def _renew(self, activation: Activation) -> None:
        """Let go of an object that is to be built anew; its state stays."""
        activation.stale = False
        worker, activation.object = activation.object, None
        if worker is not None:
            self._stop_object(worker, activation.key)

    def _build(self, activation: Activation) -> None:
        mailbox = self.mailbox
        behaviour = mailbox.spec.behaviour
        if behaviour.factory is None:
            return
        worker = behaviour.factory()
        if behaviour.state is not None:
            activation.restore(worker, behaviour.state, mailbox.id, self.environment.store)
        worker.on_start()
        activation.object = worker
        events = self.environment.events
        if events.flow:
            events.emit("actor.started", mailbox=mailbox.spec.name, key=activation.key)

    def _activation(self, message: Message) -> Activation:
        mailbox = self.mailbox
        if not mailbox.spec.keyed and mailbox.spec.behaviour.state is None:
            if self.own is None:
                self.own = Activation(None)
            return self.own
        key = message.key if mailbox.spec.keyed else None
        found = mailbox.activations.get(key)
        if found is None:
            with mailbox.lock:
                found = mailbox.activations.setdefault(key, Activation(key))
        return found

    def _put_away(self, activation: Activation) -> None:
        """Let an idle actor go. Runs: on a handler thread."""
        if activation.object is not None:
            self._stop_object(activation.object, activation.key)

    def _stop_object(self, worker: WorkerActor, key: str | None) -> None:
        if type(worker).on_stop is not WorkerActor.on_stop:
            self.mailbox.stop_worker(worker, key)
        events = self.environment.events
        if events.flow:
            events.emit("actor.stopped", mailbox=self.mailbox.spec.name, key=key)

    # --- the message -------------------------------------------------------------------------

    def _still_there(self, message: Message) -> bool:
        """Look once more, just before the handler: cancelled and replaced ones are not delivered.

        Without an id and without a deadline only the number could be cancelled, and the
        acknowledgement finds that out.
        """
        if message.gone or (message.name is None and message.due is None):
            return not message.gone
        return still_there(self.mailbox, message)

    def _decode(self, message: Message) -> Any:
        accepts = self.mailbox.spec.behaviour.accepts
        try:
            return accepts.decode(message.kind, message.version, message.body)
        except MessageError as error:
            raise Broken(str(error)) from error

    # --- timeouts and coroutines -------------------------------------------------------------

    def _watch(self, until: float) -> None:
        if not self._watching:
            self._watching = True
            self.driver.watch(max(0.0, until - monotonic()), self._look)

    def _look(self) -> None:
        """See whether the running handler is past its time. Runs: on the clock thread."""
        self._watching = False
        turn = self.turn
        if turn is None or turn.deadline is None:
            return
        if monotonic() < turn.deadline:
            self._watch(turn.deadline)
            return
        if turn.abandon():
            self._abandoned(turn)

    def _abandoned(self, turn: Turn) -> None:
        mailbox = self.mailbox
        activation = mailbox.activations.get(
            turn.message.key if mailbox.spec.keyed else None, self.own
        )
        if activation is not None:
            activation.object, activation.clean = None, False
        self.environment.slots.note(self._slot, 0)
        seconds = mailbox.spec.timeout or 0.0
        mailbox.settling.failed(
            turn, activation,
            HandlerTimeout(f"the handler ran past its timeout of {seconds:g} s and was left"),
        )  # fmt: skip
        if turn.thread is not None:
            self.environment.driver.leave_behind(turn.thread)
        mailbox.recovery.abandon(self, turn)

    def _begin(self, turn: Turn, activation: Activation | None, value: Any) -> None:
        """Start a coroutine handler on the event loop; Finished comes when it has ended."""
        self.waiting = True

        def done(result: Any, error: BaseException | None) -> None:
            turn.result = result
            self.post(Finished(turn, activation, error))

        self.environment.loop.run(
            lambda: self._call(turn, activation, value), copy_context(),
            self.mailbox.spec.timeout, done,
        )  # fmt: skip
