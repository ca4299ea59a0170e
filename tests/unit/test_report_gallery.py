"""The page's pictures are the most suspicious cells, and memory does not grow with the slide."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.gallery import MOST_FRAMES, MOST_REJECTED, MOST_UNSCORED, Gallery
from edgeapl.report.outline import outlines
from edgeapl.report.pictures import (
    CELL_PX,
    CELL_WINDOW_UM,
    LARGEST_CELL_PX,
    OVERLAY_PX,
    PADDING,
    cell_picture,
    draw_overlay,
    shrunk,
)
from edgeapl.types import CellStatus, Detections, ExaminedFrame, Frame, Reason, UInt8
from tests.drawn_slides import context, examined, floats, slide

TINY = np.full((32, 32, 3), 90, np.uint8)


def many(count: int, first: int, suspicion: np.ndarray, status: CellStatus) -> ExaminedFrame:
    frame = Frame(TINY.copy(), 0, 0, 0.5, "f", "d")
    boxes = np.tile(floats(4, 4, 20, 20), (count, 1))
    labels = np.zeros((32, 32), np.uint16)
    scores = np.ones(count, np.float32)
    return ExaminedFrame(
        frame=frame,
        detections=Detections(frame, boxes, labels, scores),
        ids=np.arange(first, first + count, dtype=np.int64),
        status=(status,) * count,
        roles=dict.fromkeys(context().roles, suspicion),
        suspicion=suspicion,
    )


def test_the_most_suspicious_cells_are_kept_in_order_and_the_first_of_equals() -> None:
    gallery = Gallery(context(gallery_size=10))
    rng = np.random.default_rng(1)
    everything = []
    for turn in range(8):
        values = rng.choice(np.linspace(0, 1, 9), 50).astype(np.float32)
        frame = many(50, 50 * turn, values, CellStatus.SCORED)
        gallery.add_cells(frame, cell_kinds(frame, context(), role_kinds(context())))
        everything += [
            (-float(value), cell) for value, cell in zip(values, frame.ids.tolist(), strict=True)
        ]
    expected = [cell for _, cell in sorted(everything)[:10]]
    assert [cell.cell for cell in gallery.best_cells()] == expected
    assert gallery.cells[CellStatus.SCORED] == 400


def test_cells_without_a_score_are_all_counted_and_the_first_are_shown() -> None:
    gallery = Gallery(context())
    unknown = np.full(100, np.nan, np.float32)
    frame = many(100, 0, unknown, CellStatus.FAILED)
    gallery.add_cells(frame, cell_kinds(frame, context(), role_kinds(context())))
    assert gallery.cells[CellStatus.FAILED] == 100
    assert [cell.cell for cell in gallery.unscored] == list(range(MOST_UNSCORED))
    assert gallery.best_cells() == []


def test_cells_that_were_not_needed_are_counted_and_not_shown() -> None:
    """They are many, and would hide those that should have got a score."""
    gallery = Gallery(context())
    frame = many(100, 0, np.full(100, np.nan, np.float32), CellStatus.NOT_NEEDED)
    gallery.add_cells(frame, cell_kinds(frame, context(), role_kinds(context())))
    assert gallery.cells[CellStatus.NOT_NEEDED] == 100
    assert gallery.unscored == gallery.best_cells() == []


def test_frames_with_most_suspicious_cells_are_kept_and_the_rest_counted() -> None:
    gallery = Gallery(context())
    for index in range(MOST_FRAMES + 12):
        frame = examined(index, ["promyelocyte"] * (index % 5))
        kinds = cell_kinds(frame, context(), role_kinds(context()))
        gallery.add_frame(frame, kinds, TINY, f"{index}.png")
    kept = gallery.best_frames()
    assert len(kept) == MOST_FRAMES
    assert all(one.suspicious >= two.suspicious for one, two in pairwise(kept))
    assert min(frame.suspicious for frame in kept) == 1


def test_rejected_frames_are_all_counted_and_listed_up_to_a_limit() -> None:
    gallery = Gallery(context())
    black = Reason("black", "all black")
    frame = many(0, 0, np.empty(0, np.float32), CellStatus.SCORED)
    rejected = ExaminedFrame(
        frame.frame, frame.detections, frame.ids, (), frame.roles, frame.suspicion, (black,)
    )
    for _ in range(MOST_REJECTED + 7):
        gallery.add_rejected(rejected)
    assert gallery.frames_rejected == MOST_REJECTED + 7
    assert len(gallery.rejected) == MOST_REJECTED


@pytest.mark.parametrize(
    ("window_px", "size"), [(100, CELL_PX), (200, 200), (400, LARGEST_CELL_PX)]
)
def test_a_cell_at_the_edge_is_shown_at_the_same_scale_with_grey_beyond_the_frame(
    window_px: int, size: int
) -> None:
    """And with the pixels of its frame, as far as that is useful."""
    side = 2 * window_px
    pixels = np.full((side, side, 3), 50, np.uint8)
    frame = Frame(pixels, 0, 0, CELL_WINDOW_UM / window_px, "f", "d")
    middle, half = side / 2, window_px / 10
    box = floats(0, middle - half, 2 * half, middle + half)
    picture = cell_picture(frame, box, crops=False)
    assert picture.shape == (size, size, 3)
    assert np.all(picture[:, : size * 3 // 8] == PADDING)  # two fifths of it lie outside
    assert np.all(picture[:, size * 9 // 20 :] == 50)


@pytest.mark.parametrize("um_per_px", [1e-6, 0.1, 1e6])
def test_a_scale_that_is_far_off_neither_fails_nor_asks_for_gigabytes(um_per_px: float) -> None:
    frame = Frame(TINY.copy(), 0, 0, um_per_px, "f", "d")
    assert cell_picture(frame, floats(4, 4, 9, 9), crops=False).shape == (128, 128, 3)
    empty = many(0, 0, np.empty(0, np.float32), CellStatus.SCORED).detections
    rescaled = ExaminedFrame(
        frame,
        Detections(frame, empty.boxes, empty.labels.copy(), empty.scores),
        np.empty(0, np.int64),
        (),
        {},
        np.empty(0, np.float32),
    )
    assert draw_overlay(rescaled, (), []).shape[1] == 32


def changed(overlay: UInt8, pixels: UInt8) -> UInt8:
    height = pixels.shape[0]
    return np.asarray(np.abs(overlay[:height].astype(int) - pixels).max(axis=2) > 40, np.uint8)


def test_an_overlay_draws_the_outline_of_every_cell_and_leaves_the_rest_alone() -> None:
    frame = next(slide(1))
    kinds = cell_kinds(frame, context(), role_kinds(context()))
    overlay = draw_overlay(frame, kinds, outlines(frame.detections))
    pixels = frame.frame.pixels
    assert overlay.shape[1] == pixels.shape[1]
    assert overlay.shape[0] > pixels.shape[0]  # the legend stands below, never over the cells
    drawn = changed(overlay, pixels)
    for row in range(len(kinds)):
        mask = (frame.detections.labels == row + 1).astype(np.uint8)
        rim = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        assert drawn[rim > 0].mean() > 0.6
    far = cv2.dilate((frame.detections.labels > 0).astype(np.uint8), np.ones((61, 61), np.uint8))
    assert not drawn[far == 0].any()


def test_a_large_frame_is_scaled_down_and_its_outlines_with_it() -> None:
    pixels = np.full((1500, 3000, 3), 230, np.uint8)
    labels = np.zeros((1500, 3000), np.uint16)
    labels[300:600, 1500:1800] = 1
    frame = Frame(pixels, 0, 0, 0.1, "f", "d")
    boxes = floats([1500, 300, 1800, 600])
    detections = Detections(frame, boxes, labels, np.ones(1, np.float32))
    one = floats(0.1)
    roles = dict.fromkeys(context().roles, one)
    cells = ExaminedFrame(
        frame, detections, np.zeros(1, np.int64), (CellStatus.SCORED,), roles, one
    )
    kinds = cell_kinds(cells, context(), role_kinds(context()))
    overlay = draw_overlay(cells, kinds, outlines(detections))
    assert overlay.shape[1] == OVERLAY_PX
    ys, xs = np.nonzero(changed(overlay, shrunk(pixels, OVERLAY_PX)))
    factor = OVERLAY_PX / 3000
    found = [xs.min(), xs.max(), ys.min(), ys.max()]
    assert found == pytest.approx([e * factor for e in (1500, 1800, 300, 600)], abs=4)
