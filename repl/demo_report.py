"""The demo's end: every total of every package against the plain count, and what is printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from .demo_count import MEASURES, Count
from .render import Said, columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .demo_app import Overview, Package

#: The most differences that the tables show; the fields have them all.
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Comparison:
    """What callboard counted beside the plain count.

    Attributes:
        rows: (what, by callboard, plain).
        differences: each total that is not equal, as a sentence.
        lost: files that were not counted.
        twice: how often files were counted once more.

    """

    rows: list[tuple[str, int, int]]
    differences: list[str]
    lost: int
    twice: int

    @property
    def equal(self) -> bool:
        """Every total is equal and every file was counted exactly once."""
        return not (self.differences or self.lost or self.twice)


@dataclass
class Figures:
    """How the run went.

    Attributes:
        told: files told by the client process, and by the owner's own turns.
        handled: messages handled, in all mailboxes.
        kills: survived, of them while starting, and wanted.
        requeued: messages that were running at three kills, and were given back.
        reports: interim reports of the one future call.
        seconds: from the first file told to the last message handled.
        down: of these, seconds during which no owner was at work.
        recoveries: seconds from a kill until the next process runs a message.

    """

    seed: int
    told_by_client: int = 0
    told_by_owner: int = 0
    handled: int = 0
    kills: int = 0
    kills_starting: int = 0
    kills_wanted: int = 0
    requeued: int = 0
    reports: int = 0
    seconds: float = 0.0
    down: float = 0.0
    recoveries: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Messages a second while an owner was at work."""
        return self.handled / max(0.001, self.seconds - self.down)

    @property
    def rate_overall(self) -> float:
        """Messages a second, restarts included."""
        return self.handled / max(0.001, self.seconds)


def compare(
    plain: Mapping[str, Count], found: Mapping[str, Package], overview: Overview
) -> Comparison:
    """Compare every total of every package, file by file, and the overview with their sum."""
    differences, lost, twice = [], 0, 0
    for name in sorted({*plain, *found}):
        wanted, got = plain.get(name, Count()), found.get(name, Count())
        for file in sorted({*wanted.files, *got.files}):
            times, due = got.files.get(file, 0), wanted.files.get(file, 0)
            lost += max(0, due - times)
            twice += max(0, times - due)
            if times != due:
                differences.append(f"{name}/{file} was counted {times} times, not {due}")
        differences += [
            f"package {name}: {have:,} {each}, the plain count {due:,}"
            for each in MEASURES
            if (have := getattr(got, each)) != (due := getattr(wanted, each))
        ]
    files = sum(sum(each.files.values()) for each in plain.values())
    rows = [("packages", len(found), len(plain)),
            ("files", sum(sum(each.files.values()) for each in found.values()), files)]  # fmt: skip
    rows += [(each, _sum(found, each), _sum(plain, each)) for each in MEASURES]
    if overview.files != files:
        differences.append(f"overview: {overview.files:,} files, the plain count {files:,}")
    differences += [
        f"overview: {have:,} {each}, the plain count {due:,}"
        for each in MEASURES
        if (have := getattr(overview, each)) != (due := _sum(plain, each))
    ]
    return Comparison(rows, differences, lost, twice)


def report(comparison: Comparison, figures: Figures) -> Said:
    """Return the result: two tables for people, fields for programs."""
    rows = [(name, f"{got:,}", f"{plain:,}", "equal" if got == plain else "DIFFERENT")
            for name, got, plain in comparison.rows]  # fmt: skip
    width = max(len(row[1]) for row in rows)
    rows = [(name, got.rjust(width), plain.rjust(width), same) for name, got, plain, same in rows]
    tables = [
        columns(rows, ["", "callboard", "plain count", ""]),
        columns(_summary(comparison, figures)),
    ]
    return Said("\n\n".join([*tables, _verdict(comparison)]), _fields(comparison, figures))


def _verdict(comparison: Comparison) -> str:
    if comparison.equal:
        return "Every total of every package is equal; every file was counted exactly once."
    more = len(comparison.differences) - _SHOWN
    rest = [f"... and {more:,} more"] if more > 0 else []
    return "\n".join([*comparison.differences[:_SHOWN], *rest])


def _summary(comparison: Comparison, figures: Figures) -> list[tuple[str, str]]:
    client, owner = figures.told_by_client, figures.told_by_owner
    told = (
        f"{client + owner:,} files: {client:,} by a client process, {owner:,} by the owner's turns"
    )
    starting = f", {figures.kills_starting} while starting" if figures.kills_starting else ""
    rate = f"{figures.rate:,.0f} at work, {figures.rate_overall:,.0f} with the restarts"
    rows = [
        ("told", told),
        ("handled", f"{figures.handled:,} messages"),
        ("kills survived", f"{figures.kills} of {figures.kills_wanted}{starting}"),
        ("lost", f"{comparison.lost:,}"),
        ("counted twice", f"{comparison.twice:,}"),
        ("messages a second", rate),
    ]
    if figures.recoveries:
        middle, most = median(figures.recoveries), max(figures.recoveries)
        took = f"{middle:.2f} s median, {most:.2f} s at most, from kill to next message"
        rows.append(("recovery time", took))
    rows.append(("interim reports", f"{figures.reports:,}, by one future call"))
    if figures.requeued:
        rows.append(("given back", f"{figures.requeued:,} dead letters that ran at three kills"))
    return rows


def _fields(comparison: Comparison, figures: Figures) -> dict[str, Any]:
    return {
        "equal": comparison.equal,
        "totals": {name: {"callboard": got, "plain": plain}
                   for name, got, plain in comparison.rows},
        "told": figures.told_by_client + figures.told_by_owner,
        "told_by_client": figures.told_by_client,
        "handled": figures.handled,
        "kills": figures.kills,
        "kills_while_starting": figures.kills_starting,
        "lost": comparison.lost,
        "counted_twice": comparison.twice,
        "messages_a_second": round(figures.rate),
        "messages_a_second_with_restarts": round(figures.rate_overall),
        "recovery_median": round(median(figures.recoveries), 3) if figures.recoveries else None,
        "recovery_most": round(max(figures.recoveries), 3) if figures.recoveries else None,
        "reports": figures.reports,
        "given_back": figures.requeued,
        "seconds": round(figures.seconds, 3),
        "seed": figures.seed,
        "differences": comparison.differences,
    }  # fmt: skip


def _sum(packages: Mapping[str, Count] | Mapping[str, Package], measure: str) -> int:
    return sum(getattr(each, measure) for each in packages.values())
