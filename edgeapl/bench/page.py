"""The page of `edgeapl bench`: one HTML file that loads nothing and runs nothing."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from edgeapl.bench import plots
from edgeapl.bench.bench import BenchResult
from edgeapl.bench.runner import INSIDE_NOTE
from edgeapl.errors import StorageError


def render_page(result: BenchResult) -> str:
    """Render the document of a bench as HTML."""
    templates = files("edgeapl.bench") / "templates"
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["short"] = short
    text = (templates / "bench.html.j2").read_text(encoding="utf-8")
    document = result.document
    latencies = [1e3 * taken for one in result.measured[0].passes for taken in one.latencies]
    return environment.from_string(text).render(
        d=document,
        stages=plots.stage_bars(document["stages"]),
        inside_note=INSIDE_NOTE,
        spread=plots.spread(latencies, 1e3 * document["budget"]["seconds"]),
        pairs=plots.pairs(document["versus"]["pairs_ms"] if "versus" in document else ()),
        roofline=plots.roofline(document["floor"]) if "floor" in document else "",
    )


def refuse_place(path: Path) -> None:
    """Raise StorageError where no page can be written, before anything is measured for it."""
    why = ""
    if not path.parent.is_dir():
        why = "there is no such folder"
    elif path.is_dir():
        why = "it is a folder"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "no permission to write there"
    if why:
        raise StorageError("page cannot be written", path, why)


def write_page(path: Path, result: BenchResult) -> None:
    """Write the page. Raises StorageError when that fails."""
    try:
        path.write_text(render_page(result), encoding="utf-8")
    except OSError as error:
        raise StorageError("page cannot be written", path, str(error.strerror)) from error


def short(value: float | None) -> str:
    """Format a number with three significant digits; a dash for None."""
    if value is None:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
