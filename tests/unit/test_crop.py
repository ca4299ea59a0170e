"""Crops show the cell at the networks' scale, whatever the frame's."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edgeapl.bundle.specs import CropSpec
from edgeapl.stages.crop import cut_windows
from edgeapl.types import UInt8

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
