"""Settings raced in turns: the usual ones stay unless a rival is surely faster.

On a machine that does other things as well, the shortest of a few runs crowns whoever was lucky. So
every rival is timed in turns with the usual settings, and what counts is the ratio within a few
rounds: whatever else the machine does then meets both. The slower half of the rivals leaves after
each stage, and the last ones run on until it is clear or the pairs are used up.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from edgeapl.engines.store.record import Settings

AS_GOOD = 1.03
"""Settings within 3 % of the fastest are taken for as fast."""

ROUNDS = 3
"""Rounds of a pair, of which the shortest time of each counts: another program that takes a core
for a moment lengthens one run, and hardly all of either."""

STAGES = (2, 2)
"""Pairs of the stages after which the slower half of the rivals leaves."""

FINALISTS = 2
FINAL_PAIRS = 8
FINAL_STAGES = 3
"""The last rivals run at most so many times so many pairs; only these count for the interval, as
who came so far was lucky before."""

CONFIDENCE = 0.99
"""Of the interval of a ratio; eight pairs are the fewest with one (Wilcoxon's signed ranks)."""

CLEAR_OF = 0.99
"""The interval of a faster rival ends below this: the last rivals are looked at several times, and
one in a hundred is worth no change."""

Contest = Callable[[Settings, Sequence[Settings], int], Mapping[Settings, Sequence[float]]]
"""Times the usual settings and some rivals in turns, for so many rounds: settings to the seconds of
each round."""


@dataclass(slots=True)
class Rival:
    """Settings beside the usual ones.

    ratios : seconds over those of the usual settings, pair by pair; below 1 the rival is faster.
    final : those of the last stages.
    """

    settings: Settings
    ratios: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """The middle of all ratios."""
        return median(self.ratios)

    @property
    def interval(self) -> tuple[float, float] | None:
        """Where the ratio lies with `CONFIDENCE`; None with too few pairs."""
        return ratio_interval(self.final)

    @property
    def faster(self) -> bool:
        """Whether it is surely faster than the usual settings."""
        return self.interval is not None and self.interval[1] < CLEAR_OF

    @property
    def slower(self) -> bool:
        """Whether it is surely not."""
        return self.interval is not None and self.interval[0] >= CLEAR_OF


@dataclass(frozen=True, slots=True)
class SettingsRace:
    """What a race found.

    prior : the usual settings. chosen : theirs, or a rival's. rivals : all that were raced.
    seconds : settings in words to the middle of their rounds.
    """

    prior: Settings
    chosen: Settings
    rivals: tuple[Rival, ...]
    seconds: Mapping[str, float]

    @property
    def evidence(self) -> dict[str, Any]:
        """What the choice rests on, as plain JSON values."""
        return {
            "usual": self.prior.text,
            "chosen": self.chosen.text,
            "confidence": CONFIDENCE,
            "rivals": {
                rival.settings.text: {
                    "ratio": round(rival.ratio, 4),
                    "interval": None
                    if rival.interval is None
                    else [round(end, 4) for end in rival.interval],
                    "pairs": len(rival.ratios),
                    "ratios": [round(ratio, 4) for ratio in rival.ratios],
                }
                for rival in self.rivals
            },
        }


def race_settings(prior: Settings, others: Sequence[Settings], contest: Contest) -> SettingsRace:
    """Race settings against the usual ones.

    Parameters
    ----------
    prior : stay unless the interval of a rival's ratio ends below `CLEAR_OF`. others : the rivals.
    contest : times some of them in turns.

    Of rivals that are surely faster, and as good as the best of them, the one of the smallest batch
    is chosen, whose first answers come soonest, and then that of the fewest threads.
    """
    rivals = [Rival(one) for one in others if one != prior]
    seconds: dict[Settings, list[float]] = {}
    left = list(rivals)
    for pairs in STAGES:
        _run(prior, left, contest, pairs, seconds)
        left = _faster_half(left)
    for _ in range(FINAL_STAGES):
        open_still = [one for one in left if not (one.faster or one.slower)]
        if not open_still:
            break
        for one, ratios in _run(prior, open_still, contest, FINAL_PAIRS, seconds):
            one.final += ratios
    middles = {one.text: median(taken) for one, taken in seconds.items()}
    return SettingsRace(prior, _chosen(prior, left), tuple(rivals), middles)


def _run(
    prior: Settings,
    rivals: Sequence[Rival],
    contest: Contest,
    pairs: int,
    seconds: dict[Settings, list[float]],
) -> list[tuple[Rival, list[float]]]:
    """Time rivals in turns with the usual settings, those of one way at a time."""
    ways: dict[tuple[int | None, int], list[Rival]] = {}
    for rival in rivals:
        ways.setdefault((rival.settings.workers, rival.settings.threads), []).append(rival)
    found = []
    for some in ways.values():
        taken = contest(prior, [one.settings for one in some], ROUNDS * pairs)
        shortest = {settings: _shortest(times) for settings, times in taken.items()}
        for settings, times in shortest.items():
            seconds.setdefault(settings, []).extend(times)
        for one in some:
            both = zip(shortest[one.settings], shortest[prior], strict=True)
            ratios = [mine / usual for mine, usual in both]
            one.ratios += ratios
            found.append((one, ratios))
    return found


def _shortest(times: Sequence[float]) -> list[float]:
    """Return the shortest of every few rounds."""
    return [min(times[first : first + ROUNDS]) for first in range(0, len(times), ROUNDS)]


def _faster_half(rivals: Sequence[Rival]) -> list[Rival]:
    ordered = sorted(rivals, key=lambda one: one.ratio)
    return ordered[: max(FINALISTS, math.ceil(len(ordered) / 2))]


def _chosen(prior: Settings, finalists: Sequence[Rival]) -> Settings:
    faster = [one for one in finalists if one.faster]
    if not faster:
        return prior
    limit = AS_GOOD * min(median(one.final) for one in faster)
    good = [one for one in faster if median(one.final) <= limit]
    best = min(
        good, key=lambda one: (one.settings.batch_size, one.settings.threads, median(one.final))
    )
    return best.settings


def ratio_interval(ratios: Sequence[float]) -> tuple[float, float] | None:
    """Return the interval of a ratio's middle from pairs, by Wilcoxon's signed ranks.

    A round in which something else held up one of the two is one rank among others, however long it
    took. None for too few pairs. Raises ValueError for a ratio that is not above 0.
    """
    if any(not ratio > 0 for ratio in ratios):
        raise ValueError("ratio_interval: expected ratios above 0")
    logs = [math.log(ratio) for ratio in ratios]
    outside = _averages_outside(len(logs))
    if outside is None:
        return None
    averages = sorted((a + b) / 2 for place, a in enumerate(logs) for b in logs[place:])
    return math.exp(averages[outside]), math.exp(averages[-1 - outside])


def _averages_outside(count: int) -> int | None:
    """Return how many pairwise averages lie beyond either end; None where all would be needed.

    The sum of the ranks above the true middle is at most k in as many of the 2^n patterns of signs
    as there are sets of ranks with such a sum.
    """
    most = (1 - CONFIDENCE) / 2 * 2**count
    sets = [1] + [0] * (count * (count + 1) // 2)
    for rank in range(1, count + 1):
        for total in range(len(sets) - 1, rank - 1, -1):
            sets[total] += sets[total - rank]
    seen, outside = 0, -1
    for ways in sets:
        seen += ways
        if seen > most:
            break
        outside += 1
    return outside if outside >= 0 else None
