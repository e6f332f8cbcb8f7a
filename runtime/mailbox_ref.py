"""A reference to a mailbox, or to one actor of a keyed one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar, Unpack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .options import ManyOptions, TellOptions
    from .sender import Sender

M_contra = TypeVar("M_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Receives(Protocol[M_contra, R_co]):
    """A worker class, to a type checker: what ``on_receive`` takes and returns."""

    def on_receive(self, message: M_contra, /) -> R_co:
        """Handle one message."""
        ...


class MailboxRef(Generic[M_contra, R_co]):
    """The verbs of a runtime without their first argument.

    Attributes:
        name: of the mailbox.
        key: of the actor, where the reference is to one; else None.

    """

    __slots__ = ("_sender", "key", "name")

    def __init__(self, sender: Sender, name: str, key: str | int | None = None) -> None:
        """Refer to a mailbox; ``rt.ref(...)`` and ``rt.mailbox(...)`` do this."""
        self._sender = sender
        self.name = name
        self.key = key

    def __repr__(self) -> str:
        """Show the name, and the key if there is one."""
        key = "" if self.key is None else f", key={self.key!r}"
        return f"MailboxRef({self.name!r}{key})"

    def tell(self, message: M_contra, **options: Unpack[TellOptions]) -> int:
        """Send a message durably; see :meth:`Runtime.tell`."""
        options.setdefault("key", self.key)
        return self._sender.tell(self.name, message, **options)

    def tell_many(self, messages: Iterable[M_contra], **options: Unpack[ManyOptions]) -> list[int]:
        """Send many in one transaction; see :meth:`Runtime.tell_many`."""
        options.setdefault("key", self.key)
        return self._sender.tell_many(self.name, messages, **options)

    async def tell_async(self, message: M_contra, **options: Unpack[TellOptions]) -> int:
        """Send a message durably from a coroutine; see :meth:`Runtime.tell_async`."""
        options.setdefault("key", self.key)
        return await self._sender.tell_async(self.name, message, **options)

    def ask(self, message: M_contra, *, key: str | int | None = None, timeout: float = 5.0) -> R_co:
        """Return what the handler of this message returns; see :meth:`Runtime.ask`."""
        found: R_co = self._sender.asking.ask(
            self.name, message, key=self.key if key is None else key, timeout=timeout
        )
        return found

    async def ask_async(
        self, message: M_contra, *, key: str | int | None = None, timeout: float = 5.0
    ) -> R_co:
        """Ask from a coroutine; see :meth:`Runtime.ask_async`."""
        found: R_co = await self._sender.asking.ask_async(
            self.name, message, key=self.key if key is None else key, timeout=timeout
        )
        return found

    def cancel(self, id: str | int) -> bool:
        """Remove a waiting message; see :meth:`Runtime.cancel`."""
        return self._sender.cancel(self.name, id)
