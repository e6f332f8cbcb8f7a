"""What this process declares, and what the store knows of the rest."""

from __future__ import annotations

import itertools
import sys
import threading
from typing import TYPE_CHECKING, Any

from ..actors.limits import Limits
from ..actors.mail import MailboxSpec
from ..actors.messages import short
from ..actors.retry import RetryPolicy
from ..actors.supervisor import STRATEGIES, SupervisorSpec
from ..actors.topics import matches
from ..actors.worker import behaviour
from ..clock import SECOND, duration
from ..errors import ConfigError, MailboxNotFound
from ..persistence.store import Declaration
from .mailbox_ref import MailboxRef
from .supervisor_ref import SupervisorRef

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..persistence.store import MailboxRow, Store

_LONGEST_NAME = 200


class Registry:
    """Declared mailboxes by name and by worker, and the store's rows of them.

    Args:
        store: asked for mailboxes that only another process declares.

    """

    def __init__(self, store: Store) -> None:
        """Start with nothing declared."""
        self._store = store
        self._lock = threading.Lock()
        self.specs: dict[str, MailboxSpec] = {}
        self.supervisors: dict[str, SupervisorSpec] = {}
        self._index = itertools.count()
        self._workers: dict[Any, str] = {}
        self._rows: dict[str, MailboxRow] = {}
        # What the store's declarations subscribe to, as of a change counter.
        self._stored: dict[str, tuple[str, ...]] = {}
        self._changes = -1

    def declare(
        self,
        name: str,
        worker: Any,
        *,
        workers: int,
        keyed: bool | Callable[[Any], Any],
        retry: RetryPolicy,
        timeout: float | None,
        limits: Limits = Limits(),
        supervisor: SupervisorRef | str | None = None,
        scope: Mapping[str, Any],
    ) -> MailboxSpec:
        """Check a declaration and keep it.

        Raises:
            ConfigError: it cannot work, or the name is taken by another worker.

        """
        check_name(name)
        if not isinstance(workers, int) or isinstance(workers, bool) or workers < 1:
            msg = f"mailbox {name!r}: workers must be a number from 1, got {workers!r}"
            raise ConfigError(msg)
        if not isinstance(retry, RetryPolicy):
            msg = f"mailbox {name!r}: retry must be a RetryPolicy, got {retry!r}"
            raise ConfigError(msg)
        if not (isinstance(keyed, bool) or callable(keyed)):
            msg = f"mailbox {name!r}: keyed is True or a function of the message, got {keyed!r}"
            raise ConfigError(msg)
        seconds = None if timeout is None else _positive(timeout, f"mailbox {name!r}", "timeout")
        found = behaviour(worker, name, scope)
        is_keyed = bool(keyed)
        if found.state is not None and not is_keyed and workers != 1:
            msg = (
                f"mailbox {name!r}: {found.name} has state, so {workers} workers would each have "
                "their own: make it keyed=True, or workers=1"
            )
            raise ConfigError(msg)
        spec = MailboxSpec(
            name=name, worker=worker, behaviour=found, workers=workers, keyed=is_keyed,
            key=keyed if callable(keyed) else None, retry=retry,
            order=retry.order or ("block" if is_keyed else "aside"), timeout=seconds,
            limits=limits,
            supervisor=self._supervisor(supervisor, f"mailbox {name!r}"), index=next(self._index),
        )  # fmt: skip
        with self._lock:
            if name in self.specs:
                msg = f"mailbox {name!r} is declared already: choose another name"
                raise ConfigError(msg)
            self.specs[name] = spec
            self._workers.setdefault(worker, name)
            self._rows.pop(name, None)
        return spec

    def supervise(
        self,
        name: str,
        *,
        strategy: str,
        intensity: int,
        period: float,
        parent: SupervisorRef | str | None,
    ) -> SupervisorSpec:
        """Check a supervisor's declaration and keep it.

        Raises:
            ConfigError: it cannot work, or the name is taken.

        """
        what = f"supervisor {name!r}"
        check_name(name, "supervisor")
        if strategy not in STRATEGIES:
            msg = f"{what}: strategy must be one of {', '.join(STRATEGIES)}, got {strategy!r}"
            raise ConfigError(msg)
        if not isinstance(intensity, int) or isinstance(intensity, bool) or intensity < 0:
            msg = f"{what}: intensity must be a number of restarts from 0, got {intensity!r}"
            raise ConfigError(msg)
        spec = SupervisorSpec(
            name, strategy, intensity, _positive(period, what, "period"),
            self._supervisor(parent, what), next(self._index),
        )  # fmt: skip
        with self._lock:
            if name in self.supervisors:
                msg = f"{what} is declared already: choose another name"
                raise ConfigError(msg)
            self.supervisors[name] = spec
        return spec

    def above(self, name: str | None) -> tuple[str, ...]:
        """Return the names of a supervisor and of those above it, the uppermost first."""
        found: tuple[str, ...] = ()
        while name is not None:
            found = (name, *found)
            name = self.supervisors[name].parent
        return found

    def _supervisor(self, given: SupervisorRef | str | None, what: str) -> str | None:
        name = given.name if isinstance(given, SupervisorRef) else given
        if name is not None and name not in self.supervisors:
            msg = f"{what}: no supervisor {name!r} is declared: rt.supervisor({name!r}) comes first"
            raise ConfigError(msg)
        return name

    def name_of(self, mailbox: Any) -> str:
        """Return the name that a name, a reference or a declared worker stands for."""
        if isinstance(mailbox, str):
            return mailbox
        if isinstance(mailbox, MailboxRef):
            return mailbox.name
        try:
            name = self._workers.get(mailbox)
        except TypeError:
            name = None
        if name is None:
            shown = getattr(mailbox, "__name__", repr(mailbox))
            raise MailboxNotFound(shown, self.specs)
        return name

    def has_row(self, name: str) -> bool:
        """Say whether :meth:`row` answers without asking the store."""
        return name in self._rows

    def row(self, name: str) -> MailboxRow:
        """Return the store's row of a mailbox; one that is not there is made of the declaration.

        Raises:
            MailboxNotFound: neither this process nor the store knows the name.

        """
        found = self._rows.get(name)
        if found is not None:
            return found
        rows = {row.name: row for row in self._store.mailboxes()}
        stored, spec = rows.get(name), self.specs.get(name)
        # What is there is the owner's word: a process of another version must not write over it,
        # and who tells on a connection of its own may hold the write lock: it waits for itself.
        if stored is None and spec is not None:
            return self.store(spec)
        if stored is None:
            raise MailboxNotFound(name, [*self.specs, *rows])
        self._rows[name] = stored
        return stored

    def subscribers(self, topic: str) -> list[str]:
        """Return the mailboxes that subscribe to a topic, here or in the store, by name."""
        changes = self._store.heartbeat()[2]
        if changes != self._changes:
            self._stored = {row.name: row.declaration.topics for row in self._store.mailboxes()}
            self._changes = changes
        with self._lock:
            own = {name: spec.limits.topics for name, spec in self.specs.items()}
        known = {**self._stored, **own}
        return sorted(
            name for name, patterns in known.items() if any(matches(p, topic) for p in patterns)
        )

    def know_all(self) -> None:
        """Make the rows that are not there, before anybody sends.

        Who sends on a connection of its own holds the write lock by then (see :meth:`row`).
        """
        there = {row.name for row in self._store.mailboxes()}
        for name in [each for each in list(self.specs) if each not in there]:
            self.row(name)

    def store(self, spec: MailboxSpec) -> MailboxRow:
        """Store one declaration over what is there; returns its row."""
        row = self._store.declare([declaration(spec, self.above(spec.supervisor))])[0]
        self._rows[row.name] = row
        return row

    def store_all(self) -> list[tuple[MailboxSpec, MailboxRow]]:
        """Store every declaration; returns each with its row."""
        specs = list(self.specs.values())
        rows = self._store.declare([declaration(s, self.above(s.supervisor)) for s in specs])
        for row in rows:
            self._rows[row.name] = row
        return list(zip(specs, rows, strict=True))

    def forget_rows(self) -> None:
        """Ask the store again: it may be another one."""
        self._rows.clear()
        self._changes = -1


def caller_scope(depth: int) -> Mapping[str, Any]:
    """Return the local names of the function that declares, for annotations of local classes."""
    return sys._getframe(depth).f_locals  # noqa: SLF001  (the two are one piece)


def check_name(name: str, of: str = "mailbox") -> None:
    """Refuse what cannot be a mailbox's name, or a supervisor's."""
    if not isinstance(name, str) or not name or len(name) > _LONGEST_NAME:
        msg = f"a {of}'s name is a text of 1 to {_LONGEST_NAME} characters, got {short(name)}"
        raise ConfigError(msg)
    if not name.isprintable():
        msg = f"a {of}'s name must be printable, got {short(name)}"
        raise ConfigError(msg)


def _positive(value: float, what: str, option: str) -> float:
    try:
        seconds = duration(value) / SECOND
    except ValueError as error:
        msg = f"{what}: {option}: {error}"
        raise ConfigError(msg) from error
    if seconds <= 0:
        msg = f"{what}: {option} must be positive, got {value!r}"
        raise ConfigError(msg)
    return seconds


def declaration(spec: MailboxSpec, above: tuple[str, ...] = ()) -> Declaration:
    """Return what the store keeps of a declared mailbox, and by whom it is supervised."""
    accepts = spec.behaviour.accepts
    return Declaration(
        spec.name, workers=spec.workers, keyed=spec.keyed, kinds=accepts.kinds,
        versions=accepts.versions, topics=spec.limits.topics, capacity=spec.limits.capacity,
        overflow=spec.limits.overflow, retain=spec.limits.retain, supervisors=above,
        fields=accepts.fields,
    )  # fmt: skip
