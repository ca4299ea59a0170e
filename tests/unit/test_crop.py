"""Crops show the cell at the networks' scale, whatever the frame's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeapl.bundle.specs import CropSpec
from edgeapl.stages.crop import cut_cells, cut_windows
from edgeapl.types import Detections, Frame, UInt8

SPEC = CropSpec(window_um=19.2, size_px=96)


def disc(um_per_px: float, x_um: float, y_um: float, side_um: float = 60) -> UInt8:
    """Draw a dark disc of 10 µm on white."""
    side = round(side_um / um_per_px)
    image = np.full((side, side, 3), 255, np.uint8)
    centre = (round(x_um / um_per_px), round(y_um / um_per_px))
    cv2.circle(image, centre, round(5 / um_per_px), (90, 0, 120), -1)
    return image


@pytest.mark.parametrize("um_per_px", [0.06, 0.1, 0.2, 0.3])
def test_a_cell_has_the_same_size_at_every_scale(um_per_px: float) -> None:
    centre = np.array([[30 / um_per_px, 30 / um_per_px]], np.float32)
    crop = cut_windows(disc(um_per_px, 30, 30), centre, um_per_px, SPEC)[0]
    area = int((crop[..., 0] < 170).sum()) * 0.2**2
    assert area == pytest.approx(np.pi * 5**2, rel=0.08)
    rows, columns = np.nonzero(crop[..., 0] < 170)
    assert rows.mean() == pytest.approx(47.5, abs=2)
    assert columns.mean() == pytest.approx(47.5, abs=2)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (59.9, 59.9), (0.0, 59.9), (30.0, 0.0)])
def test_a_window_over_the_edge_repeats_the_edge(centre: tuple[float, float]) -> None:
    image = disc(0.2, 30, 30)
    crop = cut_windows(image, np.array([centre], np.float32) / 0.2, 0.2, SPEC)
    assert crop.shape == (1, 96, 96, 3)
    assert crop.min() == 255


def test_no_cells_give_no_crops() -> None:
    crops = cut_windows(disc(0.2, 30, 30), np.empty((0, 2), np.float32), 0.2, SPEC)
    assert crops.shape == (0, 96, 96, 3)


def test_a_window_larger_than_the_frame_is_still_cut() -> None:
    image = np.full((20, 20, 3), 7, np.uint8)
    crops = cut_windows(image, np.array([[10, 10]], np.float32), 0.2, SPEC)
    assert (crops == 7).all()


def detection(pixels: UInt8, box: tuple[float, float, float, float]) -> Detections:
    """One cell: its box, and a label that fills the box's left half."""
    height, width = pixels.shape[:2]
    labels = np.zeros((height, width), np.uint16)
    x0, y0, x1, y1 = (round(side) for side in box)
    labels[y0:y1, x0 : (x0 + x1) // 2] = 1
    frame = Frame(pixels, 0, 0, 0.1, "t.png", "0" * 64)
    return Detections(frame, np.array([box], np.float32), labels, np.ones(1, np.float32))


def gradient(height: int, width: int) -> UInt8:
    """Red rises to the right, green downwards."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = np.arange(width)
    image[..., 1] = np.arange(height)[:, None]
    return image


def test_an_image_of_one_cell_is_cut_square_resized_and_its_centre_taken() -> None:
    """As CellaVision cells are prepared: 363x360 px to 360, 144 by area, centre 128."""
    image = np.random.default_rng(0).integers(0, 255, (363, 360, 3)).astype(np.uint8)
    spec = CropSpec(window_um=36, size_px=128, resized_px=144, cell_image_cut="square")
    crop = cut_cells(detection(image, (0, 0, 360, 363)), spec, cell_image=True)[0]
    square = cv2.resize(image[1:361], (144, 144), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crop, square[8:136, 8:136])


def test_a_box_is_stretched_whatever_its_sides() -> None:
    spec = CropSpec(window_um=5, size_px=32, cut="box")
    crop = cut_cells(detection(gradient(100, 200), (0, 0, 200, 100)), spec)[0]
    assert crop[0, -1, 0] > 190
    assert crop[-1, 0, 1] > 95


def test_outside_the_cell_is_black_when_the_bundle_says_so() -> None:
    image = np.full((80, 80, 3), 200, np.uint8)
    spec = CropSpec(window_um=4, size_px=40, mask=True)
    crop = cut_cells(detection(image, (20, 20, 60, 60)), spec)[0]
    assert (crop[:, :20] == 200).all()
    assert (crop[:, 20:] == 0).all()
    at_the_edge = cut_cells(detection(image, (0, 0, 10, 10)), spec)[0]
    assert (at_the_edge[:15] == 0).all()
    assert (at_the_edge[15:25, 15:20] == 200).all()


def test_how_frames_and_cell_images_are_cut_is_told_apart() -> None:
    spec = CropSpec(window_um=3.2, size_px=32, cell_image_cut="box")
    found = detection(gradient(64, 64), (0, 0, 64, 64))
    window, whole = cut_cells(found, spec)[0], cut_cells(found, spec, cell_image=True)[0]
    assert window[0, 0, 0] == 16
    assert whole[0, 0, 0] < 2
