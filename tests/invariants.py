"""What must hold of a store after whatever happened to it: pure, told from files and rows.

``check`` compares what clients were told with what is in the store. It may be asked at any moment:
the clients' files are read first, then the store in one transaction.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

#: How the error of a dead letter begins that was running whenever its process was killed.
KILLED = "its process died"
SECOND = 1_000_000
#: What is written before the call: whether it was done is not known until the next line.
INTENTS = frozenset({"cancelling", "replacing"})


class Name(NamedTuple):
    """One message: where it was told, and its tag, unique there."""

    box: str
    tag: str

    def __str__(self) -> str:
        """Show both."""
        return f"{self.box} {self.tag}"


@dataclass(frozen=True, slots=True)
class Line:
    """What a client wrote down.

    Attributes:
        what: ``told``, ``refused``, ``cancelling``, ``cancelled``, ``stayed`` or ``replacing``.
        at: when, microseconds since 1970.
        number: that ``tell`` returned.
        due: not before this instant.
        fails: how often its handler is to fail.

    """

    what: str
    name: Name
    at: int
    number: int | None = None
    due: int | None = None
    fails: int = 0


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a handler wrote in its turn; ``row`` is the order of commits."""

    row: int
    name: Name
    number: int
    key: str | None
    began: int
    attempt: int
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """A message in the store; ``amount``: money on its way."""

    name: Name
    number: int
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Dead:
    """A dead letter."""

    name: Name
    number: int
    attempts: int
    error: str
    amount: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """A store at one instant.

    Attributes:
        balances: by account.
        levels: by mailbox: what the store counts, and what is there.
        integrity: SQLite's answer.
        ticked: every instant of the schedule up to here had its tick; None: not known.
        ran: how often a handler ran for a message; it may be more often than it had an effect.

    """

    effects: Sequence[Effect] = ()
    waiting: Sequence[Waiting] = ()
    dead: Sequence[Dead] = ()
    balances: dict[str, int] = field(default_factory=dict)
    levels: dict[str, tuple[int, int]] = field(default_factory=dict)
    integrity: str = "ok"
    ticked: int | None = None
    ran: Counter[Name] = field(default_factory=Counter)

    @property
    def left(self) -> tuple[Waiting | Dead, ...]:
        """What has had no effect yet."""
        return (*self.waiting, *self.dead)

    @property
    def all(self) -> tuple[Effect | Waiting | Dead, ...]:
        """Whatever has a fate."""
        return (*self.effects, *self.waiting, *self.dead)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the load declares.

    Attributes:
        ordered: mailboxes in strict order, of each key.
        flaky: the mailbox whose handlers fail, and how often each tag does.
        attempts: after so many failures a message is dead.
        ticks: the mailbox of the schedule.
        beat: microseconds between two ticks.
        accounts: the mailbox of the transfers.

    """

    ordered: tuple[str, ...] = ("notes", "line", "accounts")
    flaky: str = "flaky"
    attempts: int = 4
    ticks: str = "beat"
    beat: int = 3 * SECOND
    accounts: str = "accounts"


def check(lines: Iterable[Line], seen: Seen, rules: Rules = Rules()) -> list[str]:
    """Return every violation, a line each; none: all is well.

    Args:
        lines: of all clients.
        seen: the store, read after them.
        rules: what the load declares.

    """
    written = list(lines)
    found = [*_fates(written, seen), *_order(seen, rules), *_early(written, seen)]
    found += [*_money(seen, rules), *_ticks(seen, rules), *_attempts(written, seen, rules)]
    found += [*_levels(seen), *_runs(seen)]
    if seen.integrity != "ok":
        found.append(f"the file is damaged: {seen.integrity}")
    return found


def _fates(lines: Sequence[Line], seen: Seen) -> Iterator[str]:
    """Each message that was told has one fate; each that was refused or cancelled has none."""
    fates: Counter[Name] = Counter(each.name for each in seen.effects)
    for name, count in fates.items():
        if count > 1:
            yield f"doubled: {name} has {count} effects"
    for each in seen.left:
        if each.name in fates:
            yield f"doubled: {each.name} (number {each.number}) is there beside its other fate"
        fates[each.name] += 1
    numbers = {each.name: each.number for each in seen.all}
    unsure = {each.name for each in lines if each.what in INTENTS}
    for line in lines:
        if line.what == "told":
            if not fates[line.name] and line.name not in unsure:
                yield f"lost: {line.name} (number {line.number})"
            elif line.number is not None and numbers.get(line.name, line.number) != line.number:
                yield f"number: {line.name} was told as {line.number}, is {numbers[line.name]}"
        elif line.what in {"cancelled", "refused"} and fates[line.name]:
            yield f"ghost: {line.name} was {line.what}, and is there"


def _order(seen: Seen, rules: Rules) -> Iterator[str]:
    """Effects of one key stand in number order."""
    chains: dict[tuple[str, str | None], list[Effect]] = defaultdict(list)
    for each in sorted(seen.effects, key=lambda effect: effect.row):
        if each.name.box in rules.ordered:
            chains[each.name.box, each.key].append(each)
    for chain in chains.values():
        for one, two in pairwise(chain):
            if two.number < one.number:
                yield f"order: {two.name} ({two.number}) after {one.name} ({one.number})"


def _early(lines: Sequence[Line], seen: Seen) -> Iterator[str]:
    """Tell of future calls whose handler began before they were due."""
    due = {line.name: line.due for line in lines if line.what == "told" and line.due is not None}
    for each in seen.effects:
        early = due.get(each.name, each.began) - each.began
        if early > 0:
            yield f"early: {each.name} began {early} us before it was due"


def _money(seen: Seen, rules: Rules) -> Iterator[str]:
    """Money is in an account or on its way; each balance is the sum of its account's effects."""
    on_its_way = sum(each.amount for each in seen.left)
    total = sum(seen.balances.values()) + on_its_way
    if total:
        yield f"money: {total} {'made' if total > 0 else 'lost'} ({on_its_way} on its way)"
    sums: Counter[str] = Counter()
    for each in seen.effects:
        if each.name.box == rules.accounts:
            sums[each.key or ""] += each.amount
    for key in sorted({*sums, *seen.balances}):
        if sums[key] != seen.balances.get(key, 0):
            yield f"money: {key} holds {seen.balances.get(key, 0)}, its effects sum to {sums[key]}"


def _ticks(seen: Seen, rules: Rules) -> Iterator[str]:
    """Every instant of the schedule has one tick, handled, waiting or dead, without a gap."""
    told = [int(each.name.tag) for each in seen.all if each.name.box == rules.ticks]
    for one, two in pairwise(sorted(told)):
        if one == two:
            yield f"tick: {one} doubled"
        elif two - one != rules.beat:
            yield f"tick: {(two - one) // rules.beat - 1} missing between {one} and {two}"
    if seen.ticked is not None and max(told, default=seen.ticked) < seen.ticked - rules.beat:
        yield f"tick: none after {max(told)}, though an owner lived until {seen.ticked}"


def _attempts(lines: Sequence[Line], seen: Seen, rules: Rules) -> Iterator[str]:
    """Tell of wrong attempts: a kill is none, only a handler that raised counts."""
    expects = {line.name: line.fails + 1 for line in lines if line.what == "told"}
    for each in seen.effects:
        sure = 1 if each.name.box != rules.flaky else each.attempt  # what nobody wrote down
        expected = expects.get(each.name, sure)
        if each.attempt != expected:
            yield f"attempts: {each.name} handled in attempt {each.attempt}, not {expected}"
    for letter in seen.dead:
        if letter.error.startswith(KILLED):
            continue
        if letter.name.box != rules.flaky:
            yield f"dead: {letter.name} of itself: {letter.error}"
        elif letter.attempts != rules.attempts:
            yield f"attempts: {letter.name} dead after {letter.attempts}, not {rules.attempts}"


def _levels(seen: Seen) -> Iterator[str]:
    """Compare the counter of each mailbox with a capacity with what is there."""
    for box, (counted, there) in seen.levels.items():
        if counted != there:
            yield f"level: {box} counts {counted}, {there} are there"


def _runs(seen: Seen) -> Iterator[str]:
    """No effect without a run."""
    for each in seen.effects:
        if seen.ran and not seen.ran[each.name]:
            yield f"run: {each.name} has an effect, and no handler ran"


# --- over time -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reign:
    """How long a process owned the store: monotonic seconds; ``until`` None: it still does."""

    owner: str
    since: float
    until: float | None = None
    lost: bool = False


def check_reigns(reigns: Iterable[Reign]) -> list[str]:
    """Return where two owned the store at once, or one lost it without being ended."""
    ordered = sorted(reigns, key=lambda reign: reign.since)
    found = [f"owners: {each.owner} lost the store while it lived" for each in ordered if each.lost]
    for one, two in pairwise(ordered):
        if one.until is None or two.since < one.until:
            found.append(f"owners: {two.owner} began while {one.owner} owned the store")
    return found


def check_waits(waits: Sequence[float], median: float, worst: float) -> list[str]:
    """Return whether messages that were told to a quiet owner waited too long, in seconds."""
    ordered = sorted(waits)
    found = []
    if ordered and ordered[len(ordered) // 2] > median:
        found.append(
            f"wake-up: half of {len(ordered)} messages waited {ordered[len(ordered) // 2]:.3f} s "
            f"and more beside a quiet owner, not {median:g} s"
        )
    if ordered and ordered[-1] > worst:
        found.append(f"wake-up: a message waited {ordered[-1]:.3f} s, not {worst:g} s")
    return found
