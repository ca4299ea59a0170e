"""The segmenter on drawn fields whose cells are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeapl.scale import SlideScale
from edgeapl.stages.segment import Evidence, HsvWatershed, measure_scale
from edgeapl.types import Detections, Frame, ScaleOrigin, UInt8

BACKGROUND, RED_CELL = (235, 230, 232), (222, 178, 172)
CYTOPLASM, NUCLEUS = (205, 195, 225), (105, 55, 140)

Spot = tuple[float, float, float]


def field(
    um_per_px: float,
    *,
    nuclei: list[Spot],
    cytoplasm: list[Spot],
    side_um: float = 60,
    red_cells: bool = True,
) -> UInt8:
    """Draw discs given as x, y, radius in µm."""
    side = round(side_um / um_per_px)
    image = np.full((side, side, 3), BACKGROUND, np.uint8)

    def disc(x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        centre = (round(x / um_per_px), round(y / um_per_px))
        cv2.circle(image, centre, round(radius / um_per_px), colour, -1)

    if red_cells:
        for x in range(6, int(side_um), 11):
            for y in range(6, int(side_um), 11):
                disc(x, y, 3.65, RED_CELL)
    for x, y, radius in cytoplasm:
        disc(x, y, radius + 0.8, BACKGROUND)
        disc(x, y, radius, CYTOPLASM)
    for x, y, radius in nuclei:
        disc(x, y, radius, NUCLEUS)
    noise = np.random.default_rng(0).normal(0, 2.5, image.shape)
    blurred = cv2.GaussianBlur(image, (0, 0), max(0.2 / um_per_px, 0.5))
    return np.clip(blurred + noise, 0, 255).astype(np.uint8)


def segment(pixels: UInt8, um_per_px: float) -> Detections:
    return HsvWatershed().segment(Frame(pixels, 0, 0, um_per_px, "drawn", "0" * 64))


ONE = {"nuclei": [(30.0, 30.0, 4.0)], "cytoplasm": [(30.0, 30.0, 6.0)]}


@pytest.mark.parametrize("um_per_px", [0.06, 0.1, 0.15, 0.2, 0.3])
def test_one_cell_is_found_whole_at_every_scale(um_per_px: float) -> None:
    found = segment(field(um_per_px, **ONE), um_per_px)
    assert len(found) == 1
    x0, y0, x1, y1 = found.boxes[0] * um_per_px
    assert ((x0 + x1) / 2, (y0 + y1) / 2) == pytest.approx((30, 30), abs=1.0)
    assert 9 < x1 - x0 < 15
    rows, columns = np.nonzero(found.labels == 1)
    box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    assert tuple(found.boxes[0].astype(int)) == pytest.approx(box, abs=1)
    assert 0 < found.scores[0] <= 1


def test_touching_cells_are_split() -> None:
    nuclei = [(25.0, 30.0, 4.6), (34.0, 30.0, 4.6)]
    found = segment(field(0.15, nuclei=nuclei, cytoplasm=[(x, y, 5.2) for x, y, _ in nuclei]), 0.15)
    assert len(found) == 2


def test_the_lobes_of_one_neutrophil_are_one_cell() -> None:
    lobes = [(27.5, 28.0, 1.9), (32.5, 28.0, 1.9), (30.0, 32.5, 1.9)]
    found = segment(field(0.15, nuclei=lobes, cytoplasm=[(30.0, 30.0, 6.2)]), 0.15)
    assert len(found) == 1


def test_red_cells_platelets_and_dirt_are_no_cells() -> None:
    pixels = field(0.15, nuclei=[], cytoplasm=[])
    assert len(segment(pixels, 0.15)) == 0
    with_dirt = pixels.copy()
    cv2.circle(with_dirt, (200, 200), round(1.2 / 0.15), NUCLEUS, -1)  # a platelet
    cv2.rectangle(with_dirt, (300, 380), (390, 390), (10, 10, 10), -1)  # a scale bar
    assert len(segment(with_dirt, 0.15)) == 0


@pytest.mark.parametrize("value", [0, 128, 255])
def test_an_empty_field_has_no_cell(value: int) -> None:
    assert len(segment(np.full((240, 320, 3), value, np.uint8), 0.2)) == 0


def test_coloured_vignetting_changes_little() -> None:
    pixels = field(0.15, nuclei=[(12.0, 12.0, 4.0), (45.0, 40.0, 4.0)],
                   cytoplasm=[(12.0, 12.0, 5.5), (45.0, 40.0, 5.5)])  # fmt: skip
    rows, columns = np.ogrid[-1 : 1 : len(pixels) * 1j, -1 : 1 : len(pixels) * 1j]
    away = (rows**2 + columns**2)[..., None] / 2
    shade = 1 - away * np.array([0.1, 0.55, 0.4])
    found = segment(np.clip(pixels * shade, 0, 255).astype(np.uint8), 0.15)
    assert len(found) == 2


@pytest.mark.parametrize("um_per_px", [0.07, 0.12, 0.2])
def test_the_scale_is_measured_from_the_red_cells(um_per_px: float) -> None:
    estimate = measure_scale(field(um_per_px, **ONE))
    assert estimate is not None
    assert estimate.evidence is not Evidence.NUCLEI
    assert estimate.um_per_px == pytest.approx(um_per_px, rel=0.12)


def test_where_nothing_can_be_measured_the_scale_is_assumed_and_said_to_be() -> None:
    blank = SlideScale(None, 0.2)
    assert blank(np.full((200, 200, 3), 230, np.uint8)) == (0.2, ScaleOrigin.ASSUMED)


def test_a_stated_scale_is_believed() -> None:
    assert SlideScale(0.07, 0.2)(field(0.15, **ONE)) == (0.07, ScaleOrigin.STATED)
