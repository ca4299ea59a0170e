"""How often leaving cells out changes a verdict, and how many cells it saves: on counts alone.

    python -m tests.simulations.early_stop --slides 100000 --seed 1

Slides are drawn as counts of four kinds of cells; each frame is looked at as `watch` does it: the
largest cells first, the others in random order, and a look after every batch. The same slide in
full tells what the verdict should have been. Cases named "just below" have the largest share that
all cells would not flag: nowhere is it easier to be wrong. The last column shows the same slides
with 99.9 % Wilson intervals for one look in place of the sequence: what it is there for.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import comb
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import RuleSpec
from edgeapl.stages.cell_order import FIRST, FIRST_SHARE
from edgeapl.stages.intervals import wilson
from edgeapl.stages.sequential import frame_error, positive_bounds, sample_of

Counts = NDArray[np.int64]
Shares = NDArray[np.float64]
Bounds = Callable[[int, int, int, float], tuple[int, int]]

KINDS = ("promyelocyte", "promyelocyte with Auer rods", "myeloblast", "other")
COLUMNS = np.array([[1, 1, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 0, 0]])
"""Questions by kinds: promyelocyte, myeloblast, Auer rod, suspicious."""


def at_one_look(positive: int, drawn: int, cells: int, error: float) -> tuple[int, int]:
    """Bound as if this were the only look: Wilson's interval, grown to all cells."""
    share = wilson(positive, drawn, 1 - error)
    low = max(positive, int(np.floor(share.low * cells)))
    return low, max(low, min(cells - drawn + positive, int(np.ceil(share.high * cells))))


@dataclass(frozen=True, slots=True)
class Rule:
    """When shares are flagged. head : shares (N, 3) to probability (N,); None for a vote."""

    spec: RuleSpec
    head: Callable[[Shares], Shares] | None = None

    def flags(self, shares: Shares) -> NDArray[np.bool_]:
        """Tell which rows of shares (N, 4) are flagged, if the cells are enough."""
        return self.surely_flags(shares, shares)

    def surely_flags(self, low: Shares, high: Shares) -> NDArray[np.bool_]:
        """Tell which boxes of shares, (N, 4) each, are flagged wherever in them."""
        sure = np.asarray(low[:, 3] >= (self.spec.suspicious_share or 0.0))
        rows = np.flatnonzero(sure)
        sure[rows] = self._least(low[rows], high[rows]) >= self.spec.flag_at
        return sure

    def are_enough(self, scored: Counts, shares: Shares, effective: Shares) -> NDArray[np.bool_]:
        """Tell where the scored cells are enough for a flag: in number, or by their interval."""
        enough = np.asarray(scored >= self.spec.min_scored)
        rows = np.flatnonzero(~enough)
        low, high = wilson_box(shares[rows], effective[rows, None], self.spec.confidence)
        enough[rows] = self._least(low, high) >= self.spec.flag_at
        return enough

    def are_sure(self, low: Shares, high: Shares, cells: int) -> NDArray[np.bool_]:
        """Tell where so many cells are enough for a flag, whatever their shares in these boxes."""
        if cells >= self.spec.min_scored:
            return np.ones(len(low), dtype=bool)
        every = np.full((len(low), 1), cells)
        lows, _ = wilson_box(low, every, self.spec.confidence)
        _, highs = wilson_box(high, every, self.spec.confidence)
        return np.asarray(self._least(lows, highs) >= self.spec.flag_at)

    def _least(self, low: Shares, high: Shares) -> Shares:
        """Give the least probability in each box."""
        if self.head is None:
            return low[:, 3]
        least = np.ones(len(low))
        for corner in range(1 if np.array_equal(low, high) else 8):
            upper = np.array([corner & 1, corner & 2, corner & 4], dtype=bool)
            least = np.minimum(least, self.head(np.where(upper, high[:, :3], low[:, :3])))
        return least


def wilson_box(shares: Shares, cells: Shares, confidence: float) -> tuple[Shares, Shares]:
    """Give `edgeapl.stages.intervals.wilson` of many shares at once."""
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    middle = shares + z * z / (2 * cells)
    spread = z * np.sqrt(shares * (1 - shares) / cells + z * z / (4 * cells * cells))
    scale = 1 + z * z / cells
    return (middle - spread) / scale, (middle + spread) / scale


@dataclass(frozen=True, slots=True)
class Case:
    """Slides of one sort.

    shares : of the kinds, over many slides. together : 0 when each frame is an even part of the
        slide; towards 1 the more the kinds keep to frames of their own. odds : how much likelier
        a suspicious cell is among the largest. just_below : take the most promyelocytes that the
        first frame's cells would not flag. error : what may be spent.
    """

    name: str
    frames: int
    cells: int
    shares: tuple[float, float, float, float]
    together: float = 0.0
    odds: float = 4.0
    just_below: bool = False
    vote: bool = False
    batch: int = 1
    error: float = 0.001


@dataclass(slots=True)
class Result:
    """What came of a case. flagged_full : slides that are flagged with all cells.

    wrong : flagged early although all cells of the frames so far would not have; lost : flagged
    with all cells, not early. examined, seen : cells of slides flagged in full.
    """

    slides: int
    flagged_full: int = 0
    wrong: int = 0
    lost: int = 0
    examined: int = 0
    seen: int = 0
    other_examined: int = 0
    other_seen: int = 0

    @property
    def saved(self) -> float:
        """Share of the cells of flagged slides that were not looked at."""
        return 1 - self.examined / self.seen if self.seen else 0.0


@dataclass(slots=True)
class Tables:
    """Bounds for every count, made once: the sequence itself is `positive_bounds`."""

    bounds: Bounds
    _made: dict[tuple[int, int, float], NDArray[np.int64]] = field(default_factory=dict)

    def of(self, drawn: int, cells: int, error: float) -> NDArray[np.int64]:
        """Give (fewest, most) for every number of positive cells among those drawn."""
        key = (drawn, cells, error)
        if key not in self._made:
            rows = [self.bounds(found, drawn, cells, error) for found in range(drawn + 1)]
            self._made[key] = np.array(rows)
        return self._made[key]


def simulate(case: Case, rule: Rule, slides: int, seed: int, *, sequence: bool = True) -> Result:
    """Play a case; without the sequence, with bounds that hold for one look and one question."""
    random = np.random.default_rng(seed)
    tables = Tables(positive_bounds if sequence else at_one_look)
    result = Result(slides)
    whole = np.zeros((slides, 4), dtype=np.int64)  # what all cells would have given
    grown = np.zeros((slides, 4))  # what the cells seen are estimated to stand for
    spread = np.zeros(slides)  # of each stratum cells² / scored cells, added up
    full = np.zeros(slides, dtype=bool)
    early = np.zeros(slides, dtype=bool)
    examined = np.zeros(slides, dtype=np.int64)
    for number in range(1, case.frames + 1):
        kinds = _drawn_frame(case, rule, slides, random)
        first, orders = _in_order(case, kinds, random)
        rest = case.cells - int(first.sum(axis=1)[0])
        seen = number * case.cells
        before, whole = whole, whole + kinds @ COLUMNS.T
        every = np.full(slides, seen)
        now_full = rule.flags(whole / seen) & rule.are_enough(every, whole / seen, every)
        known = first @ COLUMNS.T
        found = np.zeros((slides, 4), dtype=np.int64)
        stopped = np.full(slides, rest)
        stands = grown + whole - before
        going = np.ones(slides, dtype=bool)
        was_early = early.copy()
        questions = 1 if rule.head is None else 4
        each = frame_error(case.error, number) / questions if sequence else case.error
        scored = examined + case.cells - rest
        for drawn, newest in enumerate(orders, start=1):
            found += COLUMNS.T[newest]
            if drawn % case.batch and drawn < rest:
                continue
            table = tables.of(drawn, rest, each)
            rows = np.flatnonzero(going & ~was_early)
            box = table[found[rows]]  # (rows, 4, 2)
            low, high = shares_within((before + known)[rows], box, seen)
            sure = rule.surely_flags(low, high) & rule.are_sure(low, high, seen)
            rows = rows[sure]
            if drawn >= sample_of(case.cells - rest, rest):
                rows = np.concatenate([rows, np.flatnonzero(going & was_early)])
            estimate = grown[rows] + known[rows] + found[rows] * rest / drawn
            likely = np.minimum(estimate / seen, 1)
            effective = seen**2 / (spread[rows] + case.cells - rest + rest**2 / drawn)
            flagged = rule.flags(likely) & rule.are_enough(scored[rows] + drawn, likely, effective)
            going[rows[~flagged & was_early[rows]]] = False  # a doubt: all of it is looked at
            rows = rows[flagged]
            stopped[rows], stands[rows], going[rows] = drawn, estimate[flagged], False
            early[rows] = True
            fresh = rows[~was_early[rows] & (drawn < rest)]
            result.wrong += int((~(now_full | full)[fresh]).sum())
        full |= now_full
        early |= now_full & (stopped == rest)
        grown = stands
        spread += case.cells - rest + rest**2 / stopped
        examined += case.cells - rest + stopped
    result.flagged_full = int(full.sum())
    result.lost = int((full & ~early).sum())
    result.examined = int(examined[full].sum())
    result.seen = int(full.sum()) * case.cells * case.frames
    result.other_examined = int(examined[~full & ~early].sum())
    result.other_seen = int((~full & ~early).sum()) * case.cells * case.frames
    return result


def shares_within(sure: Counts, box: Counts, seen: int) -> tuple[Shares, Shares]:
    """Bound the shares of all cells seen, (N, 4) each.

    sure : (N, 4), positive cells besides the random ones; box : (N, 4, 2), bounds for these.
    """
    return (sure + box[..., 0]) / seen, (sure + box[..., 1]) / seen


def _drawn_frame(case: Case, rule: Rule, slides: int, random: np.random.Generator) -> Counts:
    """Draw how many cells of each kind a frame of each slide has, int64 (slides, 4)."""
    shares = np.array(case.shares)
    if case.just_below:
        return np.tile(_just_below(case, rule), (slides, 1))
    if case.together:
        strength = (1 - case.together) / case.together
        drawn = random.dirichlet(np.maximum(shares * strength, 1e-3), slides)
    else:
        drawn = np.tile(shares, (slides, 1))
    return np.asarray(random.multinomial(case.cells, drawn))


def _just_below(case: Case, rule: Rule) -> Counts:
    """Give the frame with most suspicious cells that is not flagged, the others in proportion."""
    plain, rods, blasts, other = case.shares
    best = None
    for suspicious in range(case.cells + 1):
        with_rods = round(suspicious * rods / (plain + rods))
        left = case.cells - suspicious
        blast = round(left * blasts / (blasts + other))
        kinds = np.array([suspicious - with_rods, with_rods, blast, left - blast])
        if not rule.flags((kinds @ COLUMNS.T)[None] / case.cells)[0]:
            best = kinds
    assert best is not None
    return best


def _in_order(
    case: Case, kinds: Counts, random: np.random.Generator
) -> tuple[Counts, Sequence[Counts]]:
    """Draw which kinds the largest cells are of, int64 (slides, 4), and those that follow."""
    left = kinds.copy()
    first = np.zeros_like(left)
    rows = np.arange(len(left))
    for weights in [np.array([case.odds, case.odds, 1, 1])] * min(
        FIRST, int(case.cells * FIRST_SHARE)
    ):
        taken = _taken(left * weights, random)
        first[rows, taken] += 1
        left[rows, taken] -= 1
    orders = []
    while left[0].sum():
        taken = _taken(left, random)
        left[rows, taken] -= 1
        orders.append(taken)
    return first, orders


def _taken(weights: NDArray[np.generic], random: np.random.Generator) -> Counts:
    """Take one kind per row with chances in these proportions."""
    sums = np.cumsum(weights, axis=1, dtype=np.float64)
    at = random.random(len(sums))[:, None] * sums[:, -1:]
    return np.asarray((at >= sums).sum(axis=1))


def at_most(events: int, trials: int, confidence: float = 0.95) -> float:
    """Give the upper Clopper-Pearson bound of a chance, one-sided."""
    low, high = events / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        terms = (
            (comb(trials, k) * middle**k * (1 - middle) ** (trials - k) for k in range(events + 1))
            if trials < 500
            else (
                np.exp(k * np.log(trials * middle) - trials * middle - _log_factorial(k))
                for k in range(events + 1)
            )
        )
        low, high = (middle, high) if sum(terms) > 1 - confidence else (low, middle)
    return high


def _log_factorial(number: int) -> float:
    return float(np.log(np.arange(1, number + 1)).sum())


def vote_rule(share: float = 0.2) -> Rule:
    """Flag from this share of suspicious cells on, however few cells there are."""
    spec = RuleSpec(
        flag_at=share, clear_below=share, suspicious_share=share, min_scored=1, max_lost_share=0.1
    )
    return Rule(spec)


def ratio_rule(min_scored: int = 50) -> Rule:
    """Give a rule like the embedded bundle's, its head's weights rounded."""
    spec = RuleSpec(
        flag_at=0.5,
        clear_below=0.5,
        suspicious_share=0.2,
        min_scored=min_scored,
        max_lost_share=0.1,
    )
    weights = np.array([[5.92, -4.62, 1.73], [7.96, 0.45, 2.80]])  # against AML, against healthy
    bias = np.array([-0.86, -2.97])
    return Rule(spec, lambda shares: (1 / (1 + np.exp(-(shares @ weights.T + bias)))).min(axis=1))


def cases() -> list[Case]:
    """Give the cases of the table."""
    aml, apl = (0.3, 0.02, 0.4, 0.28), (0.55, 0.2, 0.03, 0.22)
    plain = Case("vote, just below", 1, 20, (0.2, 0.0, 0.2, 0.6), just_below=True, vote=True)
    ratio = Case("ratio, just below", 1, 60, aml, just_below=True)
    some = Case("vote, clustered", 10, 60, (0.18, 0.0, 0.2, 0.62), together=0.1, vote=True)
    sure = Case("APL 75 %", 1, 169, apl, batch=8)
    return [
        plain,
        *(replace(plain, cells=cells) for cells in (60, 169, 500)),
        replace(plain, cells=169, odds=1.0, name="vote, just below, size tells nothing"),
        replace(plain, cells=169, odds=1.0, name="the same at a level of 1 of 20", error=0.05),
        replace(plain, cells=60, frames=10, name="vote, just below in each frame"),
        some,
        replace(some, together=0.4, cells=30),
        ratio,
        replace(ratio, cells=169),
        replace(ratio, cells=60, frames=5, name="ratio, just below in each frame"),
        replace(ratio, cells=60, frames=5, just_below=False, together=0.2, name="ratio, clustered"),
        replace(sure, name="healthy", shares=(0.01, 0.0, 0.01, 0.98)),
        replace(sure, name="AML, blasts 60 %", shares=(0.04, 0.0, 0.6, 0.36)),
        replace(sure, name="APL 50 %", shares=(0.4, 0.1, 0.05, 0.45)),
        sure,
        replace(sure, name="APL 90 %", shares=(0.65, 0.25, 0.02, 0.08)),
        replace(sure, cells=500),
        replace(sure, cells=60, frames=10),
        replace(sure, cells=25, frames=10),
        replace(sure, frames=10),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slides", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    print(f"{chosen.slides} slides per case, seed {chosen.seed}; level: 1 of 1,000 slides")
    print(
        "| case | frames x cells | flagged in full | wrongly flagged early (95 % at most) "
        "| flags lost | cells saved on flagged slides | on others | wrong with one-look bounds |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for case in cases():
        rule = vote_rule() if case.vote else ratio_rule(1 if case.just_below else 50)
        one = simulate(case, rule, chosen.slides, chosen.seed)
        few = max(1, chosen.slides // 10)
        naive = simulate(case, rule, few, chosen.seed, sequence=False)
        others = 1 - one.other_examined / one.other_seen if one.other_seen else 0.0
        print(
            f"| {case.name} | {case.frames} x {case.cells} "
            f"| {one.flagged_full / one.slides:.1%} "
            f"| {one.wrong / one.slides:.5f} ({at_most(one.wrong, one.slides):.5f}) "
            f"| {one.lost} | {one.saved:.0%} | {others:.0%} | {naive.wrong / few:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
