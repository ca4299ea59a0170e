"""Plots as SVG text: where the time goes, its distribution, A against B, and the roofline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

WIDTH = 720

COLOURS = ("#4477aa", "#66ccee", "#228833", "#ccbb44", "#ee6677", "#aa3377", "#bbbbbb")
"""Paul Tol's bright scheme, which colour-blind people can tell apart (personal.sron.nl/~pault)."""


def stage_bars(stages: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Draw a bar from 0 to the mean of every stage, with a line to its p99."""
    if not stages:
        return Markup()
    longest = max(one["p99_ms"] for one in stages.values()) or 1.0
    left, right = 90, WIDTH - 150
    scale = (right - left) / longest
    parts = []
    for row, (name, one) in enumerate(stages.items()):
        y = 10 + 24 * row
        mean, high = left + scale * one["mean_ms"], left + scale * one["p99_ms"]
        parts.append(_text(left - 8, y + 12, name, "end"))
        parts.append(
            f'<rect x="{left}" y="{y}" width="{mean - left:.1f}" height="16" '
            f'fill="{COLOURS[row % len(COLOURS)]}"/>'
            f'<path d="M{mean:.1f} {y + 8}H{high:.1f}M{high:.1f} {y + 3}v10" class="line"/>'
        )
        label = f"{_short(one['mean_ms'])} ms, p99 {_short(one['p99_ms'])}"
        parts.append(_text(right + 8, y + 12, label))
    return _svg(20 + 24 * len(stages), parts, "mean and 99th percentile of every stage")


def spread(samples_ms: Sequence[float], budget_ms: float) -> Markup:
    """Draw which share of the queries was answered within a time; with the budget if it is near."""
    if not samples_ms:
        return Markup()
    ordered = sorted(samples_ms)
    longest = ordered[-1]
    near = budget_ms <= 3 * longest
    end = max(longest, budget_ms if near else 0.0) * 1.05
    left, right, top, bottom = 60, WIDTH - 30, 12, 190

    def x(value: float) -> float:
        return left + (right - left) * value / end

    def y(share: float) -> float:
        return bottom - (bottom - top) * share

    steps = [f"M{x(ordered[0]):.1f} {y(0):.1f}"]
    for row, value in enumerate(ordered, start=1):
        steps.append(f"H{x(value):.1f}V{y(row / len(ordered)):.1f}")
    parts = [_axes(left, right, top, bottom)]
    parts.append(f'<path d="{"".join(steps)}H{right}" fill="none" stroke="{COLOURS[0]}" '
                 'stroke-width="2"/>')  # fmt: skip
    shares = (0.0, 0.5, 0.9, 1.0)
    parts += [_text(left - 6, y(share) + 4, f"{share:.0%}", "end") for share in shares]
    for part in range(5):
        value = end * part / 4
        parts.append(_text(x(value), bottom + 18, f"{_short(value)} ms", "middle"))
    if near:
        parts.append(f'<path d="M{x(budget_ms):.1f} {top}V{bottom}" class="limit"/>')
        parts.append(_text(x(budget_ms) - 6, top + 10, "budget", "end"))
    return _svg(220, parts, "share of the queries answered within a time")


def pairs(seconds_ms: Sequence[Sequence[float]]) -> Markup:
    """Draw the ratio A over B of every pair, in the order they were run, and the line of 1."""
    if not seconds_ms:
        return Markup()
    ratios = [a / b for a, b in seconds_ms]
    far = max(max(abs(math.log(ratio)) for ratio in ratios) * 1.1, math.log(1.1))
    left, right, top, bottom = 60, WIDTH - 30, 12, 190

    def y(ratio: float) -> float:
        return (top + bottom) / 2 - (bottom - top) / 2 * math.log(ratio) / far

    parts = [_axes(left, right, top, bottom)]
    parts.append(f'<path d="M{left} {y(1):.1f}H{right}" class="limit"/>')
    for row, ratio in enumerate(ratios):
        x = left + (right - left) * (row + 0.5) / len(ratios)
        parts.append(f'<circle cx="{x:.1f}" cy="{y(ratio):.1f}" r="4" fill="{COLOURS[0]}"/>')
    marks = (math.exp(far), 1.0, math.exp(-far))
    parts += [_text(left - 6, y(mark) + 4, f"{mark:.2f}", "end") for mark in marks]
    parts.append(_text(right, bottom + 18, "pairs, in the order they were run", "end"))
    return _svg(220, parts, "seconds of A over seconds of B for every pair")


def roofline(floor: Mapping[str, Any]) -> Markup:
    """Draw the networks below the roof of this machine; both axes are logarithmic."""
    peak = floor["peak"]
    shown = [one for one in floor["networks"] if one["flop_per_byte"] and one["flop_per_s"]]
    roofs = {name: peak[name] for name in ("fp32", "int8") if peak[name]}
    if not shown or not roofs:
        return Markup()
    intensities = [one["flop_per_byte"] for one in shown]
    ridges = [roof / peak["bytes_per_s"] for roof in roofs.values()]
    low, high = min(*intensities, *ridges) / 4, max(*intensities, *ridges) * 4
    ceiling = max(roofs.values()) * 2
    ground = min([low * peak["bytes_per_s"], *(one["flop_per_s"] for one in shown)]) / 2
    left, right, top, bottom = 90, WIDTH - 110, 12, 250

    def x(value: float) -> float:
        return left + (right - left) * math.log(value / low) / math.log(high / low)

    def y(value: float) -> float:
        return bottom - (bottom - top) * math.log(value / ground) / math.log(ceiling / ground)

    parts = [_axes(left, right, top, bottom)]
    for row, (name, roof) in enumerate(roofs.items()):
        ridge = roof / peak["bytes_per_s"]
        parts.append(
            f'<path d="M{x(low):.1f} {y(low * peak["bytes_per_s"]):.1f}L{x(ridge):.1f} '
            f'{y(roof):.1f}H{right}" fill="none" stroke="{COLOURS[row]}" stroke-width="2"/>'
        )
        parts.append(_text(right + 6, y(roof) + 4, f"{name} {_short(roof / 1e9)} GFLOP/s"))
    for row, one in enumerate(shown):
        at = (x(one["flop_per_byte"]), y(one["flop_per_s"]))
        colour = COLOURS[(row + 2) % len(COLOURS)]
        parts.append(f'<circle cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="5" fill="{colour}"/>')
        label = f"{one['network']} {_short(one['flop_per_s'] / 1e9)} GFLOP/s"
        parts.append(_text(at[0] + 8, at[1] + 14, label))
    parts.append(_text(right, bottom + 18, "operations per byte of memory traffic", "end"))
    parts.append(_text(left, bottom + 18, _short(low), "middle"))
    return _svg(280, parts, "the networks below the roof of this machine")


def _axes(left: float, right: float, top: float, bottom: float) -> str:
    return f'<path d="M{left} {top}V{bottom}H{right}" class="line" fill="none"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(height: int, parts: Sequence[str], title: str) -> Markup:
    """Assemble a plot; texts in it were escaped by `_text`."""
    head = f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">'
    return Markup("{}{}</svg>").format(Markup(head), Markup("".join(parts)))  # noqa: S704


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
