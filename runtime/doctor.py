"""The doctor: examines a store, with the code at hand, and changes nothing."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from ..errors import StoreError
from ..persistence.companion import Companion
from ..persistence.sqlite_check import Reading, Unreadable
from .checks_code import check_code, check_mailboxes, check_schedules
from .checks_content import Ahead, Judge, check_dead, check_messages, check_states
from .checks_machine import (
    check_file_system,
    check_log,
    check_modes,
    check_space,
    check_sqlite,
    look,
)
from .checks_store import (
    check_integrity,
    check_levels,
    check_numbers,
    check_orphans,
    check_schema,
)
from .ownership import Ownership
from .records import Finding

if TYPE_CHECKING:
    from collections.abc import Callable

    from .config import Config
    from .registry import Registry
    from .schedules import Schedules


def examine(config: Config, registry: Registry, schedules: Schedules) -> list[Finding]:
    """See Runtime.doctor."""
    path = config.path
    if not path.exists():
        msg = f"there is no store {path}: a start makes it, looking never does"
        raise StoreError(msg)
    place = look(path, Companion(path))
    return [
        check_sqlite(),
        check_file_system(place, network_ok=config.network_ok),
        check_space(place),
        *check_modes(place, os.geteuid()),
        check_log(place),
        _owner(Companion(path)),
        check_code(registry.specs, schedules),
        *_inside(config, registry, schedules),
    ]


def _owner(companion: Companion) -> Finding:
    pid = Ownership(companion.owner).owner()
    return Finding("ok", "owner", "nobody owns it now" if pid is None else f"process {pid} owns it")


def _inside(config: Config, registry: Registry, schedules: Schedules) -> list[Finding]:
    """Read the store; again, if it was opened by others while it was read as a resting file."""
    with Reading(config.path) as reading:
        found = _read(reading, config, registry, schedules)
        if not reading.disturbed:
            return found
    with Reading(config.path, still=False) as reading:
        return _read(reading, config, registry, schedules)


def _read(
    reading: Reading, config: Config, registry: Registry, schedules: Schedules
) -> list[Finding]:
    try:
        schema = reading.schema()
    except Unreadable as error:
        return [_unreadable("schema", error)]
    found = [check_schema(schema), *_safely("integrity", partial(check_integrity, reading))]
    if schema is None:
        return found
    found += _safely("numbers", partial(check_numbers, reading))
    found += _safely("orphans", partial(check_orphans, reading))
    found += _safely("levels", partial(check_levels, reading))
    found += _safely("schedules", partial(_schedules, reading, registry, schedules))
    return found + _safely("content", partial(_content, reading, config, registry))


def _schedules(reading: Reading, registry: Registry, schedules: Schedules) -> list[Finding]:
    known = registry.specs or {row.name for row in reading.mailboxes()}
    return check_schedules(reading.schedules(), schedules.specs, known, code=bool(registry.specs))


def _content(reading: Reading, config: Config, registry: Registry) -> list[Finding]:
    rows = reading.mailboxes()
    judge, ahead = Judge(rows, registry.specs), Ahead(config.clock)
    found = check_mailboxes(rows, reading.held(), registry.specs)
    found += _safely("messages", lambda: check_messages(reading.messages(), judge, ahead))
    found += _safely("dead", lambda: check_dead(reading.dead(), judge, ahead))
    found += _safely("states", lambda: check_states(reading.states(), judge))
    return [*found, ahead.finding()]


def _safely(check: str, examined: Callable[[], list[Finding]]) -> list[Finding]:
    """Go on with the other checks where a damaged file lets one read no further."""
    try:
        return examined()
    except Unreadable as error:
        return [_unreadable(check, error)]


def _unreadable(check: str, error: Exception) -> Finding:
    return Finding(
        "error", check, f"it cannot be read: {' '.join(str(error).split())}",
        "keep a copy of all files of the store, and go back to a backup",
    )  # fmt: skip
