"""Time zones by their IANA names, and a fingerprint of the data that they are reckoned with.

zoneinfo reads the system's data, and the package ``tzdata`` where the system has none.
"""

from __future__ import annotations

import hashlib
import zoneinfo
from pathlib import Path

from ..errors import BadSchedule

# The longest name that is repeated in full.
_SHOWN = 80


def zone(name: str) -> zoneinfo.ZoneInfo:
    """Return a zone.

    Raises:
        BadSchedule: there is no zone of that name; the text names the nearest.

    """
    if not isinstance(name, str):
        msg = f'a time zone is its IANA name such as "Europe/Paris", got {name!r}'
        raise BadSchedule(msg)
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadSchedule(_unknown(name)) from error


def fingerprint(name: str) -> str:
    """Return a text that changes when the rules of a zone may have changed; "" for none found."""
    data = _data(name)
    return "" if data is None else hashlib.blake2b(data, digest_size=8).hexdigest()


def _data(name: str) -> bytes | None:
    for folder in zoneinfo.TZPATH:
        path = Path(folder, name)
        if path.is_file():
            return path.read_bytes()
    from importlib import resources

    try:
        return resources.files("tzdata").joinpath("zoneinfo", name).read_bytes()
    except (ModuleNotFoundError, OSError):
        return None


def _unknown(name: str) -> str:
    import difflib

    known = {each.casefold(): each for each in zoneinfo.available_timezones()}
    asked = name.casefold()
    shown = name if name.isprintable() and len(name) <= _SHOWN else repr(name[:_SHOWN])
    # Who writes "Berlin" means a zone whose last part is like it.
    cities = {each.rpartition("/")[2]: full for each, full in known.items()}
    near = difflib.get_close_matches(asked, known, n=3)
    near += [cities[each] for each in difflib.get_close_matches(asked, cities, n=3)]
    found = list(dict.fromkeys(known.get(each, each) for each in near))[:3]
    if not known:
        return f"no time zone >{shown}<: neither the system nor the package tzdata has zones"
    hint = f"did you mean {' or '.join(map(repr, found))}?" if found else 'write "Europe/Paris"'
    return f"no time zone >{shown}<: {hint}"
