"""The segmenter finds each nucleated cell once, whole, and nothing else."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from edgeapl.protocols import Segmenter
from edgeapl.stages.segment import HsvWatershed
from edgeapl.stages.segment.illumination import background
from edgeapl.stages.segment.nuclei import (
    NucleusLimits,
    nucleus_index,
    nucleus_threshold,
    smooth_density,
)
from edgeapl.types import Detections
from tests.unit.drawn_field import INK, NUCLEUS, PLATELET, RED_CELL, Field, Lobe, frame_of

LYMPHOCYTE: list[Lobe] = [(0, 0, 3.9)]
NEUTROPHIL: list[Lobe] = [(-3.2, 1.2, 2.2), (0.4, -2.8, 2.2), (3.2, 1.6, 2.1)]
BAND: list[Lobe] = [(-3.4, 0, 1.8), (-1.7, 1.6, 1.6), (0, 2.2, 1.6), (1.7, 1.6, 1.6), (3.4, 0, 1.8)]


def find(field: Field, um_per_px: float = 0.12, *, vignette: bool = False) -> Detections:
    pixels = field.draw(um_per_px, vignette=vignette)
    return HsvWatershed().segment(frame_of(pixels, um_per_px))


def with_cells(*cells: tuple[float, float, list[Lobe]]) -> Field:
    field = Field()
    field.red_cells(away_from=[(x, y) for x, y, _ in cells])
    for x, y, lobes in cells:
        field.cell(x, y, lobes)
    return field


def test_it_is_a_segmenter() -> None:
    assert isinstance(HsvWatershed(), Segmenter)


@pytest.mark.parametrize(
    "lobes", [LYMPHOCYTE, NEUTROPHIL, BAND], ids=["lymphocyte", "neutrophil", "band"]
)
@pytest.mark.parametrize("um_per_px", [0.06, 0.1, 0.15, 0.2, 0.25, 0.3])
def test_one_cell_is_found_once_at_every_scale(lobes: list[Lobe], um_per_px: float) -> None:
    found = find(with_cells((32, 24, lobes)), um_per_px)
    assert len(found) == 1
    assert np.abs(found.centres[0] * um_per_px - [32, 24]).max() < 2


@pytest.mark.parametrize("um_per_px", [0.06, 0.15, 0.3])
def test_the_box_holds_the_whole_cell_and_little_more(um_per_px: float) -> None:
    found = find(with_cells((32, 24, NEUTROPHIL)), um_per_px)
    x0, y0, x1, y1 = found.boxes[0] * um_per_px
    assert x1 - x0 == pytest.approx(12, abs=2)
    assert y1 - y0 == pytest.approx(12, abs=2)


def test_labels_and_boxes_describe_the_same_cells() -> None:
    found = find(with_cells((14, 14, LYMPHOCYTE), (46, 30, NEUTROPHIL)))
    assert len(found) == 2
    assert set(np.unique(found.labels)) == {0, 1, 2}
    for row, box in enumerate(found.boxes):
        rows, columns = np.nonzero(found.labels == row + 1)
        assert (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) == tuple(box)
    assert ((found.scores > 0.5) & (found.scores <= 1)).all()


@pytest.mark.parametrize("angle", [0, 30, 90])
def test_touching_cells_are_split(angle: float) -> None:
    field = Field()
    field.red_cells(away_from=[(32, 24)], gap=18)
    step = 3.8 * np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    for side in (-1, 1):
        x, y = np.array([32, 24]) + side * step
        field.disc(float(x), float(y), 4.0, NUCLEUS)
    assert len(find(field)) == 2


def test_vignetted_coloured_light_changes_nothing() -> None:
    cells = ((8.0, 8.0, LYMPHOCYTE), (56.0, 40.0, NEUTROPHIL), (32.0, 24.0, LYMPHOCYTE))
    assert len(find(with_cells(*cells), vignette=True)) == 3


def test_the_background_is_found_between_crowded_cells_in_uneven_light() -> None:
    field = Field()
    field.red_cells()
    bare = Field().draw(0.2, vignette=True).astype(float)
    assert np.abs(background(field.draw(0.2, vignette=True)) - bare).mean() < 4


@pytest.mark.parametrize("vignette", [False, True])
def test_red_cells_alone_give_nothing(vignette: bool) -> None:
    field = Field()
    field.red_cells()
    found = find(field, vignette=vignette)
    assert len(found) == 0
    assert not found.labels.any()


def test_overlapping_red_cells_are_no_nucleus() -> None:
    field = Field()
    field.red_cells(away_from=[(32, 24)])
    for x in (29.0, 32.0, 35.0):
        field.disc(x, 24, 3.7, (0.06, 0.40, 0.28))
    assert len(find(field)) == 0


@pytest.mark.parametrize(
    ("red_cell", "threshold"),
    [((0.0, 0.2, 0.2), 0.10), ((0.15, 0.3, 0.17), 0.18), ((0.4, 0.5, 0.3), 0.22)],
    ids=["red", "purple", "very dark"],
)
def test_the_threshold_follows_the_red_cells_of_the_field(
    red_cell: tuple[float, float, float], threshold: float
) -> None:
    density = np.zeros((3, 60, 60), np.float32)
    density[:, 10:40, 10:40] = np.array(red_cell, np.float32)[:, None, None]
    limits = NucleusLimits()
    index = nucleus_index(smooth_density(density, 0.25, limits))
    found = nucleus_threshold(index, density, limits)
    assert found == pytest.approx(threshold, abs=0.01)


def covered(found: Detections, row: int, x: float, y: float, radius: float, scale: float) -> float:
    """Intersection over union of a cell's mask with a disc; x, y, radius in µm."""
    rows, columns = np.mgrid[: found.frame.height, : found.frame.width]
    cell = np.hypot(columns * scale - x, rows * scale - y) <= radius
    mask = found.labels == row + 1
    return float((mask & cell).sum() / (mask | cell).sum())


CYTOPLASMS = {
    "pale blue": (0.08, 0.09, 0.01),
    "orange": (0.03, 0.10, 0.14),
    "yellow light": (0.01, 0.06, 0.12),
}


@pytest.mark.parametrize("cytoplasm", CYTOPLASMS)
@pytest.mark.parametrize("um_per_px", [0.08, 0.16])
def test_the_mask_holds_pale_cytoplasm_of_any_colour(cytoplasm: str, um_per_px: float) -> None:
    field = Field(24, 24)
    field.disc(12, 12, 6.5, CYTOPLASMS[cytoplasm])
    for dx, dy, size in ((-2.5, 1.0, 2.2), (1.6, -1.5, 2.2)):
        field.disc(12 + dx, 12 + dy, size, NUCLEUS)
    found = find(field, um_per_px)
    assert len(found) == 1
    assert covered(found, 0, 12, 12, 6.5, um_per_px) > 0.85


def test_red_cells_that_touch_a_cell_are_not_in_its_mask() -> None:
    field = Field()
    field.red_cells(away_from=[(32, 24)])
    for angle in range(0, 360, 72):
        x, y = 9.2 * np.cos(np.radians(angle)), 9.2 * np.sin(np.radians(angle))
        field.disc(32 + float(x), 24 + float(y), 3.7, RED_CELL)
    field.cell(32, 24, [(0, 0, 3.9)])
    found = find(field)
    assert len(found) == 1
    assert covered(found, 0, 32, 24, 6.0, 0.12) > 0.8


@pytest.mark.parametrize("gap", [9.4, 10.2, 12.0])
def test_nucleated_cells_that_touch_have_boxes_of_their_own(gap: float) -> None:
    field = Field()
    field.red_cells(away_from=[(32, 24)], gap=18)
    for x in (32 - gap / 2, 32 + gap / 2):
        field.cell(x, 24, [(0, 0, 4.4)], radius=5.5)
    found = find(field)
    assert len(found) == 2
    (a0, _, a1, _), (b0, _, b1, _) = found.boxes[np.argsort(found.boxes[:, 0])] * 0.12
    assert a1 - b0 < 0.6
    assert (a0, b1) == pytest.approx((32 - gap / 2 - 5.5, 32 + gap / 2 + 5.5), abs=1.2)


VIOLET = {
    "grey-violet, yellow light": ((0.28, 0.29, 0.115), (0.24, 0.62, 0.06)),
    "purple": ((0.21, 0.31, 0.15), (0.30, 1.0, 0.20)),
    "dark purple, crowded": ((0.22, 0.36, 0.15), (0.18, 0.60, 0.11)),
}
"""Densities R G B of red cells and nuclei in Giemsa stains photographed through an eyepiece."""


@pytest.mark.parametrize("stain", VIOLET)
@pytest.mark.parametrize("um_per_px", [0.055, 0.15])
def test_violet_red_cells_are_no_nuclei(stain: str, um_per_px: float) -> None:
    red_cell, nucleus = VIOLET[stain]
    field = Field(32, 32)
    for x, y in ((3, 4), (15, 2), (28, 6), (4, 15), (28, 18), (5, 27), (16, 29), (27, 28)):
        field.disc(x, y, 3.7, red_cell)
    assert len(find(field, um_per_px)) == 0
    field.disc(16, 16, 6.5, (0.10, 0.13, 0.04))
    field.disc(16, 16, 4.5, nucleus)
    found = find(field, um_per_px)
    assert len(found) == 1
    assert np.abs(found.centres[0] * um_per_px - [16, 16]).max() < 1.5


def test_platelets_ink_and_scale_bars_are_no_cells() -> None:
    field = Field()
    field.red_cells(away_from=[(32, 24)], gap=20)
    for x, y in ((28, 20), (36, 28), (30, 30)):
        field.disc(x, y, 1.4, PLATELET)
    field.disc(38, 20, 2.5, INK)
    pixels = field.draw(0.12).copy()
    pixels[300:303, 200:330] = 20
    assert len(HsvWatershed().segment(frame_of(pixels, 0.12))) == 0


def test_a_cell_cut_by_the_frame_is_found() -> None:
    assert len(find(with_cells((0.0, 24.0, LYMPHOCYTE)))) == 1


@pytest.mark.parametrize("value", [0, 1, 128, 255])
@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (3, 500)])
def test_an_even_frame_gives_nothing_and_no_warning(value: int, shape: tuple[int, int]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pixels = np.full((*shape, 3), value, np.uint8)
        assert len(HsvWatershed().segment(frame_of(pixels, 0.1))) == 0


def test_noise_gives_nothing() -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert len(HsvWatershed().segment(frame_of(pixels, 0.1))) == 0


def test_the_same_frame_gives_the_same_cells() -> None:
    field = with_cells((20, 20, NEUTROPHIL), (44, 30, LYMPHOCYTE))
    one, other = find(field), find(field)
    assert np.array_equal(one.boxes, other.boxes)
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.scores, other.scores)


@pytest.mark.parametrize("factor", [0.67, 1.5])
def test_a_scale_that_is_wrong_by_half_still_finds_the_cells(factor: float) -> None:
    pixels = with_cells((14, 14, LYMPHOCYTE), (46, 30, LYMPHOCYTE)).draw(0.12)
    assert len(HsvWatershed().segment(frame_of(pixels, 0.12 * factor))) == 2
