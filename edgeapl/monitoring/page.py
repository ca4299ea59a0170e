"""The monitoring page: one HTML file without scripts."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from edgeapl import __version__
from edgeapl.monitoring.charts import chart_picture, shares_picture
from edgeapl.monitoring.monitor import Drift, MonitoringResult
from edgeapl.wording.certificate import summarise_certificate
from edgeapl.wording.numbers import percent, plural

RESEARCH_USE_ONLY = "Research use only. Not for diagnosis."


def monitor_page(found: MonitoringResult) -> str:
    """Return the page as HTML."""
    folder = files("edgeapl.monitoring") / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(percent=percent, plural=plural)
    template = environment.from_string((folder / "monitor.html.j2").read_text(encoding="utf-8"))
    newest = found.slides[-1]
    return template.render(
        found=found,
        newest=newest,
        first=found.slides[0],
        bundles=Counter(slide.bundle for slide in found.slides),
        totals=Counter(slide.decision for slide in found.slides),
        shares=_safe(shares_picture(found.periods)),
        charts=[(drift, _picture(drift)) for drift in found.drifts],
        may_clear=summarise_certificate(newest.certificate),
        people=found.people,
        research_use_only=RESEARCH_USE_ONLY,
        software=f"edgeapl {__version__}",
    )


def _picture(drift: Drift) -> Markup:
    first, last = (f"{drift.slides[place].time:%Y-%m-%d}" for place in (0, -1))
    return _safe(chart_picture(drift.chart, first, last))


def _safe(svg: str) -> Markup:
    """Mark our own drawing as safe: it holds numbers, dates and our own chart names only."""
    assert str(escape(svg)).count("script") == 0
    return Markup(svg)  # noqa: S704
