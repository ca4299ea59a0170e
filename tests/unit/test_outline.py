"""The outline around a nucleus is the best closed curve there is."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from edgeapl.stages.segment.outline import (
    DIRECTIONS,
    MOST_STEPS,
    STIFFNESS,
    _closed,
    best_radii,
    directions,
    ray_pixels,
)

UM_PER_PX = 0.25


def radii_in(image: NDArray[np.float32], x: float, y: float, length: int) -> NDArray[np.int64]:
    """The radii around a point of an image whose values are the worth of each pixel."""
    middle = np.array([[x], [y]], np.float32)
    across, down, inside = ray_pixels(middle[0], middle[1], length, image.shape)
    worth = np.where(inside, image[down, across], np.float32(0)).astype(np.float32)
    return np.asarray(best_radii(worth, np.zeros_like(worth), UM_PER_PX)[0], np.int64)


def disc(size: int, x: float, y: float, radius: float) -> NDArray[np.float32]:
    rows, columns = np.mgrid[:size, :size]
    inside = np.hypot(columns - x, rows - y) <= radius
    return np.where(inside, np.float32(1), np.float32(-1)).astype(np.float32)


@pytest.mark.parametrize("off", [0.0, 4.0, 7.0])
def test_a_disc_is_found_around_a_point_beside_its_middle(off: float) -> None:
    found = radii_in(disc(81, 40, 40, 20), 40 + off, 40, 40)
    across, down = directions()
    from_middle = np.hypot(off + across * found, down * found)
    assert np.abs(from_middle - 20).max() < 1.5


def test_what_touches_the_cell_is_left_out_where_the_outline_would_have_to_jump() -> None:
    image = np.maximum(disc(101, 50, 50, 18), disc(101, 82, 50, 14))
    found = radii_in(image, 50, 50, 45)
    assert found.max() < 24


def test_a_cell_at_the_edge_goes_on_beyond_it() -> None:
    found = radii_in(disc(60, 30, 0, 18)[:40], 30, 2, 30)
    across, down = directions()
    downwards = down > 0.3
    assert np.abs(np.hypot(across * found, 2 + down * found)[downwards] - 18).max() < 1.5


def best_of_all(gains: NDArray[np.float32]) -> float:
    """What the best closed curve is worth, each start tried by itself: (DIRECTIONS, R)."""
    steps = np.subtract.outer(np.arange(gains.shape[1]), np.arange(gains.shape[1]))
    cost = np.where(np.abs(steps) <= MOST_STEPS, STIFFNESS * steps**2.0, np.inf)
    worths: list[float] = []
    for start in range(gains.shape[1]):
        best = np.where(np.arange(gains.shape[1]) == start, 0.0, -np.inf)
        for gain in np.roll(gains, -1, axis=0):
            best = (best[:, None] - cost).max(axis=0) + gain
        worths.append(float(best[start]))
    return max(worths)


@pytest.mark.parametrize("seed", range(6))
def test_no_closed_curve_is_better(seed: int) -> None:
    radius = np.arange(1, 26)
    noise = np.random.default_rng(seed).normal(0, 1, (DIRECTIONS, 1, 25))
    rays = (np.where(radius <= 12, 1, -1) + 3 * noise) * radius * 0.01
    gains = np.cumsum(rays, axis=2).astype(np.float32)
    found = _closed(gains)[0] - 1
    steps = np.diff([*found, found[0]])
    assert np.abs(steps).max() <= MOST_STEPS
    worth = gains[np.arange(DIRECTIONS), 0, found].sum() - STIFFNESS * (steps**2).sum()
    assert worth == pytest.approx(best_of_all(gains[:, 0]), abs=1e-3)


def test_cells_are_outlined_together_as_if_alone() -> None:
    random = np.random.default_rng(0)
    worth = random.normal(0, 1, (5, DIRECTIONS, 30)).astype(np.float32)
    stain = random.random((5, DIRECTIONS, 30)).astype(np.float32)
    together = best_radii(worth.copy(), stain, UM_PER_PX)
    for row in range(5):
        alone = best_radii(worth[row : row + 1].copy(), stain[row : row + 1], UM_PER_PX)
        assert np.array_equal(alone[0], together[row])
