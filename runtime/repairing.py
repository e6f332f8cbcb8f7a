"""Repairs in the owner: actors started anew, state written by hand, notes that clients left."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from ..actors.supervisor import Repair, Supervisor
from ..errors import CallboardError, StoreError
from ..persistence.store import Edit, Noted, Op, Remember, State, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..actors.cron import CronActor
    from ..actors.environment import Environment
    from ..actors.mailbox import MailboxActor

logger = logging.getLogger("callboard")


class Wish(msgspec.Struct, omit_defaults=True):
    """What a client's note asks for: a restart, or with ``edit`` a state to be written.

    With ``gone`` it asks for nothing but that these messages, which the client has removed, be
    dropped from memory too.

    Attributes:
        actor: name of the mailbox or supervisor.
        supervisor: it is one.
        key: of the actor, in a keyed mailbox; None: all of it.
        number: the store's number of the mailbox.
        state: kind, version and JSON text; None: it begins anew.
        gone: numbers of messages.
        tick: the actor is a schedule, which is to tick now.

    """

    actor: str
    supervisor: bool = False
    key: str | None = None
    edit: bool = False
    number: int = 0
    state: tuple[str, int, str] | None = None
    gone: tuple[int, ...] = ()
    tick: bool = False


class Repairing:
    """Does repairs on the living actors.

    Args:
        environment: the shared parts.
        mailboxes: the living ones, by name.
        supervisors: those that users declared, by name.
        schedules: ticks them.

    """

    def __init__(
        self,
        environment: Environment,
        mailboxes: dict[str, MailboxActor],
        supervisors: dict[str, Supervisor],
        schedules: CronActor,
    ) -> None:
        """Do nothing yet."""
        self._environment = environment
        self._mailboxes = mailboxes
        self._supervisors = supervisors
        self._schedules = schedules
        self._one_at_a_time = threading.Lock()

    def do(self, wish: Wish, note: str | None = None) -> None:
        """Do what is wished, and strike off its note, in one transaction.

        Raises:
            StoreError: it could not be written; nothing was done.

        """
        struck: list[Op] = [] if note is None else [Noted(note)]
        committer = self._environment.committer
        if wish.tick:
            self._tick(wish.actor, struck)
            return
        if not wish.edit:
            if struck:
                committer.commit(Unit(ops=struck))
            if wish.gone:
                self._drop(wish)
            else:
                self._restart(wish)
            return
        found = self._mailboxes.get(wish.actor)
        if found is None:  # nobody here declares it: it does not live
            committer.commit(Unit(ops=[*self._edit(wish), *struck]))
            return
        with self._one_at_a_time, found.recovery.editing(wish.key):
            committer.commit(Unit(ops=[*self._edit(wish), *struck]))
        self._say(found.recovery.name(wish.key))

    def answer(self) -> None:
        """Do what clients have left notes for. Runs: on the clock thread."""
        for name, wish in self._wishes():
            if wish is None:
                self._environment.committer.commit(Unit(ops=[Noted(name)]))
            else:
                self.do(wish, name)

    def begin(self) -> None:
        """Write what notes of before the start ask for, at once, before any actor loads its state.

        Raises:
            StoreError: it could not be written; nothing was done.

        """
        ops: list[Op] = []
        for name, wish in self._wishes():
            if wish is not None and wish.tick:
                continue  # when the schedule is there
            if wish is not None and wish.edit:
                ops += self._edit(wish)
            ops.append(Noted(name))  # whoever was to be restarted starts now
        if ops:
            self._environment.committer.commit(Unit(ops=ops))

    # --- inside ------------------------------------------------------------------------------

    def _wishes(self) -> Iterator[tuple[str, Wish | None]]:
        for name, body in self._environment.store.notes():
            try:
                yield name, msgspec.json.decode(body, type=Wish)
            except msgspec.DecodeError:
                logger.warning("a note that this version does not understand is dropped: %s", body)
                yield name, None

    def _edit(self, wish: Wish) -> list[Op]:
        """Return what writes the state, and keeps it where the mailbox retains."""
        key, state = wish.key or "", None
        if wish.state is not None:
            kind, version, text = wish.state
            state = State(wish.number, key, kind, version, text.encode())
        ops: list[Op] = [Edit(wish.number, key, state)]
        rows = self._environment.store.mailboxes()
        retain = next((r.declaration.retain for r in rows if r.id == wish.number), None)
        if retain is not None:
            at = self._environment.clock.now()
            ops.append(Remember(wish.number, key, at, retain, "hand"))
        return ops

    def _tick(self, schedule: str, struck: list[Op]) -> None:
        """Tell a tick of now, and strike off its note, in one transaction."""
        told: list[Op] = []
        try:
            found = self._schedules.by_hand(schedule)
            told = [] if found is None else found[1]
        except StoreError:
            raise
        except CallboardError as error:
            logger.warning("schedule %s does not tick by hand: %s", schedule, error)
        if told or struck:
            self._environment.committer.commit(Unit(ops=[*told, *struck]))

    def _drop(self, wish: Wish) -> None:
        found, timers = self._mailboxes.get(wish.actor), self._environment.timers
        if found is None or timers is None:
            return  # nobody here declares it: nothing of it is in memory
        for number in wish.gone:
            found.drop(number)
            timers.drop(found.id, number)

    def _restart(self, wish: Wish) -> None:
        found = (self._supervisors if wish.supervisor else self._mailboxes).get(wish.actor)
        if found is None:
            return  # nobody here declares it: it does not live
        name = found.name
        if wish.key is not None and not isinstance(found, Supervisor):
            found.recovery.repair(wish.key)
            name = found.recovery.name(wish.key)
        elif isinstance(found.supervisor, Supervisor):
            found.supervisor.post(Repair(found))
        self._say(name)

    def _say(self, actor: str) -> None:
        if self._environment.events.on:
            self._environment.events.emit("actor.repaired", actor=actor)
