"""How verdicts look in a terminal."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import (
    DECISION_STYLES,
    DECISION_WORDS,
    RESEARCH_USE_ONLY,
    one_line,
)

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edgeapl.model import Model
    from edgeapl.station.view import CameraView, SlideView


def announce_bundle(terminal: Console, model: Model, *, embedded: bool) -> None:
    """Say which bundle answers, and that the embedded one is a demonstration."""
    from edgeapl.types import signer_text

    manifest = model.bundle.manifest
    signed = signer_text(model.bundle.signer)
    text = f"bundle {manifest.name} {manifest.version} ({model.bundle.digest[:12]})"
    text += f", signed by: {one_line(signed)}" if model.bundle.signer else f", {signed}"
    if embedded:
        text += ": the embedded demonstration, trained on drawn images only"
    terminal.print(f"{text}. {RESEARCH_USE_ONLY}", style="yellow", markup=False)


def probability_text(record: dict[str, Any]) -> str:
    """Give the probability and its interval."""
    if record["probability"] is None:
        return "-"
    text = f"{record['probability']:.3f}"
    if record["interval"] is not None:
        low, high = record["interval"]
        text += f" ({low:.3f} to {high:.3f})"
    return text


def tally_text(record: dict[str, Any]) -> str:
    """Give the tally in words."""
    tally = record["tally"]
    text = f"{tally['seen']} seen, {tally['scored']} scored"
    if tally["not_examined"]:
        text += f", {tally['not_examined']} not examined"
    if tally["failed"]:
        text += f", {tally['failed']} failed"
    if tally.get("not_needed"):  # records of older versions have none
        text += f", {tally['not_needed']} not needed"
    return text


def signed_by(record: dict[str, Any]) -> str:
    """Say who signed the bundle of a verdict; records of older versions do not tell."""
    key = record.get("signing_key")
    name = str(record.get("signed_by", "not recorded"))
    return name if key is None else f"{name} (key {key})"


def slides_table(document: dict[str, Any], out: Path) -> None:
    """Print one row per slide and where the reports lie."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in ("slide", "verdict", "probability of APL", "cells", "why"):
        table.add_column(heading, overflow="fold")
    for record in document["slides"]:
        decision = record["verdict"]
        why = "; ".join(reason["text"] for reason in record["reasons"][:2])
        table.add_row(
            Text(one_line(record["slide"])),
            Text(decision, style=DECISION_STYLES[decision]),
            probability_text(record),
            tally_text(record),
            Text(one_line(why)),
        )
    terminal = Console(highlight=False)
    terminal.print(table)
    terminal.print(f"reports: {out / 'slides'}", markup=False, soft_wrap=True)
    terminal.print(RESEARCH_USE_ONLY, style="dim")


def slide_record(slide: SlideView) -> dict[str, Any]:
    """Give an open slide in the words of a record, without what grows with it."""
    interval = slide.interval
    return {
        "slide": slide.slide,
        "verdict": slide.decision.value,
        "probability": slide.probability,
        "interval": None if interval is None else [interval.low, interval.high],
        "tally": asdict(slide.tally),
        "reasons": [asdict(reason) for reason in slide.reasons],
        "counts": [
            {**asdict(count), "interval": [count.interval.low, count.interval.high]}
            for count in slide.counts
        ],
        "frames_used": slide.frames_used,
        "frames_rejected": slide.frames_rejected,
        "journal_record": slide.record,
        "research_use_only": True,
    }


def camera_line(camera: CameraView) -> RenderableType:
    """Say in one line how the camera is."""
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
    """Draw one verdict: the word, the figures, the reasons."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    decision = record["verdict"]
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        Text("so far" if running else "verdict"),
        Text(f" {decision} ", style=DECISION_STYLES[decision]).append(
            f"  {DECISION_WORDS[decision]}", style="default"
        ),
    )
    grid.add_row("probability", probability_text(record))
    frames = len(record["frames"]) if "frames" in record else record["frames_used"]
    plural = "" if frames == 1 else "s"
    grid.add_row("cells", f"{tally_text(record)}, {frames} frame{plural}")
    for count in record["counts"]:
        low, high = count["interval"]
        share = f"{count['positive']} of {count['scored']} ({low:.0%} to {high:.0%})"
        grid.add_row(Text(count["role"].replace("_", " ")), share)
    if record.get("evidence"):
        cells = ", ".join(str(cell) for cell in record["evidence"][:12])
        grid.add_row("cells that weigh most", cells)
    for reason in record["reasons"]:
        grid.add_row("why", Text(one_line(reason["text"])))
    title = f"slide {one_line(record['slide'])}"
    return Panel(grid, title=Text(title), subtitle=RESEARCH_USE_ONLY, title_align="left")
