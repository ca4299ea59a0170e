"""What workers waited for cells is their time without that of networks and of cutting."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from edgeapl.bench.instrumented_engine import Work
from edgeapl.bench.runner import INSIDE, FrameTimes, Pass
from edgeapl.bench.scenarios import Measured, Plan, Scenario
from edgeapl.bench.worker_gaps import worker_gaps
from edgeapl.model import open_model
from edgeapl.types import Verdict
from tests.small_bundle import small_bundle

NOBODY = cast(Verdict, None)


@pytest.mark.parametrize(
    ("workers", "waiting", "ran_s", "waited_s"),
    [(2, 0, 15.0, 3.5), (1, 0, 8.0, 0.5), (2, 1, 27.0, 1.5), (2, 0, 25.0, 0.0)],
)
def test_workers_wait_while_they_neither_run_nor_cut(
    tmp_path: Path, workers: int, waiting: int, ran_s: float, waited_s: float
) -> None:
    small_bundle(tmp_path / "b")
    frames = (FrameTimes(3, False, {INSIDE: 0.75, "segment": 2.0}),) * 2
    measured = Measured(Plan(Scenario.OFFLINE))
    measured.passes = [
        Pass("a", frames[:1], (), 4.0, NOBODY, ()),
        Pass("b", frames[1:], (), 6.0, NOBODY, ()),
    ]
    measured.work = {"cells": Work(seconds=ran_s), "head": Work(seconds=50.0)}
    with open_model(tmp_path / "b") as opened:
        model: Any = replace(opened, workers=workers, waiting=waiting)
        gaps = worker_gaps(model, measured)
        assert worker_gaps(replace(model, chain=cast(Any, object())), measured) is None
    assert gaps is not None
    assert gaps.waited_s == pytest.approx(waited_s)
    assert gaps.per_frame_s == pytest.approx(waited_s / (workers + waiting) / 2)
    assert gaps.share == pytest.approx(waited_s / (workers + waiting) / 10)
