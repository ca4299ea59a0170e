"""The four scenarios, three of them MLPerf's, and their measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from edgeapl.bench.candidate import Candidate
from edgeapl.bench.energy import Meters
from edgeapl.bench.glass_to_flag import StationRunner
from edgeapl.bench.instrumented_engine import Work
from edgeapl.bench.runner import REST, STAGES, Deadline, Pass, PipelineRunner, Runner
from edgeapl.bench.sources import Now
from edgeapl.bench.statistics import Summary, summarise
from edgeapl.bench.time_limit import WARM_UP, FrameCount, TimeLimit
from edgeapl.bench.usage import Memory, MemoryMeter, OtherLoad, cpu_seconds
from edgeapl.bench.workload import Workload
from edgeapl.errors import UsageError
from edgeapl.journal import Journal


class Scenario(str, Enum):
    """How frames arrive."""

    SINGLE_STREAM = "single-stream"  # one frame; the next when it is answered
    MULTI_STREAM = "multi-stream"  # several frames at once; the next when all are answered
    OFFLINE = "offline"  # all at once, as a folder: throughput, no latency
    GLASS_TO_FLAG = "glass-to-flag"  # the station: from a camera's picture to the commit


@dataclass(frozen=True, slots=True)
class Plan:
    """How long to measure.

    frames, duration_s : whichever is reached first. warmup : uncounted frames before.
    streams : frames per query in multi-stream. budget_s : what p99 is compared with.
    stop_error : of the station, see `edgeapl.pipeline.SlideOptions`.
    """

    scenario: Scenario
    frames: int = 320
    duration_s: float = 60.0
    warmup: int = 4
    streams: int = 8
    budget_s: float = 45.0
    stop_error: float | None = None

    @property
    def at_once(self) -> int | None:
        """Frames delivered before one is answered; None for all."""
        counts = {Scenario.SINGLE_STREAM: 1, Scenario.MULTI_STREAM: self.streams}
        return counts.get(self.scenario)


@dataclass(slots=True)
class Measured:
    """The measurements of one candidate.

    frame_s : longest time of a frame after warm-up, seconds; None before.
    first_s : the very first frame, from asking for it to its commit; None where it is not told.
    memory : of all candidates together. cpu_s, joules : used by this one; meter to energy.
    others_cores : kept busy by other programs meanwhile; None if unknown.
    work : network to its work.
    """

    plan: Plan
    passes: list[Pass] = field(default_factory=list)
    first_s: float | None = None
    frame_s: float | None = None
    memory: Memory | None = None
    cpu_s: float = 0.0
    others_cores: float | None = None
    joules: dict[str, float] = field(default_factory=dict)
    work: dict[str, Work] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Time spent on all slides."""
        return sum(one.seconds for one in self.passes)

    @property
    def frames(self) -> int:
        """Number of frames answered."""
        return sum(len(one.frames) for one in self.passes)

    @property
    def cells(self) -> int:
        """Number of cells found."""
        return sum(one.cells for one in self.passes)

    @property
    def latency(self) -> Summary | None:
        """Statistics of all queries."""
        return summarise([taken for one in self.passes for taken in one.latencies])

    @property
    def stages(self) -> dict[str, Summary]:
        """Statistics of every stage, in order."""
        samples: dict[str, list[float]] = {}
        for frame in (frame for one in self.passes for frame in one.frames):
            for stage, seconds in frame.stages.items():
                samples.setdefault(stage, []).append(seconds)
        known = [stage for stage in STAGES if stage in samples]
        others = sorted(samples.keys() - {*known, REST})
        order = [*known, *others, *([REST] if REST in samples else [])]
        summaries = {stage: summarise(samples[stage]) for stage in order}
        return {stage: summary for stage, summary in summaries.items() if summary is not None}

    @property
    def meets_budget(self) -> bool | None:
        """Whether p99 is within the budget; None without latencies."""
        latency = self.latency
        return None if latency is None else latency.percentile(99) <= self.plan.budget_s

    @property
    def invalid(self) -> tuple[str, ...]:
        """Why the figures are invalid; empty if they are valid."""
        reasons: list[str] = []
        latency = self.latency
        if latency is not None:
            reasons += latency.too_few
        elif self.plan.scenario is not Scenario.OFFLINE:
            reasons.append("no query was answered as a whole")
        errors = [error for one in self.passes for error in one.errors]
        if errors:
            reasons.append(f"{len(errors)} errors, the first: {errors[0]}")
        rejected = sum(frame.rejected for one in self.passes for frame in one.frames)
        if rejected:
            reasons.append(f"{rejected} of {self.frames} frames were rejected by the gate")
        if not self.frames:
            reasons.append("no frame was answered")
        return tuple(reasons)


@contextmanager
def open_runner(
    candidate: Candidate, plan: Plan, folder: Path, now: Now = time.monotonic_ns
) -> Iterator[Runner]:
    """Yield the runner of the plan's scenario; `folder` receives a journal, and results."""
    with Journal.open(folder / "journal.sqlite3") as journal:
        if plan.scenario is Scenario.GLASS_TO_FLAG:
            out = folder / "results"
            yield StationRunner(candidate, journal, out, plan.budget_s, plan.stop_error, now)
        else:
            yield PipelineRunner(candidate, journal, plan.at_once, now)


def measure(
    runners: Sequence[Runner],
    workload: Workload,
    plan: Plan,
    meters: Meters | None = None,
    now: Now = time.monotonic_ns,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Measured, ...]:
    """Run the slides repeatedly until there are enough frames or the time is up.

    Several runners take turns, slide by slide, A B B A, so that whatever else the machine does
    meets all of them. They are given as many frames of a slide as fit into the time that is left,
    by what a frame took before, but at least one.

    Parameters
    ----------
    say : told from time to time how far it is.

    Raises UsageError when warming up gives no answer.
    """
    all_measured = tuple(_warmed(runner, workload, plan, now) for runner in runners)
    limit = TimeLimit.of(plan.duration_s * len(runners), now)
    count = FrameCount(say, plan.frames * len(runners), now)
    memory = MemoryMeter()
    others = OtherLoad(now)
    turn = 0
    while not limit.over and min(one.frames for one in all_measured) < plan.frames:
        slide = workload.slides[turn % len(workload.slides)]
        pairs = list(zip(runners, all_measured, strict=True))
        most = plan.frames - min(one.frames for one in all_measured)
        if len(runners) > 1:
            frame_s = sum(one.frame_s or 0.0 for one in all_measured)
            most = max(1, min(most, int(limit.left_s / frame_s))) if frame_s else most
        for runner, measured in pairs if turn % 2 == 0 else reversed(pairs):
            # Of several runners all finish the slide, or their answers could not be compared.
            ends = Deadline(limit if len(runners) == 1 else TimeLimit(), count.add)
            with _charged(measured, meters):
                measured.passes.append(runner.run(slide, most, ends))
        turn += 1
    cores_busy = others.cores(sum(measured.cpu_s for measured in all_measured))
    for measured, runner in zip(all_measured, runners, strict=True):
        measured.others_cores = cores_busy
        measured.memory = memory.peak()
        measured.work = dict(runner.candidate.ledger.work)
    return all_measured


@contextmanager
def _charged(measured: Measured, meters: Meters | None) -> Iterator[None]:
    """Attribute CPU time and energy spent inside to this candidate."""
    found = meters.found if meters else ()
    before = [meter.joules() for meter in found]
    start = cpu_seconds()
    yield
    measured.cpu_s += cpu_seconds() - start
    for meter, joules in zip(found, before, strict=True):
        spent = meter.joules() - joules
        measured.joules[meter.name] = measured.joules.get(meter.name, 0.0) + spent


def _warmed(runner: Runner, workload: Workload, plan: Plan, now: Now) -> Measured:
    measured = Measured(plan)
    left = max(1, plan.warmup)
    turn = 0
    limit = TimeLimit.of(WARM_UP * plan.duration_s, now)
    while left > 0 and not (turn and limit.over):
        slide = workload.slides[turn % len(workload.slides)]
        most = 1 if turn == 0 else left
        done = runner.run(replace(slide), most, Deadline(limit))
        if not done.frames and done.errors:
            raise UsageError("no frame could be examined", slide.name, done.errors[0])
        if turn == 0:
            # Offline gives no latencies; its first slide of one frame counts as one.
            measured.first_s = done.latencies[0] if done.latencies else done.seconds
        measured.frame_s = done.seconds / max(1, len(done.frames))
        left -= max(1, len(done.frames))
        turn += 1
    runner.candidate.ledger.clear()
    return measured
