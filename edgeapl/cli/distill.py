"""`edgeapl distill`: one small network in place of a bundle's, proven to answer alike."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from edgeapl.cli.choices import trust_here
from edgeapl.cli.options import (
    IMAGES,
    OUTPUT,
    PROOF,
    CropsOption,
    JsonOption,
    ScaleOption,
    StationOption,
)
from edgeapl.cli.output import RESEARCH_USE_ONLY, console, one_line, print_json
from edgeapl.cli.train_progress import watched
from edgeapl.cli.training_options import (
    EXTRA,
    Device,
    DeviceOption,
    Precision,
    PrecisionOption,
    SeedOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from edgeapl.distillation.distiller import Distilled


def distill(
    bundle: Annotated[Path, typer.Argument(help="Bundle whose answers are taught: the parent.")],
    frames: Annotated[
        Path,
        typer.Option(
            rich_help_panel=IMAGES,
            help="Unlabelled slides of your laboratory, a sub-folder each; five or more, of which "
            "two in five are held back.",
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=OUTPUT,
            help="Folder for the student's bundle; after a stop the same command continues.",
        ),
    ] = None,
    cascade: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=OUTPUT,
            help="Folder for a bundle in which the student answers first, and the parent about the "
            "cells that the student is unsure of.",
        ),
    ] = None,
    error: Annotated[
        float,
        typer.Option(
            min=0.0001,
            max=0.5,
            rich_help_panel=PROOF,
            help="With --cascade: share of cells that may be answered otherwise.",
        ),
    ] = 0.005,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    most_cells: Annotated[
        int,
        typer.Option(
            min=100,
            max=1_000_000,
            rich_help_panel=IMAGES,
            help="Cells that the parent is asked about.",
        ),
    ] = 6000,
    max_flip_rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=0,
            max=1,
            rich_help_panel=PROOF,
            help="Share of cells that the student may answer otherwise; without it the parent's "
            "own limit.",
        ),
    ] = None,
    evidence: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel=PROOF,
            help="Slides of the parent's certificate: the student may clear only if it judges all "
            "of them as they were judged.",
        ),
    ] = None,
    size: Annotated[
        int,
        typer.Option(
            min=32,
            max=512,
            rich_help_panel="Training",
            help="Side that a cell is brought to, px, about.",
        ),
    ] = 112,
    epochs: Annotated[
        int, typer.Option(min=1, max=10_000, rich_help_panel="Training", help="How often.")
    ] = 30,
    rate: Annotated[
        float, typer.Option(min=1e-9, max=10, rich_help_panel="Training", help="Learning rate.")
    ] = 2e-3,
    batch: Annotated[
        int, typer.Option(min=2, rich_help_panel="Training", help="Cells in a step.")
    ] = 64,
    seed: SeedOption = 1,
    device: DeviceOption = Device.CPU,
    precision: PrecisionOption = Precision.AUTO,
    threads: ThreadsOption = None,
    station: StationOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach one small network a bundle's answers, and prove it.

    The student has one head for every network of cells of its parent, and is compared with it on
    slides that were held back. With --cascade it only answers where it is sure. Exit code 1, and no
    bundle, for what does not answer like its parent within the parent's limits. Research use only.
    """
    from dataclasses import replace

    from edgeapl.cores import cpu_cores
    from edgeapl.errors import EngineError
    from edgeapl.model.trial import try_out

    try:
        from edgeapl.distillation.distiller import distil
        from edgeapl.distillation.request import SETTINGS, DistillRequest
        from edgeapl.export.training.device import choose_device
    except ModuleNotFoundError as missing:
        raise EngineError("distill needs more packages", missing.name or "", EXTRA) from missing
    used = choose_device(device.value, precision.value, threads or cpu_cores())
    learning = replace(
        SETTINGS,
        epochs=epochs,
        rate=replace(SETTINGS.rate, peak=rate),
        batch=batch,
        seed=seed,
    )
    request = DistillRequest(
        bundle,
        frames,
        out,
        used,
        cascade=cascade,
        error=error,
        crops=crops,
        um_per_px=um_per_px,
        evidence=evidence,
        most_cells=most_cells,
        side=size,
        max_flip_rate=max_flip_rate,
        settings=learning,
    )
    try_out(bundle, trust_here(station))
    with watched(epochs) as watcher:
        done = distil(request, watcher.said, watcher)
    if as_json:
        bundles = [{**one.document, "bundle": str(one.bundle.folder)} for one in done]
        print_json({"bundles": bundles})
    else:
        for one in done:
            _show(one)


def _show(done: Distilled) -> None:
    from edgeapl.cli.output import answer_console

    out = answer_console()
    proof: dict[str, Any] = done.document["proof"]
    cells = f"{proof['flipped']} of {proof['cells']} held-back cells are answered otherwise"
    out.print(f"{cells} ({100 * proof['flip_rate']:.2g} %)", markup=False)
    for name, recall in proof["recall"].items():
        if recall["cells"]:
            out.print(f"  {name}: {recall['kept']} of {recall['cells']} kept", markup=False)
    doubt = done.document["cascade"]
    if doubt is not None:
        out.print(f"{100 * doubt['passed_on']:.2g} % of them go to the parent", markup=False)
        text = f"verdicts allow for {100 * doubt['bound']:.2g} % of cells answered otherwise"
        out.print(text, markup=False)
    changed = f"{proof['verdicts_changed']} of {len(proof['slides'])} verdicts change"
    out.print(f"{changed}; compared on {len(proof['slides'])} slides", markup=False)
    certificate = done.document["certificate"]
    if certificate["inherited"]:
        out.print("the certificate to clear is inherited: all its slides are judged alike")
    elif certificate["tried"]:
        names = ", ".join(one_line(name) for name in certificate["judged_otherwise"][:5])
        text = f"clears no slide: {len(certificate['judged_otherwise'])} of the certificate's "
        console().print(f"{text}are judged otherwise: {names}", style="yellow", markup=False)
    out.print(f"{done.kind} {done.bundle.folder}", soft_wrap=True, markup=False)
    out.print(RESEARCH_USE_ONLY)
