"""The chart: what each side does in a second, one panel a workload, on a scale of powers of ten."""

from __future__ import annotations

import json
from html import escape
from math import log10
from typing import TYPE_CHECKING

from .case import OURS
from .report import NOT_DURABLE

if TYPE_CHECKING:
    from pathlib import Path

#: Cases that are shown, which figure, and under which title.
PANELS = (
    ("W1", "per s", "One thread tells one by one"),
    ("W2-threads", "per s", "64 threads tell one by one"),
    ("W3", "per s", "Told a thousand at a time"),
    ("W4", "per s", "Told, handled and acknowledged"),
    ("W5-peers", "fire per s", "Future calls due at one moment, handled"),
)
_WIDTH, _LEFT, _RIGHT, _BAR, _GAP, _TITLE = 760, 170, 90, 16, 5, 34
_LOW, _HIGH = 2, 6
_NOTE = "* what it has taken is not on disk when the call returns"
_STYLE = """
text { font: 13px system-ui, sans-serif; fill: #333 } .title { font-weight: 600; font-size: 14px }
.ours { fill: #1f6f8b } .bare { fill: #9aa5ab } .peer { fill: #d9a441 } .grid { stroke: #e3e6e8 }
"""


def draw(source: Path, target: Path) -> None:
    """Draw the kept results."""
    known = json.loads(source.read_text())
    cases = known["cases"]
    lossy = {peer["name"] for peer in known["peers"] if peer["durable"] == NOT_DURABLE}
    parts: list[str] = []
    y = 10
    for name, figure, title in PANELS:
        rows = [r for r in cases.get(name, {}).get("figures", ()) if r["figure"] == figure]
        if rows:
            parts.append(_panel(title, rows, y, lossy))
            y += _TITLE + len(rows) * (_BAR + _GAP) + 6
    parts += [_scale(y), f'<text x="10" y="{y + 48}">{_NOTE}</text>']
    height = y + 60
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Messages a second: callboard, bare sqlite3, and peers">'
        f'<style>{_STYLE}</style><rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(title: str, rows: list[dict[str, object]], top: int, lossy: set[str]) -> str:
    parts = [f'<text class="title" x="10" y="{top + 20}">{escape(title)}, messages a second</text>']
    for index, row in enumerate(sorted(rows, key=_value, reverse=True)):
        y, value, side = top + _TITLE + index * (_BAR + _GAP), _value(row), str(row["side"])
        kind = "ours" if side == OURS else "bare" if side.startswith("bare") else "peer"
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 13}" text-anchor="end">{escape(side)}'
            f"{' *' if side in lossy else ''}</text>"
            f'<rect class="{kind}" x="{_LEFT}" y="{y}" height="{_BAR}" '
            f'width="{_x(value) - _LEFT:.1f}" rx="2"/>'
            f'<text x="{_x(value) + 6:.1f}" y="{y + 13}">{value:,.0f}</text>'
        )
    return "".join(parts)


def _scale(bottom: int) -> str:
    parts = []
    for power in range(_LOW, _HIGH + 1):
        x = _x(10.0**power)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" y1="{bottom}" x2="{x:.1f}" y2="{bottom + 6}" '
            f'style="stroke:#888"/><text x="{x:.1f}" y="{bottom + 20}" text-anchor="middle">'
            f"{10**power:,}</text>"
        )
    return "".join(parts)


def _value(row: dict[str, object]) -> float:
    return float(str(row["value"]))


def _x(value: float) -> float:
    share = (log10(max(value, 10**_LOW)) - _LOW) / (_HIGH - _LOW)
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
