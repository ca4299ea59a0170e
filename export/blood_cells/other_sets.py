"""Figures on sets that nothing was trained on: other laboratories, cameras and diseases."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.evaluation.ranking import delong, roc_auc
from edgeapl.export.blood_cells.held_out import CONFIDENCE
from edgeapl.export.cell_files import score_cell_files, score_crops
from edgeapl.model import Model
from edgeapl.model.golden_slides import judged
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.decode import read_image
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.intervals import wilson
from edgeapl.types import CellScores, Decision, Frame, UInt8

CELLAVISION_UM_PER_PX = 0.1
LMU_UM_PER_PX = 29 / 400
"""Matek et al. 2019: 400 px of 29 µm."""

BCCD_EVERY = 8
"""Every eighth of its 364 fields: they take minutes."""


def figures(model: Model, data: Path) -> dict[str, Any]:
    """Return figures on the sets that lie in a folder under their usual names."""
    return {
        "deepapl_discovery": _discovery(model, data / "deepapl_discovery"),
        "aml_lmu_sample": _lmu(model, data / "aml_lmu_sample"),
        "normal_fields": {
            "chula_wbc": _slides(model, _by_prefix(data / "chula_wbc/images")),
            "bccd": _slides(
                model, {"bccd": sorted((data / "bccd/JPEGImages").glob("*.jpg"))[::BCCD_EVERY]}
            ),
            "draaslan": _slides(
                model, {"draaslan": sorted((data / "draaslan/images").glob("*.png"))}
            ),
        },
    }


def _discovery(model: Model, folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("*/*/*.jpg"))
    scores, kept = score_cell_files(model, files, CELLAVISION_UM_PER_PX)
    classes = np.array([file.parent.name for file in kept])
    patients = np.array([file.parent.parent.name for file in kept])
    with (folder / "patients.csv").open(encoding="utf-8") as file:
        diagnosis = {row["patient"]: row["diagnosis"] for row in csv.DictReader(file)}
    flagged = {"APL": 0, "AML": 0}
    for name, label in diagnosis.items():
        rows = np.flatnonzero(patients == name)
        flagged[label] += judged(model, _rows(scores, rows)).decision is Decision.FLAG
    return {
        "cells": len(kept),
        "promyelocytes": int((classes == "Promyelocyte").sum()),
        "promyelocyte": _area(scores.roles["promyelocyte"], classes == "Promyelocyte"),
        "patients": {label: list(diagnosis.values()).count(label) for label in flagged},
        "flagged": flagged,
        "patients_area": _area(
            np.array([
                (scores.roles["promyelocyte"][patients == name] >= 0.5).mean()
                for name in diagnosis
            ]),
            np.array([label == "APL" for label in diagnosis.values()]),
        ),
    }  # fmt: skip


def _lmu(model: Model, folder: Path) -> dict[str, Any]:
    scores, kept = score_cell_files(model, sorted(folder.glob("*.tiff")), LMU_UM_PER_PX)
    classes = np.array([file.name[:3] for file in kept])
    positive = np.isin(classes, ["PMO", "PMB"])
    return {
        "cells": len(kept),
        "promyelocytes": int(positive.sum()),
        "promyelocyte": _area(scores.roles["promyelocyte"], positive),
    }


def _slides(model: Model, slides: Mapping[str, Sequence[Path]]) -> dict[str, Any]:
    """Find and judge the cells of normal fields as the station does."""
    flagged: list[str] = []
    found: list[CellScores] = []
    for name, files in slides.items():
        scores = field_scores(model, files)
        if len(scores) and judged(model, scores).decision is Decision.FLAG:
            flagged.append(name)
        found.append(scores)
    called = {}
    cells = sum(map(len, found))
    for role in ("promyelocyte", "immature_granulocyte"):
        positive = int(sum((one.roles[role] >= 0.5).sum() for one in found))
        interval = wilson(positive, cells, CONFIDENCE)
        called[role] = {"cells": positive, "low": interval.low, "high": interval.high}
    return {"slides": len(slides), "flagged": flagged, "cells": cells, "called": called}


def field_scores(model: Model, files: Sequence[Path]) -> CellScores:
    """Find and score the cells of a slide's fields; the scale is measured from their red cells."""
    scale = SlideScale(None, model.bundle.manifest.um_per_px)
    measure_ahead(scale, files)
    crops: list[UInt8] = []
    for index, file in enumerate(files):
        pixels = read_image(file).pixels
        um_per_px, _ = scale(pixels)
        frame = Frame(pixels, index, 0, um_per_px, file.name, "0" * 64)
        crops.append(cut_cells(model.segmenter.segment(frame), model.bundle.manifest.crop))
    return score_crops(model, np.concatenate(crops))


def _rows(scores: CellScores, rows: NDArray[np.int64]) -> CellScores:
    return CellScores(
        np.arange(len(rows), dtype=np.int64),
        {name: values[rows].copy() for name, values in scores.roles.items()},
        scores.features[rows].copy(),
    )


def _by_prefix(folder: Path) -> dict[str, list[Path]]:
    slides: dict[str, list[Path]] = {}
    for file in sorted(folder.glob("*.jpg")):
        slides.setdefault(file.stem.rpartition("_")[0], []).append(file)
    return slides


def _area(scores: NDArray[Any], positive: NDArray[np.bool_]) -> dict[str, float]:
    values = np.asarray(scores, np.float64)
    interval = delong(positive, values) or (float("nan"), float("nan"))
    return {"area": roc_auc(positive, values), "low": interval[0], "high": interval[1]}
