"""The self-test of the rule: slides, from the scores of their cells to the verdict.

The golden frame has too few cells for a verdict. So the bundle keeps slides that
are composed of cell scores, and what the whole way must say of each: scores, reducer, head, rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeapl.errors import BundleError, EngineError
from edgeapl.model.assembled import Model
from edgeapl.stages.judge import decide
from edgeapl.stages.sub_bags import SubBags
from edgeapl.types import CellScores, Decision, Float32, Tally

FEWEST = 100
"""Cells of a golden slide, or as many as the rule asks for: enough for narrow intervals."""

DECISIONS = tuple(Decision)
PREFIX = "slide."
"""Prefix of the names of slides in the file of golden answers; no role has a dot."""


@dataclass(frozen=True, slots=True)
class GoldenVerdict:
    """The verdict on a golden slide. probability : NaN where there is none."""

    decision: Decision
    probability: float


def compose(model: Model, golden: CellScores) -> dict[str, CellScores]:
    """Make slides out of cells.

    Parameters
    ----------
    golden : scores of the golden frame's cells.

    Returns slides by name: all cells speak for APL, all for something else, none for anything; one
    cell too few; and each of some golden cells over and over. Where features are pooled only the
    last can be made, for features are not known for cells that nobody has seen.
    """
    manifest = model.bundle.manifest
    if model.reducer.bounded:
        # These bundles pool no features, so none are kept.
        nothing = np.zeros((len(golden), 0), np.float32)
        golden = CellScores(golden.ids, golden.roles, nothing)
    count = max(FEWEST, manifest.rule.min_scored)
    slides = {f"golden-{row}": _repeated(golden, row, count) for row in range(min(3, len(golden)))}
    if model.reducer.bounded:
        speaking = {role.name: float(role.suspicious) for role in manifest.roles}
        slides["apl"] = _made(speaking, count, golden)
        slides["other"] = _made(
            {name: 1 - value for name, value in speaking.items()}, count, golden
        )
        slides["none"] = _made(dict.fromkeys(speaking, 0.0), count, golden)
        slides["few"] = _made(dict.fromkeys(speaking, 0.0), manifest.rule.min_scored - 1, golden)
    return slides


def judged(model: Model, scores: CellScores) -> GoldenVerdict:
    """Reduce and judge a slide of which nothing but its cells is known."""
    state = model.reducer.add(model.reducer.empty(), scores)
    tally = Tally(len(scores), scored=len(scores))
    rule = model.bundle.manifest.rule
    reduced, trouble = model.reducer.reduce(state, model.head, tally, rule.confidence)
    decision, _ = decide(rule, reduced, tally, trouble)
    if decision is Decision.CLEAR and not model.reducer.bounded:
        parts = SubBags(model.reducer, rule)
        parts.add(scores, model.head)
        parts.close_frame([scores])
        decision, _ = decide(rule, reduced, tally, (*trouble, *parts.judge(model.head)))
    return GoldenVerdict(
        decision, float("nan") if reduced.probability is None else reduced.probability
    )


def slide_arrays(model: Model, golden: CellScores) -> dict[str, Float32]:
    """Return the slides with their verdicts as arrays for the file of golden answers.

    Per slide ``slide.NAME.roles`` float32 (N, R), ``.features`` float32 (N, D) and ``.answer``
    float32 (2,), the probability and the decision's number.
    """
    arrays: dict[str, Float32] = {}
    for name, scores in compose(model, golden).items():
        answer = judged(model, scores)
        roles = [scores.roles[role.name] for role in model.bundle.manifest.roles]
        arrays[f"{PREFIX}{name}.roles"] = np.stack(roles, axis=1)
        arrays[f"{PREFIX}{name}.features"] = scores.features
        arrays[f"{PREFIX}{name}.answer"] = np.array(
            [answer.probability, DECISIONS.index(answer.decision)], np.float32
        )
    return arrays


def check_slides(model: Model, arrays: Mapping[str, Float32], allowed: float) -> None:
    """Judge the golden slides again; bundles of older versions have none.

    Parameters
    ----------
    arrays : of the file of golden answers.
    allowed : largest difference of a probability. A decision that lies nearer than that to a limit
        of the rule may change with it.

    Raises EngineError for another verdict, BundleError when the slides are not whole.
    """
    rule = model.bundle.manifest.rule
    for name, scores, expected in _kept(model, arrays):
        got = judged(model, scores)
        which = f"{model.bundle.manifest.name} golden slide {name}"
        difference = abs(got.probability - expected.probability)
        if np.isnan([got.probability, expected.probability]).all():
            difference = 0.0
        if not difference <= allowed:
            text = f"its probability differs by {difference:.3g}, allowed {allowed:g}"
            raise EngineError("self-test failed", which, text)
        near = [abs(expected.probability - limit) for limit in (rule.flag_at, rule.clear_below)]
        if got.decision is not expected.decision and not min(near) <= difference:
            text = f"it is {got.decision.value}, not {expected.decision.value}"
            raise EngineError("self-test failed", which, text)


def _kept(
    model: Model, arrays: Mapping[str, Float32]
) -> Sequence[tuple[str, CellScores, GoldenVerdict]]:
    roles = [role.name for role in model.bundle.manifest.roles]
    names = {key[len(PREFIX) :].partition(".")[0] for key in arrays if key.startswith(PREFIX)}
    slides = []
    for name in sorted(names):
        try:
            scores, features, answer = (
                arrays[f"{PREFIX}{name}.{part}"] for part in ("roles", "features", "answer")
            )
            columns = {role: scores[:, column].copy() for column, role in enumerate(roles)}
            cells = CellScores(np.arange(len(scores), dtype=np.int64), columns, features)
            kept = GoldenVerdict(DECISIONS[int(answer[1])], float(answer[0]))
        except (KeyError, IndexError, ValueError) as error:
            which = model.bundle.manifest.golden.expected
            raise BundleError("golden slides are incomplete", which, name) from error
        slides.append((name, cells, kept))
    return slides


def _repeated(golden: CellScores, row: int, count: int) -> CellScores:
    return CellScores(
        np.arange(count, dtype=np.int64),
        {name: np.full(count, values[row], np.float32) for name, values in golden.roles.items()},
        np.repeat(golden.features[row : row + 1], count, axis=0),
    )


def _made(roles: Mapping[str, float], count: int, golden: CellScores) -> CellScores:
    return CellScores(
        np.arange(count, dtype=np.int64),
        {name: np.full(count, value, np.float32) for name, value in roles.items()},
        np.zeros((count, golden.features.shape[1]), np.float32),
    )
