"""Summarises weeks of a journal in one document."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl import __version__
from edgeapl.errors import InputError
from edgeapl.journal import CertificateStatus, read_records
from edgeapl.monitoring.concordance import concordance
from edgeapl.monitoring.control import Chart, distance_chart, value_chart
from edgeapl.monitoring.shares import Period, periods
from edgeapl.monitoring.slides import MEASURES, MonitoredSlide, monitored_slides, newest_bundle
from edgeapl.stages.domain import GROUP_WORDS
from edgeapl.wording.numbers import plural

SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """A chart, and the slides of its points."""

    chart: Chart
    slides: Sequence[MonitoredSlide]


@dataclass(frozen=True, slots=True, eq=False)
class MonitoringResult:
    """Everything that page and document are made of. kind : of the periods, week or month."""

    journal: Path
    slides: Sequence[MonitoredSlide]
    kind: str
    periods: Sequence[Period]
    drifts: Sequence[Drift]
    alarms: Sequence[str]
    people: dict[str, Any]


def monitor(journal: Path, *, demonstrations: bool = False) -> MonitoringResult:
    """Read a journal and chart it.

    Parameters
    ----------
    demonstrations : chart slides that are not a patient's instead of patients'.

    Raises StorageError when the journal cannot be read, InputError when no slide was closed.
    """
    slides = monitored_slides(read_records(journal), demonstrations=demonstrations)
    if not slides:
        what = "demonstration" if demonstrations else "patient's slide"
        mend = "without --demonstrations for patients'" if demonstrations else "see edgeapl watch"
        raise InputError(f"journal has no closed {what}", journal, mend)
    kind, found = periods(slides)
    drifts = charts(newest_bundle(slides))
    ended = CertificateStatus(journal, slides[-1].certificate).ended()
    alarms = [ended] if ended else []
    alarms += [text for drift in drifts if (text := alarm_of(drift))]
    return MonitoringResult(journal, slides, kind, found, drifts, alarms, concordance(slides))


def charts(slides: Sequence[MonitoredSlide]) -> list[Drift]:
    """Return the charts of one bundle's slides: distances from its fingerprint, looks, scores."""
    made: list[Drift] = []
    seen = [(slide, slide.look) for slide in slides if slide.look is not None]
    for group, words in GROUP_WORDS.items():
        have = [(slide, look) for slide, look in seen if group in look.distances]
        if not have:
            continue
        pairs = [look.distances[group] for _, look in have]
        sizes = {len(look.groups.get(group, ())) for _, look in have}
        if 0 in sizes:  # features are not stored, so their number is unknown
            ratios: list[tuple[MonitoredSlide, float | None]] = [
                (slide, distance / limit if limit else 0.0)
                for (slide, _), (distance, limit) in zip(have, pairs, strict=True)
            ]
            _add(made, f"{words}: distance", "of the limit", ratios)
        else:
            chart = distance_chart(f"{words}: distance", pairs, max(sizes))
            made.append(Drift(chart, [slide for slide, _ in have]))
    for measure in MEASURES:
        values = [(slide, measure.of(look)) for slide, look in seen]
        _add(made, measure.text, measure.unit, values)
    scores = [(slide, slide.probability) for slide in slides]
    _add(made, slides[-1].figure, "", scores)
    return made


def _add(
    made: list[Drift], name: str, unit: str, values: Sequence[tuple[MonitoredSlide, float | None]]
) -> None:
    known = [(slide, value) for slide, value in values if value is not None]
    chart = value_chart(name, unit, [value for _, value in known])
    if chart is not None:
        made.append(Drift(chart, [slide for slide, _ in known]))


def alarm_of(drift: Drift) -> str:
    """Return when a chart first left its limits, and how often; empty if it did not."""
    if not drift.chart.alarms:
        return ""
    first, *more = drift.chart.alarms
    slide = drift.slides[first]
    than = "what the bundle was made for"
    if drift.chart.baseline:
        than = f"the first {drift.chart.baseline} slides here"
    text = (
        f"{drift.chart.name} has drifted {drift.chart.direction(first)} {than}: from "
        f"{slide.time:%Y-%m-%d} on, record {slide.sequence}"
    )
    return f"{text}, and {plural(len(more), 'more time')}" if more else text


def monitor_document(found: MonitoringResult) -> dict[str, Any]:
    """Return the whole result as plain JSON values."""
    newest = found.slides[-1]
    return {
        "schema": SCHEMA,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "journal": str(found.journal),
        "slides": len(found.slides),
        "first": found.slides[0].time.isoformat(),
        "last": newest.time.isoformat(),
        "bundles": dict(Counter(slide.bundle for slide in found.slides)),
        "charted_bundle": newest.bundle,
        "period": found.kind,
        "periods": [
            {
                "first_day": period.first.isoformat(),
                "slides": period.slides,
                "verdicts": {
                    name: {"count": count, "interval": list(period.interval(name).ends)}
                    for name, count in period.counts.items()
                },
            }
            for period in found.periods
        ],
        "charts": [_chart(drift) for drift in found.drifts],
        "alarms": list(found.alarms),
        "concordance": found.people,
    }


def _chart(drift: Drift) -> dict[str, Any]:
    chart = drift.chart
    return {
        "name": chart.name,
        "unit": chart.unit,
        "reference": f"first {chart.baseline} slides" if chart.baseline else "bundle",
        "low": chart.low if math.isfinite(chart.low) else None,
        "high": chart.high,
        "records": [slide.sequence for slide in drift.slides],
        "values": chart.values.tolist(),
        "average": chart.average.tolist(),
        "alarms": list(chart.alarms),
    }
