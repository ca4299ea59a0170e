"""Real fields behind a drawn eyepiece: used as without it, and within the disc the same cells."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.bundle.specs import GateSpec
from edgeapl.sources.decode import read_image
from edgeapl.stages.find_disc import disc_of, find_disc
from edgeapl.stages.gate import FieldHistory, examine
from edgeapl.stages.lit_view import evened_frame, within_disc
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, Frame
from tests.damage import DAMAGED
from tests.eyepieces import EYEPIECES

pytestmark = [pytest.mark.real_data, pytest.mark.slow]

# Folder: µm per px as in measure_segmentation, at most so many images.
SETS = {
    "bccd/JPEGImages": (0.077, 16),
    "chula_wbc/images": (0.165, 6),
    "draaslan/images": (0.128, 10),
    "segpc_bone_marrow/images": (0.08, 2),
    "violet_rbc/images": (0.05, 8),
}
SHOWN = ("soft", "dark corners", "stamped")


def fields(data: Path, name: str) -> list[Frame]:
    um_per_px, most = SETS[name]
    files = sorted(file for file in (data / name).iterdir() if file.suffix in (".jpg", ".png"))
    files = files[:: max(1, len(files) // most)][:most]
    return [
        Frame(read_image(file).pixels, number, 0, um_per_px, file.name, f"{number:064x}")
        for number, file in enumerate(files)
    ]


def whole(found: Detections, x: float, y: float, reach: float) -> NDArray[np.float32]:
    """Boxes that lie in a circle with all their corners."""
    far = np.abs(found.boxes.reshape(-1, 2, 2) - np.array([x, y])).max(axis=1)
    return np.asarray(found.boxes[np.hypot(*far.T) < reach])


def shown(cell: NDArray[np.float32], found: NDArray[np.float32]) -> bool:
    """Whether one of the boxes that were found holds the centre of a cell's box."""
    at = (cell[:2] + cell[2:]) / 2
    return bool(((found[:, :2] <= at) & (at <= found[:, 2:])).all(axis=1).any())


def test_of_real_fields_the_same_cells_are_found(real_data: Path) -> None:
    segmenter, same, of, rejected, given = HsvWatershed(), 0, 0, 0, 0
    for name in SETS:
        frames = fields(real_data, name)
        bare = [segmenter.segment(frame) for frame in frames]
        for eyepiece in SHOWN:
            memory = FieldHistory()
            for frame, expected in zip(frames, bare, strict=True):
                seen = EYEPIECES[eyepiece].of(frame)
                disc = disc_of(seen.pixels, memory.light)
                assert disc is not None, (name, eyepiece, frame.source)
                reasons, memory = examine(seen, GateSpec(min_focus=1.4), memory, None, disc)
                rejected, given = rejected + bool(reasons), given + 1
                found, _ = within_disc(segmenter.segment(evened_frame(seen, disc)), seen, disc)
                cells = whole(expected, disc.x, disc.y, 0.99 * disc.radius)
                same += sum(shown(cell, found.boxes) for cell in cells)
                of += len(cells)
    assert of > 60
    assert same >= 0.98 * of
    assert rejected <= 0.003 * given


@pytest.mark.parametrize("name", SETS)
def test_a_real_field_that_fills_the_frame_or_lost_a_part_has_no_disc(
    real_data: Path, name: str
) -> None:
    frames = fields(real_data, name)
    assert not [frame.source for frame in frames if find_disc(frame.pixels)]
    for damage, change in DAMAGED.items():
        if min(frames[0].pixels.shape[:2]) > 480:
            assert find_disc(change(frames[0].pixels)) is None, damage
