"""What a training consists of: its classes, its data, and the rounds that it takes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from edgeapl.bundle.digest import sha256
from edgeapl.errors import InputError, UsageError
from edgeapl.export.training.cell_pool import CellPool
from edgeapl.export.training.device import Device
from edgeapl.export.training.labelled_set import LabelledImage
from edgeapl.export.training.recipe import Classes, TrainingRecipe
from edgeapl.export.training.split import Split, split_by_patient
from edgeapl.export.training.training_data import TrainingData, numbered
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """How to train.

    out : folder for the result. folds : of a cross-validation by patient, 0 for none.
    seeds : how often the cross-validation is done, each time with the next seed.
    positive : label that is looked for. tested : patients kept for a test of the model.
    init : file of weights to start from. crops, um_per_px : as in `Cutting`.
    """

    out: Path
    folds: int = 0
    seeds: int = 1
    positive: str = "APL"
    tested: tuple[str, ...] = ()
    init: Path | None = None
    crops: bool = False
    um_per_px: float | None = None


def labels_of(recipe: TrainingRecipe, pool: CellPool) -> tuple[str, ...]:
    """Return what is learned of every cell: its slide's diagnosis, or its own class."""
    if recipe.judges == "cells":
        return tuple(map(recipe.class_of, pool.images))
    return tuple(image.label for image in pool.images)


def classes_of(
    recipe: TrainingRecipe, pool: CellPool, labels: tuple[str, ...], positive: str
) -> Classes:
    """Return the names that the network's outputs get. Raises InputError for an unknown label."""
    if recipe.judges == "cells":
        check_classes(recipe, pool.images)
        return Classes(recipe.cell_order)
    found = sorted(set(labels))
    if positive not in found and len(found) == 2:
        mend = f"give --positive: {' or '.join(map(printable, found))}"
        raise InputError("no patient has the label", printable(positive), mend)
    names = [name for name in found if name != positive]
    # Where nobody names cells, nothing is learned of their classes, and nothing said.
    named = any(image.cell_class.casefold() in recipe.cell_classes for image in pool.images)
    cells = recipe.cell_order if named else ()
    return Classes((*names, positive) if positive in found else tuple(names), cells)


def data_of(
    recipe: TrainingRecipe, pool: CellPool, classes: Classes, device: Device
) -> TrainingData:
    """Return what objectives work with; all cells are learned from until a round parts them."""
    cells = tuple(map(recipe.class_of, pool.images))
    return TrainingData(
        pool=pool,
        train=np.arange(len(pool), dtype=np.int64),
        classes=classes.slides,
        truth=numbered(labels_of(recipe, pool), classes.slides),
        cell_classes=classes.cells,
        cell_truth=numbered(cells, classes.cells),
        images=recipe.images,
        augmentation=recipe.augmentation,
        settings=recipe.settings,
        device=device,
    )


def rounds_of(
    recipe: TrainingRecipe, labels: tuple[str, ...], pool: CellPool, request: TrainingRequest
) -> list[tuple[Split, int]]:
    """Return every training: the folds of each seed, then the model with the first seed."""
    settings = recipe.settings
    held = _labels_of_patients(labels, pool)
    counts = Counter(labels)
    # By the rarest class of cells that a patient has, so that every side gets some of them.
    of_patient = {
        patient: min(own, key=lambda name: (counts[name], name)) for patient, own in held.items()
    }
    missing = sorted(set(request.tested) - set(of_patient))
    if missing:
        which = ", ".join(map(printable, missing[:3]))
        raise UsageError("no such patient to hold out", which, "names are those of the labels")
    rounds: list[tuple[Split, int]] = []
    part = partial(
        split_by_patient,
        of_patient,
        held=held,
        folds=request.folds,
        stopping=settings.stopping,
        tested=request.tested,
    )
    for seed in range(settings.seed, settings.seed + request.seeds):
        rounds += [(split, seed) for split in part(seed=seed)[:-1]]
    return [*rounds, (part(seed=settings.seed)[-1], settings.seed)]


def check_classes(recipe: TrainingRecipe, images: Sequence[LabelledImage]) -> None:
    """Raise InputError when cells are judged, and no image is of one of their classes."""
    if recipe.judges != "cells":
        return
    labels = set(map(recipe.class_of, images))
    missing = [name for name in recipe.cell_order if name not in labels]
    if missing:
        names = sorted({image.cell_class for image in images} - {""})
        have = f"they are in: {', '.join(map(printable, names[:12]))}" if names else "none is named"
        asked = recipe.cell_order[-1] if missing[0] == recipe.other else missing[0]
        mend = f"say which folders hold them with --cells {asked}=FOLDER; {have}"
        raise InputError("no cell is of the class", missing[0], mend)


def _labels_of_patients(labels: tuple[str, ...], pool: CellPool) -> dict[str, set[str]]:
    """Return patient to labels: the diagnosis, or the classes of all cells."""
    found: dict[str, set[str]] = {}
    for image, label in zip(pool.images, labels, strict=True):
        if label:
            found.setdefault(image.patient, set()).add(label)
    return found


def digest_of(
    recipe: TrainingRecipe,
    pool: CellPool,
    device: Device,
    request: TrainingRequest,
    init: str | None,
) -> str:
    """Return what tells this training from all others; init : digest of the file, or None."""
    listed = [
        (digest, image.slide, image.patient, image.label, image.cell_class)
        for digest, image in zip(pool.digests, pool.images, strict=True)
    ]
    content = {
        "recipe": recipe.name,
        "settings": asdict(recipe.settings),
        "augmentation": asdict(recipe.augmentation),
        "crop": recipe.crop.model_dump(),
        "device": asdict(device),
        "cells": listed,
        "folds": request.folds,
        "positive": request.positive,
        "tested": sorted(request.tested),
        "init": init,
    }
    if recipe.judges == "cells":
        content["asked"] = labels_of(recipe, pool)
    if recipe.form:
        content["form"] = dict(recipe.form)
    return sha256(json.dumps(content, sort_keys=True).encode())
