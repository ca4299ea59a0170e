"""Cells that the station's own segmenter cuts from drawn slides, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import CropSpec
from edgeapl.sources.synthetic import SyntheticFrame, draw_frame, slide_recipe
from edgeapl.sources.synthetic.cell_types import ROLES
from edgeapl.sources.synthetic.smear import KINDS
from edgeapl.stages.crop import cut_windows
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, Frame, UInt8

CROP = CropSpec(window_um=19.2, size_px=96)
"""A 19.2 µm window at 0.2 µm per px: most promyelocytes (15 to 22 µm) fit, an Auer rod is 2 px."""

FIRST_SEED = 100_000
"""Seeds of the demonstration slides are below, so none of them is trained on."""

FIELD_UM = (190.0, 140.0)

ROLE_NAMES = ("promyelocyte", "myeloblast", "auer_rod")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Cells of many slides.

    crops : uint8 (N, 96, 96, 3). truth : float32 (N, 3) of 0 and 1 in the order of ROLE_NAMES.
    slide : int64 (N,), number of the slide; its kind is KINDS[slide % 3].
    """

    crops: UInt8
    truth: NDArray[np.float32]
    slide: NDArray[np.int64]


def make_pool(slides: range, frames: int, cache: Path) -> Pool:
    """Draw, segment and cut; cached in a folder, since it takes minutes."""
    file = cache / f"pool-{slides.start}-{slides.stop}-{frames}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return Pool(saved["crops"], saved["truth"], saved["slide"])
    drawn = [(number, *_frame_cells(number, index)) for number in slides for index in range(frames)]
    pool = Pool(
        np.concatenate([crops for _, crops, _ in drawn]),
        np.concatenate([truth for _, _, truth in drawn]),
        np.concatenate([np.full(len(crops), number) for number, crops, _ in drawn]),
    )
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(file, crops=pool.crops, truth=pool.truth, slide=pool.slide)
    return pool


def drawn_scale(number: int) -> float:
    """Return the scale that a slide is drawn at, µm per px."""
    return float(np.random.default_rng([number, 77]).uniform(0.08, 0.22))


def stated_scale(number: int, index: int = 0) -> float:
    """Return a slightly wrong scale, as if measured, µm per px, which networks must tolerate."""
    wrong = np.random.default_rng([number, index, 78]).uniform(0.92, 1.08)
    return drawn_scale(number) * float(wrong)


def drawn_frame(number: int, index: int) -> tuple[SyntheticFrame, Frame]:
    """Draw one frame of a slide, and return it as drawn and as the station would get it."""
    um_per_px = drawn_scale(number)
    recipe = slide_recipe(
        KINDS[number % 3],
        FIRST_SEED + number,
        um_per_px=um_per_px,
        width=round(FIELD_UM[0] / um_per_px),
        height=round(FIELD_UM[1] / um_per_px),
    )
    drawn = draw_frame(recipe, index)
    scale = stated_scale(number, index)
    return drawn, Frame(drawn.pixels, index, 0, scale, "drawn", "0" * 64)


def _frame_cells(number: int, index: int) -> tuple[UInt8, NDArray[np.float32]]:
    """Return crops and truth of one frame."""
    drawn, frame = drawn_frame(number, index)
    found = HsvWatershed().segment(frame)
    return cut_windows(frame.pixels, found.centres, frame.um_per_px, CROP), _truth(drawn, found)


def _truth(drawn: SyntheticFrame, found: Detections) -> NDArray[np.float32]:
    """Return for every cell found what was drawn there: float32 (N, 3)."""
    truth = np.zeros((len(found), len(ROLE_NAMES)), dtype=np.float32)
    for row in range(len(found)):
        under = drawn.labels[found.labels == row + 1]
        under = under[under > 0]
        if len(under):
            owner = int(np.bincount(under).argmax()) - 1
            name = drawn.classes[owner]
            truth[row] = (
                name in ROLES["promyelocyte"],
                name in ROLES["myeloblast"],
                drawn.auer_rods[owner],
            )
    return truth
