"""Outlines are closed polygons that never cross themselves and lie on the cell's border."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeapl.report.outline import crosses_itself, outlines, trace
from edgeapl.types import Detections, Frame

MASKS = {
    "one pixel": ["#"],
    "a line": ["#####"],
    "a hook": ["#..", "#..", "###"],
    "two by a corner": ["##..", "##..", "..##", "..##"],
    "a ring": ["####", "#..#", "####"],
    "a ring closed by a corner": ["###.", "#..#", "####"],
    "a comb": ["#.#.#", "#.#.#", "#####"],
    "two apart": ["##...", "##..#"],
    "one that crosses itself when simplified": ["##.###", "######", "#.....", "#.####", "###.#."],
}


def mask_of(rows: list[str]) -> NDArray[np.uint8]:
    return np.array([[char == "#" for char in row] for row in rows], dtype=np.uint8)


def signed_area(ring: NDArray[np.float64]) -> float:
    x, y = ring.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def check(mask: NDArray[np.uint8]) -> None:
    rings = trace(mask)
    pieces = cv2.connectedComponents(mask, connectivity=4)[0] - 1
    assert len(rings) == pieces
    for ring in rings:
        assert len(ring) >= 3
        assert abs(signed_area(ring)) > 0
        assert not crosses_itself(np.rint(4 * ring).astype(np.int64))
    # Painted at eight times the size, every ring pixel is within 1 px of the mask's border.
    big = mask.repeat(8, axis=0).repeat(8, axis=1)
    filled = np.pad(big, 8)
    contours, _ = cv2.findContours(filled, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    border = np.ones(filled.shape, np.uint8)
    cv2.drawContours(border, contours, -1, 0, 1)
    distance = cv2.distanceTransform(border, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    for ring in rings:
        line = np.zeros(filled.shape, np.uint8)
        cv2.polylines(line, [np.rint(8 * ring + 8).astype(np.int32)], isClosed=True, color=1)
        assert float(distance[line > 0].max()) <= 8 * 1.0 + 1.5


@pytest.mark.parametrize("rows", MASKS.values(), ids=MASKS.keys())
def test_a_ring_has_an_area_does_not_cross_itself_and_lies_on_the_border(rows: list[str]) -> None:
    check(mask_of(rows))


@settings(max_examples=120, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 14), st.integers(2, 14), st.floats(0.2, 0.9))
def test_ragged_masks_give_valid_rings_too(
    seed: int, height: int, width: int, share: float
) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    if mask.any():
        check(mask)


def test_a_large_smooth_cell_keeps_its_area_with_few_points() -> None:
    mask = np.zeros((140, 140), np.uint8)
    cv2.circle(mask, (70, 70), 60, 1, -1)
    (ring,) = trace(mask)
    assert len(ring) < 80
    assert abs(signed_area(ring)) == pytest.approx(int(mask.sum()), rel=0.02)


@pytest.mark.parametrize(
    ("points", "crosses"),
    [
        ([(0, 0), (4, 4), (4, 0), (0, 4)], True),
        ([(0, 0), (4, 0), (4, 4), (0, 4)], False),
        ([(0, 0), (4, 0), (4, 4), (2, 0), (0, 4)], True),
        ([(0, 0), (9, 0), (9, 2), (5, 2), (5, 1), (4, 1), (4, 2), (0, 2)], False),
        ([(0, 0), (4, 0), (2, 2)], False),
    ],
    ids=["bow tie", "square", "touching", "notched", "triangle"],
)
def test_a_polygon_that_meets_itself_is_told(points: list[tuple[int, int]], crosses: bool) -> None:
    assert crosses_itself(np.array(points)) is crosses


def test_every_cell_of_a_frame_has_an_outline_where_it_lies() -> None:
    labels = np.zeros((40, 60), np.uint16)
    labels[10:20, 30:50] = 1
    labels[2:4, 2:6] = 3
    frame = Frame(np.full((40, 60, 3), 200, np.uint8), 0, 0, 0.1, "f.png", "d")
    boxes = np.array([[30, 10, 50, 20], [5, 25, 15, 35], [2, 2, 6, 4]], np.float32)
    found = outlines(Detections(frame, boxes, labels, np.ones(3, np.float32)))
    spans = [
        (*np.min(rings[0], axis=0).tolist(), *np.max(rings[0], axis=0).tolist()) for rings in found
    ]
    assert spans[0] == pytest.approx((30, 10, 50, 20), abs=0.3)
    assert spans[1] == (5, 25, 15, 35)  # no pixel of its own: the box
    assert spans[2] == pytest.approx((2, 2, 6, 4), abs=0.3)


def test_a_cell_that_reaches_beyond_its_box_is_traced_whole() -> None:
    labels = np.zeros((40, 60), np.uint16)
    labels[10:20, 10:50] = 1
    frame = Frame(np.full((40, 60, 3), 200, np.uint8), 0, 0, 0.1, "f.png", "d")
    boxes = np.array([[30, 10, 50, 20]], np.float32)
    ((ring,),) = outlines(Detections(frame, boxes, labels, np.ones(1, np.float32)))
    assert float(ring[:, 0].min()) == pytest.approx(10, abs=0.3)
