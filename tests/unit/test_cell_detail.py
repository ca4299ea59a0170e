"""A blur that hides the granules of a single cell is noticed, and takes no alarm away."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from edgeapl.calibration.cells import SlideSeen
from edgeapl.calibration.fingerprint import fingerprint
from edgeapl.stages.area import judge_cell_image
from edgeapl.stages.cut_cell import CUT_SHARE, is_cut, share_on_edge
from edgeapl.stages.detail import detail_of
from edgeapl.stages.domain import DomainModel
from edgeapl.stages.domain_fit import fit_domain_model_to_few
from edgeapl.stages.findings import Effect
from edgeapl.stages.frame_descriptor import FrameDescriptor, describe_frame
from edgeapl.types import Detections, Frame, TileState, UInt8
from tests.damage import blurred, filled, jpeg, left

SLIDES, PER_SLIDE = 8, 24
Group = dict[str, Any]


def cell(seed: int) -> UInt8:
    """Draw a granular cell on grainy ground, 120 x 120 px, as one system delivers them."""
    random = np.random.default_rng(seed)
    image = np.full((120, 120, 3), (235, 228, 232), np.float64)
    radius = int(random.integers(30, 38))
    cv2.circle(image, (60, 60), radius, (170, 130, 190), -1, cv2.LINE_AA)
    cv2.circle(image, (64, 58), radius * 2 // 3, (100, 60, 140), -1, cv2.LINE_AA)
    for x, y in random.normal(60, radius / 2, (60, 2)):
        cv2.circle(image, (int(x), int(y)), 1, (120, 40, 110), -1, cv2.LINE_AA)
    image = cv2.GaussianBlur(image, (0, 0), 0.8) + random.normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def as_frame(pixels: UInt8) -> Frame:
    return Frame(pixels.copy(), 0, 0, 0.2, "cell", "0" * 64)


def found(pixels: UInt8, *, at: tuple[int, int] = (60, 60), radius: int = 34) -> Detections:
    labels = np.zeros(pixels.shape[:2], np.uint8)
    cv2.circle(labels, at, radius, 1, -1)
    box = np.array([[0, 0, pixels.shape[1], pixels.shape[0]]], np.float32)
    return Detections(as_frame(pixels), box, labels.astype(np.uint16), np.ones(1, np.float32))


def described(pixels: UInt8, *, single_cell: bool = True) -> FrameDescriptor:
    features = np.zeros((1, 0), np.float32)
    return describe_frame(as_frame(pixels), found(pixels), features, 3.0, single_cell=single_cell)


@pytest.fixture(scope="module")
def seen() -> list[SlideSeen]:
    cells = iter(range(SLIDES * PER_SLIDE))
    return [
        SlideSeen(
            f"slide{number}", 1, frames=[described(cell(next(cells))) for _ in range(PER_SLIDE)]
        )
        for number in range(SLIDES)
    ]


def guard(slides: list[SlideSeen], *groups: str) -> DomainModel:
    """Fit some groups alone."""
    rows = [frame.values for slide in slides for frame in slide.frames]
    return fit_domain_model_to_few([{name: row[name] for name in groups} for row in rows])


@pytest.mark.parametrize("sigma", [1.0, 1.25, 1.5, 1.75])
def test_a_slight_blur_is_below_the_limit_of_the_set_and_clean_cells_are_not(
    seen: list[SlideSeen], sigma: float
) -> None:
    limit = fingerprint(seen).min_detail
    assert limit is not None
    fresh = [cell(seed) for seed in range(1000, 1060)]
    assert all(detail_of(pixels) >= limit for pixels in fresh)
    soft = [blurred(sigma)(pixels) for pixels in fresh]
    assert all(detail_of(pixels) < limit for pixels in soft)
    tiles = judge_cell_image(found(soft[0]), limit)
    assert set(tiles.shares()) == {TileState.UNFOCUSED}
    assert judge_cell_image(found(soft[0]), None).examined_share == 1


@pytest.mark.parametrize(
    "change",
    [blurred(1.0), blurred(1.5), jpeg(60, blurred(1.5)), jpeg(5, lambda pixels: pixels)],
)
def test_a_slide_of_other_sharpness_is_not_cleared_and_no_flag_is_taken(
    seen: list[SlideSeen], change: Any
) -> None:
    model = guard(seen, "detail", "size")
    clean = [described(cell(seed)) for seed in range(2000, 2030)]
    assert model.judge(clean) == ()
    (finding,) = model.judge([described(change(cell(seed))) for seed in range(2000, 2030)])
    assert finding.code == "domain_detail"
    assert finding.effect is Effect.BARS_CLEAR


def test_a_bundle_without_the_figures_clears_no_single_cells_and_still_judges_fields(
    seen: list[SlideSeen],
) -> None:
    old = guard(seen, "size")
    (finding,) = old.judge([described(cell(seed)) for seed in range(30)])
    assert (finding.code, finding.effect) == ("domain_detail_unknown", Effect.BARS_CLEAR)
    fields = [described(cell(seed), single_cell=False) for seed in range(30)]
    assert old.judge(fields) == ()
    assert guard(seen, "detail", "size").judge(fields) == ()


def test_fields_set_no_limit_for_single_cells(seen: list[SlideSeen]) -> None:
    slides = [
        SlideSeen("s", 1, frames=[described(cell(seed), single_cell=False)] * 30)
        for seed in range(SLIDES)
    ]
    assert fingerprint(slides).min_detail is None


@pytest.mark.parametrize(
    ("at", "cut"), [((60, 60), False), ((60, 30), False), ((60, 0), True), ((118, 60), True)]
)
def test_a_cell_that_its_image_cuts_in_two_is_no_whole_cell(at: tuple[int, int], cut: bool) -> None:
    pixels = cell(1)
    assert is_cut(found(pixels, at=at)) is cut
    states = set(judge_cell_image(found(pixels, at=at), None).shares())
    assert (TileState.CUT in states) is cut


CYTOPLASM, NUCLEUS = (150, 140, 190), (100, 60, 140)


def joined(*cells: tuple[tuple[int, int], int, list[tuple[int, int]], int]) -> Detections:
    """Draw cells that are taken for one: centre and radius of each, centres and radius of lobes."""
    pixels = np.full((160, 160, 3), (235, 228, 232), np.uint8)
    labels = np.zeros((160, 160), np.uint8)
    for at, radius, lobes, size in cells:
        cv2.circle(pixels, at, radius, CYTOPLASM, -1, cv2.LINE_AA)
        cv2.circle(labels, at, radius + 2, 1, -1)
        for lobe in lobes:
            cv2.circle(pixels, lobe, size, NUCLEUS, -1, cv2.LINE_AA)
    box = np.array([[0, 0, 160, 160]], np.float32)
    return Detections(as_frame(pixels), box, labels.astype(np.uint16), np.ones(1, np.float32))


WHOLE = ((80, 80), 30, [(80, 80)], 20)


@pytest.mark.parametrize(
    "neighbours",
    [
        [((20, 96), 30, [(14, 98)], 20)],
        [((96, 140), 32, [(98, 144)], 22)],
        [((20, 96), 30, [(14, 98)], 20), ((134, 84), 30, [(142, 78), (138, 98)], 10)],
    ],
)
def test_a_whole_cell_is_not_cut_by_the_edge_that_its_neighbours_reach(
    neighbours: list[Any],
) -> None:
    cell = joined(WHOLE, *neighbours)
    assert share_on_edge(cell.labels > 0) > CUT_SHARE
    assert not is_cut(cell)


@pytest.mark.parametrize(
    "cells",
    [
        [((80, 20), 40, [(66, 30), (94, 30), (80, 8)], 13)],  # lobes of one nucleus
        [((80, 40), 60, [(80, 75), (40, 20), (120, 20)], 18)],  # one of them in the middle
        [((10, 90), 40, [(10, 90)], 28), ((50, 40), 24, [(50, 40)], 14)],  # the whole one aside
        [((80, 10), 40, [(80, 10)], 28), ((80, 150), 30, [(80, 150)], 20)],  # none in the middle
        [
            ((80, 80), 90, [(80, 80)], 24),
            ((152, 152), 16, [(150, 150)], 12),
        ],  # larger than its image
    ],
)
def test_a_cell_that_is_cut_stays_so_whatever_else_is_there(cells: list[Any]) -> None:
    cell = joined(*cells)
    assert share_on_edge(cell.labels > 0) > CUT_SHARE
    assert is_cut(cell)


def test_an_image_without_a_cell_is_not_cut() -> None:
    pixels = cell(1)
    whole = np.ones(pixels.shape[:2], np.uint16)
    box = np.array([[0, 0, 120, 120]], np.float32)
    assert not is_cut(Detections(as_frame(pixels), box, whole, np.zeros(1, np.float32)))


def test_a_dark_or_constant_part_of_it_is_seen() -> None:
    for change in (left(0.4, filled(0)), left(0.4, filled(128))):
        assert judge_cell_image(found(change(cell(1))), None).examined_share < 0.8
