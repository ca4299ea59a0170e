"""The scale is measured from what a field shows, and not made up where it shows nothing."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.stages.segment import Evidence, measure_scale
from tests.unit.drawn_field import Field, close_field


def crowd() -> Field:
    """Red cells, half of them overlapping."""
    field = Field()
    field.red_cells()
    random = np.random.default_rng(1)
    for _ in range(15):
        x, y = random.uniform(5, 59), random.uniform(5, 43)
        field.disc(float(x), float(y), 3.7, (0.03, 0.20, 0.14))
    return field


@pytest.mark.parametrize("um_per_px", [0.06, 0.08, 0.1, 0.13, 0.17, 0.22, 0.3])
def test_red_cells_tell_the_scale(um_per_px: float) -> None:
    field = Field()
    field.red_cells()
    found = measure_scale(field.draw(um_per_px))
    assert found is not None
    assert found.evidence is Evidence.RED_CELLS
    assert found.um_per_px == pytest.approx(um_per_px, rel=0.12)
    assert 0 < found.error < 0.3


@pytest.mark.parametrize("vignette", [False, True])
def test_overlapping_red_cells_tell_the_scale(vignette: bool) -> None:
    found = measure_scale(crowd().draw(0.12, vignette=vignette))
    assert found is not None
    assert found.evidence is Evidence.RED_CELLS
    assert found.um_per_px == pytest.approx(0.12, rel=0.12)


def test_white_cells_among_them_do_not_change_it() -> None:
    field = Field()
    field.red_cells(away_from=[(20, 20), (44, 30)])
    for x, y in ((20, 20), (44, 30)):
        field.cell(x, y, [(0, 0, 5.5)], radius=8)
    found = measure_scale(field.draw(0.12))
    assert found is not None
    assert found.um_per_px == pytest.approx(0.12, rel=0.12)


def test_many_large_nuclei_do_not_outvote_few_red_cells() -> None:
    field = Field()
    random = np.random.default_rng(2)
    for number in range(20):
        x, y = 7 + 13 * (number % 5), 6 + 12 * (number // 5)
        if number in {0, 3, 6, 9, 12, 15, 18}:
            field.disc(x, y, 3.7, (0.03, 0.20, 0.14))
        else:
            field.disc(x, y, float(random.uniform(5.3, 5.7)), (0.35, 0.50, 0.10))
    found = measure_scale(field.draw(0.12))
    assert found is not None
    assert found.evidence is Evidence.RED_CELLS
    assert found.um_per_px == pytest.approx(0.12, rel=0.12)


def test_nuclei_alone_give_an_estimate_that_says_how_poor_it_is() -> None:
    field = Field()
    for x, y in ((14, 14), (44, 14), (30, 34)):
        field.cell(x, y, [(0, 0, 4.0)])
    found = measure_scale(field.draw(0.12))
    assert found is not None
    assert found.evidence is Evidence.NUCLEI
    assert found.um_per_px == pytest.approx(0.12, rel=0.35)
    assert found.error > 0.3


def test_red_cells_that_the_edge_cuts_tell_the_scale_of_a_close_field() -> None:
    found = measure_scale(close_field())
    assert found is not None
    assert found.evidence is Evidence.FEW_RED_CELLS
    assert found.um_per_px == pytest.approx(0.055, rel=0.25)
    assert np.exp(-1.96 * found.error) < found.um_per_px / 0.055 < np.exp(1.96 * found.error)


def test_one_cell_that_fills_the_image_is_no_red_cell() -> None:
    field = Field(16, 16)
    field.cell(8, 8, [(0, 0, 4.0)])
    found = measure_scale(field.draw(0.1))
    assert found is None or found.evidence is Evidence.NUCLEI


@pytest.mark.parametrize("shape", [(480, 640), (1, 1), (12, 900)])
@pytest.mark.parametrize("value", [0, 255])
def test_an_even_image_tells_nothing(value: int, shape: tuple[int, int]) -> None:
    assert measure_scale(np.full((*shape, 3), value, np.uint8)) is None


@pytest.mark.parametrize("grain", [0, 2, 5])
def test_noise_tells_nothing(grain: int) -> None:
    noise = np.random.default_rng(grain).normal(0, 1, (480, 640, 3))
    if grain:
        spectrum = np.fft.rfft2(noise, axes=(0, 1))
        rows, columns = np.meshgrid(np.fft.fftfreq(480), np.fft.rfftfreq(640), indexing="ij")
        spectrum *= np.exp(-2 * (np.pi * grain) ** 2 * (rows**2 + columns**2))[..., None]
        noise = np.fft.irfft2(spectrum, s=(480, 640), axes=(0, 1))
        noise /= noise.std()
    pixels = np.clip(200 + 10 * noise, 0, 255).astype(np.uint8)
    found = measure_scale(pixels)
    assert found is None or found.evidence is Evidence.NUCLEI
