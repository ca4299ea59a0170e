"""One slide under examination."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from edgeapl.errors import EdgeAplError
from edgeapl.examination.answered_frame import FrameStore
from edgeapl.examination.early_stop import EarlyStop
from edgeapl.examination.evidence import SlideEvidence
from edgeapl.examination.finished_frame import examined_frame
from edgeapl.examination.flag_latch import FlagLatch, Settled
from edgeapl.examination.judgement import Judgement, SlideJudge
from edgeapl.examination.looks import Looks
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.examination.preparation import PreparedFrame
from edgeapl.examination.timings import Timings
from edgeapl.inference import InferenceResult, Scheduler
from edgeapl.inference.student_look import StudentLook
from edgeapl.model import Model
from edgeapl.stages.cell_order import Order, examination_order
from edgeapl.stages.crop import CellImages, UncutCells
from edgeapl.stages.findings import Finding
from edgeapl.stages.reasons import limits_of
from edgeapl.stages.unjudged_cells import split
from edgeapl.types import CellScores, Decision, ExaminedFrame, RaisedFlag, Tally, UInt8, Verdict


class SlideExamination:
    """Sends the cells of one slide to the networks, adds up their answers, and judges the slide.

    Parameters
    ----------
    model : the bundle, ready to run.
    slide : identifier of the slide.
    scheduler : runs the cell networks; may hold cells of the slides before and after this one.
    first_cell : the scheduler's number of this slide's cell 0.
    live : frames come from a camera: a rejected frame is normal while the stage moves, and a
        field seen twice is a technician at rest. In a folder both are findings.
    known : what is known about the slide before it is examined.
    in_order : look at the cells in the order of `edgeapl.stages.cell_order`: time may run out.
    flagged : the flag that was raised before the slide was taken up again; None without one.
    stop_error : with it, cells in order are left out once the flag is decided without them; see
        `edgeapl.stages.sequential`. None to look at all.
    sampled : the frames were chosen among many: one that the gate rejects is passed over, unless
        there are more than `edgeapl.examination.evidence.MOST_PASSED_OVER` of them.
    first_look : with it, the slide is judged frame by frame: only what is finished counts, in the
        order of the frames, so the speed of threads decides nothing. From so many scored cells on
        `is_decided` tests the rule. None to count each answer as it comes.
    store : keeps what is answered; None without.
    student_look : of a cascade's student at all cells, which then come in its order.
    """

    def __init__(
        self,
        model: Model,
        slide: str,
        scheduler: Scheduler,
        *,
        live: bool,
        first_cell: int = 0,
        known: Sequence[Finding] = (),
        in_order: bool = False,
        flagged: RaisedFlag | None = None,
        stop_error: float | None = None,
        sampled: bool = False,
        first_look: int | None = None,
        store: FrameStore | None = None,
        student_look: StudentLook | None = None,
    ) -> None:
        self._looks = None if first_look is None else Looks(first_look)
        self._before: list[EdgeAplError] = []  # errors that belong in front of the next frame
        self._store = store
        self._model = model
        self._slide = slide
        self._scheduler = scheduler
        self._first_cell = first_cell
        self._in_order = in_order
        self._student_look = student_look
        self._latches = live or in_order  # somebody has seen the flag; a folder is judged once
        self._next_id = 0
        self._hidden: set[int] = set()
        self._passed_over = False  # a frame, which moves the numbers of the cells behind it
        self._stop = None
        if stop_error is not None and in_order and model.reducer.bounded:
            self._stop = EarlyStop(model, stop_error)
        self._evidence = SlideEvidence(model, live=live, sampled=sampled)
        error = None if self._stop is None else stop_error
        self._judge = SlideJudge(model, self._evidence, known, error)
        self._limits = model.clearing.narrowed(limits_of(model.bundle.manifest.rule))
        self._latch = FlagLatch(flagged, model.bundle.digest, self._limits)

    @property
    def frames(self) -> int:
        """Frames finished so far, rejected ones included."""
        return self._evidence.frames

    @property
    def errors(self) -> tuple[EdgeAplError, ...]:
        """Everything that went wrong so far."""
        return tuple(self._evidence.errors)

    @property
    def slide(self) -> str:
        """Identifier of the slide."""
        return self._slide

    @property
    def next_cell(self) -> int:
        """The scheduler's number for the first cell of the next slide, when all have entered."""
        return self._first_cell + self._next_id

    @property
    def timings(self) -> Timings:
        """Seconds by stage, to be added to."""
        return self._evidence.timings

    def note_error(self, error: EdgeAplError) -> None:
        """Record an input that could not be used; it will keep the slide from being cleared."""
        self._passed_over = True
        (self._evidence.errors if self._looks is None else self._before).append(error)

    def note_end(self) -> None:
        """Count the errors behind the last frame, before the verdict."""
        self._evidence.errors.extend(self._before)
        self._before.clear()

    def enter(self, prepared: PreparedFrame, start_ns: int, deadline_ns: int | None) -> OpenFrame:
        """Assign numbers to the frame's cells and pass them to the scheduler."""
        rows = np.arange(len(prepared.detections), dtype=np.int64)
        order = Order(rows[:0], rows)
        if self._in_order:
            look = self._student_look
            suspicion = None if look is None else look.suspicion(prepared.crops)
            order = examination_order(prepared.detections, suspicion)
        frame = OpenFrame(prepared, self._next_id, order, start_ns, deadline_ns)
        self._next_id += frame.count
        self._hidden |= frame.hidden
        frame.errors, self._before = self._before, []
        if prepared.answers is None:
            cells = self._first_cell + frame.ids[order.rows]
            self._scheduler.enter(cells, _ordered(prepared, order))
        else:
            scores = prepared.answers.shifted(frame.first_id)
            self._take(InferenceResult(scores, np.empty(0, dtype=np.int64)), [frame])
        return frame

    def take(self, result: InferenceResult, open_frames: Iterable[OpenFrame]) -> None:
        """Add what the scheduler returned, as far as it is about this slide's cells.

        Parameters
        ----------
        open_frames : the slide's frames that are not finished, oldest first.
        """
        frames = list(open_frames)
        result = self._take(result.part(self._first_cell, self._next_id), frames)
        if frames and len(result.scores):
            self._stop_early(frames[0])

    def _take(self, result: InferenceResult, frames: Sequence[OpenFrame]) -> InferenceResult:
        """Add answers about this slide's cells; return the result without those about hidden ones.

        Where the slide is judged frame by frame, they wait in their frames, which alone tell
        whether they will count.
        """
        scores, hidden = split(result.scores, self._hidden)
        result = replace(result, scores=scores)
        if self._looks is None:
            self._evidence.errors.extend(result.errors)
            self._evidence.add_answers(scores, hidden, len(result.failed))
        else:
            for error, cells in zip(result.errors, result.affected, strict=True):
                of = (frame for frame in frames if np.isin(frame.ids, cells).any())
                if (first := next(of, None)) is not None:  # else all of them were dropped
                    first.errors.append(error)
        for frame in frames:
            frame.take(result, hidden)
        return result

    def give_up(self, frame: OpenFrame) -> None:
        """Give up the frame's cells without an answer; they count as not examined."""
        self._scheduler.give_up(self._first_cell + frame.ids)
        given_up = frame.give_up()
        self._evidence.tally += Tally(given_up, not_examined=given_up)

    def leave(self, frame: OpenFrame) -> ExaminedFrame:
        """Count a finished frame and return it with all its answers."""
        if self._stop is not None:
            self._stop.finish(frame)
        frame.settle()
        if self._looks is not None:
            self._count(frame)
        self._evidence.add_frame(frame)
        if self._store is not None and frame.prepared.answers is None:
            kept = frame.answered_frame
            if kept is not None:
                self._store.keep(kept)
        return examined_frame(self._model.bundle.manifest, frame)

    def is_decided(self) -> bool:
        """Whether the rule is tested now, and the finished frames give FLAG or CLEAR."""
        if self._looks is None or not self._looks.is_due(self._evidence.tally.scored):
            return False
        return self.verdict().decision is not Decision.REVIEW

    def drop(self, frames: Sequence[OpenFrame]) -> None:
        """Drop frames that are not finished, as if they had never been read."""
        for frame in frames:
            self._scheduler.give_up(self._first_cell + frame.ids)
        self._before.clear()

    def _count(self, frame: OpenFrame) -> None:
        """Count the answers that waited in a frame."""
        self._evidence.errors.extend(frame.errors)
        scores, hidden = (
            CellScores.joined(parts) if parts else CellScores.none()
            for parts in (frame.scores, frame.hidden_scores)
        )
        self._evidence.add_answers(scores, hidden, len(frame.failed))

    def verdict(self, open_frames: Iterable[OpenFrame] = ()) -> Verdict:
        """Judge what is known so far. In front of a person a flag once raised stays.

        Parameters
        ----------
        open_frames : frames that are not finished; their cells without an answer count as not
            examined, so that a flag in the middle of a frame rests on the cells that were. Where
            the slide is judged frame by frame, they do not count at all.
        """
        evidence, model = self._evidence, self._model
        frames = [] if self._looks is not None else list(open_frames)
        judgement, tally = self._judge.judge(frames)
        settled = self._settled(judgement, is_open=any(frame.pending for frame in frames))
        return Verdict(
            slide=self._slide,
            decision=settled.decision,
            probability=settled.figures.probability,
            interval=settled.figures.interval,
            tally=tally,
            reasons=settled.reasons,
            counts=settled.figures.counts,
            evidence=settled.figures.evidence,
            frames=tuple(evidence.used),
            frame_shares=evidence.coverage.frame_shares,
            examined_share=evidence.coverage.share,
            hidden_cells=evidence.hidden_state.cells,
            timings=dict(evidence.timings),
            bundle_digest=model.bundle.digest,
            engine_digest=model.engine_digest,
            runtime=model.runtime,
            limits=settled.limits,
            flagged_since=settled.flagged_since,
            flagged_by=settled.flagged_by,
            current=settled.current,
            signer=model.bundle.signer,
            certificate=model.clearing.certificate,
            look=evidence.look(),
        )

    def _settled(self, judgement: Judgement, *, is_open: bool) -> Settled:
        """Take a flag that was raised earlier into account."""
        figures = judgement.figures
        if not self._latches:
            return Settled(judgement.decision, judgement.reasons, figures, limits=self._limits)
        certain = self._latch.is_raised or self._judge.is_certain(judgement)
        if is_open and judgement.decision is Decision.FLAG and not certain:
            judgement = self._judge.uncertain(judgement)
        return self._latch.settle(
            judgement.decision, judgement.reasons, figures, same_cells=not self._passed_over
        )

    def _stop_early(self, oldest: OpenFrame) -> None:
        """Leave out the pending cells of the oldest frame once the flag is decided without them.

        On a slide that is flagged, a sample of each further frame is enough, as long as it gives
        the same answer; else all of it is looked at.
        """
        if self._stop is None or oldest.examine_all or oldest.done:
            return
        enough = self._stop.is_sampled if self._latch.raised_here else self._stop.is_decided
        if not enough(oldest):
            return
        judgement = self._judge.judge_up_to(oldest)
        if judgement.decision is not Decision.FLAG:
            oldest.examine_all = self._latch.raised_here
            return
        self._latch.raise_flag(judgement.figures)
        self._scheduler.give_up(self._first_cell + oldest.ids)
        left_out = oldest.leave_out()
        self._evidence.tally += Tally(left_out, not_needed=left_out)


def _ordered(prepared: PreparedFrame, order: Order) -> CellImages | Sequence[UInt8]:
    """Return the cells' images in their order, without a copy."""
    crops = prepared.crops
    if isinstance(crops, UncutCells):
        return crops[order.rows]
    return [crops[row] for row in order.rows.tolist()]
