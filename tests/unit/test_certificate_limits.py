"""Limits by learn then test: what they must never let pass, and how many patients they take."""

from __future__ import annotations

import numpy as np
import pytest

from edgeapl.certification.limits import Risk, cleared_below, highest_limit, limit_sequence
from tests.simulations.certificates import _limits_passed, simulate, worlds

INF = float("inf")


@pytest.mark.parametrize(
    ("patients", "most"), [(0, -1), (58, -1), (59, 0), (92, 0), (93, 1), (123, 1), (124, 2)]
)
def test_so_many_patients_may_be_cleared_and_no_more(patients: int, most: int) -> None:
    risk = Risk()
    assert risk.most_cleared(patients) == most
    if patients:
        assert (risk.bound(max(most, 0), patients) <= risk.alpha) is (most >= 0)
        assert risk.bound(most + 1, patients) > risk.alpha


def test_it_is_said_how_many_more_patients_it_takes() -> None:
    assert [Risk().missing(0, count) for count in (0, 58, 59)] == [59, 1, 0]
    assert Risk().missing(1, 59) == 93 - 59


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([INF] * 58, None),
        ([INF] * 59, (0.5, 0)),
        ([0.2] + [INF] * 58, (0.2, 0)),  # below 0.2 nobody is cleared, at 0.201 one is
        ([0.2] + [INF] * 92, (0.5, 1)),
        ([0.2, 0.3] + [INF] * 91, (0.3, 1)),
        ([0.2, 0.2] + [INF] * 91, (0.2, 0)),  # a tie is passed by both or by none
        ([0.0005] + [INF] * 58, None),  # not even the strictest limit holds
        ([0.9] * 59, (0.5, 0)),  # the rule clears nobody above its own limit
    ],
)
def test_the_highest_limit_is_the_last_before_too_many_are_cleared(
    scores: list[float], expected: tuple[float, int] | None
) -> None:
    found = highest_limit(np.array(scores), Risk(), 0.5)
    assert (None if found is None else (found.value, found.cleared)) == expected


def test_the_limits_end_at_the_rules_own() -> None:
    assert limit_sequence(0.0105).tolist() == [step / 1000 for step in range(1, 11)]
    assert cleared_below(np.array([0.1, 0.2]), np.array([0.1, 0.15, 0.2, 0.3])).tolist() == [
        *(0, 1, 1, 2)
    ]


def test_the_simulation_earns_limits_as_the_program_does() -> None:
    rng, limits = np.random.default_rng(3), limit_sequence(0.5)
    for patients in (58, 59, 93, 130):
        scores = rng.random((40, patients)).round(2)
        passed = _limits_passed(scores, np.full(40, patients), limits, Risk())
        for row, count in zip(scores, passed.tolist(), strict=True):
            found = highest_limit(row, Risk(), 0.5)
            assert found is None if not count else found is not None
            assert found is None or found.value == limits[count - 1]


def test_in_at_most_one_of_twenty_cohorts_more_than_alpha_is_cleared() -> None:
    for number, world in enumerate(worlds()):
        line = simulate(world, 500, seed=number)
        assert line.interval[0] <= 0.05, line
        assert line.certified or "58" in line.name
