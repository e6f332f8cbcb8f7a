"""A cell: a pykka actor that is stepped by a driver and never dies of an exception.

A bare pykka actor dies on a failing ``tell`` and drops its inbox, survives a failing ``ask`` with
half-changed state, dies silently in ``on_start``, and a SystemExit in one stops every actor of the
process (jodal/pykka#42). So no exception ever reaches pykka: a cell reports to its supervisor, is
paused for the back-off, and reloads behind the same ref and URN with its backlog kept::

    running --raises--> crashed: paused, reported --Restart--> reload() --ok--> running
       |                    ^---------------------- raises ------'       |
       '--Suspend (a sibling crashed)--> suspended: paused ----Restart---'

It is built on pykka's documented seams for new actor types (``_create_actor_inbox``,
``_create_future``, ``_start_actor_loop``); ``tests/test_cell.py`` fails loudly when one moves. It
is not put in pykka's registry: the host's own ``ActorRegistry.stop_all()`` must not stop us.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import pykka
from pykka.messages import _ActorStop

from .inbox import OVERTAKING, Control, Inbox

if TYPE_CHECKING:
    from .driver import Driver

#: How many envelopes one step handles before others get their turn.
BUDGET = 64


class Restart(Control):
    """The supervisor's answer to a crash: reload and go on.

    With ``clean`` also what was faulted below is started anew, its crashes forgotten.
    """

    __slots__ = ("clean",)

    def __init__(self, *, clean: bool = False) -> None:
        """Say how much."""
        self.clean = clean


class Suspend(Control):
    """Wait for a Restart: a sibling has crashed, and this one is restarted with it."""

    __slots__ = ()


class Wake(Control):
    """A deadline that the cell had asked for has come."""

    __slots__ = ()


class Crashed(Control):
    """A child's report to its supervisor."""

    __slots__ = ("cell", "error")

    def __init__(self, cell: Cell, error: BaseException) -> None:
        """Say who and why."""
        self.cell = cell
        self.error = error


class CellRef(pykka.ActorRef["Cell"]):
    """A ref as pykka's, whose tell goes straight into the inbox."""

    actor_inbox: Inbox

    def tell(self, message: Any) -> None:
        """See pykka."""
        if self.actor_stopped.is_set():
            msg = f"{self} not found"
            raise pykka.ActorDeadError(msg)
        self.actor_inbox.post(message)


class Cell(pykka.Actor):
    """Base of callboard's actors.

    Args:
        driver: who steps it.
        name: for people, such as ``"mailbox orders"``.
        supervisor: to whom it reports; None for the root.

    """

    #: Runs no user code: its steps are short, and any thread may run them at once.
    system = True
    #: The child of its supervisor that it belongs to, where it is none by itself.
    part_of: Cell | None = None
    actor_inbox: Inbox

    def __init__(self, driver: Driver, name: str, supervisor: Cell | None = None) -> None:
        """Build the cell; ``start()`` attaches it to its driver."""
        super().__init__()
        self._actor_ref = CellRef(self)
        self.driver = driver
        self.name = name
        self.supervisor = supervisor
        self.due: int | None = None
        self.crashed = False
        self.suspended = False

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> pykka.ActorRef[Self]:
        """Build the actor and attach it to its driver; it is not registered with pykka."""
        cell = cls(*args, **kwargs)
        cell._start_actor_loop()
        return cell.actor_ref

    @classmethod
    def launch(cls, *args: Any, **kwargs: Any) -> Self:
        """Start the actor and return it rather than its ref: for its own supervisor."""
        cell = cls(*args, **kwargs)
        cell._start_actor_loop()
        return cell

    # --- pykka's seams -----------------------------------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Inbox:
        return Inbox()

    @staticmethod
    def _create_future() -> pykka.Future[Any]:
        return pykka.ThreadingFuture()

    def _start_actor_loop(self) -> None:
        self._guarded(self.on_start)
        self.actor_inbox.bind(lambda: self.driver.ready(self))

    def _stop(self) -> None:
        self.actor_stopped.set()
        self.actor_inbox.resume()  # what comes from now on is taken, to be refused
        self._guarded(self.on_stop)
        self._actor_loop_teardown()

    # --- life --------------------------------------------------------------------------------

    def step(self) -> None:
        """Handle some of what is in the inbox. Called by the driver, by one thread at a time."""
        inbox = self.actor_inbox
        take, handle = inbox.take, self._handle
        try:
            for _ in range(BUDGET):
                taken = take()
                if taken is None:
                    break
                handle(*taken)
        finally:
            inbox.finish()

    def reload(self) -> None:
        """Throw away memory and read it again from the store; called after a crash."""

    def suspend(self) -> None:
        """Take nothing of the backlog until a restart."""
        self.suspended = True
        self.actor_inbox.pause()

    def restart(self, *, clean: bool) -> None:
        """Begin anew behind the same ref; ``clean`` is for those who have actors below."""
        del clean
        self.reload()

    def post(self, message: Any) -> None:
        """Put a message into the inbox; nothing of it is durable.

        A stopped cell handles nothing: what comes between the stop and the end of its step is
        refused like what was in the inbox then.
        """
        if not self.actor_stopped.is_set():
            self.actor_inbox.post(message)

    def wake_at(self, due: int | None) -> None:
        """Ask for a :class:`Wake` at an instant (microseconds UTC); replaces the one before."""
        if due != self.due:
            self.due = due
            if due is not None:
                self.driver.at(self, due)

    def crash(self, error: BaseException) -> None:
        """Pause, and report to the supervisor."""
        self.crashed = True
        self.actor_inbox.pause()
        if self.supervisor is not None:
            self.supervisor.post(Crashed(self, error))

    # --- inside ------------------------------------------------------------------------------

    def _handle(self, message: Any, reply_to: pykka.Future[Any] | None) -> None:
        if self.actor_stopped.is_set():
            self._refuse(message, reply_to)
            return
        try:
            reply = None
            if not isinstance(message, OVERTAKING) or not self._controlled(message):
                reply = self.on_receive(message)
        except BaseException as error:
            if reply_to is not None:
                reply_to.set_exception((type(error), error, error.__traceback__))
            self.crash(error)
        else:
            if reply_to is not None:
                reply_to.set(reply)

    def _controlled(self, message: Control | _ActorStop) -> bool:
        """Do what every cell is told alike; False: it is for the cell's own kind."""
        match message:
            case _ActorStop():
                self._stop()
            case Restart():
                self.suspended = False
                self.restart(clean=message.clean)
                self.crashed = False
                self.actor_inbox.resume()
            case Suspend():
                self.suspend()
            case Wake():
                self.due = None
                return False
            case _:
                return False
        return True

    def _refuse(self, message: Any, reply_to: pykka.Future[Any] | None) -> None:
        """Answer as pykka does for what is in the inbox of an actor that stops."""
        self.actor_inbox.post(message, reply_to)
        self._actor_loop_teardown()

    def _guarded(self, hook: Any) -> None:
        try:
            hook()
        except BaseException as error:
            self.crash(error)
