"""Write what a training gives: weights, what the export takes besides, digests and figures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w
import torch

from edgeapl import __version__
from edgeapl.export.trained_on import FILE as TRAINING_SET
from edgeapl.export.trained_on import digests_document
from edgeapl.export.training.metrics import tested_document
from edgeapl.export.training.run_state import tensor_bytes, write_whole
from edgeapl.export.training.trainer import Round, Trained

WEIGHTS = "weights.pt"
RECIPE = "recipe.toml"
MODEL = "model.py"
FIGURES = "training.json"


def write_trained(trained: Trained, out: Path) -> dict[str, Any]:
    """Write the files of a trained network; returns the figures.

    ``weights.pt``, ``recipe.toml`` and ``model.py`` go to ``edgeapl export``, ``training-set.json``
    to its ``--trained-on``, ``training.json`` holds all figures. Raises StorageError.
    """
    state = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in trained.module.state_dict().items()
    }
    document = training_document(trained)
    write_whole(out / WEIGHTS, tensor_bytes(state))
    if trained.recipe.bundle is not None:
        files = trained.recipe.bundle(trained.classes)
        write_whole(out / RECIPE, tomli_w.dumps(dict(files.recipe)).encode())
        write_whole(out / MODEL, files.model.encode())
    write_whole(out / TRAINING_SET, digests_document(seen(trained)))
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False) + "\n"
    write_whole(out / FIGURES, text.encode())
    return document


def seen(trained: Trained) -> set[str]:
    """Return the digests of all images that the model learned from, or that told it when to stop.

    Patients of the folds are among them, as the model learned from all folds; those who were kept
    for its test are not.
    """
    split = trained.rounds[-1].split
    rows = trained.pool.rows_of((*split.train, *split.stopping))
    return {trained.pool.digests[row] for row in rows.tolist()}


def training_document(trained: Trained) -> dict[str, Any]:
    """Return all figures as plain JSON values."""
    pool, recipe = trained.pool, trained.recipe
    return {
        "schema": 1,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)}
        | {"numpy": version("numpy")},
        "recipe": recipe.name,
        "source": recipe.source,
        "cohort": {
            "name": trained.labelled.name,
            "images": len({image.file for image in pool.images}),
            "cells": len(pool),
            "patients": None if trained.labelled.by_image else len(set(pool.patients)),
            "split_by": "image" if trained.labelled.by_image else "patient",
            "left_out": dict(trained.labelled.left_out),
        },
        "classes": list(trained.classes.slides),
        "cell_classes": list(trained.classes.cells),
        "named": trained.named,
        "form": dict(recipe.form),
        "settings": asdict(recipe.settings),
        "augmentation": asdict(recipe.augmentation),
        "colours": None if recipe.crop.colours is None else recipe.crop.colours.model_dump(),
        "device": asdict(trained.device),
        "parameters": sum(each.numel() for each in trained.module.parameters()),
        "rounds": [_round(one) for one in trained.rounds],
        "cross_validation": tested_document(trained.folds) if trained.folds else None,
        "test": tested_document(trained.test) if trained.test else None,
    }


def _round(one: Round) -> Mapping[str, Any]:
    said = one.tested
    return {
        "name": one.split.name,
        "seed": one.seed,
        "train": list(one.split.train),
        "stopping": list(one.split.stopping),
        "tested": list(one.split.tested),
        "epochs": [asdict(each) for each in one.history],
        "best_epoch": one.best + 1,
        "probabilities": None
        if said is None
        else {
            name: [round(float(value), 6) for value in row]
            for name, row in zip(said.names, said.probabilities, strict=True)
        },
    }
