"""The desk that commands work on: one store, how results are shown, and who consents to changes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO

from ..errors import CallboardError, ConfigError, NotStarted, StoreError
from .render import Format, Said, each_line, render

if TYPE_CHECKING:
    from pathlib import Path

    from ..runtime.runtime import Runtime
    from .console import Console

#: The store that is meant when none is named.
STORE = "callboard.db"


class ReaderGone(Exception):
    """Who read the output has gone, as ``head`` does: nobody is left to tell."""


class Intended(Exception):
    """A dry run has come to where it would change something.

    Args:
        said: what would happen.

    """

    def __init__(self, said: Said) -> None:
        """Keep it."""
        super().__init__(said.text)
        self.said = said


class Problems(CallboardError):
    """A check has found what will not work; what it is has been shown."""


class Declined(CallboardError):
    """Somebody was asked, and said no."""


class Desk:
    """What commands work on: one store, through a client that is made when it is first needed.

    Args:
        store: as the user named it; None: not named.
        form: how results are shown.
        app: MODULE:ATTR of the Runtime whose code is at hand; None: no code.
        runtime: a Runtime that is there already; it is not stopped with the desk.

    Attributes:
        out: where results go; None: standard output as it is then.
        interactive: somebody sits at a terminal and can be asked.
        line: the command as it was typed.
        console: that runs its lines; None: a single command of the command line.

    """

    def __init__(
        self,
        store: str | None,
        form: Format,
        app: str | None = None,
        runtime: Runtime | None = None,
    ) -> None:
        """Open nothing, import nothing."""
        self.named = store
        self.form: Format = form
        self.app = app
        self.out: TextIO | None = None
        self.interactive = sys.stdin.isatty() and sys.stderr.isatty()
        self.line = ""
        self.console: Console | None = None
        self._runtime = runtime
        self._borrowed = runtime is not None
        self._yes = self._dry_run = False
        self._consent = contextlib.ExitStack()

    @property
    def rt(self) -> Runtime:
        """A client of the store; with ``-a`` the user's own Runtime, never started by us.

        Raises:
            ConfigError: both a store and a Runtime are named, or what is named is no Runtime.
            LookupError: there is no such module or name.
            StoreError: there is no such file; looking at a store never makes one.

        """
        if self._runtime is None:
            found = self._load() if self.app is not None else self._client()
            path = found._config.path  # noqa: SLF001  (the path as the runtime understands it)
            if not path.exists():
                msg = f"there is no store {path}: name one with -s, before the command"
                raise StoreError(msg)
            self._runtime = found
        return self._runtime

    def _load(self) -> Runtime:
        from .target import load

        if self.named is not None:
            msg = f"{self.app} says itself which store it uses: give -s or -a, not both"
            raise ConfigError(msg)
        return load(str(self.app))

    def _client(self) -> Runtime:
        from ..runtime.runtime import Runtime

        return Runtime(self.named or STORE)

    @property
    def path(self) -> Path:
        """Where the store is; raises as :attr:`rt` does."""
        return self.rt._config.path  # noqa: SLF001  (of the same package)

    @property
    def on_terminal(self) -> bool:
        """Results are shown on a terminal that can be cleared."""
        import os

        out = self.out or sys.stdout
        return out.isatty() and os.environ.get("TERM") not in (None, "", "dumb")

    @property
    def owner(self) -> int | None:
        """The process that owns the store; None: nobody does."""
        return self.rt._host.owner()  # noqa: SLF001  (of the same package)

    def need_owner(self, name: str) -> None:
        """Refuse a command that needs a running owner.

        Raises:
            NotStarted: nobody owns the store.

        """
        if self.owner is None:
            msg = f"{name} needs a running owner, and nobody owns {self.path}: start its service"
            raise NotStarted(msg)

    # --- changes -------------------------------------------------------------------------------

    def intend(self, what: str, *, count: int | None = None, danger: bool = False) -> None:
        """Say what is about to be changed, before it is; who does is noted with the change.

        Args:
            what: as an order: "discard 12 dead letters of 'mail'".
            count: how many things it changes.
            danger: it cannot be taken back: it is asked for on a terminal, and elsewhere refused
                without ``--yes``.

        Raises:
            Intended: this is a dry run.
            Declined: somebody said no.
            ConfigError: there is nobody to ask, and no ``--yes``.

        """
        if self._dry_run:
            fields: dict[str, Any] = {"would": what}
            if count is not None:
                fields["count"] = count
            raise Intended(Said(f"would {what}", fields))
        if danger and not self._yes:
            if not self.interactive:
                msg = f"this would {what}: say --yes, or --dry-run to see what it means"
                raise ConfigError(msg)
            if not self.ask(f"{what[:1].upper()}{what[1:]}?"):
                raise Declined("nothing is changed")
        self._consent.enter_context(self.rt.signing(self.line))

    def ask(self, question: str) -> bool:
        """Ask on the terminal; only y and yes consent, and the end of input does not."""
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201  (talk)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    @contextlib.contextmanager
    def consent(self, *, yes: bool, dry_run: bool) -> Iterator[None]:
        """Hold what the options of one command consent to, and note it when it has succeeded."""
        before = self._yes, self._dry_run, self._consent
        try:
            with contextlib.ExitStack() as consent:
                self._yes, self._dry_run, self._consent = yes, dry_run, consent
                yield
        finally:
            self._yes, self._dry_run, self._consent = before

    def sealed(self) -> contextlib.AbstractContextManager[None]:
        """Have nothing of this process write meanwhile, where the code of -a runs in it."""
        if self.app is None:
            return contextlib.nullcontext()
        from ..persistence.seal import sealed_everywhere

        return sealed_everywhere()

    # --- showing -------------------------------------------------------------------------------

    def show(self, result: Any) -> None:
        """Print a result; records of an iterator as they come."""
        if isinstance(result, Iterator):
            for number, record in enumerate(result):
                self._print(each_line(record, self.form, first=number == 0))
        else:
            self._print(render(result, self.form))

    def say(self, text: str) -> None:
        """Say something to who looks on, beside the result."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  (talk)

    def _print(self, text: str) -> None:
        if text:
            try:
                print(text, flush=True, file=self.out or sys.stdout)
            except BrokenPipeError:
                raise ReaderGone from None

    def close(self) -> None:
        """Close the store."""
        if self._runtime is not None and not self._borrowed:
            self._runtime.stop()
