"""Real smears: the segmenter keeps what was measured, a little slack aside. No scale is stated."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.data.measure_segmentation import measure

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(
    ("name", "stride", "recall", "precision"),
    [
        ("bccd", 8, 0.97, 0.92),
        ("chula_wbc", 2, 0.97, 0.90),
        ("draaslan", 3, 0.97, 0.95),
        ("segpc", 2, 0.97, 0.0),  # other nucleated cells are not annotated
        ("segmentation_wbc", 6, 0.90, 0.90),
    ],
)
def test_annotated_cells_are_found(
    real_data: Path, name: str, stride: int, recall: float, precision: float
) -> None:
    counts = measure(name, real_data, stated=False, factor=1.0, stride=stride)
    assert counts.annotated
    assert counts.centre_hits >= recall * counts.annotated, counts.missed
    assert counts.centre_hits >= precision * counts.found, counts.surplus


def test_fields_of_red_cells_give_no_white_cell(real_data: Path) -> None:
    counts = measure("chula_rbc_negative", real_data, stated=False, factor=1.0)
    assert counts.found <= 0.1 * counts.frames, counts.surplus


@pytest.mark.parametrize("name", ["bccd", "chula_wbc", "draaslan", "segpc"])
def test_the_scale_is_measured_in_nearly_every_field(real_data: Path, name: str) -> None:
    stride = {"bccd": 16, "chula_wbc": 4, "draaslan": 6, "segpc": 3}[name]
    counts = measure(name, real_data, stated=False, factor=1.0, stride=stride)
    assert counts.measured >= 0.9 * counts.frames
    assert max(counts.scales) < 1.5 * min(counts.scales), counts.scales
