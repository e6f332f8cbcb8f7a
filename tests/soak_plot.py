"""The plot of a soak: one small line for each thing that was measured, as SVG."""

from __future__ import annotations

from html import escape

from .soak_trend import Sample, Trend, trends, warm_up

WIDTH, HEIGHT, COLUMNS = 300, 96, 3
_TOP, _LEFT = 40, 12
_INNER_WIDTH, _INNER_HEIGHT = WIDTH - 2 * _LEFT, HEIGHT - _TOP - 14


def plot(samples: list[Sample], title: str) -> str:
    """Return an SVG document; the warm-up is shaded, each line is drawn from zero up."""
    found = trends(samples)
    rows = -(-len(found) // COLUMNS)
    size = f'width="{COLUMNS * WIDTH}" height="{rows * HEIGHT + 30}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="#fff"/>',
        f'<text x="{_LEFT}" y="20" font-size="13" fill="#222">{escape(title)}</text>',
    ]
    for n, trend in enumerate(found):
        x, y = n % COLUMNS * WIDTH, n // COLUMNS * HEIGHT + 26
        parts.append(f'<g transform="translate({x} {y})">{_panel(samples, trend)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _panel(samples: list[Sample], trend: Trend) -> str:
    line = trend.line
    values = line.values(samples)
    top, end = max(*values, 1e-9), float(samples[-1]["at"])
    points = " ".join(
        f"{_LEFT + _INNER_WIDTH * each['at'] / end:.1f},"
        f"{_TOP + _INNER_HEIGHT * (1 - value / top):.1f}"
        for each, value in zip(samples, values, strict=True)
    )
    said = f"{_short(trend.middle)} {line.unit}".strip()
    grown = f"{trend.per_hour:+.2g} an hour, most {_short(top)}"
    shade = _INNER_WIDTH * warm_up(samples) / end
    return (
        f'<text x="{_LEFT}" y="18" fill="#222">{escape(line.label)}: {escape(said)}</text>'
        f'<text x="{_LEFT}" y="32" font-size="9" fill="#666">{escape(grown)}</text>'
        f'<rect x="{_LEFT}" y="{_TOP}" width="{shade:.1f}" height="{_INNER_HEIGHT}" fill="#eee"/>'
        f'<polyline points="{points}" fill="none" stroke="#2563a8" stroke-width="1.2"/>'
        f'<path d="M{_LEFT} {_TOP + _INNER_HEIGHT}h{_INNER_WIDTH}" stroke="#bbb"/>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
