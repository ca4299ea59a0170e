"""Only a flag ends a frame early, hardly ever one that all cells would not have given."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from math import comb
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeapl.bundle.specs import ReducerSpec, RuleSpec
from edgeapl.examination.early_stop import EarlyStop
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.inference import InferenceResult
from edgeapl.model import EMBEDDED, Model, open_model
from edgeapl.pipeline import Observer, SlideOptions, SlideOutcome, examine_slide
from edgeapl.pipeline.options import Budget
from edgeapl.protocols import Arrays, Engine
from edgeapl.sources.demo import DemoSource
from edgeapl.stages.cell_order import FIRST, Order, Stratum, estimated_shares
from edgeapl.stages.findings import Effect, Finding
from edgeapl.stages.judge import decide
from edgeapl.stages.reduce import Reduced, Reducer, ReducerState
from edgeapl.stages.sequential import (
    SAMPLE,
    FinishedCounts,
    InterimCounts,
    frame_error,
    is_sampled,
    positive_bounds,
    sample_of,
    share_bounds,
)
from edgeapl.testing import ScriptedSource
from edgeapl.types import (
    NOT_NOTED,
    CellScores,
    CellStatus,
    Decision,
    Detections,
    ExaminedFrame,
    Frame,
    Interval,
    Tally,
    Verdict,
)
from tests.pictures import field, frame
from tests.simulations.saved_cells import Replayed


def chance_of_a_miss(positive: int, cells: int, error: float) -> float:
    """Give the exact chance that the bounds miss after any of the draws, over all orders."""
    reached = {0: 1.0}  # positives drawn to its chance, for orders that were never missed so far
    missed = 0.0
    for drawn in range(cells + 1):
        inside: dict[int, float] = {}
        for found, chance in reached.items():
            low, high = positive_bounds(found, drawn, cells, error)
            if low <= positive <= high:
                inside[found] = chance
            else:
                missed += chance
        reached = {}
        for found, chance in inside.items():
            left = cells - drawn
            if left and positive > found:
                more = reached.get(found + 1, 0.0)
                reached[found + 1] = more + chance * (positive - found) / left
            if left and left > positive - found:
                same = reached.get(found, 0.0)
                reached[found] = same + chance * (left - positive + found) / left
    return missed


@pytest.mark.parametrize("error", [0.2, 0.05, 0.001])
@pytest.mark.parametrize("cells", [1, 5, 24, 60])
def test_the_bounds_hold_at_all_looks_together(cells: int, error: float) -> None:
    """Looked at after every single cell; exact, so there is no luck in it."""
    for positive in range(0, cells + 1, max(1, cells // 12)):
        assert chance_of_a_miss(positive, cells, error) <= error


def test_bounds_for_one_look_would_not_hold_at_all_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the sequence is for: exact hypergeometric bounds, looked at again and again."""

    def at_one_look(found: int, drawn: int, cells: int, error: float) -> tuple[int, int]:
        possible = range(found, cells - drawn + found + 1)

        def chance(positive: int, of: range) -> float:
            ways = (comb(positive, k) * comb(cells - positive, drawn - k) for k in of)
            return sum(ways) / comb(cells, drawn)

        kept = [
            positive
            for positive in possible
            if chance(positive, range(found, drawn + 1)) > error / 2
            and chance(positive, range(found + 1)) > error / 2
        ]
        return kept[0], kept[-1]

    monkeypatch.setitem(globals(), "positive_bounds", at_one_look)
    assert max(chance_of_a_miss(positive, 24, 0.05) for positive in range(25)) > 0.05


@given(st.data())
@settings(deadline=None)
def test_bounds_hold_the_drawn_cells_and_close_when_all_are_drawn(data: st.DataObject) -> None:
    cells = data.draw(st.integers(0, 200))
    drawn = data.draw(st.integers(0, cells))
    positive = data.draw(st.integers(0, drawn))
    error = data.draw(st.floats(1e-9, 0.5))
    low, high = positive_bounds(positive, drawn, cells, error)
    assert positive <= low <= high <= cells - (drawn - positive)
    assert positive_bounds(positive, cells, cells, error) == (positive, positive) or drawn < cells


@pytest.mark.parametrize("wrong", [(2, 1, 3, 0.1), (0, 4, 3, 0.1), (0, 0, 3, 0.0), (0, 0, 3, 1.0)])
def test_bounds_of_impossible_counts_are_refused(wrong: tuple[int, int, int, float]) -> None:
    with pytest.raises(ValueError, match="positive_bounds"):
        positive_bounds(*wrong)


def test_all_frames_together_spend_the_error_once() -> None:
    spent = sum(frame_error(0.001, number) for number in range(1, 100_000))
    assert 0.00099 < spent <= 0.001


@st.composite
def frames_half_seen(draw: st.DrawFn) -> tuple[FinishedCounts, InterimCounts, tuple[int, ...]]:
    """Draw finished frames, a frame in work, and what all the cells would have been."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    first, rest, done = (draw(st.integers(0, most)) for most in (16, 60, 40))
    answers = random.random((2, first + rest)) < random.random((2, 1))
    scored = random.random(first + rest) < draw(st.floats(0, 1))
    scored[first : first + draw(st.integers(0, rest))] = True
    before_answers = random.random((2, done)) < random.random((2, 1))
    before_scored = random.random(done) < 0.9
    gaps = np.flatnonzero(~scored[first:])
    drawn = int(gaps[0]) if len(gaps) else rest

    def counts(part: Any) -> tuple[int, ...]:
        return tuple(part.sum(axis=1).tolist())

    before = FinishedCounts(done, int(before_scored.sum()), counts(before_answers & before_scored))
    known = answers & scored
    look = InterimCounts(
        first + rest,
        int(scored.sum()),
        counts(known),
        rest,
        int(scored[first:].sum()),
        counts(known[:, first:]),
        drawn,
        counts(known[:, first : first + drawn]),
    )
    whole = [sum(pair) for pair in zip(counts(answers), counts(before_answers), strict=True)]
    return before, look, tuple(whole)


@given(frames_half_seen())
@settings(deadline=None, max_examples=300)
def test_the_shares_of_all_cells_lie_within_the_bounds(
    drawn: tuple[FinishedCounts, InterimCounts, tuple[int, ...]],
) -> None:
    """At an error so small that a miss would be a mistake, not chance."""
    before, look, whole = drawn
    seen = before.seen + look.seen
    if not seen:
        return
    bounds = share_bounds(before, look, 1e-12)
    assert bounds is not None
    for share, positive in zip(bounds, whole, strict=True):
        assert share.low <= positive / seen <= share.high
    if look.scored == look.seen and before.scored == before.seen:
        assert all(share.low == share.high for share in bounds)


def test_cells_that_contradict_the_bounds_decide_nothing() -> None:
    """Drawn are 20 negatives; yet all 30 that came in out of order are positive."""
    look = InterimCounts(60, 50, (30,), 60, 50, (30,), 20, (0,))
    assert share_bounds(FinishedCounts(0, 0, (0,)), look, 0.9) is None


@pytest.mark.parametrize(
    ("first", "first_scored", "rest", "drawn", "enough"),
    [
        (16, 16, 100, 16, True),
        (16, 16, 100, 15, False),
        (16, 15, 100, 16, False),
        (16, 16, 9, 9, True),
        (2, 2, 40, SAMPLE, True),
        (2, 2, 40, SAMPLE - 1, False),
    ],
)
def test_a_sample_holds_the_largest_cells_and_others(
    first: int, first_scored: int, rest: int, drawn: int, enough: bool
) -> None:
    look = InterimCounts(first + rest, first_scored + drawn, (0,), rest, drawn, (0,), drawn, (0,))
    assert is_sampled(look) is enough


RULE = RuleSpec(
    flag_at=0.5, clear_below=0.5, suspicious_share=0.2, min_scored=5, max_lost_share=1.0
)


def test_no_slide_is_cleared_with_cells_left_out() -> None:
    """Not even where the rule allows any share of cells to be lost."""
    reduced = Reduced(0.001, None, (), 0, 0.0, ("apl",), True, ())
    all_of_them, left_out = Tally(200, 200), Tally(201, 200, not_needed=1)
    assert decide(RULE, reduced, all_of_them, ())[0] is Decision.CLEAR
    decision, reasons = decide(RULE, reduced, left_out, ())
    assert decision is Decision.REVIEW
    assert "not_needed" in [reason.code for reason in reasons]
    with pytest.raises(ValueError, match="no slide is cleared"):
        Verdict(
            "s", Decision.CLEAR, 0.001, None, left_out, (), (), (), (), {}, "0" * 64, "0" * 64, "r"
        )


@pytest.mark.parametrize("kind", ["vote", "ratio"])
def test_the_interval_lets_the_scored_cells_speak_for_those_left_out(
    model: Model, kind: str
) -> None:
    """But not once a cell was lost: then each without a score may be either."""
    roles = model.bundle.manifest.roles
    reducer = Reducer(roles, ReducerSpec(kind="vote")) if kind == "vote" else model.reducer
    head = None if kind == "vote" else model.head
    state = ReducerState(40, (36, 2, 10), 36)

    def width(tally: Tally, strata: list[Stratum]) -> float:
        reduced, _ = reducer.reduce(state, head, tally, 0.95, estimated_shares(strata))
        assert reduced.interval is not None
        assert reduced.probability is not None
        assert reduced.interval.low <= reduced.probability <= reduced.interval.high
        return reduced.interval.high - reduced.interval.low

    first, rest = Stratum(0, 16, (16, 0, 6), 16), Stratum(100, 24, (20, 2, 4), 20)
    full = width(Tally(40, 40), [first, replace(rest, not_examined=0)])
    left_out = width(Tally(140, 40, not_needed=100), [first, rest])
    lost = width(Tally(140, 40, 1, 0, 99), [first, rest])
    assert full < left_out < lost / 2


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with open_model(EMBEDDED) as opened:
        yield opened


FLAGGED = "demo://apl?seed=1&cells=120"
HEALTHY = "demo://healthy?seed=1&cells=80"


@cache
def drawn(address: str) -> tuple[Frame, ...]:
    """Draw a slide once: it takes longer than to examine it."""
    with DemoSource.from_address(address) as source:
        return tuple(source.read(1) for _ in range(2))


def examine(
    model: Model, address: str, **changes: Any
) -> tuple[SlideOutcome, list[ExaminedFrame], list[Decision]]:
    frames: list[ExaminedFrame] = []
    decisions: list[Decision] = []
    options = SlideOptions(batch_size=8, **{"budget": Budget(3600), **changes})
    observer = Observer(frames.append, lambda progress: decisions.append(progress.verdict.decision))
    outcome = examine_slide(model, "s", ScriptedSource(drawn(address)), options, observer)
    return outcome, frames, decisions


@pytest.fixture(scope="module")
def in_full(model: Model) -> tuple[SlideOutcome, list[ExaminedFrame], list[Decision]]:
    return examine(model, FLAGGED)


def test_a_decided_flag_leaves_cells_out_and_every_cell_is_accounted_for(
    model: Model, in_full: tuple[SlideOutcome, list[ExaminedFrame], list[Decision]]
) -> None:
    early, frames, decisions = examine(model, FLAGGED, stop_error=0.001)
    verdict, tally = early.verdict, early.verdict.tally
    assert verdict.decision is in_full[0].verdict.decision is Decision.FLAG
    assert 0 < tally.not_needed < tally.seen
    assert (tally.not_examined, tally.failed) == (0, 0)
    assert tally.seen == in_full[0].verdict.tally.seen == in_full[0].verdict.tally.scored
    statuses = [status for frame in frames for status in frame.status]
    assert statuses.count(CellStatus.NOT_NEEDED) == tally.not_needed
    assert statuses.count(CellStatus.SCORED) == tally.scored
    codes = [reason.code for reason in verdict.reasons]
    assert {"flag", "not_needed", "stopped_early"} <= set(codes)
    # Once raised it stays, and what was looked at got the answers it gets in full.
    assert set(decisions[decisions.index(Decision.FLAG) :]) == {Decision.FLAG}
    for one, other in zip(frames, in_full[1], strict=True):
        there = np.isfinite(one.suspicion)
        np.testing.assert_allclose(one.suspicion[there], other.suspicion[there], atol=1e-6)


def test_further_frames_of_a_flagged_slide_are_sampled(model: Model) -> None:
    _, frames, _ = examine(model, FLAGGED, stop_error=0.001)
    for one in frames[1:]:
        first = min(FIRST, len(one.ids) // 4)
        sample = first + sample_of(first, len(one.ids) - first)
        assert sample <= one.status.count(CellStatus.SCORED) < sample + 8


@pytest.mark.slow
def test_a_slide_without_a_flag_is_examined_in_full(model: Model) -> None:
    early, _, _ = examine(model, HEALTHY, stop_error=0.001)
    whole, _, _ = examine(model, HEALTHY)
    assert replace(early.verdict, timings={}) == replace(whole.verdict, timings={})
    assert early.verdict.tally.scored == early.verdict.tally.seen > 0


@given(data=st.data())
@settings(deadline=None, max_examples=200)
def test_with_all_cells_looked_at_the_flag_is_the_rule_s_own(
    model: Model, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, 120))
    roles = data.draw(st.lists(st.sampled_from(range(4)), min_size=count, max_size=count))
    answers = np.array([[kind in (0, 1), kind == 2, kind == 1, kind in (0, 1)] for kind in roles]).T
    *positive, suspicious = answers.sum(axis=1).tolist()
    tally = Tally(count, count)
    manifest = model.bundle.manifest
    state = ReducerState(count, tuple(positive), suspicious)
    reduced, _ = model.reducer.reduce(state, model.head, tally, manifest.rule.confidence)
    in_full = decide(manifest.rule, reduced, tally, ())[0]
    stop = EarlyStop(model, 0.001)
    assert stop.is_decided(Replayed(answers, 0, count)) is (in_full is Decision.FLAG)
    part = Replayed(answers, 0, data.draw(st.integers(0, count)))
    if EarlyStop(model, 1e-12).is_decided(part):  # so small that a miss is no chance
        assert in_full is Decision.FLAG


def test_answers_count_as_drawn_up_to_the_first_gap(model: Model) -> None:
    """Which cells are answered first may depend on what they are; their order was drawn before."""
    roles = model.bundle.manifest.roles
    boxes = np.array([[i, i, i + 9, i + 9] for i in range(10)], np.float32)
    shown = frame(field(), 0)
    labels = np.zeros((shown.height, shown.width), np.uint16)
    found = Detections(shown, boxes, labels, np.ones(10, np.float32))
    rest = np.array([9, 3, 5, 7, 2, 8, 4, 6], np.int64)
    prepared = PreparedFrame(found, np.zeros((10, 1, 1, 3), np.uint8), (), Counter())
    work = OpenFrame(prepared, 100, Order(np.arange(2), rest), 0, None)

    def answered(positive: bool, *rows: int) -> InferenceResult:
        ids = np.array(rows, np.int64) + 100
        values = np.full(len(rows), 1.0 if positive else 0.0, np.float32)
        features = np.zeros((len(rows), 1), np.float32)
        names = [role.name for role in roles]
        return InferenceResult(CellScores(ids, dict.fromkeys(names, values), features), ids[:0])

    def all_of(count: int) -> tuple[int, ...]:
        return (count,) * 4

    work.take(answered(True, 0, 9, 5))
    assert work.interim(roles) == InterimCounts(10, 3, all_of(3), 8, 2, all_of(2), 1, all_of(1))
    work.take(answered(False, 1, 3))
    assert work.interim(roles) == InterimCounts(10, 5, all_of(3), 8, 3, all_of(2), 3, all_of(2))
    failed = replace(answered(False), failed=np.array([107], np.int64))
    work.take(failed)
    work.take(answered(False, 2, 8, 4, 6))
    assert work.interim(roles) == InterimCounts(10, 9, all_of(3), 8, 7, all_of(2), 3, all_of(2))
    assert (work.tally.scored, work.tally.failed, work.pending) == (9, 1, 0)


def test_each_frame_spends_less_of_the_error_and_its_questions_share_it(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    spent: set[float] = set()

    def noted(
        before: FinishedCounts, look: InterimCounts, error: float
    ) -> tuple[Interval, ...] | None:
        spent.add(error)
        return share_bounds(before, look, error)

    monkeypatch.setattr("edgeapl.examination.early_stop.share_bounds", noted)
    examine(model, HEALTHY, stop_error=0.01)
    questions = 4  # three roles, and suspicious
    assert spent == {0.01 / 2 / questions, 0.01 / 6 / questions}


class Slow:
    """An engine that takes its time, so that batches are still running when a frame ends."""

    def __init__(self, inner: Engine) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def run(self, inputs: Arrays) -> Any:
        time.sleep(0.02)
        return self._inner.run(inputs)


def test_the_station_can_end_while_cells_that_were_left_out_still_run(model: Model) -> None:
    slow = cast(Engine, Slow(model.engines["cells"]))
    two = replace(model, engines={**model.engines, "cells": slow}, workers=2)
    hurry = threading.Event()
    budget = Budget(3600).with_abort(hurry)
    options = SlideOptions(batch_size=2, budget=budget, stop_error=0.001)
    observer = Observer(lambda examined: hurry.set())
    outcomes: list[SlideOutcome] = []

    def examined() -> None:
        source = ScriptedSource(drawn(FLAGGED))
        outcomes.append(examine_slide(two, "s", source, options, observer))

    thread = threading.Thread(target=examined, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert outcomes[0].verdict.decision is Decision.FLAG
    assert outcomes[0].verdict.tally.not_needed > 0


class Foreign:
    """A domain that no slide is from."""

    def judge_slide(self, cells: int, slide: object) -> tuple[Finding, ...]:
        return (Finding("domain_stain", "unlike", Effect.UNTRUSTED),)

    def distances(self, slide: object) -> dict[str, tuple[float, float]]:
        return {}


@pytest.mark.parametrize(
    "change",
    [
        {"domain": Foreign()},
        {"reducer": Reducer((), ReducerSpec(kind="max", head="h", head_outputs=("apl",)))},
    ],
    ids=["a model that cannot be trusted here", "features pooled over all cells"],
)
def test_what_has_no_sure_flag_is_examined_in_full(model: Model, change: dict[str, Any]) -> None:
    early, _, _ = examine(replace(model, **change), FLAGGED, stop_error=0.001)
    assert early.verdict.decision is not Decision.FLAG
    assert early.verdict.tally.not_needed == 0


def test_a_slide_that_is_taken_up_again_is_decided_anew(model: Model) -> None:
    """So that its answers are those it would have got without the power cut."""
    again, _, _ = examine(model, FLAGGED, stop_error=0.001, flagged=NOT_NOTED)
    once, _, _ = examine(model, FLAGGED, stop_error=0.001)
    assert again.verdict.tally == once.verdict.tally
    healthy, _, _ = examine(model, HEALTHY, stop_error=0.001, flagged=NOT_NOTED)
    assert healthy.verdict.tally.not_needed == 0


def test_without_a_budget_all_cells_are_examined(model: Model) -> None:
    """`score` has none."""
    outcome, _, _ = examine(model, FLAGGED, stop_error=0.001, budget=None)
    assert outcome.verdict.decision is Decision.FLAG
    assert outcome.verdict.tally.not_needed == 0
