"""What a bundle's networks say of files that show one cell each."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from edgeapl.errors import InputError
from edgeapl.inference.classification import classify
from edgeapl.model import Model
from edgeapl.sources.decode import read_image
from edgeapl.stages.crop import cut_windows
from edgeapl.types import CellScores, UInt8

BATCH = 64


def score_cell_files(
    model: Model, files: Iterable[Path], um_per_px: float
) -> tuple[CellScores, list[Path]]:
    """Score the cell in the middle of every file.

    um_per_px : of all files, µm per px. Files that cannot be read are left out.

    Returns the scores, and the file of each of their rows.
    """
    crops, kept = [], []
    for file in files:
        try:
            pixels = read_image(file).pixels
        except InputError:
            continue
        middle = np.array([[pixels.shape[1] / 2, pixels.shape[0] / 2]], dtype=np.float32)
        crops.append(cut_windows(pixels, middle, um_per_px, model.bundle.manifest.crop))
        kept.append(file)
    scores = score_crops(model, np.concatenate(crops))
    return scores, [kept[row] for row in scores.ids]


def score_crops(model: Model, crops: UInt8) -> CellScores:
    """Score crops, uint8 (cells, height, width, 3)."""
    return classify(model.bundle.manifest, model.engines, crops, BATCH).checked().scores
