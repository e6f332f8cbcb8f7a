"""Commands that find out what a message would do, in a turn that is always rolled back."""

from __future__ import annotations

import difflib
from dataclasses import asdict
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigError
from .desk import Declined
from .ids import number
from .plain import spoken
from .registry import Desk, Field, Id, Key, Mailbox, command
from .render import Said

if TYPE_CHECKING:
    from ..runtime.records import EffectInfo, Simulation


@command
def simulate(
    desk: Desk,
    mailbox: Mailbox,
    *message: Field,
    key: Key | None = None,
    timeout: float = 10.0,
    yes: bool = False,
) -> Said:
    """Run a handler in a turn that is always rolled back, and show what it would have done.

    It shows the state before and after, and what would have been told, cancelled and executed. It
    runs in the owner, beside what happens there; with callboard -a MODULE:ATTR in this process, on
    the code that is here. The store is not changed; what the handler does outside it does happen.

    Args:
        mailbox: its name.
        message: JSON, or its fields: item=nut count=3.
        key: of which actor, in a keyed mailbox.
        timeout: seconds for the handler.
        yes: do not ask.

    """
    value = spoken(desk.rt, mailbox, message)
    _consent(desk, f"the handler of {mailbox!r}", yes=yes)
    with desk.sealed():
        return _said(desk.rt.simulate(mailbox, value, key=key, timeout=timeout))


@command
def replay(desk: Desk, id: Id, *, timeout: float = 10.0, yes: bool = False) -> Said:
    """Simulate a dead letter again, or a message that is kept or waits; see simulate.

    Args:
        id: its number.
        timeout: seconds for the handler.
        yes: do not ask.

    """
    wanted = number(id)
    _consent(desk, f"the handler of message {wanted}", yes=yes)
    with desk.sealed():
        return _said(desk.rt.replay(wanted, timeout=timeout))


def _consent(desk: Desk, whose: str, *, yes: bool) -> None:
    """Say first that what is outside the store is not rolled back."""
    warning = f"{whose} runs for real: nothing is stored, but what it does elsewhere does happen"
    if yes:
        return
    if not desk.interactive:
        msg = f"{warning}; say --yes"
        raise ConfigError(msg)
    desk.say(warning)
    if not desk.ask("Run it?"):
        raise Declined("nothing was run")


def _said(found: Simulation) -> Said:
    fields = asdict(found)
    diff = _diff(found)
    fields["diff"] = diff
    lines = [f"{found.outcome}; it took {found.took:.3f} s, and nothing is stored"]
    if found.traceback:
        lines.append(found.traceback.rstrip())
    if found.before is not None or found.after is not None:
        lines += diff or ["the state stays as it is"]
    if found.result is not None:
        lines.append(f"returns {_json(found.result)}")
    lines += [_line(each) for each in found.effects] or [
        "it would tell, cancel and execute nothing"
    ]
    return Said("\n".join(lines), fields)


def _diff(found: Simulation) -> list[str]:
    """Return the lines of the state that change."""
    before, after = (_json(each, indent=2).splitlines() for each in (found.before, found.after))
    return [*difflib.unified_diff(before, after, "state before", "state after", lineterm="")]


def _line(effect: EffectInfo) -> str:
    words = [f"would {effect.does}"]
    if effect.to is not None:
        words.append(effect.to + ("" if effect.key is None else f" {effect.key!r}"))
    words.append(_json(effect.what))
    if effect.due is not None:
        words.append(f"due {effect.due:%Y-%m-%d %H:%M:%S}Z")
    if effect.id is not None:
        words.append(f"id {effect.id!r}")
    return " ".join(words)


def _json(value: object, indent: int = 0) -> str:
    text = msgspec.json.encode(value)
    return (msgspec.json.format(text, indent=indent) if indent else text).decode()
