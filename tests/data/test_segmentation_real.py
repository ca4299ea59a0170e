"""Real smears: the segmenter keeps what was measured, a little slack aside. No scale is stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.measure_segmentation import SCALES, measure

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.mark.parametrize(
    ("name", "stride", "recall", "precision"),
    [
        ("bccd", 8, 0.97, 0.92),
        ("chula_wbc", 2, 0.97, 0.90),
        ("draaslan", 3, 0.97, 0.95),
        ("segpc", 2, 0.97, 0.0),  # other nucleated cells are not annotated
        ("segmentation_wbc", 6, 0.90, 0.90),
        # Three of its boxes hold a red cell; none of the fields taken here has one.
        ("violet_rbc", 4, 0.97, 0.95),
    ],
)
def test_annotated_cells_are_found(
    real_data: Path, name: str, stride: int, recall: float, precision: float
) -> None:
    counts = measure(name, real_data, stated=False, factor=1.0, stride=stride)
    assert counts.annotated
    assert counts.centre_hits >= recall * counts.annotated, counts.missed
    assert counts.centre_hits >= precision * counts.found, counts.surplus


@pytest.mark.parametrize(("stated", "least"), [(True, 0.82), (False, 0.80)])
def test_masks_hold_the_whole_cell(real_data: Path, stated: bool, least: float) -> None:
    counts = measure("segmentation_wbc", real_data, stated=stated, factor=1.0, stride=3)
    assert sum(counts.mask_ious) >= least * counts.frames


def test_violet_red_cells_are_no_white_cells(real_data: Path) -> None:
    counts = measure("violet_rbc", real_data, stated=True, factor=1.0, stride=2)
    assert counts.centre_hits >= 0.97 * counts.annotated, counts.missed
    assert counts.centre_hits >= 0.97 * counts.found, counts.surplus


def test_fields_of_red_cells_give_no_white_cell(real_data: Path) -> None:
    counts = measure("chula_rbc_negative", real_data, stated=False, factor=1.0)
    assert counts.found <= 0.1 * counts.frames, counts.surplus


@pytest.mark.parametrize("name", ["bccd", "chula_wbc", "draaslan", "segpc"])
def test_the_scale_is_measured_in_nearly_every_field(real_data: Path, name: str) -> None:
    stride = {"bccd": 16, "chula_wbc": 4, "draaslan": 6, "segpc": 3}[name]
    counts = measure(name, real_data, stated=False, factor=1.0, stride=stride)
    assert counts.measured >= 0.9 * counts.frames
    assert max(counts.scales) < 1.5 * min(counts.scales), counts.scales


def test_violet_red_cells_tell_the_scale_of_close_fields(real_data: Path) -> None:
    counts = measure("violet_rbc", real_data, stated=False, factor=1.0, stride=12)
    assert counts.measured >= 0.8 * counts.frames  # the others are estimated, and say so
    wrong = [scale for scale in counts.scales if not 0.8 < scale / SCALES["violet_rbc"] < 1.25]
    assert len(wrong) <= 0.1 * counts.frames, wrong
