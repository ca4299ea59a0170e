"""Verdicts in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import (
    DECISION_STYLES,
    RESEARCH_USE_ONLY,
    one_line,
)
from edgeapl.wording.numbers import percents, plural
from edgeapl.wording.questions import APL, Question, question_of
from edgeapl.wording.verdicts import (
    describe_field,
    describe_flag,
    format_probability,
    headline,
    limits_of,
    no_probability,
    reasons_of,
    tally_row,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edgeapl.bundle.manifest import Manifest
    from edgeapl.model import Model
    from edgeapl.station.access import CameraView, SlideView
    from edgeapl.types import Figures


def announce_bundle(terminal: Console, model: Model, *, embedded: bool) -> None:
    """Print which bundle is used, and what an embedded one is."""
    from edgeapl.types import signer_text

    manifest = model.bundle.manifest
    signed = signer_text(model.bundle.signer)
    text = f"bundle {manifest.name} {manifest.version} ({model.bundle.digest[:12]})"
    text += f", signed by: {one_line(signed)}" if model.bundle.signer else f", {signed}"
    if embedded:
        text += f": embedded, {embedded_in_words(manifest)}"
    terminal.print(f"{text}. {RESEARCH_USE_ONLY}", style="yellow", markup=False)
    if manifest.answers == "differential":
        return
    if model.clearing.certificate is None or model.clearing.without:
        text = model.clearing.without or "this model has no proof that it may clear"
        terminal.print(f"no slide is cleared: {text}", style="yellow", markup=False, soft_wrap=True)


def embedded_in_words(manifest: Manifest) -> str:
    """Return what a bundle that comes with the program knows."""
    if manifest.answers == "differential":
        return "counts kinds of cells, trained on healthy donors' cells, never clears"
    return "a demonstration, trained on drawn images only"


def probability_text(record: Mapping[str, Any], named: str = APL.figure) -> str:
    """Return the probability and its interval, and what it is where no heading names that."""
    probability = record["probability"]
    if probability is None:
        return "-"
    shown = format_probability(probability, record["interval"], limits_of(record))
    figure = question_of_record(record).figure
    return shown if figure == named else f"{shown} ({figure})"


def question_of_record(record: Mapping[str, Any]) -> Question:
    """Return the question that a record answers."""
    return question_of([str(reason["code"]) for reason in record.get("reasons", ())])


def signed_by(record: dict[str, Any]) -> str:
    """Return who signed the bundle of a verdict; older records do not contain it."""
    key = record.get("signing_key")
    name = str(record.get("signed_by", "not recorded"))
    return name if key is None else f"{name} (key {key})"


def slide_record(slide: SlideView) -> dict[str, Any]:
    """Return an open slide with the keys of a record, without lists that grow with it."""
    from edgeapl.station.access import WAITING

    return {
        "slide": slide.slide,
        "verdict": None if slide.decision is None else slide.decision.value,
        "state": WAITING if slide.decision is None else "open" if slide.open else "closed",
        **_figures(slide),
        "tally": asdict(slide.tally),
        "reasons": [asdict(reason) for reason in slide.reasons],
        "limits": None if slide.limits is None else asdict(slide.limits),
        "flagged_since": slide.flagged_since,
        "current": None if slide.current is None else _figures(slide.current),
        "frames_used": slide.frames_used,
        "frames_rejected": slide.frames_rejected,
        "examined_share": slide.examined_share,
        "journal_record": slide.record,
        "research_use_only": True,
    }


def _figures(figures: SlideView | Figures) -> dict[str, Any]:
    interval = figures.interval
    return {
        "probability": figures.probability,
        "interval": None if interval is None else [interval.low, interval.high],
        "counts": [
            {**asdict(count), "interval": [count.interval.low, count.interval.high]}
            for count in figures.counts
        ],
    }


def camera_line(camera: CameraView) -> RenderableType:
    """Return the state of the camera in one line."""
    from rich.text import Text

    line = Text(f"{one_line(camera.name)}: ").append(
        camera.state.value, "bold green" if camera.state.value == "live" else "bold red"
    )
    if camera.width:
        line.append(f", {camera.width} x {camera.height} px, {camera.frames_per_s:.1f} per s")
    if camera.focus is not None:
        line.append(", in focus" if camera.focus >= 1 else ", out of focus")
    if camera.text:
        line.append(f" ({one_line(camera.text)})")
    return line


def verdict_panel(record: dict[str, Any], *, running: bool) -> RenderableType:
    """Draw one verdict: the decision, the figures, the reasons."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    decision = record["verdict"]
    codes = {str(reason["code"]) for reason in record["reasons"]}
    grid = Table.grid(padding=(0, 2))
    if decision is None:
        grid.add_row(Text("so far"), Text(record["state"], style="bold"))
        title = f"slide {one_line(record['slide'])}"
        return Panel(grid, title=Text(title), subtitle=RESEARCH_USE_ONLY, title_align="left")
    grid.add_row(
        Text("so far" if running else "verdict"),
        Text(f" {decision} ", style=DECISION_STYLES[decision]).append(
            f"  {headline(decision, codes)}", style="default"
        ),
    )
    shown = probability_text(record)
    if record["probability"] is None:
        shown = no_probability(decision, record["tally"]["scored"], codes)
    grid.add_row("probability", shown)
    if record.get("flagged_since") or record.get("current"):
        grid.add_row("", _flag_text(record))
    frames = len(record["frames"]) if "frames" in record else record["frames_used"]
    grid.add_row("cells", f"{tally_row(record['tally'])}, {plural(frames, 'frame')}")
    field = describe_field(record.get("examined_share"))
    if field:
        grid.add_row("field", field)
    for count in record["counts"]:
        low, high = percents(count["interval"])
        share = f"{count['positive']} of {count['scored']} ({low} to {high})"
        grid.add_row(Text(count["role"].replace("_", " ")), share)
    if record.get("evidence"):
        cells = ", ".join(str(cell) for cell in record["evidence"][:12])
        grid.add_row("cells that weigh most", cells)
    for reason in reasons_of(record):
        grid.add_row("why", Text(one_line(reason["text"])))
    title = f"slide {one_line(record['slide'])}"
    return Panel(grid, title=Text(title), subtitle=RESEARCH_USE_ONLY, title_align="left")


def _flag_text(record: dict[str, Any]) -> str:
    """Return since when a slide is flagged, and its present figures where they are no flag."""
    current = record.get("current")
    now = ""
    if current is not None and current["probability"] is not None:
        now = probability_text({**record, **current})
    return describe_flag(
        record.get("flagged_since", ""),
        known=record["probability"] is not None,
        kept=current is not None,
        now=now,
    )
