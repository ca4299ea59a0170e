"""`edgeapl compare`: two bundles on the same slides, before a station takes the new one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import opened_model
from edgeapl.cli.options import (
    CropsOption,
    EnginesOption,
    JsonOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, answer_console, console, one_line, print_json

if TYPE_CHECKING:
    from rich.console import Console


def compare(
    old: Annotated[Path, typer.Argument(help="Bundle that is in use.")],
    new: Annotated[Path, typer.Argument(help="Bundle that may take its place.")],
    slides: Annotated[
        Path, typer.Option(help="Folder of slides to compare on, as for edgeapl score.")
    ],
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="CSV with slide,label, to compare with diagnoses as well."),
    ] = None,
    positive: Annotated[str, typer.Option(help="Label of the slides that must be found.")] = "APL",
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="Folder for both results; without it edgeapl-results/compare-NAME."),
    ] = None,
    engines: EnginesOption = "auto",
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two bundles on the same slides.

    Told are changed verdicts, concordance per class, speed and certificate. Both score every slide,
    in turns; no verdict gets into the station's journal. Run it again to go on. Research use only.
    """
    from edgeapl.comparison import ComparisonRequest, compare_bundles
    from edgeapl.config import load_station
    from edgeapl.evaluation.labels import read_slide_labels

    config = load_station(station)
    request = ComparisonRequest(
        slides,
        out or Path("edgeapl-results") / f"compare-{slides.resolve().name}",
        crops=crops,
        um_per_px=um_per_px or config.um_per_px,
        labels=None if labels is None else read_slide_labels(labels),
        positive=positive,
    )
    terminal = console()

    def told(slide: str, done: int, of: int) -> None:
        terminal.print(f"{one_line(slide)}: slide {done + 1} of {of}", markup=False)

    with (
        opened_model(old, config, engines, terminal) as before,
        opened_model(new, config, engines, terminal) as after,
    ):
        document = compare_bundles(before, after, request, told)
    if as_json:
        print_json(document)
    else:
        _print(answer_console(), document)


def _print(out: Console, document: Mapping[str, Any]) -> None:
    from edgeapl.report.results import INDEX
    from edgeapl.wording.numbers import plural

    def line(text: str, style: str = "") -> None:
        out.print(one_line(text), style=style, markup=False, soft_wrap=True)

    for side in ("old", "new"):
        one = document[side]
        line(f"{side}: {one['bundle']} {one['version']} ({one['digest'][:12]}), {one['signed_by']}")
    changed, slides = document["changed"], plural(document["slides"], "slide")
    line(f"{slides}, {len(changed)} with another verdict", "bold")
    for one in changed:
        lost = one["from"] == "FLAG"
        text = f"  {one['slide']}: {one['from']} -> {one['to']}" + (", a flag is LOST" * lost)
        line(text, "bold red" if lost else "")
    for name, found in document["verdicts"].items():
        line(f"  {name}: {_same(found)}")
    cells = document["cells"]
    line(
        f"cells found by both: {cells['cells']}; by the old bundle alone {cells['only_old']}, "
        f"by the new one {cells['only_new']}"
    )
    for name, found in cells["classes"].items():
        line(f"  {name.replace('_', ' ')}: {_same(found)}")
    line(f"speed: {_speed(document['speed']['ratio'])}")
    line(f"certificate: {document['certificate']}")
    if document["labelled"] is not None:
        areas = document["labelled"]["delong"]
        if areas["value"] is None:
            line(f"areas under ROC curves: not told: {areas['reason']}")
        else:
            difference = f"{areas['area_against']:.3f} -> {areas['area']:.3f}"
            line(f"areas under ROC curves, old -> new: {difference}, p {areas['p'] or 1:.2g}")
    for side in ("old", "new"):
        line(f"reports: {Path(document[side]['results']) / INDEX}")
    line(RESEARCH_USE_ONLY, "dim")


def _same(found: Mapping[str, Any]) -> str:
    same = found["same"]
    if same["value"] is None:
        return f"the old bundle says it nowhere, the new one {found['new']} times"
    interval = f"{100 * same['low']:.1f} to {100 * same['high']:.1f} %"
    stay = f"{same['k']} of {same['n']} stay ({interval})"
    return f"{stay}, the new bundle says it {found['new']} times"


def _speed(ratio: Mapping[str, Any] | None) -> str:
    if ratio is None:
        return "not measured: all slides were finished before"
    about = f"{ratio['pairs']} slides in turns, too few for an interval"
    if ratio["interval"] is not None:
        low, high = ratio["interval"]
        about = f"95 % interval {low:.2f} to {high:.2f}, {ratio['pairs']} slides in turns"
    return f"the old bundle takes {ratio['value']:.2f} times as long as the new one ({about})"
