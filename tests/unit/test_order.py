"""In which order cells are looked at, and that a part of them gives an unbiased estimate."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.stages.cell_order import (
    FIRST,
    Stratum,
    estimated_shares,
    examination_order,
)
from edgeapl.types import Detections
from tests.pictures import field, frame


def cells(sizes: list[int], seed: int = 0) -> Detections:
    image = field(seed)
    boxes = np.array([[i, i, i + size, i + size] for i, size in enumerate(sizes)], np.float32)
    return Detections(
        frame=frame(image, 0),
        boxes=boxes.reshape(-1, 4),
        labels=np.zeros(image.shape[:2], np.uint16),
        scores=np.ones(len(sizes), np.float32),
    )


def test_the_largest_cells_come_first_and_every_cell_once() -> None:
    sizes = [5 + (7 * n) % 41 for n in range(29)]
    order = examination_order(cells(sizes))
    assert len(order.first) == 7
    assert min(sizes[row] for row in order.first) > max(sizes[row] for row in order.rest)
    assert sorted(order.rows.tolist()) == list(range(29))


def test_the_order_belongs_to_the_frame() -> None:
    sizes = [10] * 60
    same = examination_order(cells(sizes)).rows.tolist()
    assert same == examination_order(cells(sizes)).rows.tolist()
    assert same != examination_order(cells(sizes, seed=1)).rows.tolist()


@pytest.mark.parametrize("count", [0, 1, 3, 4, 200])
def test_few_cells_are_never_all_first(count: int) -> None:
    order = examination_order(cells([10] * count))
    assert len(order.first) == min(FIRST, count // 4)
    assert len(order.rows) == count


def test_whole_strata_give_the_plain_share() -> None:
    strata = [Stratum(0, 4, (3, 1), 3), Stratum(0, 12, (1, 0), 1)]
    shares = estimated_shares(strata)
    assert shares is not None
    assert shares.positive == (4 / 16, 1 / 16)
    assert shares.suspicious == 4 / 16


def test_a_stratum_nobody_looked_at_counts_as_negative() -> None:
    shares = estimated_shares([Stratum(0, 4, (4,), 4), Stratum(12, 0, (0,), 0)])
    assert shares is not None
    assert shares.suspicious == 4 / 16


@pytest.mark.parametrize(
    ("parts", "cells"),
    [
        ([(0, 16), (0, 30)], 46.0),  # all were scored
        ([(90, 10)], 10.0),  # a plain sample
        ([(0, 10), (80, 10)], 100**2 / (10 + 90 * 9)),
        ([(0, 10), (80, 0)], 0.0),  # nothing is known of most
        ([(0, 0), (5, 5)], 5.0),
    ],
)
def test_as_many_cells_would_tell_as_much(parts: list[tuple[int, int]], cells: float) -> None:
    strata = [Stratum(missing, scored, (0,), 0) for missing, scored in parts]
    shares = estimated_shares(strata)
    assert shares is not None
    assert shares.effective == pytest.approx(cells)


def test_without_a_scored_cell_there_is_no_estimate() -> None:
    assert estimated_shares([]) is None
    assert estimated_shares([Stratum(3, 0, (0,), 0)]) is None


def test_the_estimate_from_a_part_is_unbiased_where_the_plain_share_is_not() -> None:
    """100 cells whose largest are mostly positive, cut off after 40 cells, 4000 times."""
    random = np.random.default_rng(1)
    positive = np.zeros(100, dtype=bool)
    positive[:12] = True  # among the 16 largest
    positive[16:26] = True  # among the other 84
    estimates, plain = [], []
    for _ in range(4000):
        rest = random.permutation(np.arange(16, 100))[:24]
        first, other = int(positive[:16].sum()), int(positive[rest].sum())
        shares = estimated_shares(
            [Stratum(0, 16, (first,), first), Stratum(60, 24, (other,), other)]
        )
        assert shares is not None
        estimates.append(shares.suspicious)
        plain.append((first + other) / 40)
    truth = positive.mean()
    error = np.std(estimates) / np.sqrt(len(estimates))
    assert abs(np.mean(estimates) - truth) < 4 * error
    assert np.mean(plain) - truth > 0.1
