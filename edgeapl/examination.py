"""One slide under examination: from prepared frames to a verdict, without threads."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from edgeapl import findings as findings_of
from edgeapl.errors import EdgeAplError
from edgeapl.model import Model
from edgeapl.stages.classify import Classified, Classifier
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.domain import FrameDescriptor, describe_frame
from edgeapl.stages.findings import Finding
from edgeapl.stages.gate import FieldMemory, examine, examine_crop
from edgeapl.stages.judge import decide, latch
from edgeapl.stages.reduce import suspicion
from edgeapl.stages.whole_image import whole_crop
from edgeapl.types import (
    CellScores,
    CellStatus,
    Decision,
    Detections,
    ExaminedFrame,
    Float32,
    Frame,
    Int64,
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
        cut = cut_cells(detections, manifest.crop, cell_image=crops)
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

    @property
    def ids(self) -> Int64:
        """int64 (N,), numbers of the frame's cells within the slide."""
        return np.arange(self.first_id, self.first_id + self.count, dtype=np.int64)

    @property
    def held_bytes(self) -> int:
        """What the frame and its crops take while they wait."""
        prepared = self.prepared
        arrays = (prepared.frame.pixels, prepared.detections.labels, prepared.crops)
        return sum(array.nbytes for array in arrays)

    def take(self, result: Classified) -> None:
        """Take the answers that are about this frame's cells."""
        ids, failed = result.scores.ids, result.failed
        last = self.first_id + self.count
        rows = (ids >= self.first_id) & (ids < last)
        lost = failed[(failed >= self.first_id) & (failed < last)].tolist()
        if rows.any():
            self.scores.append(_rows(result.scores, rows))
        self.failed.update(lost)
        self.answered += int(rows.sum()) + len(lost)


class SlideExamination:
    """Adds up what is learned about one slide.

    Parameters
    ----------
    model : the bundle, ready to run.
    slide : identifier of the slide.
    batch_size : cells in one run of a network.
    live : frames come from a camera: a rejected frame is normal while the stage moves, and a
        field seen twice is a technician at rest. In a folder both are findings.
    known : what is known about the slide before it is examined.
    """

    def __init__(
        self,
        model: Model,
        slide: str,
        *,
        batch_size: int,
        live: bool,
        known: Sequence[Finding] = (),
    ) -> None:
        self._model = model
        self._slide = slide
        self._live = live
        self._known = tuple(known)
        self._classifier = Classifier(model.bundle.manifest, model.engines, batch_size)
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
        """Give the frame's cells their numbers, and put them in front of the networks."""
        work = FrameInWork(prepared, self._next_id)
        self._next_id += work.count
        self._classifier.enter(work.ids, prepared.crops)
        return work

    def classify_waiting(self, waiting: Iterable[FrameInWork], *, flush: bool) -> None:
        """Run the networks on full batches, across frames; with `flush` also on what is left."""
        with timed(self._timings, "infer"):
            result = self._classifier.run(flush=flush)
        self._errors.extend(result.errors)
        with timed(self._timings, "reduce"):
            self._state = self._model.reducer.add(self._state, result.scores)
        # Counted here, not when the frame leaves: a batch may reach into the next frame.
        scored, failed = len(result.scores), len(result.failed)
        self._tally += Tally(scored + failed, scored=scored, failed=failed)
        for work in waiting:
            work.take(result)

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
            ids=work.ids,
            status=tuple(status),
            roles=roles,
            suspicion=doubt,
            rejected=work.prepared.rejected,
            features=self._features(work),
        )

    def _features(self, work: FrameInWork) -> Float32:
        """Give the features of the frame's cells, if they are needed to explain the answer."""
        explanation = self._model.bundle.manifest.explanation
        if explanation is None or explanation.kind != "contributions" or not work.scores:
            return np.empty((0, 0), dtype=np.float32)
        width = work.scores[0].features.shape[1]
        features = np.full((work.count, width), np.nan, dtype=np.float32)
        for scores in work.scores:
            features[scores.ids - work.first_id] = scores.features
        return features

    def verdict(self) -> Verdict:
        """Judge what has been finished so far. At a camera a flag once raised stays."""
        manifest = self._model.bundle.manifest
        findings = (
            *findings_of.of_model(manifest),
            *self._known,
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


def _rows(scores: CellScores, rows: np.ndarray) -> CellScores:
    return CellScores(
        ids=scores.ids[rows],
        roles={name: values[rows] for name, values in scores.roles.items()},
        features=scores.features[rows],
    )


def _unknown(count: int) -> Float32:
    return np.full(count, np.nan, dtype=np.float32)
