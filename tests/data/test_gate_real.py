"""On real smears the gate's limits lie far from every good image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeapl.sources.decode import read_image
from edgeapl.stages.area import judge_tiles
from edgeapl.stages.field_detail import is_same_detail
from edgeapl.stages.focus import focus_measure
from edgeapl.stages.gate import SAME_FIELD, describe_field, light_reasons, look_of
from edgeapl.stages.motion import MOVED_BELOW, evenness
from edgeapl.types import UInt8
from tests.damage import DAMAGED

pytestmark = pytest.mark.real_data

# Folder, µm per px judged from red cells of 7.3 µm, at most so many images.
SETS = {
    "bccd/JPEGImages": (0.075, 40),
    "chula_wbc/images": (0.165, 25),
    "chula_rbc_negative/images": (0.105, 12),
    "draaslan/images": (0.11, 30),
    "segpc_bone_marrow/images": (0.08, 6),
    "deepapl_discovery_overview": (0.185, 4),
}
CROPS = ("deepapl_discovery", "aml_lmu_sample", "segmentation_wbc/dataset1")
EXTENSIONS = (".jpg", ".tiff", ".bmp")


def images(folder: Path, most: int, extensions: tuple[str, ...]) -> list[UInt8]:
    paths = sorted(path for path in folder.rglob("*") if path.suffix in extensions)
    assert paths, folder
    step = max(1, len(paths) // most)
    return [read_image(path).pixels for path in paths[::step][:most]]


@pytest.fixture(scope="module", params=SETS)
def fields(request: pytest.FixtureRequest, real_data: Path) -> tuple[list[UInt8], float]:
    um_per_px, most = SETS[request.param]
    return images(real_data / request.param, most, (".jpg", ".png")), um_per_px


Fields = tuple[list[UInt8], float]


def test_the_light_of_every_field_is_good(fields: Fields) -> None:
    assert all(light_reasons(pixels) == () for pixels in fields[0])


def test_sharp_fields_and_the_same_blurred_by_a_micrometre_are_told_apart(fields: Fields) -> None:
    pixels, um_per_px = fields
    sharp = [focus_measure(one, um_per_px) for one in pixels]
    sigma = 1.0 / um_per_px
    blurred = [
        focus_measure(np.asarray(cv2.GaussianBlur(one, (0, 0), sigma), np.uint8), um_per_px)
        for one in pixels
    ]
    assert min(sharp) > 1.7
    assert max(blurred) < 1.4


def test_fields_and_the_same_moved_by_a_cell_are_told_apart(fields: Fields) -> None:
    pixels, um_per_px = fields
    still = [evenness(one, um_per_px) for one in pixels]
    assert min(still) > MOVED_BELOW + 0.05
    side = round(7.0 / um_per_px) | 1
    line = np.full((1, side), 1 / side, np.float32)
    moved = [
        evenness(np.asarray(cv2.filter2D(one, -1, line), np.uint8), um_per_px) for one in pixels
    ]
    assert sum(value < MOVED_BELOW for value in moved) >= 0.9 * len(moved)


def test_different_fields_never_look_alike_and_a_moved_one_does(fields: Fields) -> None:
    pixels, _ = fields
    rows = np.stack([describe_field(one) for one in pixels])
    likeness = rows @ rows.T - 2 * np.eye(len(rows), dtype=np.float32)
    assert likeness.max() < SAME_FIELD - 0.2
    for one, row in zip(pixels, rows, strict=True):
        step = max(1, one.shape[1] // 200)
        moved = look_of(one[step:, step:])
        assert float(moved.descriptor @ row) > SAME_FIELD
        assert is_same_detail(moved.detail, look_of(one).detail)


@pytest.mark.parametrize("name", CROPS)
def test_the_light_of_every_crop_is_good(name: str, real_data: Path) -> None:
    assert all(light_reasons(one) == () for one in images(real_data / name, 150, EXTENSIONS))


def test_no_good_field_loses_more_than_a_rule_allows(fields: Fields) -> None:
    pixels, um_per_px = fields
    shares = [judge_tiles(one, um_per_px, 1.4).examined_share for one in pixels]
    assert min(shares) >= 0.95


LOST = (
    "black third",
    "dim",
    "blurred",
    "shaded",
    "without red",
    "coarse",
    "coarse, packed again",
    "median",
    "slightly defocused",
    "doubled",
    "doubled, packed again",
    "mirrored",
    "mirrored, packed again",
    "colours shifted",
    "blocks shuffled",
    "blocks shuffled, packed again",
)


@pytest.mark.parametrize("name", LOST)
def test_of_real_fields_a_lost_part_is_noticed(fields: Fields, name: str) -> None:
    pixels, um_per_px = fields
    lost = [judge_tiles(DAMAGED[name](one), um_per_px, 1.4).examined_share for one in pixels[:3]]
    assert max(lost) < 0.95
