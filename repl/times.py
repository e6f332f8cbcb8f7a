"""Times as people write and read them: ``5m``, ``tomorrow 09:00 Europe/Berlin``, ISO; "in 4m".

Without a zone the machine's own is meant; whoever is told a time is shown the instant that was
understood. A time that a clock change leaves out is refused, one that it repeats is the first.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ..clock import SystemClock, duration, instant
from ..errors import ConfigError

_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d))?")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_ZONE = re.compile(r"UTC|Z|GMT|[A-Z]\w+(?:/[\w+-]+)+", re.ASCII)
_HINT = "write 5m, tomorrow 09:00 Europe/Berlin, mon 09:00, or 2030-01-31T09:00+01:00"
#: A day's name needs so many letters.
_LETTERS = 3
#: Of a span, the largest two units that fit.
_UNITS = (("w", 604_800), ("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))


def moment(text: str, *, now: datetime | None = None) -> datetime:
    """Return the instant that a text means, UTC.

    Args:
        text: a span from now (``5m``, ``in 1h 30m``) or before it (``5m ago``), ``now``, a day and
            a time of day with or without a zone (``today 18:00``, ``fri 9:00 Asia/Tokyo``,
            ``2030-01-31 09:00``), a time of day alone (its next coming), or ISO 8601.
        now: the present; default: the machine's clock.

    Raises:
        ConfigError: it is none of these, or no clock ever shows it.

    """
    now = now or _now()
    words = text.split()
    if words == ["now"]:
        return now
    found = _span(text, now) or _iso(text)
    if found is None:
        zone: tzinfo | None = None
        if words and _ZONE.fullmatch(words[-1]):
            zone = _zone(words.pop())
        found = _day_and_time(text, words, zone, now)
    return found.astimezone(UTC)


def relative(at: datetime, *, now: datetime | None = None) -> str:
    """Return how far away an instant is: ``in 4m``, ``2h 5m ago``, ``now``."""
    seconds = round((at - (now or _now())).total_seconds())
    if seconds == 0:
        return "now"
    return f"in {span(seconds)}" if seconds > 0 else f"{span(-seconds)} ago"


def span(seconds: float) -> str:
    """Return a length of time in its largest units: ``3d 4h``, ``4m``, ``0.2s``."""
    if seconds < 1:
        return f"{seconds:.1g}s"
    left, parts = round(seconds), []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break
        if len(parts) == 2 or (parts and unit == "m"):  # noqa: PLR2004  (two are exact enough)
            break
    return " ".join(parts)


def shown(at: datetime, *, now: datetime | None = None, far: bool = True) -> str:
    """Return an instant as ISO 8601 in UTC, and, if ``far``, how far away it is."""
    text = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    return f"{text} ({relative(at, now=now)})" if far else text


def _now() -> datetime:
    return instant(SystemClock().now())


def _span(text: str, now: datetime) -> datetime | None:
    bare = text.strip()
    try:
        if bare.endswith(" ago"):
            return now - timedelta(microseconds=duration(bare.removesuffix(" ago")))
        return now + timedelta(microseconds=duration(bare.removeprefix("in ")))
    except (ValueError, OverflowError):
        return None


def _iso(text: str) -> datetime | None:
    if "T" not in text and not text[:4].isdigit():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo is not None else _local(found, None, text)


def _zone(name: str) -> tzinfo:
    if name in ("Z", "UTC", "GMT"):
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError) as error:
        msg = f"there is no time zone {name!r}: IANA names, such as Europe/Berlin, are understood"
        raise ConfigError(msg) from error


def _day_and_time(text: str, words: list[str], zone: tzinfo | None, now: datetime) -> datetime:
    here = now.astimezone(zone)
    clocks = [each for word in words if (each := _CLOCK.fullmatch(word))]
    days = [day for word in words if (day := _day(word, here)) is not None]
    if len(clocks) > 1 or len(days) > 1 or len(clocks) + len(days) != len(words) or not words:
        msg = f"{text!r} is no time: {_HINT}"
        raise ConfigError(msg)
    try:
        hour, minute, second = (
            [int(part or 0) for part in clocks[0].groups()] if clocks else (0, 0, 0)
        )
        clock = time(hour, minute, second)
    except ValueError as error:
        msg = f"{text!r} is no time, {error}: {_HINT}"
        raise ConfigError(msg) from error
    if days:
        return _local(datetime.combine(days[0], clock), zone, text)
    found = _local(datetime.combine(here.date(), clock), zone, text)
    if found <= now:
        found = _local(datetime.combine(here.date() + timedelta(days=1), clock), zone, text)
    return found


def _day(word: str, here: datetime) -> date | None:
    name = word.lower()
    today = here.date()
    if name in ("today", "tomorrow", "yesterday"):
        return today + timedelta(days={"today": 0, "tomorrow": 1, "yesterday": -1}[name])
    if len(name) >= _LETTERS:
        for number, day in enumerate(_DAYS):
            if day.startswith(name):
                return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)
    if _DATE.fullmatch(word):
        try:
            return date.fromisoformat(word)
        except ValueError:
            return None
    return None


def _local(naive: datetime, zone: tzinfo | None, text: str) -> datetime:
    """Read a wall clock in a zone; None: the machine's own."""
    try:
        at = naive.astimezone(UTC) if zone is None else naive.replace(tzinfo=zone).astimezone(UTC)
        there = at.astimezone(zone).replace(tzinfo=None)
    except (OverflowError, ValueError, OSError) as error:
        msg = f"{text!r} is out of range: {_HINT}"
        raise ConfigError(msg) from error
    if there != naive:
        where = zone or "this machine's time zone"
        msg = f"{text!r} is no time: clocks in {where} are put forward from before it to after it"
        raise ConfigError(msg)
    return at
