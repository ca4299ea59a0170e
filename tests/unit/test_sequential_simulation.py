"""What the simulation of leaving cells out prints, on fewer slides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from edgeapl.stages.intervals import wilson
from edgeapl.stages.sequential import FinishedCounts, InterimCounts, positive_bounds, share_bounds
from tests.simulations.early_stop import (
    COLUMNS,
    Case,
    Rule,
    Tables,
    at_most,
    cases,
    ratio_rule,
    shares_within,
    simulate,
    vote_rule,
    wilson_box,
)

SLIDES = 4000
BELOW = Case(
    "just below", 1, 60, (0.2, 0.0, 0.2, 0.6), odds=1, just_below=True, vote=True, error=0.05
)


@pytest.mark.parametrize(
    ("case", "rule"),
    [
        (BELOW, vote_rule()),
        (replace(BELOW, cells=40, frames=4), vote_rule()),
        (replace(BELOW, shares=(0.3, 0.02, 0.4, 0.28), vote=False), ratio_rule(1)),
        (Case("few", 10, 25, (0.55, 0.2, 0.03, 0.22)), ratio_rule()),
    ],
    ids=["vote", "vote, several frames", "ratio", "too few cells for a flag by their number"],
)
def test_flags_that_all_cells_would_not_give_are_rarer_than_the_level(
    case: Case, rule: Rule
) -> None:
    """On the slides where it is easiest to be wrong, with a look after every cell."""
    guarded = simulate(case, rule, SLIDES, 1)
    assert at_most(guarded.wrong, SLIDES) < case.error


def test_with_bounds_for_one_look_they_would_be_more_frequent() -> None:
    unguarded = simulate(BELOW, vote_rule(), SLIDES, 1, sequence=False)
    assert unguarded.wrong / SLIDES > 2 * BELOW.error


def test_no_flag_is_lost_and_only_flagged_slides_save_cells() -> None:
    case = Case("clustered", 5, 60, (0.18, 0.0, 0.2, 0.62), together=0.2, vote=True)
    result = simulate(case, vote_rule(), SLIDES, 2)
    assert 0.2 * SLIDES < result.flagged_full < 0.9 * SLIDES
    assert result.lost == 0
    assert result.saved > 0.1
    assert result.other_examined == result.other_seen > 0


def test_the_simulation_bounds_shares_as_the_station_does() -> None:
    random = np.random.default_rng(3)
    for _ in range(50):
        first, rest, done = (int(random.integers(1, most)) for most in (17, 60, 90))
        drawn = int(random.integers(0, rest + 1))
        kinds = random.integers(0, 4, first + rest)
        before = np.array([random.integers(0, done + 1) for _ in range(4)])

        def positive(part: np.ndarray) -> np.ndarray:
            return np.asarray(COLUMNS[:, part].sum(axis=1))

        known, found = positive(kinds[:first]), positive(kinds[first : first + drawn])
        look = InterimCounts(
            first + rest, first + drawn, tuple((known + found).tolist()),
            rest, drawn, tuple(found.tolist()), drawn, tuple(found.tolist()),
        )  # fmt: skip
        bounds = share_bounds(FinishedCounts(done, done, tuple(before.tolist())), look, 0.01)
        assert bounds is not None
        table = Tables(positive_bounds).of(drawn, rest, 0.01)
        low, high = shares_within((before + known)[None], table[found][None], done + look.seen)
        assert low[0].tolist() == [share.low for share in bounds]
        assert high[0].tolist() == [share.high for share in bounds]


def test_the_simulation_has_the_station_s_intervals() -> None:
    low, high = wilson_box(np.array([[0.3, 0.9]]), np.array([[40.0]]), 0.95)
    for at, positive in enumerate((12, 36)):
        interval = wilson(positive, 40, 0.95)
        assert (low[0, at], high[0, at]) == pytest.approx((interval.low, interval.high))


def test_the_upper_bound_of_a_chance_is_that_of_clopper_and_pearson() -> None:
    # 3 / n when nothing happened (Hanley and Lippman-Hand 1983, JAMA 249:1743).
    assert at_most(0, 100) == pytest.approx(1 - 0.05 ** (1 / 100), rel=1e-6)
    assert at_most(0, 100_000) == pytest.approx(2.9957e-5, rel=1e-3)
    assert at_most(10, 20) == pytest.approx(0.6980, abs=1e-4)


def test_the_table_has_cases_of_every_kind() -> None:
    made = cases()
    assert {case.vote for case in made} == {case.just_below for case in made} == {True, False}
    assert {20, 500} <= {case.cells for case in made}
    assert any(case.together for case in made)
    assert {1.0, 4.0} <= {case.odds for case in made}
