"""The bundle for real images on real images: what it flags, what it leaves, what it looks at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeapl.inference.classification import classify
from edgeapl.model import BLOOD_CELLS, Model, open_model
from edgeapl.model.golden_slides import judged
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.decode import read_image
from edgeapl.stages.crop import cut_cells, cut_windows
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import CellScores, Decision, Frame, UInt8

pytestmark = pytest.mark.real_data

UM_PER_PX = 0.1 * 360 / 224
HELD_OUT = 5


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with open_model(BLOOD_CELLS) as opened:
        yield opened


def held_out(folder: Path, most: int) -> list[UInt8]:
    """Read cells of one class that nothing was trained on."""
    files = [
        file
        for file in sorted(folder.glob("*.jpg"))
        if int(file.stem.rpartition("_")[2]) // 1000 % HELD_OUT == 0
    ][:most]
    return [read_image(file).pixels for file in files]


def scored(model: Model, images: list[UInt8]) -> CellScores:
    crop = model.bundle.manifest.crop
    cells = [
        cut_windows(
            one, np.array([[one.shape[1] / 2, one.shape[0] / 2]], np.float32), UM_PER_PX, crop
        )
        for one in images
    ]
    return classify(model.bundle.manifest, model.engines, np.concatenate(cells), 64).scores


def called(scores: CellScores) -> np.ndarray:
    kinds = [name for name in scores.roles if name not in ("neutrophil", "immature_granulocyte")]
    return np.asarray(np.stack([scores.roles[name] for name in kinds]).argmax(0))


def test_a_slide_of_promyelocytes_is_flagged_and_one_of_mature_cells_is_not(
    model: Model, real_data: Path
) -> None:
    pbc = real_data / "pbc224"
    promyelocytes = scored(model, held_out(pbc / "promyelocyte", 60))
    assert judged(model, promyelocytes).decision is Decision.FLAG
    usual = {"neutrophil_segmented": 60, "lymphocyte": 32, "monocyte": 8}
    mature = [one for name, most in usual.items() for one in held_out(pbc / name, most)]
    assert len(mature) == 100
    assert judged(model, scored(model, mature)).decision is Decision.REVIEW


@pytest.mark.parametrize("folder", ["chula_wbc/images", "draaslan/images"])
def test_normal_fields_are_not_flagged(model: Model, real_data: Path, folder: str) -> None:
    files = sorted(
        file for file in (real_data / folder).iterdir() if file.suffix in (".jpg", ".png")
    )
    scale = SlideScale(None, model.bundle.manifest.um_per_px)
    measure_ahead(scale, files)
    cells = []
    for index, file in enumerate(files):
        pixels = read_image(file).pixels
        frame = Frame(pixels, index, 0, scale(pixels)[0], file.name, "0" * 64)
        cells.append(cut_cells(model.segmenter.segment(frame), model.bundle.manifest.crop))
    found = classify(model.bundle.manifest, model.engines, np.concatenate(cells), 64).scores
    assert judged(model, found).decision is not Decision.FLAG


def swapped(cell: UInt8, ground: UInt8) -> UInt8:
    """Lay a cell on the ground of another image, whose own cell is covered by its edge."""
    frame = Frame(cell, 0, 0, UM_PER_PX, "cell", "0" * 64)
    mask = (whole_crop(frame, HsvWatershed()).labels > 0).astype(np.uint8)
    grown = cv2.dilate(mask, np.ones((5, 5), np.uint8)).astype(np.float32)
    soft = np.asarray(cv2.GaussianBlur(grown, (5, 5), 0), np.float32)
    own = whole_crop(Frame(ground, 0, 0, UM_PER_PX, "x", "0" * 64), HsvWatershed()).labels > 0
    hole = cv2.dilate(own.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    bare = np.where(hole[..., None], np.roll(ground, (112, 112), (0, 1)), ground)
    laid = cell * soft[..., None] + bare * (1 - soft[..., None])
    return np.asarray(laid.round(), np.uint8)


def test_a_cell_stays_what_it_is_on_the_ground_of_another_class(
    model: Model, real_data: Path
) -> None:
    pbc = real_data / "pbc224"
    names = ("promyelocyte", "neutrophil_segmented", "lymphocyte", "eosinophil")
    cells = {name: held_out(pbc / name, 15) for name in names}
    own = [one for name in names for one in cells[name]]
    others = [one for name in reversed(names) for one in cells[name]]
    before = called(scored(model, own))
    after = called(scored(model, [swapped(*pair) for pair in zip(own, others, strict=True)]))
    assert len(own) == 60
    assert (before == after).mean() >= 0.85
