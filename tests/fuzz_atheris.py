"""Fuzzing that coverage leads: ``make fuzz BACKEND=atheris``, after ``pip install atheris``.

The targets are those of fuzz.py; atheris chooses the bytes of which hypothesis makes an input, by
what of callboard they reach. It is no part of the development tools, as it is made for few Pythons.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import subprocess
import sys
import tempfile
from typing import Any

from hypothesis import HealthCheck, given, settings

#: Those that need no running owner are reached a hundred times as often.
NAMES = ("bodies", "expressions", "names", "frames")


def one(name: str, seconds: int, first: int) -> None:
    """Fuzz one target for so long; the process ends with it, as libFuzzer has it."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["callboard"]):
        from . import fuzz
    logging.disable()
    target = fuzz.TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        ground = fuzz.Ground(folder)
        run = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))(
            given(target.inputs)(lambda value: fuzz.keeping(name, ground, value))
        )
        options = [sys.argv[0], f"-max_total_time={seconds}", f"-seed={first}", "-verbosity=0",
                   "-print_final_stats=1", f"-artifact_prefix={folder}/"]  # fmt: skip
        atheris.Setup(options, run.hypothesis.fuzz_one_input)  # type: ignore[attr-defined]
        atheris.Fuzz()


def main(minutes: float, first: int) -> int:
    """Fuzz the targets one after the other, each in a process of its own."""
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install atheris")  # noqa: T201
        return 2
    seconds, failed = max(1, round(60 * minutes / len(NAMES))), 0
    for name in NAMES:
        print(f"atheris: {name} for {seconds} s, seed {first}", flush=True)  # noqa: T201
        command = [sys.executable, "-m", "tests.fuzz_atheris", name, str(seconds), str(first)]
        failed += subprocess.run(command, check=False).returncode != 0
    print(f"atheris: {failed} of {len(NAMES)} targets failed")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    if sys.argv[1] in NAMES:
        one(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
    sys.exit(main(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
