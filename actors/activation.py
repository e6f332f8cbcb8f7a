"""An activation: the living object of one actor, with the last good bytes of its state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..persistence.store import Lineage, State

if TYPE_CHECKING:
    from ..persistence.store import Store
    from .worker import StateCodec, WorkerActor


class Activation(Lineage):
    """One actor in memory: of a key, or of a mailbox without keys.

    The object and the bytes stay until the last staged turn has committed.

    Attributes:
        object: the user's; None until it is built, and again after a crash.
        good: the state's bytes as last staged; what a failed handler did is undone with them.
        known: ``good`` is what the store holds or will hold; else it has to be read.
        clean: the object's state is what ``good`` says.
        pending: turns that are staged and not yet settled.
        touched: used since the last sweep.
        stale: the object is to be built anew before the next message.
        held: the state is being written by somebody else; nothing may be loaded.

    """

    __slots__ = ("clean", "good", "held", "key", "known", "object", "pending", "stale", "touched")

    def __init__(self, key: str | None) -> None:
        """Start without an object."""
        super().__init__()
        self.key = key
        self.object: WorkerActor | None = None
        self.good: bytes | None = None
        self.known = False
        self.clean = False
        self.pending = 0
        self.touched = True
        self.stale = False
        self.held = False

    def overturn(self) -> None:
        """Void every turn that was started on the present state, which has to be read again.

        In this order: a worker that sees the new generation sees as well that it has to read.
        """
        self.known = self.clean = False
        self.generation += 1

    def restore(self, worker: WorkerActor, codec: StateCodec, mailbox: int, store: Store) -> None:
        """Give the object the state that was last staged, or else is stored.

        Raises:
            MessageError: the stored state cannot be loaded by this code.
            StoreError: it cannot be read.

        """
        if self.known and self.good is not None:
            state = State(mailbox, self.key or "", codec.kind, codec.version, self.good)
            worker.state = codec.decode(state)
        else:
            stored = store.state(mailbox, self.key or "")
            worker.state = codec.fresh() if stored is None else codec.decode(stored)
            self.good = codec.encode(worker.state)
            self.known = True
        self.clean = True

    def changed(self, codec: StateCodec, mailbox: int) -> State | None:
        """Return the state to store if the handler changed it, which is seen by its bytes.

        Raises:
            MessageError: the state is no JSON, or too large.

        """
        body = codec.encode(self.object.state if self.object is not None else None)
        if body == self.good:
            return None
        self.good = body
        return State(mailbox, self.key or "", codec.kind, codec.version, body)
