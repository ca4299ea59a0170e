"""One slide under examination: from prepared frames to a verdict, without threads."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from edgeapl import findings as findings_of
from edgeapl.errors import EdgeAplError, EngineError
from edgeapl.model import Model
from edgeapl.stages.classify import classify
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.domain import FrameDescriptor, describe_frame
from edgeapl.stages.gate import FieldMemory, examine, examine_crop
from edgeapl.stages.judge import decide, latch
from edgeapl.stages.reduce import suspicion
from edgeapl.stages.whole_crop import whole_crop
from edgeapl.types import (
    CellScores,
    CellStatus,
    Decision,
    Detections,
    ExaminedFrame,
    Float32,
    Frame,
    Reason,
    ScaleOrigin,
    Tally,
    UInt8,
    Verdict,
)

Timings = Counter[str]


@contextmanager
def timed(timings: Timings, stage: str) -> Iterator[None]:
    """Add the seconds spent inside to the stage."""
    start = time.perf_counter()
    try:
        yield
    finally:
        timings[stage] += time.perf_counter() - start  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, eq=False)
class PreparedFrame:
    """A frame whose cells are found and cut, waiting for the networks.

    crops : uint8 (N, size, size, 3) RGB, one per detection.
    rejected : why the gate did not let it pass; then it has no detections.
    """

    detections: Detections
    crops: UInt8
    rejected: tuple[Reason, ...]
    timings: Timings

    @property
    def frame(self) -> Frame:
        """The frame itself."""
        return self.detections.frame


def prepare_frame(
    model: Model, frame: Frame, memory: FieldMemory, *, crops: bool
) -> tuple[PreparedFrame, FieldMemory]:
    """Gate, segment and crop one frame.

    Parameters
    ----------
    memory : the fields seen so far on this slide.
    crops : the frame is one cell, so it is not searched for others.
    """
    manifest = model.bundle.manifest
    timings: Timings = Counter()
    with timed(timings, "gate"):
        if crops:
            rejected, memory = examine_crop(frame, memory)
        else:
            rejected, memory = examine(frame, manifest.gate, memory)
    if rejected:
        empty = np.empty((0, manifest.crop.size_px, manifest.crop.size_px, 3), dtype=np.uint8)
        return PreparedFrame(no_detections(frame), empty, rejected, timings), memory
    with timed(timings, "segment"):
        segment = model.segmenter.segment
        detections = whole_crop(frame, model.segmenter) if crops else segment(frame)
    with timed(timings, "crop"):
        cut = cut_cells(frame.pixels, detections.centres, frame.um_per_px, manifest.crop)
    return PreparedFrame(detections, cut, (), timings), memory


def no_detections(frame: Frame) -> Detections:
    """Zero cells on a frame."""
    return Detections(
        frame=frame,
        boxes=np.empty((0, 4), dtype=np.float32),
        labels=np.zeros((frame.height, frame.width), dtype=np.uint16),
        scores=np.empty(0, dtype=np.float32),
    )


@dataclass(slots=True, eq=False)
class FrameInWork:
    """A prepared frame and the answers that have come in for its cells."""

    prepared: PreparedFrame
    first_id: int
    taken: int = 0
    answered: int = 0
    failed: set[int] = field(default_factory=set)
    scores: list[CellScores] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Cells of the frame."""
        return len(self.prepared.detections)

    @property
    def done(self) -> bool:
        """Whether every cell has an answer, a failure being one."""
        return self.answered == self.count


class SlideExamination:
    """Adds up what is learned about one slide.

    Parameters
    ----------
    model : the bundle, ready to run.
    slide : identifier of the slide.
    live : frames come from a camera: a rejected frame is normal while the stage moves, and a
        field seen twice is a technician at rest. In a folder both are findings.
    """

    def __init__(self, model: Model, slide: str, *, live: bool) -> None:
        self._model = model
        self._slide = slide
        self._live = live
        self._state = model.reducer.empty()
        self._tally = Tally()
        self._next_id = 0
        self._used: list[tuple[str, str]] = []
        self._descriptors: list[FrameDescriptor] = []
        self._rejected: list[tuple[Frame, tuple[Reason, ...]]] = []
        self._scales: Counter[tuple[ScaleOrigin, float]] = Counter()
        self._errors: list[EdgeAplError] = []
        self._timings: Timings = Counter()
        self._flagged: Decision | None = None

    @property
    def frames(self) -> int:
        """Frames finished so far, rejected ones included."""
        return len(self._used) + len(self._rejected)

    @property
    def errors(self) -> tuple[EdgeAplError, ...]:
        """Everything that went wrong so far."""
        return tuple(self._errors)

    def note_error(self, error: EdgeAplError) -> None:
        """Record an input that could not be used; it will keep the slide from being cleared."""
        self._errors.append(error)

    def enter(self, prepared: PreparedFrame) -> FrameInWork:
        """Give the frame's cells their numbers."""
        work = FrameInWork(prepared, self._next_id)
        self._next_id += work.count
        return work

    def classify_waiting(
        self, waiting: deque[FrameInWork], batch_size: int, *, flush: bool
    ) -> None:
        """Run the networks on full batches, across frames; with `flush` also on what is left."""
        while True:
            open_cells = sum(work.count - work.taken for work in waiting)
            if open_cells == 0 or (open_cells < batch_size and not flush):
                return
            self._classify_batch(_take(waiting, batch_size))

    def _classify_batch(self, slices: list[tuple[FrameInWork, int, int]]) -> None:
        crops = np.concatenate([work.prepared.crops[low:high] for work, low, high in slices])
        ids = np.concatenate(
            [np.arange(work.first_id + low, work.first_id + high) for work, low, high in slices]
        ).astype(np.int64)
        try:
            with timed(self._timings, "infer"):
                result = classify(self._model.bundle.manifest, self._model.engines, ids, crops)
        except EngineError as error:
            self._errors.append(error)
            self._tally += Tally(len(ids), failed=len(ids))
            for work, low, high in slices:
                work.failed.update(range(work.first_id + low, work.first_id + high))
                work.answered += high - low
            return
        with timed(self._timings, "reduce"):
            self._state = self._model.reducer.add(self._state, result.scores)
        # Counted here, not when the frame leaves: a batch may reach into the next frame.
        self._tally += Tally(len(ids), scored=len(result.scores), failed=len(result.failed))
        failed = set(result.failed.tolist())
        for work, low, high in slices:
            first, last = work.first_id + low, work.first_id + high
            rows = (result.scores.ids >= first) & (result.scores.ids < last)
            work.scores.append(_rows(result.scores, rows))
            work.failed.update(failed.intersection(range(first, last)))
            work.answered += high - low

    def leave(self, work: FrameInWork) -> ExaminedFrame:
        """Count a finished frame and give it with all its answers."""
        frame = work.prepared.frame
        self._timings.update(work.prepared.timings)
        if work.prepared.rejected:
            self._rejected.append((frame, work.prepared.rejected))
        else:
            self._used.append((frame.source, frame.digest))
        self._scales[frame.scale, frame.um_per_px] += 1
        scored = sum(len(scores) for scores in work.scores)
        examined = self._examined(work)
        if self._model.domain is not None and scored:
            with timed(self._timings, "domain"):
                features = np.concatenate([scores.features for scores in work.scores])
                self._descriptors.append(describe_frame(frame, work.prepared.detections, features))
        return examined

    def _examined(self, work: FrameInWork) -> ExaminedFrame:
        manifest = self._model.bundle.manifest
        roles = {role.name: _unknown(work.count) for role in manifest.roles}
        doubt = _unknown(work.count)
        status = [CellStatus.FAILED] * work.count
        for scores in work.scores:
            rows = scores.ids - work.first_id
            for name, values in scores.roles.items():
                roles[name][rows] = values
            doubt[rows] = suspicion(manifest.roles, scores)
            for row in rows.tolist():
                status[row] = CellStatus.SCORED
        return ExaminedFrame(
            frame=work.prepared.frame,
            detections=work.prepared.detections,
            ids=np.arange(work.first_id, work.first_id + work.count, dtype=np.int64),
            status=tuple(status),
            roles=roles,
            suspicion=doubt,
            rejected=work.prepared.rejected,
        )

    def verdict(self) -> Verdict:
        """Judge what has been finished so far. At a camera a flag once raised stays."""
        manifest = self._model.bundle.manifest
        findings = (
            *findings_of.of_model(manifest),
            *findings_of.of_rejected(self._rejected, live=self._live),
            *findings_of.of_errors(self._errors),
            *findings_of.of_scale(self._scales),
            *(self._model.domain.judge(self._descriptors) if self._model.domain else ()),
        )
        reduced, trouble = self._model.reducer.reduce(
            self._state, self._model.head, self._tally, manifest.rule.confidence
        )
        decision, reasons = decide(manifest.rule, reduced, self._tally, (*findings, *trouble))
        if self._live:
            # At a camera a flag was seen by somebody; a folder is judged once, as a whole.
            decision, reasons = latch(self._flagged, decision, reasons)
            self._flagged = decision
        return Verdict(
            slide=self._slide,
            decision=decision,
            probability=reduced.probability,
            interval=reduced.interval,
            tally=self._tally,
            reasons=reasons,
            counts=reduced.counts,
            evidence=reduced.evidence,
            frames=tuple(self._used),
            timings=dict(self._timings),
            bundle_digest=self._model.bundle.digest,
            engine_digest=self._model.engine_digest,
            runtime=self._model.runtime,
        )


def _take(waiting: deque[FrameInWork], batch_size: int) -> list[tuple[FrameInWork, int, int]]:
    """Take the next cells in order: (frame, first row, row after the last)."""
    slices = []
    room = batch_size
    for work in waiting:
        take = min(room, work.count - work.taken)
        if take:
            slices.append((work, work.taken, work.taken + take))
            work.taken += take
            room -= take
        if not room:
            break
    return slices


def _rows(scores: CellScores, rows: np.ndarray) -> CellScores:
    return CellScores(
        ids=scores.ids[rows],
        roles={name: values[rows] for name, values in scores.roles.items()},
        features=scores.features[rows],
    )


def _unknown(count: int) -> Float32:
    return np.full(count, np.nan, dtype=np.float32)
