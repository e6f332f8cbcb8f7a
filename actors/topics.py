"""Topics: names such as ``order.placed``, and patterns in which ``*`` stands for any text."""

from __future__ import annotations

import re
from functools import lru_cache


def matches(pattern: str, topic: str) -> bool:
    """Say whether a pattern (``"order.*"``, ``"*"``, or a plain name) takes a topic in."""
    if "*" not in pattern:
        return pattern == topic
    return _compiled(pattern).fullmatch(topic) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
