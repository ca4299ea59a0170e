"""Tables of `edgeapl calibrate`: what was measured on which slides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgeapl.cli.output import RESEARCH_USE_ONLY

if TYPE_CHECKING:
    from rich.console import Console

    from edgeapl.calibration.calibrator import Calibrated


def print_calibrated(done: Calibrated) -> None:
    """Print what was measured."""
    from rich.console import Console

    from edgeapl.cli.certify import show_new_version, show_unsigned

    out = Console(highlight=False)
    _print_slides(out, done.report)
    _print_stability(out, done.report)
    for name, why in done.report["kept_in_fp32"].items():
        out.print(f"{name} stays in FP32: {why}", markup=False)
    _print_fingerprint(out, done)
    show_new_version(out, done.bundle.folder, done.bundle.manifest.version, done.bundle.digest)
    show_unsigned(out, done.signer)
    if done.lost_certificate:
        text = "this version judges otherwise than the one before, so its proof that it may clear "
        text += "does not hold any more: run edgeapl calibrate with --labels"
        out.print(text, style="yellow", soft_wrap=True)
    out.print(RESEARCH_USE_ONLY)


def _print_slides(out: Console, report: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("slide", "images", "looked at", "cells", "for the ranges", ""):
        table.add_column(name, justify="left" if name in ("slide", "") else "right")
    for slide in report["slides"]:
        notes = ["held back for proofs"] if slide["held_back"] else []
        words = (
            ("left_out", "left out"),
            ("duplicates", "seen before"),
            ("unusable", "unusable"),
            ("excluded", "of test slides"),
        )
        notes += [f"{slide[key]} {word}" for key, word in words if slide[key]]
        figures = [str(slide[key]) for key in ("images", "looked_at", "cells", "used")]
        table.add_row(escape(slide["name"]), *figures, ", ".join(notes))
    out.print(table)
    for slide in report["slides"]:
        for doubt in slide["scale_doubts"]:
            text = f"{slide['name']}: {doubt}"
            out.print(text, style="yellow", markup=False, soft_wrap=True)
    if report["excluded_slides"]:
        names = ", ".join(report["excluded_slides"])
        out.print(f"test slides left out: {names}", markup=False)
    used = ", ".join(f"{count} {name}" for name, count in report["classes"].items())
    out.print(f"{len(report['items'])} cells for the ranges, predicted: {used}", markup=False)
    out.print(f"{report['near_duplicates']} near-duplicates dropped")


def _print_stability(out: Console, report: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("network", "images", "largest change of a range", "tensor"):
        table.add_column(name, justify="left" if name in ("network", "tensor") else "right")
    for network, lines in report["stability"].items():
        for line in lines:
            table.add_row(network, str(line["images"]), f"{line['change']:.1%}", line["tensor"])
    out.print(table)


def _print_fingerprint(out: Console, done: Calibrated) -> None:
    from edgeapl.calibration.fingerprint import FEWEST_SLIDES
    from edgeapl.stages.domain import FEWEST_CELLS

    found = done.report["fingerprint"]
    count = len(found["slides"])
    if found["strength"] == "none":
        kept = "the bundle's own is kept" if done.bundle.manifest.domain else "the bundle has none"
        text = (
            f"{count} slides with at least {FEWEST_CELLS} cells, {FEWEST_SLIDES} are needed to "
            f"tell others from them: {kept}"
        )
        out.print(text, style="yellow")
    elif found["strength"] == "weak":
        text = (
            f"the slides' look is known from {count} slides only: not every other stain is noticed"
        )
        out.print(text, style="yellow")
    else:
        out.print(f"the slides' look is known from {count} slides")
