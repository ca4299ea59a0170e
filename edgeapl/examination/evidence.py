"""Everything that was learned about a slide so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl import slide_findings as findings_of
from edgeapl.errors import EdgeAplError
from edgeapl.examination.coverage import Coverage
from edgeapl.examination.open_frame import OpenFrame
from edgeapl.examination.timings import Timings, timed
from edgeapl.model import Model
from edgeapl.stages.cell_order import Stratum
from edgeapl.stages.findings import Finding
from edgeapl.stages.frame_descriptor import FrameDescriptor
from edgeapl.stages.slide_descriptor import describe_slide
from edgeapl.stages.sub_bags import SubBags
from edgeapl.types import CellScores, Look, Reason, Remark, ScaleOrigin, Tally

Float64 = NDArray[np.float64]

MOST_PASSED_OVER = 0.2
"""Share of chosen frames that may be of no use: of a scan, a few are out of focus or hold dirt."""


class SlideEvidence:
    """Adds up answers about cells as they come in, and frames as they are finished.

    Parameters
    ----------
    model : the bundle, ready to run.
    live : frames come from a camera.
    sampled : the frames were chosen among many that would do as well.

    state, hidden_state : of the reducer, from cells that count and from hidden ones.
    tally : of all cells so far; `finished_tally` of those in finished frames.
    strata, strata_with_hidden : of finished frames; in the second, hidden cells count as scored.
    sub_bags : parts of the slide, for bundles that pool features; None for others.
    descriptors : of finished frames, if the bundle knows which slides it was made for.
    used : (source, SHA-256) of every finished frame that was not rejected.
    """

    def __init__(self, model: Model, *, live: bool, sampled: bool) -> None:
        rule = model.bundle.manifest.rule
        self.state = model.reducer.empty()
        self.hidden_state = model.reducer.empty()
        self.tally = Tally()
        self.finished_tally = Tally()
        self.strata: list[Stratum] = []
        self.strata_with_hidden: list[Stratum] = []
        self.descriptors: list[FrameDescriptor] = []
        self.used: list[tuple[str, str]] = []
        self.errors: list[EdgeAplError] = []
        self.timings: Timings = Counter()
        self.coverage = Coverage(rule.min_examined_share, live=live or sampled)
        # Only where features are pooled can many cells dilute a few.
        self.sub_bags = None if model.reducer.bounded else SubBags(model.reducer, rule)
        self._model = model
        self._live = live
        self._sampled = sampled
        self._rejected: list[tuple[str, tuple[Reason, ...]]] = []
        self._scales: Counter[tuple[ScaleOrigin, float]] = Counter()
        self._shapes: Counter[tuple[int, int]] = Counter()
        self._remarks: Counter[Remark] = Counter()
        self._described: tuple[int, dict[str, Float64]] = (0, {})

    @property
    def frames(self) -> int:
        """Finished frames, rejected ones included."""
        return len(self.used) + len(self._rejected)

    def add_answers(self, scores: CellScores, hidden: CellScores, failed: int) -> None:
        """Add answers about cells, `hidden` ones apart, and the number of cells that failed."""
        reducer = self._model.reducer
        with timed(self.timings, "reduce"):
            self.state = reducer.add(self.state, scores)
            self.hidden_state = reducer.add(self.hidden_state, hidden)
            if self.sub_bags is not None:
                self.sub_bags.add(scores, self._model.head)
        # Counted here, not when the frame is finished: a batch may reach into the next frame.
        scored, not_examined = len(scores), len(hidden)
        self.tally += Tally(
            scored + not_examined + failed, scored, not_examined=not_examined, failed=failed
        )

    def add_frame(self, frame: OpenFrame) -> None:
        """Add a finished frame."""
        prepared, image = frame.prepared, frame.prepared.frame
        self.timings.update(prepared.timings)
        if prepared.rejected:
            # Its name alone: the images of all that the gate rejects may fill the memory.
            name = str(image.index) if self._live else Path(image.source).name
            self._rejected.append((name, prepared.rejected))
        else:
            self.used.append((image.source, image.digest))
            self.coverage.add(prepared)
        self._scales[image.scale, image.um_per_px] += 1
        self._shapes[image.width, image.height] += 1
        self._remarks.update(image.remarks)
        roles = self._model.bundle.manifest.roles
        self.strata.extend(frame.examined_strata(roles))
        self.strata_with_hidden.extend(frame.examined_strata(roles, with_hidden=True))
        self.finished_tally += frame.tally
        if self.sub_bags is not None:
            self.sub_bags.close_frame(frame.scores)
        if self._model.domain is not None and frame.answered:
            self.descriptors.append(self.descriptor(frame))

    def descriptor(self, frame: OpenFrame) -> FrameDescriptor:
        """Describe a frame with at least one answer."""
        with timed(self.timings, "domain"):
            return frame.described()

    def findings(self) -> list[Finding]:
        """Return what was noticed about the frames, except how they look."""
        few = len(self._rejected) <= MOST_PASSED_OVER * self.frames
        return [
            *findings_of.of_rejected(self._rejected, live=self._live or (self._sampled and few)),
            *findings_of.of_errors(self.errors),
            *self.coverage.findings(),
            *findings_of.of_scale(self._scales),
            *findings_of.of_remarks(self._remarks),
            *(findings_of.of_shapes(self._shapes) if self._live else ()),
        ]

    def described(self, descriptors: Sequence[FrameDescriptor]) -> dict[str, Float64]:
        """Describe the slide by these frames; by the finished ones only once for each."""
        if descriptors is not self.descriptors:
            return describe_slide(descriptors) if descriptors else {}
        if self._described[0] != len(descriptors):
            self._described = (len(descriptors), describe_slide(descriptors))
        return self._described[1]

    def look(self) -> Look | None:
        """Return how the slide looks, as far as that is a number."""
        if self._model.domain is None or not self.descriptors:
            return None
        slide = self.described(self.descriptors)
        groups = {name: values for name, values in slide.items() if name != "features"}
        distances = self._model.domain.distances(slide)
        return Look(
            {n: tuple(v.tolist()) for n, v in groups.items() if np.isfinite(v).all()},
            {n: pair for n, pair in distances.items() if np.isfinite(pair).all()},
        )
