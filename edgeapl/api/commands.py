"""Bundles and engines from a program: `edgeapl.export`, `build_engine` and `evaluate`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from edgeapl.api.trust_policy import station_trust
from edgeapl.evaluation.additional_analyses import AdditionalAnalyses, additional_document
from edgeapl.evaluation.request import (
    evaluate_results,
    evaluation_document,
    evaluation_options,
)
from edgeapl.model import EMBEDDED
from edgeapl.model.trial import try_out
from edgeapl.optional_imports import require_extra

Place = str | os.PathLike[str]
Say = Callable[[str], None]


def ignore_stage(stage: str) -> None:
    """Ignore a stage."""


def export(
    recipe: Place,
    *,
    out: Place,
    weights: Mapping[str, Place] | None = None,
    images: Place | None = None,
    crops: bool = False,
    um_per_px: float | None = None,
    random_weights: int | None = None,
    explain: bool = False,
    segmenter: str | None = None,
    colours: Place | None = None,
    views: Literal[1, 8] | None = None,
    trust_archive: bool = False,
    say: Say = ignore_stage,
) -> Path:
    """Export a PyTorch model to a bundle, prove it against the checkpoint, and return its folder.

    Parameters
    ----------
    recipe : name of a published one, or a recipe file (TOML). out : folder for the bundle.
    weights : role to checkpoint file, with ``#KEY`` if it holds several.
    images : real images to prove it on; None for drawn ones.
    colours : images whose colours the cells of every frame are brought to. views : in which every
        cell is shown, their answers averaged. None for what the recipe says.
    crops : each image is one cell. um_per_px : their scale, µm per px; None to measure it.
    random_weights : seed, in place of a checkpoint; for studies of speed only.
    explain : let the bundle draw pictures that explain its answers.
    segmenter : another way to find cells. trust_archive : load .pt2 files, which can run code.
    say : called with each stage.

    Raises
    ------
    EngineError
        The extra `export` is not installed.
    ProofError
        The network answers differently from its checkpoint.
    CodeError
        The recipe's own code fails.
    UsageError, ConfigError, InputError
        An argument is wrong.
    """
    exporting: Any = require_extra("export", "edgeapl.export.exporter", "export")
    proof_images: Any = require_extra("export", "edgeapl.export.proof_images", "export")
    registry: Any = require_extra("export", "edgeapl.export.recipes.registry", "export")
    request = exporting.ExportRequest(
        weights={role: Path(file) for role, file in (weights or {}).items()},
        seed=random_weights,
        explain=explain,
        trust_archive=trust_archive,
        images=proof_images.ProofImages(None if images is None else Path(images), crops, um_per_px),
        colours=None
        if colours is None
        else proof_images.ProofImages(Path(colours), crops, um_per_px),
        views=views,
    )
    done = exporting.export(
        registry.find_recipe(os.fspath(recipe), segmenter), request, Path(out), say
    )
    folder: Path = done.bundle.folder
    return folder


def build_engine(
    bundle: Place | None = None,
    *,
    precision: Literal["auto", "fp32", "tf32", "fp16", "int8"] = "auto",
    target: str = "auto",
    out: Place | None = None,
    frames: Place | None = None,
    crops: bool = False,
    um_per_px: float | None = None,
    max_flip_rate: float | None = None,
    device: int = 0,
    station: Place | None = None,
    say: Say = ignore_stage,
) -> Path:
    """Build engines for this machine, prove and time them against the bundle; return their folder.

    Parameters
    ----------
    bundle : None for the embedded demonstration. precision : ``auto`` for the fastest that passes.
    target : ``auto`` for all that run here, or onnxruntime, openvino, onnxruntime-cuda, tensorrt,
        tensorrt-rtx.
    out : folder; None for the cache, where they are found again.
    frames : slides to prove on; None for drawn ones. crops : each image is one cell.
    um_per_px : their scale, µm per px; None to measure it.
    max_flip_rate : 0 to 1; layers are kept in a higher precision until it holds.
    device : number of the GPU, where there are several.
    station : station file whose ``trusted_keys`` must have signed the bundle; None for no check.
    say : called with each stage.

    Raises
    ------
    EngineError
        The extra `build` is not installed.
    ProofError
        No engine answers like the bundle.
    """
    building: Any = require_extra("build_engine", "edgeapl.calibration.builder.build", "build")
    request = building.BuildRequest(
        bundle=EMBEDDED if bundle is None else Path(bundle),
        precision=None if precision == "auto" else precision,
        target=target,
        out=None if out is None else Path(out),
        frames=None if frames is None else Path(frames),
        cell_images=crops,
        um_per_px=um_per_px,
        max_flip_rate=max_flip_rate,
        device=device,
    )
    try_out(request.bundle, station_trust(station))
    folder: Path = building.build_engine(request, say).folder
    return folder


def evaluate(
    results: Place,
    labels: Place,
    *,
    positive: str = "APL",
    threshold: float | None = None,
    bundle: Place | None = None,
    cells: Place | None = None,
    classes: Mapping[str, Sequence[str]] | None = None,
    boxes: Place | None = None,
    counts: Place | None = None,
    folds: Place | None = None,
    against: Place | None = None,
    plots: Place | None = None,
) -> dict[str, Any]:
    """Compare a result folder with labels; return the document of `edgeapl evaluate --json`.

    Parameters
    ----------
    results : folder of `score`. labels : CSV with slide,label or patient,label or all three.
    positive : label of the slides that must be found.
    threshold : a slide with at least this probability is called positive, 0 to 1; None for the
        bundle's.
    bundle : to take thresholds from.
    cells : ``folders`` (an image's folder is its class) or a CSV with file,label; None for slides.
    classes : role to the labels of the cells it should find; None to match equal names.
    boxes : COCO JSON with boxes that people drew; needs pycocotools.
    counts : people's differential counts, a CSV with slide and a column per class.
    folds : CSV with slide,fold or patient,fold, for figures by fold and their mean.
    against : result folder of another model on the same slides, to compare with.
    plots : folder for curves and matrices, as PNG and SVG; needs the extra `plots`.

    Raises
    ------
    InputError, ConfigError
        A file is missing or wrong.
    EngineError
        An extra is not installed.
    """
    asked = evaluation_options(
        positive, threshold, None if bundle is None else Path(bundle), classes
    )
    named = None if cells is None else os.fspath(cells)
    evaluation = evaluate_results(Path(results), Path(labels), named, asked)
    further = AdditionalAnalyses(*(_path(place) for place in (boxes, counts, folds, against)))
    evaluation.document.update(additional_document(Path(results), Path(labels), asked, further))
    if plots is not None:
        drawing: Any = require_extra("evaluate with plots", "edgeapl.evaluation.plots", "plots")
        drawing.draw(evaluation, Path(plots))
    return evaluation_document(evaluation)


def _path(place: Place | None) -> Path | None:
    return None if place is None else Path(place)
