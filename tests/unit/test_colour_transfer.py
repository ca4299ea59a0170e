"""The colour transfer that the measurement of domain shift is made with."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.types import UInt8
from tests.data.measure_domain_shift import CellSet, Colours, colours_of, transferred


def cell(seed: int = 1) -> UInt8:
    rng = np.random.default_rng(seed)
    return np.asarray(rng.integers([60, 40, 110], [200, 150, 220], (40, 40, 3)), np.uint8)


def colours(pixels: UInt8) -> Colours:
    return Colours(*colours_of(pixels.reshape(-1, 3)))


def of(*cells: UInt8) -> CellSet:
    described = np.stack([colours_of(one.reshape(-1, 3)) for one in cells])
    return CellSet(np.stack(cells), np.array(["x"] * len(cells)), described)


def test_colours_that_are_wanted_already_stay() -> None:
    one = cell()
    assert np.array_equal(transferred(one, colours(one), colours(one)), one)


def test_a_darker_lamp_is_undone() -> None:
    one = cell()
    dark = np.asarray(np.rint(one * 0.7), np.uint8)
    back = transferred(dark, colours(dark), colours(one)).astype(int)
    assert np.abs(back - one).mean() < 1.5 < np.abs(dark.astype(int) - one).mean()


def test_one_bad_image_does_not_shift_a_set() -> None:
    good = [cell(seed) for seed in range(5)]
    black = np.zeros_like(good[0])
    away = of(*good, black).typical.mean - of(*good).typical.mean
    assert np.abs(away).max() < 0.02


def test_flat_or_missing_cells_are_refused() -> None:
    with pytest.raises(ValueError, match="flat"):
        _ = of(np.full((9, 9, 3), 90, np.uint8)).typical
    nothing = CellSet(np.empty((1, 9, 9, 3), np.uint8), np.array(["x"]), np.full((1, 2, 3), np.nan))
    with pytest.raises(ValueError, match="no outline"):
        _ = nothing.typical
