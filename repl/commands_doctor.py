"""The command that examines a store: it only shows what the checks have found."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .registry import Desk, Problems, command
from .render import Listing, Said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..runtime.records import Finding


@command
def doctor(desk: Desk) -> None:
    """Examine a store before a deploy, and change nothing: with -a, whether your code loads it all.

    Exit code 6 when there is an error; warnings and notes alone are exit code 0.
    """
    found = desk.rt.doctor()
    desk.show(Said(_page(found)) if desk.form == "table" else Listing(found, ""))
    errors = sum(each.severity == "error" for each in found)
    if errors:
        count, whose = (f"{errors} errors", "their lines say") if errors > 1 else (
            "1 error", "its line says")  # fmt: skip
        msg = f"the doctor found {count}: {whose} what to do"
        raise Problems(msg)


def _page(found: Sequence[Finding]) -> str:
    """Lay findings out for people: a line each, its advice below."""
    lines = []
    for each in found:
        lines.append(f"{each.severity:<8} {each.check:<11}  {each.text}")
        if each.advice:
            lines.append(f"{'':<20}  -> {each.advice}")
    return "\n".join(
        "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
        for line in lines
    )
