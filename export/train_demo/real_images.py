"""Measures the embedded bundle on real single-cell images with known classes and diagnoses."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.export.cell_files import score_cell_files
from edgeapl.export.train_demo.figures import auc
from edgeapl.model import Model

CELLAVISION_UM_PER_PX = 0.1
"""CellaVision cell images are taken with a 100x objective at 0.1 µm per px."""


def evaluate(model: Model, data: Path) -> dict[str, Any]:
    """Return AUCs on `deepapl_discovery` (cells and patients) and `aml_lmu_sample` (cells)."""
    return {
        "deepapl_discovery": _discovery(model, data / "deepapl_discovery"),
        "aml_lmu_sample": _single_cells(model, data / "aml_lmu_sample"),
        "research_use_only": True,
    }


def _scores(model: Model, files: Iterable[Path], um_per_px: float) -> dict[str, NDArray[Any]]:
    scores, kept = score_cell_files(model, files, um_per_px)
    return {**scores.roles, "file": np.array([str(file) for file in kept])}


def _discovery(model: Model, folder: Path) -> dict[str, Any]:
    found = _scores(model, sorted(folder.glob("*/*/*.jpg")), CELLAVISION_UM_PER_PX)
    classes = np.array([Path(file).parent.name for file in found["file"]])
    patients = np.array([Path(file).parent.parent.name for file in found["file"]])
    with (folder / "patients.csv").open(encoding="utf-8") as file:
        diagnosis = {row["patient"]: row["diagnosis"] for row in csv.DictReader(file)}
    names = sorted(diagnosis)
    threshold = {role.name: role.threshold for role in model.bundle.manifest.roles}
    share = [
        float((found["promyelocyte"][patients == n] >= threshold["promyelocyte"]).mean())
        for n in names
    ]
    return {
        "cells": len(classes),
        "auc_promyelocyte": auc(found["promyelocyte"], classes == "Promyelocyte"),
        "auc_myeloblast": auc(found["myeloblast"], np.char.startswith(classes, "Blast")),
        "auc_patients": auc(np.array(share), np.array([diagnosis[n] == "APL" for n in names])),
        "patients": len(names),
    }


def _single_cells(model: Model, folder: Path) -> dict[str, Any]:
    found = _scores(model, sorted(folder.glob("*.tiff")), CELLAVISION_UM_PER_PX)
    classes = np.array([Path(file).name[:3] for file in found["file"]])
    return {
        "cells": len(classes),
        "auc_promyelocyte": auc(found["promyelocyte"], np.isin(classes, ["PMO", "PMB"])),
        "auc_myeloblast": auc(found["myeloblast"], np.isin(classes, ["MYO", "MYB"])),
    }
