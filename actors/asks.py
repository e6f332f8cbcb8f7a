"""Asks: messages that are not in the store, whose asker waits for what the handler returns.

An ask stands in its mailbox as if it had been told, without priority, at the moment it came: behind
all that its actor has waiting then. It runs as a turn of its own; what the handler returned goes to
the asker after the commit of that turn, and of every earlier turn of that actor.

Every ask is *open* until it is answered, and each knows its chain: the turns that wait for it, from
the outermost on. So the owner sees who waits for whom, and refuses the ask that would close a
circle::

    open --handler returns--> in its transaction --commit--> answered
      |--handler raises-----> (nothing written) ------------> answered: the error
      |--the asker's time is over--> withdrawn; its turn goes on if it is running
      '--stop, fault, restart of the owner--> answered: ActorStopped
"""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..errors import ActorStopped, AskDeadlock, MessageError
from ..persistence.store import Message, Place
from .messages import encode, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Link(NamedTuple):
    """A turn that waits for an ask: of which actor, and which of its turns."""

    mailbox: str
    key: str | None
    turn: int


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What a handler returned, as it travels: decoded by the asker, as a message is by a worker."""

    kind: str
    version: int
    body: bytes


class Asked(Message, gc=True):
    """An ask in its mailbox. Its number is negative and means nothing outside this process.

    Attributes:
        after: number of the last message that was on disk when it came.
        chain: the turns that wait for it, outermost first.
        target: name of its mailbox.
        deliver: called once with (reply, error), by whoever settles it; must be quick.

    """

    after: int = 0
    chain: tuple[Link, ...] = ()
    target: str = ""
    deliver: Any = None

    @property
    def sort(self) -> Place:
        """Behind everything that was on disk when it came."""
        return (0, self.after)


class Asks:
    """The open asks of one owner."""

    def __init__(self) -> None:
        """Start with none."""
        self._numbers = itertools.count(-1, -1)
        self._lock = threading.Lock()
        self._open: dict[int, Asked] = {}
        self._settled: list[tuple[Asked, Reply | None, BaseException | None]] = []
        self._ended: str | None = None

    # --- for askers --------------------------------------------------------------------------

    def open(self, ask: Asked, workers: Callable[[str], int]) -> None:
        """Note an ask as open and give it its number.

        Args:
            ask: as the asker made it.
            workers: returns how many workers a mailbox has.

        Raises:
            AskDeadlock: it would wait for a turn that waits for it.
            ActorStopped: the runtime is stopping.

        """
        with self._lock:
            if self._ended is not None:
                raise ActorStopped(self._ended)
            if ask.chain and (circle := self._circle(ask, workers)):
                msg = (
                    f"ask to {_name(ask.target, ask.key)} can never be answered: {circle}; tell "
                    "it instead, or let the answer come as a message"
                )
                raise AskDeadlock(msg)
            ask.number = next(self._numbers)
            self._open[ask.number] = ask

    def close(self, ask: Asked) -> bool:
        """Take an ask back whose asker waits no more; False when it was answered meanwhile."""
        with self._lock:
            ask.gone = True
            return self._open.pop(ask.number, None) is not None

    # --- for turns ---------------------------------------------------------------------------

    def settle(self, ask: Asked, reply: Reply | None, error: BaseException | None) -> None:
        """Keep an answer until :meth:`flush`: what its turn told has to be handed over first."""
        with self._lock:
            if self._open.pop(ask.number, None) is not None:
                self._settled.append((ask, reply, error))

    def answer(self, ask: Asked, reply: Reply | None, error: BaseException | None) -> None:
        """Answer at once: the ask's turn has told nothing that would have to go before."""
        with self._lock:
            waited_for = self._open.pop(ask.number, None) is not None
        if waited_for:
            ask.deliver(reply, error)

    def flush(self) -> None:
        """Give the answers that are settled to their askers."""
        if not self._settled:
            return
        with self._lock:
            settled, self._settled = self._settled, []
        for ask, reply, error in settled:
            ask.deliver(reply, error)

    def fail(self, wanted: Callable[[Asked], bool], reason: str) -> list[Asked]:
        """Answer the open asks that are wanted with ActorStopped; returns them."""
        with self._lock:
            chosen = [ask for ask in self._open.values() if wanted(ask)]
            for ask in chosen:
                ask.gone = True
                del self._open[ask.number]
                self._settled.append((ask, None, ActorStopped(reason)))
        self.flush()
        return chosen

    def end(self, reason: str, running: Iterable[int] = ()) -> None:
        """Refuse new asks from now on, and answer the open ones that are not running."""
        self._ended = reason
        kept = set(running)
        self.fail(lambda ask: ask.number not in kept, reason)

    # --- who waits for whom ------------------------------------------------------------------

    def _circle(self, new: Asked, workers: Callable[[str], int]) -> str:
        """Say in what circle the ask would wait; empty: in none.

        Turns that wait for an ask are *stuck* when nobody is left to answer it: the turn that
        answers it is stuck, or has not begun because stuck turns hold its actor, or every worker of
        its mailbox. Take all to be so, and strike off whoever is not until all the rest are.
        """
        asks = [ask for ask in self._open.values() if ask.chain]
        asks.append(new)
        stuck = {ask.chain[-1] for ask in asks}
        if not _held(new, stuck, workers):
            return ""
        waiting = {link.turn: link for link in stuck}
        while True:
            still = {
                ask.chain[-1]
                for ask in asks
                if ask.chain[-1] in stuck
                and (
                    waiting[ask.number] in stuck
                    if ask.number in waiting
                    else _held(ask, stuck, workers)
                )
            }
            if still == stuck:
                break
            stuck = still
        if new.chain[-1] not in stuck or not _held(new, stuck, workers):
            return ""
        there = [link for link in new.chain if link.mailbox == new.target]
        if there:
            return f"it waits in the chain of this ask: {_path(new.chain)}"
        return f"all that it would wait for wait for this turn: {_path(sorted(stuck, key=str))}"


def reply_of(result: Any, mailbox: str) -> Reply:
    """Encode what a handler returned.

    Raises:
        MessageError: it is no JSON, or too large.

    """
    kind, version = kind_of(type(result))
    try:
        return Reply(kind, version, encode(result, f"the answer of {mailbox!r}"))
    except MessageError as error:
        msg = f"{error}; the turn has failed: return what JSON can hold"
        raise MessageError(msg) from error


def _held(ask: Asked, turns: Iterable[Link], workers: Callable[[str], int]) -> bool:
    """Say whether these turns hold the ask's actor, or every worker of its mailbox."""
    there = [link for link in turns if link.mailbox == ask.target]
    if ask.key is not None and any(link.key == ask.key for link in there):
        return True
    return len(there) >= workers(ask.target)


def _name(mailbox: str, key: str | None) -> str:
    return repr(mailbox) if key is None else f"{mailbox!r} key {key!r}"


def _path(chain: Iterable[Link]) -> str:
    return " -> ".join(_name(link.mailbox, link.key) for link in chain)
