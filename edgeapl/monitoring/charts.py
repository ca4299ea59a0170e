"""Charts of the monitoring page, as SVG without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeapl.monitoring.control import Chart
from edgeapl.monitoring.shares import Period

Float64 = NDArray[np.float64]

BARS_WIDTH, CHART_WIDTH = 1000, 380
HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 150, 46, 8, 10, 22
MOST_POINTS = 600
"""Points in one chart; of more, only the extremes of each few are drawn."""

VERDICTS = ("FLAG", "REVIEW", "CLEAR")


def shares_picture(periods: Sequence[Period]) -> str:
    """Draw a bar per week or month: shares of verdicts stacked, number of slides above."""
    room = BARS_WIDTH - LEFT - RIGHT
    step = room / max(1, len(periods))
    parts = [_scale(["0 %", "50 %", "100 %"])]
    for place, period in enumerate(periods):
        x, y = LEFT + place * step, float(HEIGHT - BOTTOM)
        wide = max(1.0, min(60.0, step) - 2)
        for name in VERDICTS:
            tall = (HEIGHT - TOP - BOTTOM) * period.counts[name] / period.slides
            y -= tall
            parts.append(
                f'<rect class="{name}" x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" '
                f'height="{tall:.1f}"><title>{period.first}: {period.counts[name]} {name} of '
                f"{period.slides}</title></rect>"
            )
    for place in {0, len(periods) - 1}:
        end = "start" if place == 0 else "end"
        x = LEFT + place * step + (0 if place == 0 else min(60.0, step))
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{end}">{periods[place].first}</text>'
        )
    return _svg("Shares of verdicts over time", BARS_WIDTH, parts)


def chart_picture(chart: Chart, first: str, last: str) -> str:
    """Draw a control chart: the average after each slide, its limits, and where it left them.

    first, last : when the first and last slide were closed.
    """
    shown = _thinned(chart.average)
    bounds = [value for value in (chart.low, chart.high, 0.0) if math.isfinite(value)]
    low = min([*bounds, float(chart.average.min())])
    high = max([*bounds, float(chart.average.max())])
    pad = 0.08 * (high - low or 1)
    low, high = low - pad, high + pad

    def x(place: float) -> float:
        return LEFT + (CHART_WIDTH - LEFT - RIGHT) * place / max(1, len(chart.average) - 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = []
    for value in bounds:
        kind = "line" if value == 0 else "limit"
        parts.append(
            f'<line class="{kind}" x1="{LEFT}" x2="{CHART_WIDTH - RIGHT}" y1="{y(value):.1f}" '
            f'y2="{y(value):.1f}"/><text x="{LEFT - 6}" y="{y(value) + 4:.1f}" '
            f'text-anchor="end">{value:.1f}</text>'
        )
    if chart.baseline:
        parts.append(
            f'<rect class="base" x="{LEFT}" y="{TOP}" width="{x(chart.baseline - 1) - LEFT:.1f}" '
            f'height="{HEIGHT - TOP - BOTTOM}"/>'
        )
    points = " ".join(f"{x(place):.1f},{y(chart.average[place]):.1f}" for place in shown)
    parts.append(f'<polyline class="average" points="{points}"/>')
    parts += [
        f'<circle class="alarm" cx="{x(place):.1f}" cy="{y(chart.average[place]):.1f}" r="5"/>'
        for place in chart.alarms
    ]
    parts.append(f'<text x="{LEFT}" y="{HEIGHT - 6}">{first}</text>')
    parts.append(
        f'<text x="{CHART_WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{last}</text>'
    )
    return _svg(f"Control chart of {chart.name}", CHART_WIDTH, parts)


def _thinned(values: Float64) -> list[int]:
    """Return the indices to draw: all, or the lowest and highest of each few."""
    if len(values) <= MOST_POINTS:
        return list(range(len(values)))
    places: set[int] = {0, len(values) - 1}
    for some in np.array_split(np.arange(len(values)), MOST_POINTS // 2):
        places |= {int(some[values[some].argmin()]), int(some[values[some].argmax()])}
    return sorted(places)


def _scale(labels: Sequence[str]) -> str:
    room = HEIGHT - TOP - BOTTOM
    return "".join(
        f'<text x="{LEFT - 6}" y="{HEIGHT - BOTTOM - room * place / (len(labels) - 1) + 4:.1f}" '
        f'text-anchor="end">{text}</text>'
        for place, text in enumerate(labels)
    )


def _svg(title: str, width: int, parts: Sequence[str]) -> str:
    body = "".join(parts)
    return f'<svg viewBox="0 0 {width} {HEIGHT}" role="img" aria-label="{title}">{body}</svg>'
