"""The commands: one function each, whose docstring is its help and whose signature is its syntax.

A function takes the desk first and returns what :mod:`.render` can show; it prints nothing. Those
that look are in commands_looking.py, those that change something in commands_acting.py; here is
what is no matter of one store.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import ConfigError
from . import commands_looking as commands_looking  # noqa: PLC0414  (registers them)

# isort: split
from . import commands_rehearse as commands_rehearse  # noqa: PLC0414  (after them in the help)

# isort: split
from . import commands_live as commands_live  # noqa: PLC0414  (after them in the help)

# isort: split
from . import commands_acting as commands_acting  # noqa: PLC0414  (after them in the help)

# isort: split
from . import commands_dead as commands_dead  # noqa: PLC0414  (after them in the help)
from .registry import Desk, command


@command(outer=True)
def demo(
    desk: Desk,
    *,
    dir: Path | None = None,  # noqa: A002  (the option's name)
    kills: int = 5,
    store: Path | None = None,
    seed: int | None = None,
) -> None:
    """Count real source files while the counting service is killed again and again.

    Four workers measure each file and tell the actor of its package; a second process posts half of
    the files; the service is killed with SIGKILL at random moments. In the end every total is
    compared with a plain count of the same files: exit code 0 only if all are equal.

    Args:
        dir: whose .py files are counted; default: the standard library.
        kills: how often the service is killed.
        store: keep the store here; default: a temporary one.
        seed: make the same choices again; each run prints its seed.

    """
    from .demo import run_demo

    if desk.app is not None:
        msg = "demo runs a service of its own: run it without -a"
        raise ConfigError(msg)
    if store is None and desk.named is not None:
        store = Path(desk.named)
    run_demo(desk.show, folder=dir, kills=kills, store=store, seed=seed)


@command(outer=True)
def run(desk: Desk, target: str) -> None:
    """Run a Runtime of your code until Ctrl-C or SIGTERM; its log goes to stderr.

    Args:
        target: MODULE:ATTR, such as app:rt; modules are found from this folder too.

    """
    import logging

    from .target import load

    if desk.named is not None:
        msg = f"{target} says itself which store it uses: run it without -s"
        raise ConfigError(msg)
    if desk.app is not None:
        msg = f"run names its Runtime itself: callboard run {target}, without -a"
        raise ConfigError(msg)
    runtime = load(target)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    runtime.run()
