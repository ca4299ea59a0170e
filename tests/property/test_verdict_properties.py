"""What must hold for every slide there could be."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgeapl.bundle.specs import ReducerSpec, RoleSpec, RuleSpec
from edgeapl.engines.ort import OrtEngine
from edgeapl.errors import DeadlineError, EdgeAplError, EngineError
from edgeapl.protocols import Arrays, Engine
from edgeapl.stages.accumulate import counted
from edgeapl.stages.cell_order import Stratum, estimated_shares
from edgeapl.stages.findings import Effect, Finding
from edgeapl.stages.intervals import wilson
from edgeapl.stages.judge import decide, latch
from edgeapl.stages.reduce import Reducer
from edgeapl.types import CellScores, Decision, Tally
from tests.small_bundle import ROLES, head_network

ROLE_SPECS = tuple(
    RoleSpec(
        name=name, network="cells", output=name, threshold=0.5, suspicious=name != "myeloblast"
    )
    for name in ROLES
)
RATIO = ReducerSpec(kind="ratio", head="head", head_outputs=("apl",))
VOTE = ReducerSpec(kind="vote")
MEAN = ReducerSpec(kind="mean", head="head", head_outputs=("apl",))
MAX = ReducerSpec(kind="max", head="head", head_outputs=("apl",))
RULE = RuleSpec(
    flag_at=0.5, clear_below=0.5, suspicious_share=0.2, min_scored=20, max_lost_share=0.1
)

Rows = list[tuple[float, float, float]]
probability = st.sampled_from([0.0, 0.1, 0.4, 0.49999, 0.5, 0.7, 1.0])
cells = st.lists(st.tuples(probability, probability, probability), max_size=120)
SUSPICIOUS = (0.9, 0.1, 0.1)


@pytest.fixture(scope="module")
def head() -> Engine:
    return OrtEngine("head", head_network(weights=(12, -2, 12), bias=-3))


def scores(rows: Rows, first: int = 0) -> CellScores:
    array = np.array(rows, np.float32).reshape(-1, 3)
    return CellScores(
        ids=np.arange(first, first + len(rows), dtype=np.int64),
        roles={name: array[:, at].copy() for at, name in enumerate(ROLES)},
        features=array.copy(),
    )


def verdict(
    rows: Rows,
    head: Engine,
    *,
    lost: int = 0,
    failed: int = 0,
    spec: ReducerSpec = RATIO,
    findings: tuple[Finding, ...] = (),
) -> Decision:
    reducer = Reducer(ROLE_SPECS, spec)
    state = reducer.add(reducer.empty(), scores(rows))
    tally = Tally(len(rows) + lost + failed, len(rows), lost, failed)
    reduced, trouble = reducer.reduce(state, head, tally, RULE.confidence)
    return decide(RULE, reduced, tally, (*findings, *trouble))[0]


@given(rows=cells, cuts=st.lists(st.integers(0, 120), max_size=6), seed=st.integers(0, 99))
@settings(deadline=None)
@pytest.mark.parametrize("spec", [RATIO, VOTE, MEAN, MAX], ids=lambda spec: spec.kind)
def test_order_and_batch_split_change_nothing(
    head: Engine, spec: ReducerSpec, rows: Rows, cuts: list[int], seed: int
) -> None:
    reducer = Reducer(ROLE_SPECS, spec)
    tally = Tally(len(rows), len(rows))
    whole = reducer.reduce(reducer.add(reducer.empty(), scores(rows)), head, tally, 0.95)
    order = np.random.default_rng(seed).permutation(len(rows))
    everything = scores(rows)
    state = reducer.empty()
    for part in np.split(order, sorted(min(cut, len(rows)) for cut in cuts)):
        state = reducer.add(
            state,
            CellScores(
                everything.ids[part],
                {name: values[part] for name, values in everything.roles.items()},
                everything.features[part],
            ),
        )
    assert reducer.reduce(state, head, tally, 0.95) == whole


@given(rows=cells, more=st.integers(1, 300))
@settings(deadline=None)
@pytest.mark.parametrize("spec", [RATIO, VOTE], ids=lambda spec: spec.kind)
def test_more_suspicious_cells_never_turn_a_flag_into_clear(
    head: Engine, spec: ReducerSpec, rows: Rows, more: int
) -> None:
    if verdict(rows, head, spec=spec) is Decision.FLAG:
        assert verdict(rows + [SUSPICIOUS] * more, head, spec=spec) is not Decision.CLEAR


@given(rows=cells, data=st.data())
@settings(deadline=None)
@pytest.mark.parametrize("spec", [RATIO, VOTE, MAX, MEAN], ids=lambda spec: spec.kind)
def test_losing_cells_never_yields_clear(
    head: Engine, spec: ReducerSpec, rows: Rows, data: st.DataObject
) -> None:
    kept = [row for row in rows if data.draw(st.booleans())]
    lost = len(rows) - len(kept)
    failed = data.draw(st.integers(0, lost))
    if verdict(rows, head, spec=spec) is not Decision.CLEAR:
        after = verdict(kept, head, lost=lost - failed, failed=failed, spec=spec)
        if lost:
            assert after is not Decision.CLEAR


def cut_off(rows: Rows, first: int, examined: int, head: Engine, spec: ReducerSpec) -> Decision:
    """Judge a frame of which only so many cells were examined, the first stratum before the rest.

    The rows stand in the order of the examination.
    """
    reducer = Reducer(ROLE_SPECS, spec)
    state = reducer.add(reducer.empty(), scores(rows[:examined]))
    tally = Tally(len(rows), examined, len(rows) - examined)
    strata = []
    for start, end in ((0, first), (first, len(rows))):
        known = counted(ROLE_SPECS, "vote", scores(rows[start : max(start, min(end, examined))]))
        missing = end - start - known.cells
        strata.append(Stratum(missing, known.cells, known.positive, known.suspicious))
    estimated = estimated_shares(strata) if tally.not_examined else None
    reduced, trouble = reducer.reduce(state, head, tally, RULE.confidence, estimated)
    return decide(RULE, reduced, tally, trouble)[0]


@given(rows=cells, data=st.data())
@settings(deadline=None)
@pytest.mark.parametrize("spec", [RATIO, VOTE], ids=lambda spec: spec.kind)
def test_stopping_early_never_yields_clear(
    head: Engine, spec: ReducerSpec, rows: Rows, data: st.DataObject
) -> None:
    """With shares that are estimated from strata, wherever the examination was cut off."""
    first = data.draw(st.integers(0, len(rows)))
    examined = data.draw(st.integers(0, len(rows)))
    if verdict(rows, head, spec=spec) is not Decision.CLEAR:
        assert cut_off(rows, first, examined, head, spec) is not Decision.CLEAR


class Failing:
    """A head that raises."""

    runtime, digest, outputs = "none", "0" * 64, ("apl",)
    inputs: ClassVar[dict[str, tuple[str, tuple[int | None, ...]]]] = {}

    def __init__(self, error: EdgeAplError) -> None:
        self._error = error

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        raise self._error

    def close(self) -> None:
        pass


@pytest.mark.parametrize("error", [EngineError("failed"), DeadlineError("too late")])
def test_a_head_that_fails_or_is_late_leaves_the_slide_to_a_person(error: EdgeAplError) -> None:
    assert verdict([SUSPICIOUS] * 60, Failing(error)) is Decision.REVIEW


@given(rows=cells, failed=st.integers(1, 5))
@settings(deadline=None)
def test_a_cell_that_failed_bars_clear(head: Engine, rows: Rows, failed: int) -> None:
    assert verdict(rows, head, failed=failed) is not Decision.CLEAR


@given(rows=cells)
@settings(deadline=None)
def test_findings_do_what_their_effect_says(head: Engine, rows: Rows) -> None:
    untrusted = Finding("x", "x", Effect.UNTRUSTED)
    barring = Finding("x", "x", Effect.BARS_CLEAR)
    note = Finding("x", "x", Effect.NOTE)
    plain = verdict(rows, head)
    assert verdict(rows, head, findings=(untrusted,)) is Decision.REVIEW
    assert verdict(rows, head, findings=(note,)) is plain
    expected = Decision.REVIEW if plain is Decision.CLEAR else plain
    assert verdict(rows, head, findings=(barring,)) is expected


def test_each_verdict_can_be_reached(head: Engine) -> None:
    assert verdict([SUSPICIOUS] * 60, head) is Decision.FLAG
    assert verdict([(0.1, 0.1, 0.1)] * 60, head) is Decision.CLEAR
    assert verdict([(0.1, 0.1, 0.1)] * 10, head) is Decision.REVIEW
    assert verdict([], head) is Decision.REVIEW


@pytest.mark.parametrize("weights", [(float("nan"), 0, 0), (float("inf"), 0, 0)])
def test_a_head_that_gives_no_number_is_never_a_no(weights: tuple[float, float, float]) -> None:
    broken = OrtEngine("head", head_network(weights=weights, bias=float("nan")))
    assert verdict([(0.1, 0.1, 0.1)] * 60, broken) is Decision.REVIEW


def test_a_flag_is_never_taken_back() -> None:
    decision, reasons = latch(Decision.FLAG, Decision.CLEAR, ())
    assert decision is Decision.FLAG
    assert reasons[0].code == "flag_kept"
    assert latch(Decision.REVIEW, Decision.CLEAR, ())[0] is Decision.CLEAR


@given(total=st.integers(0, 10**6), data=st.data(), confidence=st.floats(0.5, 0.999))
def test_a_wilson_interval_holds_the_share(
    total: int, data: st.DataObject, confidence: float
) -> None:
    positive = data.draw(st.integers(0, total))
    interval = wilson(positive, total, confidence)
    share = positive / total if total else 0.5
    assert interval.low <= share <= interval.high


def test_wilson_gives_the_textbook_figures() -> None:
    # Newcombe 1998, Statist. Med. 17:857, table I: 81 of 263, 15 of 148.
    for positive, total, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        interval = wilson(positive, total, 0.95)
        assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)
