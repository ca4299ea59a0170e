"""From the evidence to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgeapl import slide_findings as findings_of
from edgeapl.examination.evidence import SlideEvidence
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.model import Model
from edgeapl.stages.cell_order import Stratum, estimated_shares
from edgeapl.stages.findings import Code, Finding
from edgeapl.stages.frame_descriptor import FrameDescriptor
from edgeapl.stages.judge import decide, would_flag
from edgeapl.stages.populations import two_populations
from edgeapl.stages.reduce import Reduced, ReducerState
from edgeapl.stages.slide_descriptor import cells_of
from edgeapl.types import Decision, Figures, Reason, Tally

_EXAMINING = Reason("examining", "the newest frame is still being examined")


@dataclass(frozen=True, slots=True)
class Judgement:
    """A decision, before a flag that was raised earlier is taken into account."""

    reduced: Reduced
    decision: Decision
    reasons: tuple[Reason, ...]

    @property
    def figures(self) -> Figures:
        """The numbers that it rests on."""
        reduced = self.reduced
        return Figures(reduced.probability, reduced.interval, reduced.counts, reduced.evidence)


class SlideJudge:
    """Judges a slide by what was learned about it so far.

    Parameters
    ----------
    model : the bundle, ready to run.
    evidence : of the slide; may grow between judgements.
    known : what is known about the slide before it is examined.
    stop_error : chance, per slide, with which cells are left out; None when all are looked at.
    """

    def __init__(
        self,
        model: Model,
        evidence: SlideEvidence,
        known: Sequence[Finding],
        stop_error: float | None,
    ) -> None:
        self._model = model
        self._evidence = evidence
        self._known = tuple(known)
        self._stop_error = stop_error

    def judge(self, open_frames: Sequence[OpenFrame]) -> tuple[Judgement, Tally]:
        """Judge what is known so far; return the tally too.

        Parameters
        ----------
        open_frames : not finished; their cells without an answer count as not examined.

        A slide that only the answers about hidden cells would flag is judged with these: no flag
        is lost to a blur.
        """
        evidence, roles = self._evidence, self._model.bundle.manifest.roles
        unfinished = [frame for frame in open_frames if frame.pending]
        missing = sum(frame.pending for frame in unfinished)
        tally = evidence.tally + Tally(missing, not_examined=missing)
        strata = [s for frame in unfinished for s in frame.examined_strata(roles)]
        judgement = self._judged(
            evidence.state, tally, [*evidence.strata, *strata], evidence.descriptors, open_frames
        )
        if judgement.decision is not Decision.FLAG and evidence.hidden_state.cells:
            with_hidden = self._judged_with_hidden(tally, unfinished)
            if with_hidden.decision is Decision.FLAG:
                return with_hidden, tally
        return judgement, tally

    def judge_up_to(self, frame: OpenFrame) -> Judgement:
        """Judge the frames up to this one as if its cells without an answer were not needed."""
        evidence = self._evidence
        strata = [
            *evidence.strata,
            *frame.examined_strata(self._model.bundle.manifest.roles),
        ]
        positive = zip(*(stratum.positive for stratum in strata), strict=True)
        state = ReducerState(
            cells=sum(stratum.scored for stratum in strata),
            positive=tuple(map(sum, positive)),
            suspicious=sum(stratum.suspicious for stratum in strata),
        )
        descriptors = list(evidence.descriptors)
        if self._model.domain is not None:
            descriptors.append(evidence.descriptor(frame))
        return self._judged(state, evidence.finished_tally + frame.tally, strata, descriptors)

    def is_certain(self, judgement: Judgement) -> bool:
        """Whether no answer about the pending cells could take the flag away.

        A flag that was shown is never taken back, so in the middle of a frame, where every batch
        is another look, it must not be raised by chance.
        """
        interval, rule = judgement.reduced.interval, self._model.bundle.manifest.rule
        return interval is not None and interval.low >= rule.flag_at

    def uncertain(self, judgement: Judgement) -> Judgement:
        """Return a REVIEW in place of a flag that the pending cells could take away."""
        rule = self._model.bundle.manifest.rule
        others = [reason for reason in judgement.reasons if reason.code != Code.FLAG]
        flag = would_flag(rule, judgement.reduced, _EXAMINING.text)
        reasons = (_EXAMINING, *flag, *others)
        return replace(judgement, decision=Decision.REVIEW, reasons=reasons)

    def _judged_with_hidden(self, tally: Tally, unfinished: Sequence[OpenFrame]) -> Judgement:
        """Judge with all answers, as if everything could be seen."""
        evidence, roles = self._evidence, self._model.bundle.manifest.roles
        hidden = evidence.hidden_state.cells
        counted = replace(
            tally, scored=tally.scored + hidden, not_examined=tally.not_examined - hidden
        )
        strata = [s for frame in unfinished for s in frame.examined_strata(roles, with_hidden=True)]
        judgement = self._judged(
            self._model.reducer.merge(evidence.state, evidence.hidden_state),
            counted,
            [*evidence.strata_with_hidden, *strata],
            evidence.descriptors,
        )
        text = (
            f"{hidden} of these cells lie where the image cannot be judged and are counted as not "
            "examined; without them there would be no flag"
        )
        flag, *others = judgement.reasons
        return replace(judgement, reasons=(flag, Reason(Code.HIDDEN_FLAG, text), *others))

    def _judged(
        self,
        state: ReducerState,
        tally: Tally,
        strata: Sequence[Stratum],
        descriptors: Sequence[FrameDescriptor],
        open_frames: Sequence[OpenFrame] = (),
    ) -> Judgement:
        """Reduce and decide; shares are estimated from strata when cells were not examined."""
        rule, clearing = self._model.bundle.manifest.rule, self._model.clearing
        findings = self._findings(tally, descriptors)
        estimated = estimated_shares(strata) if tally.not_examined or tally.not_needed else None
        reduced, trouble = self._model.reducer.reduce(
            state, self._model.head, tally, rule.confidence, estimated
        )
        decision, reasons = decide(rule, reduced, tally, (*findings, *trouble))
        sub_bags = self._evidence.sub_bags
        if decision is Decision.CLEAR and sub_bags is not None:
            # What would be cleared as a whole must hold in its parts.
            scores = [frame.scores for frame in open_frames]
            findings = (*findings, *sub_bags.judge(self._model.head, scores))
            decision, reasons = decide(rule, reduced, tally, findings)
        if decision is Decision.CLEAR:
            # Last of all, so that what else keeps the slide from being clear is said instead.
            proof = clearing.judge(reduced)
            decision, reasons = decide(rule, reduced, tally, (*findings, *proof))
        return Judgement(reduced, decision, reasons)

    def _findings(
        self, tally: Tally, descriptors: Sequence[FrameDescriptor]
    ) -> tuple[Finding, ...]:
        model, cells = self._model, cells_of(descriptors)
        slide = self._evidence.described(descriptors) if model.domain else {}
        return (
            *findings_of.of_model(model.bundle.manifest),
            *findings_of.of_engines(proven_elsewhere=model.proven_elsewhere),
            *self._known,
            *self._evidence.findings(),
            *(model.domain.judge_slide(cells, slide) if model.domain else ()),
            *model.clearing.of_look(cells, slide),
            *findings_of.of_stopping(tally, self._stop_error),
            *(two_populations(descriptors) if self._evidence.sub_bags is not None else ()),
        )
