"""Cells as the station's own segmenter cuts them from drawn slides, with their truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import CropSpec
from edgeapl.sources.synthetic import SyntheticFrame, draw_frame, slide_recipe
from edgeapl.sources.synthetic.cell_types import ROLES
from edgeapl.sources.synthetic.smear import KINDS
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.domain import describe_frame
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, Frame, UInt8

CROP = CropSpec(window_um=19.2, size_px=96)
"""A 19.2 µm window at 0.2 µm per px: most promyelocytes (15 to 22 µm) fit, an Auer rod is 2 px."""

FIRST_SEED = 100_000
"""Seeds of the demonstration slides lie below, so none of them is trained on."""

FIELD_UM = (190.0, 140.0)

ROLE_NAMES = ("promyelocyte", "myeloblast", "auer_rod")


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Cells of many slides.

    crops : uint8 (N, 96, 96, 3). truth : float32 (N, 3) of 0 and 1 in the order of ROLE_NAMES.
    slide : int64 (N,), number of the slide; its kind is KINDS[slide % 3].
    frame : int64 (N,), number of the frame within the pool.
    stain, size : float64 (F, 4) and (F, 1), descriptors of every frame for the domain guard.
    """

    crops: UInt8
    truth: NDArray[np.float32]
    slide: NDArray[np.int64]
    frame: NDArray[np.int64]
    stain: NDArray[np.float64]
    size: NDArray[np.float64]


def make_pool(slides: range, frames: int, cache: Path) -> Pool:
    """Draw, segment and cut; kept in the cache folder, since it takes minutes."""
    file = cache / f"pool-{slides.start}-{slides.stop}-{frames}.npz"
    if file.is_file():
        with np.load(file, allow_pickle=False) as saved:
            return Pool(**{name: saved[name] for name in saved.files})
    drawn = [(number, *_frame_cells(number, index)) for number in slides for index in range(frames)]
    arrays = {
        "crops": np.concatenate([crops for _, crops, _, _ in drawn]),
        "truth": np.concatenate([truth for _, _, truth, _ in drawn]),
        "slide": np.concatenate([np.full(len(crops), n) for n, crops, _, _ in drawn]),
        "frame": np.concatenate([np.full(len(d[1]), at) for at, d in enumerate(drawn)]),
        "stain": np.stack([values["stain"] for _, _, _, values in drawn]),
        "size": np.stack([values["size"] for _, _, _, values in drawn]),
    }
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return Pool(**arrays)


def _frame_cells(
    number: int, index: int
) -> tuple[UInt8, NDArray[np.float32], dict[str, NDArray[np.float64]]]:
    """Draw one frame of a slide; give crops, truth and the frame's descriptor."""
    random = np.random.default_rng([number, 77])
    um_per_px = float(random.uniform(0.08, 0.22))
    recipe = slide_recipe(
        KINDS[number % 3],
        FIRST_SEED + number,
        um_per_px=um_per_px,
        width=round(FIELD_UM[0] / um_per_px),
        height=round(FIELD_UM[1] / um_per_px),
    )
    drawn = draw_frame(recipe, index)
    # A measured scale is a little wrong; the networks must bear that.
    wrong = float(np.random.default_rng([number, index, 78]).uniform(0.92, 1.08))
    frame = Frame(drawn.pixels, index, 0, um_per_px * wrong, "drawn", "0" * 64)
    found = HsvWatershed().segment(frame)
    crops = cut_cells(frame.pixels, found.centres, frame.um_per_px, CROP)
    values = describe_frame(frame, found, np.zeros((len(found), 1), np.float32)).values
    return crops, _truth(drawn, found), values


def _truth(drawn: SyntheticFrame, found: Detections) -> NDArray[np.float32]:
    """Give for every cell found what was drawn under it: float32 (N, 3)."""
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
