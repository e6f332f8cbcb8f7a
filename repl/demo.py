"""``callboard demo``: a service counts real source files and is killed again and again meanwhile.

This is the parent. It starts the service and a second process that posts files, kills the service
as the plan says, starts it again, and in the end compares every total with a plain count.
"""

from __future__ import annotations

import random
import signal
import sysconfig
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .demo_bar import Bar
from .demo_count import count
from .demo_plan import Plan, find_files, make_plan
from .demo_report import compare, report
from .demo_run import DemoFailed, Run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_SEEDS = 1_000_000


def run_demo(
    show: Callable[[object], None],
    *,
    folder: Path | None = None,
    kills: int = 5,
    store: Path | None = None,
    seed: int | None = None,
) -> None:
    """Run the demo and show its result.

    Args:
        show: prints the result.
        folder: whose files are counted; default: the standard library.
        kills: how often the service is killed.
        store: where its store is kept; None: a temporary folder.
        seed: of all choices.

    Raises:
        ConfigError: an option cannot work.
        DemoFailed: a total is not equal, or the run did not come to its end.

    """
    root = (folder or Path(sysconfig.get_path("stdlib"))).resolve()
    chosen = random.randrange(_SEEDS) if seed is None else seed
    plan = make_plan(find_files(root), kills, chosen)
    if store is not None and store.exists():
        msg = f"{store} exists: the demo counts into a new store, name another one"
        raise ConfigError(msg)
    bar = Bar()
    with _ended_by_sigterm(), tempfile.TemporaryDirectory(prefix="callboard-demo-") as work:
        _introduce(bar, root, plan)
        before = _stamps(plan)
        run = Run(plan, store or Path(work) / "demo.db", Path(work), bar)
        figures = run.drive()
        found, overview = run.collect()
        comparison = compare(count(plan.files), found, overview)
        changed = _stamps(plan) != before
    show(report(comparison, figures))
    _judge(comparison.equal, changed, len(comparison.differences), run)


def _judge(equal: bool, changed: bool, differences: int, run: Run) -> None:  # noqa: FBT001
    if changed and not equal:
        msg = "files were changed while they were counted: run the demo again"
        raise DemoFailed(msg)
    if not equal:
        msg = f"{differences} totals are not equal; again: callboard demo --seed {run.plan.seed}"
        raise DemoFailed(msg)
    if run.figures.kills < run.figures.kills_wanted:
        msg = (
            f"the work ended before kill {run.figures.kills + 1} of {run.figures.kills_wanted}: "
            "count a larger folder, or kill less often"
        )
        raise DemoFailed(msg)


def _introduce(bar: Bar, root: Path, plan: Plan) -> None:
    bar.say(
        f"counting {len(plan.files):,} files of {root}, killing the service "
        f"{len(plan.kills)} times; seed {plan.seed}"
    )
    if plan.linger:
        bar.say(
            f"each file is made to take {plan.linger * 1000:.0f} ms, so that every kill finds work "
            "under way"
        )


def _stamps(plan: Plan) -> list[tuple[int, int]]:
    """Return size and time of change of each file; a file that is gone has none."""
    found = []
    for each in plan.files:
        try:
            status = Path(each.path).stat()
        except OSError:
            found.append((-1, -1))
        else:
            found.append((status.st_size, status.st_mtime_ns))
    return found


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that children and temporary files are cleaned away."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    old = signal.signal(signal.SIGTERM, on_signal)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, old)
