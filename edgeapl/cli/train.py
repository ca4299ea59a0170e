"""`edgeapl train`: from slides and diagnoses to weights, a recipe for the export, and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from edgeapl.cli.options import (
    OUTPUT,
    CropsOption,
    JsonOption,
    ScaleOption,
)
from edgeapl.cli.output import print_json
from edgeapl.cli.train_detector import PART as DETECTOR
from edgeapl.cli.train_detector import train_detector
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
from edgeapl.cli.training_run import TrainingRun, part_of, read_labelled

if TYPE_CHECKING:
    from edgeapl.export.training.recipe import TrainingRecipe
    from edgeapl.export.training.trainer import Trained


def train(
    recipe: Annotated[
        str,
        typer.Argument(help="mil-small, manescu2023, eckardt2022, yan2025 or spatial-attention."),
    ],
    slides: Annotated[
        Path,
        typer.Option(
            rich_help_panel="Data",
            help="Folder of slides: a sub-folder each, or with a list slides.csv.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            rich_help_panel=OUTPUT,
            help="Folder for the result; after a stop the same command continues.",
        ),
    ],
    labels: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Data",
            help="CSV with slide,label or patient,label or all three. Single cells in a folder per "
            "class need none: they are then split by image.",
        ),
    ] = None,
    crops: CropsOption = False,
    um_per_px: ScaleOption = None,
    positive: Annotated[
        str, typer.Option(rich_help_panel="Data", help="Label that is looked for.")
    ] = "APL",
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            max=100,
            rich_help_panel="Test",
            help="Cross-validation by patient, in so many folds.",
        ),
    ] = 0,
    seeds: Annotated[
        int,
        typer.Option(
            min=1,
            max=100,
            rich_help_panel="Test",
            help="Do it with so many seeds, each its own folds.",
        ),
    ] = 1,
    hold_out: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            rich_help_panel="Test", help="Patient kept for a test of the model; once per patient."
        ),
    ] = None,
    colours: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Training",
            help="Images of another cohort: the cells of every image are brought to their colours "
            "(Reinhard 2001), here and in the bundle. --crops and --um-per-px hold for them too.",
        ),
    ] = None,
    init: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Training",
            help="Weights to start from: what fits by name and shape is taken.",
        ),
    ] = None,
    seed: SeedOption = 1,
    epochs: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(min=1, rich_help_panel="Training", help="At most; without it the recipe's."),
    ] = None,
    rate: Annotated[
        Optional[float],  # noqa: UP045
        typer.Option(
            min=1e-9,
            max=10,
            rich_help_panel="Training",
            help="Learning rate; without it the recipe's.",
        ),
    ] = None,
    bag: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Training",
            help="Cells of a slide in a step; without it the recipe's.",
        ),
    ] = None,
    batch: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Training",
            help="Slides, or images, in a step; without it the recipe's.",
        ),
    ] = None,
    patience: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Training",
            help="Epochs without a better loss before it stops early.",
        ),
    ] = None,
    views: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Training",
            help="Augmented passes that a test averages; 1 for none.",
        ),
    ] = None,
    part: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            rich_help_panel="Networks of cells",
            help="Network to train: of eckardt2022 myeloblast, promyelocyte, auer_rod, or detector "
            "alone; of yan2025 stage1, stage2b, stage2t, stage3m, stage3l, apl or ph. Without it "
            "all that judge.",
        ),
    ] = None,
    size: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option(
            rich_help_panel="Networks of cells", help="Side of a cell for the network, px."
        ),
    ] = None,
    hidden: Annotated[
        Optional[list[int]],  # noqa: UP045
        typer.Option(
            min=1,
            rich_help_panel="Networks of cells",
            help="Width of a fully connected layer before the last, once per layer.",
        ),
    ] = None,
    cells: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            rich_help_panel="Networks of cells",
            help="NETWORK=FOLDER,FOLDER: which folders hold the cells it looks for.",
        ),
    ] = None,
    search: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            rich_help_panel="Networks of cells",
            help="Trials to find rate, dropout and layers by, before each network (Optuna).",
        ),
    ] = 0,
    boxes: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            rich_help_panel="Networks of cells",
            help="With --part detector: COCO JSON, a folder of Pascal VOC files, or cells.csv of "
            "edgeapl cohorts, for the images of --slides.",
        ),
    ] = None,
    device: DeviceOption = Device.CPU,
    precision: PrecisionOption = Precision.AUTO,
    threads: ThreadsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train a network on your slides and test it on new patients.

    Research use only.
    """
    from edgeapl.cores import cpu_cores
    from edgeapl.errors import EngineError, UsageError

    of_detector = part == [DETECTOR]
    unfit = {"--search": search and of_detector, "--hidden": hidden and of_detector}
    unfit["--boxes"] = boxes is not None and not of_detector
    if DETECTOR in (part or ()) and not of_detector:
        unfit["--part"] = True
    for option, wrong in unfit.items():
        if wrong:
            mend = "boxes are for the detector, which is trained by itself: --part detector"
            raise UsageError("option does not fit the network", option, mend)
    try:
        from edgeapl.export.training import page  # noqa: F401 - missing matplotlib is told at once
        from edgeapl.export.training.choices import Choices, read_cells
        from edgeapl.export.training.device import choose_device
        from edgeapl.export.training.overrides import changed
        from edgeapl.export.training.plan import TrainingRequest, check_classes
        from edgeapl.export.training.registry import SYSTEMS, find_parts
    except ModuleNotFoundError as error:
        raise EngineError("train needs more packages", error.name or "", EXTRA) from error
    if colours is not None and recipe in SYSTEMS:
        mend = "leave it away here, and give it to export, which takes it for every recipe"
        raise UsageError(f"{recipe} has no such choice", "--colours", mend)
    used = choose_device(device.value, precision.value, threads or cpu_cores())
    if of_detector:
        train_detector(
            slides,
            boxes,
            out,
            used,
            watched,
            labels=read_cells(cells or ()).get(DETECTOR, ()),
            size=size,
            folds=folds,
            init=init,
            as_json=as_json,
            changes={"seed": seed, "epochs": epochs, "rate": rate, "batch": batch},
        )
        return
    choices = Choices(tuple(part or ()), size, tuple(hidden or ()), read_cells(cells or ()))
    parts = find_parts(recipe, choices)
    system = SYSTEMS.get(recipe)
    request = TrainingRequest(
        out, folds, seeds, positive, tuple(hold_out or ()), init, crops, um_per_px
    )
    run = TrainingRun(request, used, as_json, search)
    trained: list[Trained] = []
    for each in parts:
        found = changed(
            each,
            seed=seed,
            epochs=epochs,
            rate=rate,
            bag=bag,
            batch=batch,
            patience=patience,
            views=views,
        )
        labelled = (
            trained[0].labelled if trained else read_labelled(found, slides, labels, crops=crops)
        )
        found = _in_colours_of(colours, found, crops=crops, um_per_px=um_per_px)
        if not trained:
            for one in parts:  # a cohort that lacks a class of the last network is told at once
                check_classes(one, labelled.images)
        folder = out if system is None else out / part_of(found)
        pool = trained[0].pool if trained else None
        if system is not None and system.follow is not None:
            found = system.follow(found, trained)
        trained.append(run.train(found, labelled, folder, pool))
    if system is not None and not part:
        run.train_heads(system, trained)
    if as_json:
        print_json(run.documents[0] if system is None else {"parts": run.documents})


def _in_colours_of(
    images: Path | None, recipe: TrainingRecipe, *, crops: bool, um_per_px: float | None
) -> TrainingRecipe:
    """Return the recipe with cells in the colours of images, if there are any."""
    from edgeapl.export.proof_images import ProofImages
    from edgeapl.export.training.cohort_colours import recoloured

    return recipe if images is None else recoloured(recipe, ProofImages(images, crops, um_per_px))
