"""`edgeapl export-labels`: cells with labels, for programs that train and label."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import chosen_journal
from edgeapl.cli.options import (
    IMAGES,
    OUTPUT,
    JournalOption,
    JsonOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json
from edgeapl.wording.numbers import plural

if TYPE_CHECKING:
    from edgeapl.labelling import ExportedLabels, LabelsRequest

SCHEMA = 1
"""Version of the JSON document; raised when a field changes its meaning or goes."""


class Format(str, Enum):
    """How labels are written."""

    COCO = "coco"
    CSV = "csv"
    FOLDERS = "folders"
    QUPATH = "qupath"


def export_labels(
    results: Annotated[Path, typer.Argument(help="Result folder of edgeapl score or watch.")],
    as_format: Annotated[
        Format,
        typer.Option(
            "--format",
            rich_help_panel=OUTPUT,
            help="coco: one JSON file with boxes and outlines; csv: a table; folders: an image of "
            "each cell in a folder per class; qupath: GeoJSON and a script that imports it.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=OUTPUT, help="Folder for labels; without it edgeapl-labels/NAME-FORMAT."
        ),
    ] = None,
    images: Annotated[
        Optional[list[Path]],  # noqa: UP045
        typer.Option(
            rich_help_panel=IMAGES,
            help="Where the frames lie now, if they were moved; may be given again.",
        ),
    ] = None,
    margin_um: Annotated[
        float,
        typer.Option(
            min=0, max=50, rich_help_panel=IMAGES, help="µm shown around a cell in its image."
        ),
    ] = 4.0,
    all_records: Annotated[
        bool,
        typer.Option(
            "--all-records",
            rich_help_panel="Cells",
            help="Of slides with several records all, not the newest.",
        ),
    ] = False,
    machine_only: Annotated[
        bool,
        typer.Option(
            "--machine-only",
            rich_help_panel="Cells",
            help="Without people's words; asks no journal.",
        ),
    ] = False,
    journal: JournalOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export cells with labels, for training and annotation.

    A person's label takes precedence over the networks'; both are written, with who and when. Cells
    that no network scored have no class. Research use only.
    """
    from edgeapl.config import load_station
    from edgeapl.labelling import LabelsRequest
    from edgeapl.labelling import export_labels as export

    name = f"{results.resolve().name}-{as_format.value}"
    request = LabelsRequest(
        results=results,
        out=out or Path("edgeapl-labels") / name,
        format=as_format.value,
        journal=None if machine_only else chosen_journal(journal, load_station(station)),
        images=tuple(images or ()),
        all_records=all_records,
        margin_um=margin_um,
    )
    terminal = console()
    exported = export(
        request,
        lambda error: terminal.print(
            f"error: {one_line(str(error))}", style="red", markup=False, soft_wrap=True
        ),
    )
    if as_json:
        print_json(_document(exported, request))
    else:
        _show(exported, request)
    if exported.exit_code:
        raise typer.Exit(exported.exit_code)


def _document(exported: ExportedLabels, request: LabelsRequest) -> dict[str, Any]:
    records, cells = exported.left_out
    return {
        "schema": SCHEMA,
        "research_use_only": True,
        "out": str(request.out),
        "format": request.format,
        "slides": exported.slides,
        "frames": exported.frames,
        "classes": dict(exported.classes),
        "without_class": dict(exported.without_class),
        "corrected": exported.corrected,
        "left_out": {"records": records, "corrected": cells},
        "errors": [
            {"what": e.what, "which": e.which, "mend": e.mend, "exit_code": e.exit_code}
            for e in exported.errors
        ],
    }


def _show(exported: ExportedLabels, request: LabelsRequest) -> None:
    for name, count in exported.classes.items():
        typer.echo(one_line(f"{name}: {count}"))
    for status, count in exported.without_class.items():
        typer.echo(f"without a class ({status.replace('_', ' ')}): {count}")
    if request.journal is None:
        typer.echo("people's words: not asked for")
    else:
        typer.echo(f"named by people: {exported.corrected}")
    records, cells = exported.left_out
    if records:
        typer.echo(
            f"{plural(records, 'older record')} left out, in which people named "
            f"{plural(cells, 'cell')}: "
            "--all-records takes them"
        )
    if exported.errors:
        typer.echo(f"{plural(len(exported.errors), 'frame')} gave no images of cells; see above")
    slides = f"{plural(exported.slides, 'slide')}, {plural(exported.frames, 'frame')}"
    typer.echo(one_line(f"{slides} as {request.format} in {request.out}"))
    typer.echo(RESEARCH_USE_ONLY)
