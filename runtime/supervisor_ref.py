"""What ``rt.supervisor(...)`` returns."""

from __future__ import annotations


class SupervisorRef:
    """A declared supervisor: ``supervisor=`` of a mailbox, or ``parent=`` of another supervisor.

    Attributes:
        name: of it.

    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """Refer to a supervisor; ``rt.supervisor(...)`` does this."""
        self.name = name

    def __repr__(self) -> str:
        """Show the name."""
        return f"SupervisorRef({self.name!r})"
