"""What the demo counts, and every choice that its seed makes, decided before anything runs."""

from __future__ import annotations

import math
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

_NOT_SOURCE = {"__pycache__", "node_modules", "site-packages", "dist-packages"}
#: The most files that wait, all mailboxes together, before the posters pause.
_AHEAD = 240
_LARGEST_GROUP = 8
_LARGEST_BATCH = 40
#: Where fewer files than this lie between two kills, each file is made to take longer.
_ENOUGH = 60
_SEGMENT = 0.3
_LONGEST = 0.25


@dataclass(frozen=True, slots=True)
class File:
    """One file to count; also the message that asks for it.

    Attributes:
        package: its folder below the root, ``"."`` for the root itself.
        path: of the file, absolute.

    """

    package: str
    path: str


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL.

    Attributes:
        after: so many files must have been counted.
        delay: then so many seconds; for one while starting, that part of what a start takes.
        starting: it hits the process that is starting again after the kill before.

    """

    after: int
    delay: float
    starting: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is chosen.

    Attributes:
        seed: by which it is chosen again.
        files: all of them.
        client: groups that the second process posts, one transaction each.
        batches: what the owner posts, one turn each.
        kills: in order.
        ahead: how much may wait before the posters pause.
        linger: seconds that each file is made to take, so that the kills find work under way.

    """

    seed: int
    files: tuple[File, ...]
    client: tuple[tuple[File, ...], ...]
    batches: tuple[tuple[File, ...], ...]
    kills: tuple[Kill, ...]
    ahead: int
    linger: float


def find_files(root: Path) -> list[File]:
    """List the readable .py files below a folder, installed packages and hidden folders left out.

    Raises:
        ConfigError: it is no folder, or holds none.

    """
    root = root.resolve()
    if not root.is_dir():
        msg = f"{root} is no folder: give the folder whose .py files are to be counted"
        raise ConfigError(msg)
    found = []
    for where, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in _NOT_SOURCE and not f.startswith("."))
        package = Path(where).relative_to(root).as_posix()
        for name in sorted(names):
            path = os.path.join(where, name)  # noqa: PTH118  (thousands of them)
            if name.endswith(".py") and _countable(path):
                found.append(File(package, path))
    if not found:
        msg = f"{root} holds no .py file that can be read: give another folder"
        raise ConfigError(msg)
    return found


def make_plan(files: list[File], kills: int, seed: int) -> Plan:
    """Choose who posts which file, in what groups, and when to kill.

    Raises:
        ConfigError: a negative number of kills.

    """
    if kills < 0:
        msg = f"kills must not be negative, got {kills}"
        raise ConfigError(msg)
    dice = random.Random(seed)
    mixed = files.copy()
    dice.shuffle(mixed)
    half = len(mixed) // 2
    between = len(files) / (kills + 1)
    size = max(1, min(_LARGEST_BATCH, math.ceil((len(files) - half) / (2 * (kills + 1)))))
    return Plan(
        seed,
        tuple(files),
        _groups(mixed[:half], lambda: dice.choice((1, dice.randint(2, _LARGEST_GROUP)))),
        _groups(mixed[half:], lambda: size),
        _kills(dice, kills, len(files)),
        ahead=max(4, min(_AHEAD, len(files) // 4)),
        linger=0.0 if not kills or between >= _ENOUGH else min(_LONGEST, _SEGMENT / between),
    )


def _kills(dice: random.Random, kills: int, files: int) -> tuple[Kill, ...]:
    chosen: list[Kill] = []
    for number in range(kills):
        starting = bool(chosen) and not chosen[-1].starting and dice.random() < 0.25  # noqa: PLR2004
        after = int(0.9 * files * (number + dice.random()) / kills)
        delay = dice.random() if starting else dice.uniform(0.0, 0.02)
        chosen.append(Kill(after, delay, starting))
    return tuple(chosen)


def _groups(files: list[File], size: Callable[[], int]) -> tuple[tuple[File, ...], ...]:
    found, at = [], 0
    while at < len(files):
        take = size()
        found.append(tuple(files[at : at + take]))
        at += take
    return tuple(found)


def _countable(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False  # a message is JSON, and JSON is text
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113
