"""`edgeapl export`: from PyTorch checkpoints to a proven bundle."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    PROOF,
    CropsOption,
    JsonOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.table import Table

    from edgeapl.export.exporter import Exported

EXTRA = "pip install 'edgeapl[export]'"


def export(
    recipe: Annotated[
        str,
        typer.Argument(
            help="eckardt2022, manescu2023, yan2025, spatial-attention, or a recipe file (TOML)."
        ),
    ],
    weights: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            rich_help_panel="Checkpoint",
            help="role=FILE, once per role: .pt, .pth, .safetensors, TorchScript.",
        ),
    ] = None,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Bundle",
            help="Folder for the bundle; a bundle that is there is replaced.",
        ),
    ] = None,
    check: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=PROOF,
            help="Write nothing; prove this bundle against the checkpoints again.",
        ),
    ] = None,
    images: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=PROOF,
            help="Real images to prove the export on; without it, drawn ones.",
        ),
    ] = None,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    trained_on: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Checkpoint",
            help="Images that the weights were trained on, or a JSON list of their SHA-256: later "
            "steps refuse them as evidence.",
        ),
    ] = None,
    colours: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Bundle",
            help="Images like those of the training: the cells of every frame are brought to their "
            "colours (Reinhard 2001; docs/cells.md). --crops and --um-per-px hold for them too.",
        ),
    ] = None,
    views: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            rich_help_panel="Bundle",
            help="8: show each cell mirrored and turned in its eight ways, and take the mean; it "
            "takes eight times as long. 1: as it lies.",
        ),
    ] = None,
    random_weights: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=0,
            metavar="SEED",
            rich_help_panel="Checkpoint",
            help="No checkpoint: random weights, for latency studies only.",
        ),
    ] = None,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", rich_help_panel="Bundle", help="Let the bundle make pictures that explain."
        ),
    ] = False,
    segmenter: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            rich_help_panel="Bundle",
            help="Find cells another way: hsv-watershed, faster-rcnn, field, or sam: Segment "
            "Anything draws the outlines (docs/segment-anything.md).",
        ),
    ] = None,
    trust_archive: Annotated[
        bool,
        typer.Option(
            "--trust-archive",
            rich_help_panel="Checkpoint",
            help="Load .pt2 archives. Loading one can run code: know its maker.",
        ),
    ] = False,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Export a PyTorch model as a proven bundle.

    Exports the networks to ONNX and compares them with the checkpoint: exit code 1 when their
    answers differ. Research use only.
    """
    from edgeapl.errors import EngineError, UsageError
    from edgeapl.model.trial import try_out

    if (out is None) == (check is None):
        raise UsageError("where to", "--out or --check", "give one of them")
    try:
        from edgeapl.export.exporter import ExportRequest
        from edgeapl.export.exporter import check as check_bundle
        from edgeapl.export.exporter import export as export_bundle
        from edgeapl.export.proof_images import ProofImages
        from edgeapl.export.recipes.registry import find_recipe
    except ModuleNotFoundError as error:
        raise EngineError("export needs more packages", error.name or "", EXTRA) from error
    request = ExportRequest(
        weights=_weights(weights or []),
        seed=random_weights,
        explain=explain,
        trust_archive=trust_archive,
        images=ProofImages(images, crops, um_per_px),
        trained_on=trained_on,
        colours=None if colours is None else ProofImages(colours, crops, um_per_px),
        views=_views(views),
    )
    found = find_recipe(recipe, segmenter)
    with _progress() as say:
        if check is not None:
            try_out(check, trust_here(station))
            done = check_bundle(found, request, check, say)
        else:
            assert out is not None
            done = export_bundle(found, request, out, say)
    if as_json:
        print_json({**done.report, "bundle": _bundle(done)})
    else:
        _show(done)


def _views(given: int | None) -> Literal[1, 8] | None:
    from edgeapl.errors import UsageError

    if given is None:
        return None
    if given == 8:
        return 8
    if given == 1:
        return 1
    raise UsageError("cells can be shown in 1 view or in 8", f"--views {given}", "give one of them")


def _weights(given: Sequence[str]) -> dict[str, Path]:
    """Read ``role=FILE`` pairs."""
    from edgeapl.errors import UsageError

    weights: dict[str, Path] = {}
    for pair in given:
        role, equals, file = pair.partition("=")
        if not equals or not role or not file:
            raise UsageError("weights are not named rightly", pair, "write --weights role=FILE")
        if role in weights:
            raise UsageError("weights are given twice", role, "give one file per role")
        weights[role] = Path(file)
    return weights


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show the progress: a spinner on a terminal, plain lines elsewhere."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    terminal = console()
    if not terminal.is_terminal:
        yield lambda text: terminal.print(text, markup=False)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda text: progress.update(task, description=text)


def _bundle(done: Exported) -> dict[str, Any]:
    manifest = done.bundle.manifest
    return {
        "folder": str(done.bundle.folder),
        "name": manifest.name,
        "digest": done.bundle.digest,
        "trained": manifest.trained,
    }


def _confusion(document: dict[str, Any]) -> Table:
    """Return a table of how often the cells of each folder got each class."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("folder")
    for name in document["classes"]:
        table.add_column(escape(name), justify="right")
    for row in document["folders"]:
        table.add_row(escape(row["folder"]), *(str(count) for count in row["called"]))
    return table


def _show(done: Exported) -> None:
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for name in ("network", "output", "batches", "largest difference", "allowed"):
        table.add_column(
            name, justify="right" if name in ("largest difference", "allowed") else "left"
        )
    for name, network in done.report["networks"].items():
        for output, rows in network["outputs"].items():
            worst = max(rows, key=lambda row: row["largest_absolute"])
            batches = ", ".join(str(row["batch"]) for row in rows)
            table.add_row(
                name, output, batches, f"{worst['largest_absolute']:.1e}", f"{worst['allowed']:.1e}"
            )
    out.print(table)
    slide = done.report["slide"]
    images = done.report["images"]
    out.print(
        f"{images['cells']} cells of {len(images['images'])} {images['kind']} images as one slide: "
        f"{slide['exported']['verdict']}, with torch {slide['reference']['verdict']}"
    )
    for confusion in done.report["confusion"]:
        right = (
            f"{confusion['right']} of {confusion['cells']} cells are classified like their folders"
        )
        out.print(f"{confusion['network']}: {right}", markup=False)
        out.print(_confusion(confusion))
    out.print(f"bundle {done.bundle.folder}", soft_wrap=True, markup=False)
    out.print(f"digest {done.bundle.digest}", soft_wrap=True)
    for warning in done.report["warnings"]:
        out.print(f"warning: {warning}", style="yellow", soft_wrap=True, markup=False)
    if not done.bundle.manifest.trained:
        out.print("random weights: this bundle can only ever give REVIEW", style="yellow")
    out.print(RESEARCH_USE_ONLY)
