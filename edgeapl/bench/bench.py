"""Runs `edgeapl bench`, from the request to the document."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeapl.bench.candidate import Setup, open_candidate
from edgeapl.bench.comparison import Comparison, compare
from edgeapl.bench.contention import measure_busy
from edgeapl.bench.document import comparison_document, document
from edgeapl.bench.energy import find_meters
from edgeapl.bench.recorded_settings import note_of_pair
from edgeapl.bench.scenarios import Measured, Plan, Scenario, measure, open_runner
from edgeapl.bench.time_limit import Shares, TimeLimit
from edgeapl.bench.workload import open_workload


@dataclass(frozen=True, slots=True)
class BenchRequest:
    """What to time.

    images : a folder, a ``demo://`` address, or None for the drawn slide.
    setups : one, or two to compare. floor : whether to measure how far from the machine it is.
    busy : programs, each keeping a core busy, beside which the slow-down is measured; 0 for none.
    most_s : seconds for everything; None for the defaults of its parts.
    say : called with a message about the current step.
    """

    plan: Plan
    setups: tuple[Setup, ...]
    images: str | None = None
    floor: bool = False
    busy: int = 0
    most_s: float | None = None
    say: Callable[[str], None] = field(default=lambda text: None)


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What was measured: the document, and the data for pages and tables."""

    document: dict[str, Any]
    measured: tuple[Measured, ...]
    versus: Comparison | None = None

    @property
    def misses_budget(self) -> bool:
        """Whether p99 of anything timed is above the budget."""
        return any(one.meets_budget is False for one in self.measured)


def run_bench(request: BenchRequest) -> BenchResult:
    """Measure what was requested.

    Raises the errors of opening bundles, engines and images, and UsageError if nothing is answered.
    """
    plan = request.plan
    hosted = plan.scenario is Scenario.GLASS_TO_FLAG
    offline = plan.scenario is Scenario.OFFLINE  # as `score`
    with ExitStack() as opened:
        candidates = [
            opened.enter_context(open_candidate(setup, hosted=hosted, pin_cores=offline))
            for setup in request.setups
        ]
        first = candidates[0]
        for candidate in candidates:
            for refused in candidate.refused:
                request.say(f"not used: {refused}")
            name = candidate.model.bundle.manifest.name
            request.say(f"using {name}: {candidate.said}: {candidate.settings_text}")
        assumed = first.model.bundle.manifest.um_per_px
        workload = opened.enter_context(open_workload(request.images, assumed))
        request.say(f"{plan.scenario.value}: {workload.frames} frames of {workload.name}")
        meters = find_meters()
        opened.callback(meters.close)
        runners = []
        for candidate in candidates:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="edgeapl-")))
            runners.append(opened.enter_context(open_runner(candidate, plan, folder)))
        shares = Shares.of(
            plan.duration_s,
            len(candidates),
            floor=request.floor,
            busy=bool(request.busy),
            most_s=request.most_s,
        )
        request.say(shares.text)
        plan = replace(plan, duration_s=shares.frames / len(candidates))
        measured = measure(runners, workload, plan, meters, say=request.say)
        result = document(workload, first, measured[0], meters)
        versus = None
        if len(candidates) > 1:
            versus = compare(measured[0], measured[1])
            result["versus"] = comparison_document(versus, candidates[1], measured[1])
            result["versus"]["notes"] = [*note_of_pair(first, candidates[1], versus)]
        if request.floor:
            from edgeapl.bench.floor import measure_floor  # noqa: PLC0415 - needs onnx if it can

            limit = TimeLimit.of(shares.floor)
            result["floor"] = measure_floor(first, workload, limit, request.say)
        if request.busy:
            request.say(f"busy programs: {request.busy}, in turns with none")
            limit = TimeLimit.of(shares.busy)
            result["busy"] = measure_busy(first, workload, request.busy, limit, request.say)
    return BenchResult(result, measured, versus)
