"""Runs slides as a scenario says, and records the times of every frame."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from edgeapl.bench.candidate import Candidate
from edgeapl.bench.sources import Now, PacedSource
from edgeapl.bench.time_limit import TimeLimit
from edgeapl.bench.workload import BenchSlide
from edgeapl.journal import Journal
from edgeapl.pipeline import Observer, Progress, SlideOptions, examine_slide
from edgeapl.types import ExaminedFrame, Verdict

STAGES = (
    "grab", "decode", "scale", "gate", "segment", "crop", "infer", "reduce", "domain", "commit",
    "hold",
)  # fmt: skip
"""Stages in their order; the rest of a frame's time, mainly waiting, is `REST`.

``infer`` is the time that the collecting thread spent in networks or waiting for them: with several
workers it is less than the networks took together, which is in `Work.seconds`. ``crop`` is the time
that all threads together spent cutting cells, while their networks were waited for.
"""

REST = "rest"

INSIDE = "crop"
"""A part of ``infer``."""

INSIDE_NOTE = f"{INSIDE} is a part of infer: cells are cut by the threads that run their networks"


def rest_of(taken_s: float, stages: Mapping[str, float]) -> float:
    """Return the seconds of a frame that belong to no stage."""
    known = sum(seconds for stage, seconds in stages.items() if stage != INSIDE)
    return max(0.0, taken_s - known)


@dataclass(frozen=True, slots=True)
class FrameTimes:
    """The times of one frame.

    cells : found in it. rejected : by the gate. stages : stage to seconds of work for this frame.
    pixel_bytes, label_bytes : of its pixels, and of its label image.
    """

    cells: int
    rejected: bool
    stages: Mapping[str, float]
    pixel_bytes: int = 0
    label_bytes: int = 0

    @classmethod
    def of(cls, examined: ExaminedFrame, stages: Mapping[str, float]) -> FrameTimes:
        """Make it from a frame's examination."""
        return cls(
            cells=len(examined.detections),
            rejected=bool(examined.rejected),
            stages=stages,
            pixel_bytes=examined.frame.pixels.nbytes,
            label_bytes=examined.detections.labels.nbytes,
        )


@dataclass(frozen=True, slots=True)
class Pass:
    """One slide, run once.

    latencies : seconds of every query, from requesting its first frame to the commit of its last;
        none in the offline scenario.
    seconds : of the whole slide, committed. answer_s : from the first capture until the station
        could show an answer based on a cell; flag_s : to the commit of FLAG. None elsewhere.
    """

    slide: str
    frames: tuple[FrameTimes, ...]
    latencies: tuple[float, ...]
    seconds: float
    verdict: Verdict
    errors: tuple[str, ...]
    flag_s: float | None = None
    answer_s: float | None = None

    @property
    def cells(self) -> int:
        """Number of cells found."""
        return sum(frame.cells for frame in self.frames)


class Runner(Protocol):
    """Runs slides in one scenario."""

    @property
    def candidate(self) -> Candidate:
        """The candidate that runs them."""

    def run(self, slide: BenchSlide, most: int | None, until: Deadline) -> Pass:
        """Run a slide, or its first `most` frames."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """Ends a run when its time is up; `told` hears of every frame."""

    limit: TimeLimit = field(default_factory=TimeLimit)
    told: Callable[[], None] = lambda: None

    def over(self) -> bool:
        """Take a frame that is done; says whether the time is up."""
        self.told()
        return self.limit.over


@dataclass(slots=True)
class _Watch:
    """Derives a frame's times from what the pipeline reports about the slide as a whole."""

    source: PacedSource
    now: Now
    before: dict[str, float] = field(default_factory=dict)
    examined: ExaminedFrame | None = None
    frames: list[FrameTimes] = field(default_factory=list)
    queries: dict[int, list[int]] = field(default_factory=lambda: defaultdict(list))

    def on_frame(self, examined: ExaminedFrame) -> None:
        self.examined = examined

    def finished(self, verdict: Verdict, commit_s: float | None) -> None:
        assert self.examined is not None  # set before its progress is reported
        shot = self.source.shots.pop(self.examined.frame.index)
        stages = {**shot.stages, **grown(self.before, verdict.timings)}
        self.before = dict(verdict.timings)
        if commit_s is not None:
            stages["commit"] = commit_s
        taken_ns = self.now() - shot.issued_ns
        if self.source.live:
            stages[REST] = rest_of(taken_ns / 1e9, stages)
        self.queries[shot.query].append(taken_ns)
        self.frames.append(FrameTimes.of(self.examined, stages))
        self.examined = None  # frees its pixels

    def latencies(self, at_once: int | None) -> tuple[float, ...]:
        """Return the seconds of the complete queries."""
        whole = (taken for taken in self.queries.values() if len(taken) == at_once)
        return tuple(max(taken) / 1e9 for taken in whole)


@dataclass(frozen=True, slots=True)
class PipelineRunner:
    """Implements Runner with the pipeline of `edgeapl score`, and a commit of every answer.

    at_once : frames per query: 1 in single-stream, more in multi-stream; None is offline, in which
        only the slide's verdict is committed, as in `edgeapl score`.
    """

    candidate: Candidate
    journal: Journal
    at_once: int | None
    now: Now = time.monotonic_ns

    def run(self, slide: BenchSlide, most: int | None, until: Deadline) -> Pass:
        """Run a slide, or its first `most` frames."""
        with PacedSource(slide, self.at_once, self.now) as source:
            self.candidate.ledger.on_error = source.release
            watch = _Watch(source, self.now)
            options = SlideOptions(batch_size=self.candidate.model.batch_size, max_frames=most)

            def on_progress(progress: Progress) -> None:
                if progress.finished_ns is None:
                    return
                spent = None
                if self.at_once is not None:
                    start = self.now()
                    self.journal.commit(progress.verdict, provisional=True)
                    spent = (self.now() - start) / 1e9
                watch.finished(progress.verdict, spent)
                if until.over():
                    source.close()
                source.answered()

            start = self.now()
            observer = Observer(watch.on_frame, on_progress)
            outcome = examine_slide(self.candidate.model, slide.name, source, options, observer)
            self.journal.commit(outcome.verdict)
            seconds = (self.now() - start) / 1e9
        return Pass(
            slide.name,
            tuple(watch.frames),
            watch.latencies(self.at_once),
            seconds,
            outcome.verdict,
            tuple(str(error) for error in outcome.errors),
        )


def grown(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """Return the seconds added to every stage."""
    return {stage: max(0.0, seconds - before.get(stage, 0.0)) for stage, seconds in after.items()}
