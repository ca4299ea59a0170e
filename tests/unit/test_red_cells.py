"""A field tells the hue of its red cells itself, and one without red cells tells none."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.stages.segment.illumination import optical_density
from edgeapl.stages.segment.red_cells import BLUEST, RedCells, bluest_nucleus, red_cells_of
from tests.unit.drawn_field import Field

RED, VIOLET, GREY = (0.03, 0.20, 0.14), (0.21, 0.31, 0.15), (0.28, 0.29, 0.10)


def hue_of(field: Field) -> float | None:
    found = red_cells_of(optical_density(field.draw(0.12)))
    return None if found is None else found.hue


def crowded(colour: tuple[float, float, float]) -> Field:
    field = Field(48, 48)
    for x in range(0, 49, 12):
        for y in range(0, 49, 12):
            field.disc(x, y, 3.7, colour)
    return field


@pytest.mark.parametrize("colour", [RED, VIOLET, GREY])
def test_the_hue_is_that_of_the_red_cells_whatever_nuclei_lie_between(
    colour: tuple[float, float, float],
) -> None:
    field = crowded(colour)
    for at in (6, 18, 30):
        field.disc(at, at, 4.5, (0.25, 0.70, 0.10))
    assert hue_of(field) == pytest.approx(colour[2] / colour[1], abs=0.06)


def test_overlaps_and_pale_centres_have_the_same_hue() -> None:
    field = crowded((0.03, 0.20, 0.14))
    for x, y in ((6, 6), (18, 30), (30, 6), (40, 40)):
        field.disc(x, y, 3.7, (0.06, 0.40, 0.28))
        field.disc(x + 9, y, 3.7, (0.015, 0.10, 0.07))
    assert hue_of(field) == pytest.approx(0.7, abs=0.06)


@pytest.mark.parametrize("nucleus", [(0.20, 0.50, 0.20), (0.35, 0.50, 0.10)])
def test_a_cell_that_the_image_was_cut_out_for_is_no_red_cell(
    nucleus: tuple[float, float, float],
) -> None:
    field = Field(20, 20)
    field.disc(10, 10, 5.0, nucleus)
    assert hue_of(field) is None


def test_a_tissue_of_nuclei_in_yellow_light_is_no_field_of_red_cells() -> None:
    assert hue_of(crowded((0.20, 0.50, 0.20))) is None


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (3, 500)])
def test_an_even_image_has_no_hue(value: int, shape: tuple[int, int]) -> None:
    assert red_cells_of(optical_density(np.full((*shape, 3), value, np.uint8))) is None


@pytest.mark.parametrize(("hue", "bluest"), [(None, BLUEST), (0.9, BLUEST), (0.4, 0.3)])
def test_the_bound_lies_below_the_red_cells(hue: float | None, bluest: float) -> None:
    assert bluest_nucleus(None if hue is None else RedCells(hue, 0.2)) == pytest.approx(bluest)
