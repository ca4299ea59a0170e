"""Add up what is learned about a slide, and judge it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl import slide_findings as findings_of
from edgeapl.errors import EdgeAplError
from edgeapl.examination.coverage import Coverage
from edgeapl.examination.early_stop import EarlyStop
from edgeapl.examination.finished_frame import examined_frame
from edgeapl.examination.flag_latch import FlagLatch, Settled
from edgeapl.examination.open_frame import FrameInWork
from edgeapl.examination.preparation import PreparedFrame, Timings, timed
from edgeapl.inference import InferenceResult, Scheduler
from edgeapl.model import Model
from edgeapl.stages.cell_order import (
    Order,
    Stratum,
    estimated_shares,
    examination_order,
)
from edgeapl.stages.crop import CellImages, Uncut
from edgeapl.stages.domain import FrameDescriptor, cells_of, describe_slide
from edgeapl.stages.findings import Code, Finding
from edgeapl.stages.judge import decide, would_flag
from edgeapl.stages.populations import two_populations
from edgeapl.stages.reasons import limits_of
from edgeapl.stages.reduce import Reduced, ReducerState
from edgeapl.stages.sub_bags import SubBags
from edgeapl.stages.unjudged_cells import split
from edgeapl.types import (
    Decision,
    ExaminedFrame,
    Figures,
    Look,
    RaisedFlag,
    Reason,
    Remark,
    ScaleOrigin,
    Tally,
    UInt8,
    Verdict,
)

Float64 = NDArray[np.float64]

MOST_PASSED_OVER = 0.2
"""Share of chosen frames that may be of no use: of a scan, a few are out of focus or hold dirt."""

_EXAMINING = Reason("examining", "the newest frame is still being examined")


class SlideExamination:
    """Adds up what is learned about one slide.

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
        there are more than `MOST_PASSED_OVER` of them.
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
    ) -> None:
        self._sampled = sampled
        self._model = model
        self._slide = slide
        self._live = live
        self._known = tuple(known)
        self._scheduler = scheduler
        self._first_cell = first_cell
        self._state = model.reducer.empty()
        self._tally = Tally()
        self._unseen = model.reducer.empty()
        self._hidden: set[int] = set()
        least = model.bundle.manifest.rule.min_examined_share
        self._coverage = Coverage(least, live=live or sampled)
        self._next_id = 0
        self._used: list[tuple[str, str]] = []
        self._descriptors: list[FrameDescriptor] = []
        self._described: tuple[int, dict[str, Float64]] = (0, {})
        self._rejected: list[tuple[str, tuple[Reason, ...]]] = []
        self._scales: Counter[tuple[ScaleOrigin, float]] = Counter()
        self._shapes: Counter[tuple[int, int]] = Counter()
        self._remarks: Counter[Remark] = Counter()
        self._errors: list[EdgeAplError] = []
        self._passed_over = False  # a frame, which moves the numbers of the cells behind it
        self._timings: Timings = Counter()
        self._limits = model.clearing.narrowed(limits_of(model.bundle.manifest.rule))
        self._latch = FlagLatch(flagged, model.bundle.digest, self._limits)
        self._strata: list[Stratum] = []
        self._strata_of_all: list[Stratum] = []
        self._in_order = in_order
        self._stop = None
        if stop_error is not None and in_order and model.reducer.bounded:
            self._stop = EarlyStop(model, stop_error)
        self._left = Tally()
        # Only bundles that pool features can have a few cells thinned out by many.
        self._parts = None
        if not model.reducer.bounded:
            self._parts = SubBags(model.reducer, model.bundle.manifest.rule)

    @property
    def frames(self) -> int:
        """Frames finished so far, rejected ones included."""
        return len(self._used) + len(self._rejected)

    @property
    def errors(self) -> tuple[EdgeAplError, ...]:
        """Everything that went wrong so far."""
        return tuple(self._errors)

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
        return self._timings

    def note_error(self, error: EdgeAplError) -> None:
        """Record an input that could not be used; it will keep the slide from being cleared."""
        self._errors.append(error)
        self._passed_over = True

    def enter(self, prepared: PreparedFrame, start_ns: int, deadline_ns: int | None) -> FrameInWork:
        """Give the frame's cells their numbers, and put them in front of the networks."""
        rows = np.arange(len(prepared.detections), dtype=np.int64)
        order = Order(rows[:0], rows)
        if self._in_order:
            order = examination_order(prepared.detections)
        work = FrameInWork(prepared, self._next_id, order, start_ns, deadline_ns)
        self._next_id += work.count
        self._hidden |= work.hidden
        self._scheduler.enter(self._first_cell + work.ids[order.rows], _ordered(prepared, order))
        return work

    def take(self, result: InferenceResult, waiting: Iterable[FrameInWork]) -> None:
        """Take what the scheduler returned, as far as it is about this slide's cells.

        waiting : the slide's frames in work.
        """
        result = result.part(self._first_cell, self._next_id)
        self._errors.extend(result.errors)
        scores, unseen = split(result.scores, self._hidden)
        result = replace(result, scores=scores)
        with timed(self._timings, "reduce"):
            self._state = self._model.reducer.add(self._state, scores)
            self._unseen = self._model.reducer.add(self._unseen, unseen)
            if self._parts is not None:
                self._parts.add(scores, self._model.head)
        # Counted here, not when the frame leaves: a batch may reach into the next frame.
        scored, lost, failed = len(scores), len(unseen), len(result.failed)
        self._tally += Tally(scored + lost + failed, scored, not_examined=lost, failed=failed)
        works = list(waiting)
        for work in works:
            work.take(result, unseen)
        if works and scored:
            self._stop_early(works[0])

    def give_up(self, work: FrameInWork) -> None:
        """Take the frame's cells that have no answer out; they are counted as not examined."""
        self._scheduler.give_up(self._first_cell + work.ids)
        given_up = work.give_up()
        self._tally += Tally(given_up, not_examined=given_up)

    def _stop_early(self, oldest: FrameInWork) -> None:
        """Leave out what has no answer of the oldest frame once the flag is decided without it.

        On a slide that is flagged, a sample of each further frame is enough, as long as it gives
        the same answer; else all of it is looked at.
        """
        if self._stop is None or oldest.whole or oldest.done:
            return
        enough = self._stop.is_sampled if self._latch.raised_here else self._stop.is_decided
        if not enough(oldest):
            return
        flagging = self._flagging(oldest)
        if flagging is None:
            oldest.whole = self._latch.raised_here
            return
        self._latch.raise_flag(flagging)
        self._scheduler.give_up(self._first_cell + oldest.ids)
        left_out = oldest.leave_out()
        self._tally += Tally(left_out, not_needed=left_out)

    def _flagging(self, work: FrameInWork) -> Figures | None:
        """Judge the frames up to this one as if its cells without an answer were left out.

        Gives the figures when they flag the slide.
        """
        strata = [*self._strata, *self._counting(work)]
        positive = zip(*(stratum.positive for stratum in strata), strict=True)
        state = ReducerState(
            cells=sum(stratum.scored for stratum in strata),
            positive=tuple(map(sum, positive)),
            suspicious=sum(stratum.suspicious for stratum in strata),
        )
        descriptors = list(self._descriptors)
        if self._model.domain is not None:
            with timed(self._timings, "domain"):
                descriptors.append(work.described())
        reduced, decision, _ = self._judged(state, self._left + work.tally, strata, descriptors)
        return _figures(reduced) if decision is Decision.FLAG else None

    def leave(self, work: FrameInWork) -> ExaminedFrame:
        """Count a finished frame and give it with all its answers."""
        frame = work.prepared.frame
        self._timings.update(work.prepared.timings)
        if work.prepared.rejected:
            # Its name alone: the images of all that the gate rejects may fill the memory.
            name = str(frame.index) if self._live else Path(frame.source).name
            self._rejected.append((name, work.prepared.rejected))
        else:
            self._used.append((frame.source, frame.digest))
            self._coverage.add(work.prepared)
        self._scales[frame.scale, frame.um_per_px] += 1
        self._shapes[frame.width, frame.height] += 1
        self._remarks.update(frame.remarks)
        self._strata.extend(self._counting(work))
        self._strata_of_all.extend(self._counting(work, unseen=True))
        self._left += work.tally
        if self._stop is not None:
            self._stop.finish(work)
        scored = sum(len(scores) for scores in (*work.scores, *work.unseen))
        if self._parts is not None:
            self._parts.close_frame(work.scores)
        examined = examined_frame(self._model.bundle.manifest, work)
        if self._model.domain is not None and scored:
            with timed(self._timings, "domain"):
                self._descriptors.append(work.described())
        return examined

    def _counting(self, work: FrameInWork, *, unseen: bool = False) -> list[Stratum]:
        """Give the strata of a frame; none when nobody looked at any of it."""
        strata = work.strata(self._model.bundle.manifest.roles, unseen=unseen)
        looked_at = work.scores or (unseen and work.unseen)
        return [s for s in strata if s.scored + s.not_examined] if looked_at else []

    def verdict(self, waiting: Iterable[FrameInWork] = ()) -> Verdict:
        """Judge what is known so far. In front of a person a flag once raised stays.

        waiting : frames in work; their cells without an answer count as not examined, so that a
            flag in the middle of a frame stands on the cells that were.
        """
        works = list(waiting)
        unfinished = [work for work in works if work.waiting]
        missing = sum(work.waiting for work in unfinished)
        tally = self._tally + Tally(missing, not_examined=missing)
        strata = [*self._strata, *(s for work in unfinished for s in self._counting(work))]
        reduced, decision, reasons = self._judged(
            self._state, tally, strata, self._descriptors, works
        )
        if decision is not Decision.FLAG and self._unseen.cells:
            of_all = self._judged_with_unseen(tally, unfinished)
            if of_all[1] is Decision.FLAG:
                reduced, decision, reasons = of_all
        figures = _figures(reduced)
        settled = Settled(decision, reasons, figures, limits=self._limits)
        if self._live or self._in_order:
            # Here somebody has seen the flag; a folder is judged once, as a whole.
            sure = self._latch.is_raised or self._is_sure(reduced)
            if missing and decision is Decision.FLAG and not sure:
                decision, reasons = Decision.REVIEW, self._unsure(reduced, reasons)
            settled = self._latch.settle(
                decision, reasons, figures, same_cells=not self._passed_over
            )
        return Verdict(
            slide=self._slide,
            decision=settled.decision,
            probability=settled.figures.probability,
            interval=settled.figures.interval,
            tally=tally,
            reasons=settled.reasons,
            counts=settled.figures.counts,
            evidence=settled.figures.evidence,
            frames=tuple(self._used),
            frame_shares=self._coverage.frame_shares,
            examined_share=self._coverage.share,
            hidden_cells=self._unseen.cells,
            timings=dict(self._timings),
            bundle_digest=self._model.bundle.digest,
            engine_digest=self._model.engine_digest,
            runtime=self._model.runtime,
            limits=settled.limits,
            flagged_since=settled.flagged_since,
            flagged_by=settled.flagged_by,
            current=settled.current,
            signer=self._model.bundle.signer,
            certificate=self._model.clearing.certificate,
            look=self._look(),
        )

    def _unsure(self, reduced: Reduced, reasons: Sequence[Reason]) -> tuple[Reason, ...]:
        """Give the reasons of a REVIEW for a flag that the waiting cells could take away."""
        rule = self._model.bundle.manifest.rule
        others = [reason for reason in reasons if reason.code != Code.FLAG]
        return _EXAMINING, *would_flag(rule, reduced, _EXAMINING.text), *others

    def _look(self) -> Look | None:
        """Say what the slide looks like, as far as that is a number."""
        if self._model.domain is None or not self._descriptors:
            return None
        slide = self._slide_in_numbers(self._descriptors)
        groups = {name: values for name, values in slide.items() if name != "features"}
        distances = self._model.domain.distances(slide)
        return Look(
            {n: tuple(v.tolist()) for n, v in groups.items() if np.isfinite(v).all()},
            {n: pair for n, pair in distances.items() if np.isfinite(pair).all()},
        )

    def _slide_in_numbers(self, descriptors: Sequence[FrameDescriptor]) -> dict[str, Float64]:
        """Describe the slide; once, until there is another frame."""
        if descriptors is not self._descriptors:
            return describe_slide(descriptors) if descriptors else {}
        if self._described[0] != len(descriptors):
            self._described = (len(descriptors), describe_slide(descriptors))
        return self._described[1]

    def _judged_with_unseen(
        self, tally: Tally, unfinished: Sequence[FrameInWork]
    ) -> tuple[Reduced, Decision, tuple[Reason, ...]]:
        """Judge with all answers, as if everything could be seen: no flag is lost to a blur."""
        unseen = self._unseen.cells
        counted = replace(
            tally, scored=tally.scored + unseen, not_examined=tally.not_examined - unseen
        )
        works = [s for work in unfinished for s in self._counting(work, unseen=True)]
        state = self._model.reducer.merge(self._state, self._unseen)
        reduced, decision, reasons = self._judged(
            state, counted, [*self._strata_of_all, *works], self._descriptors
        )
        text = (
            f"{unseen} of these cells lie where the image cannot be judged and are counted as not "
            "examined; without them there would be no flag"
        )
        flag, *others = reasons
        return reduced, decision, (flag, Reason(Code.HIDDEN_FLAG, text), *others)

    def _judged(
        self,
        state: ReducerState,
        tally: Tally,
        strata: Sequence[Stratum],
        descriptors: Sequence[FrameDescriptor],
        works: Sequence[FrameInWork] = (),
    ) -> tuple[Reduced, Decision, tuple[Reason, ...]]:
        """Reduce and judge; shares are estimated from strata when cells were not examined.

        works : frames that have not left.
        """
        manifest = self._model.bundle.manifest
        clearing, domain = self._model.clearing, self._model.domain
        slide = self._slide_in_numbers(descriptors) if domain else {}
        findings = (
            *findings_of.of_model(manifest),
            *findings_of.of_engines(proven_elsewhere=self._model.proven_elsewhere),
            *self._known,
            *findings_of.of_rejected(self._rejected, live=self._passes_over),
            *findings_of.of_errors(self._errors),
            *self._coverage.findings(),
            *findings_of.of_scale(self._scales),
            *findings_of.of_remarks(self._remarks),
            *(findings_of.of_shapes(self._shapes) if self._live else ()),
            *(domain.judge_slide(cells_of(descriptors), slide) if domain else ()),
            *clearing.of_look(cells_of(descriptors), slide),
            *findings_of.of_stopping(tally, self._stop.error if self._stop else None),
            *(two_populations(descriptors) if self._parts is not None else ()),
        )
        estimated = estimated_shares(strata) if tally.not_examined or tally.not_needed else None
        reduced, trouble = self._model.reducer.reduce(
            state, self._model.head, tally, manifest.rule.confidence, estimated
        )
        decision, reasons = decide(manifest.rule, reduced, tally, (*findings, *trouble))
        if decision is Decision.CLEAR and self._parts is not None:
            # What would be cleared as a whole must hold in its parts.
            parts = self._parts.judge(self._model.head, [work.scores for work in works])
            findings = (*findings, *parts)
            decision, reasons = decide(manifest.rule, reduced, tally, findings)
        if decision is Decision.CLEAR:
            # Last of all, so that what else keeps the slide from being clear is said instead.
            proof = clearing.judge(reduced)
            decision, reasons = decide(manifest.rule, reduced, tally, (*findings, *proof))
        return reduced, decision, reasons

    @property
    def _passes_over(self) -> bool:
        """Whether frames that the gate rejects are nothing to be asked about."""
        few = len(self._rejected) <= MOST_PASSED_OVER * self.frames
        return self._live or (self._sampled and few)

    def _is_sure(self, reduced: Reduced) -> bool:
        """Whether no answer of the waiting cells could take the flag away.

        A flag that was shown is never taken back, so in the middle of a frame, where every batch
        is another look, it must not be raised by chance.
        """
        rule = self._model.bundle.manifest.rule
        return reduced.interval is not None and reduced.interval.low >= rule.flag_at


def _figures(reduced: Reduced) -> Figures:
    return Figures(reduced.probability, reduced.interval, reduced.counts, reduced.evidence)


def _ordered(prepared: PreparedFrame, order: Order) -> CellImages | Sequence[UInt8]:
    """Give the cells' images in their order, without a copy."""
    crops = prepared.crops
    if isinstance(crops, Uncut):
        return crops[order.rows]
    return [crops[row] for row in order.rows.tolist()]
