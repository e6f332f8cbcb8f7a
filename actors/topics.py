"""Topics: names such as ``order.placed``, and patterns in which ``*`` stands for any text."""

from __future__ import annotations


def matches(pattern: str, topic: str) -> bool:
    """Say whether a pattern (``"order.*"``, ``"*"``, or a plain name) takes a topic in.

    Each part between two stars is taken where it is found first, and never looked for again: so the
    time is bounded by the two lengths. Anybody may listen to any pattern, and a regular expression
    made of it could hold up the owner for years.
    """
    if "*" not in pattern:
        return pattern == topic
    first, *middle, last = pattern.split("*")
    if len(topic) < len(first) + len(last):
        return False
    if not (topic.startswith(first) and topic.endswith(last)):
        return False
    at, end = len(first), len(topic) - len(last)
    for part in middle:
        found = topic.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True
