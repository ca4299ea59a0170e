"""The limits between a bundle and what stands in for it: engines in fewer bits, or a student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeapl.bundle.specs import LimitsSpec
from edgeapl.calibration.validation.cells import CellComparison, Recall
from edgeapl.inference.slide_answer import SlideAnswer


@dataclass(frozen=True, slots=True)
class SlideComparison:
    """What both answer about one slide, by its numbers alone.

    An untrained or uncalibrated bundle would make every verdict REVIEW; that is ignored here.
    """

    name: str
    reference: SlideAnswer
    candidate: SlideAnswer

    @property
    def changed(self) -> bool:
        """Whether the verdict is different."""
        return self.reference.decision != self.candidate.decision


def cell_problems(cells: CellComparison, limits: LimitsSpec) -> list[str]:
    """Return what is beyond the limits: cells that flip, get no answer, or are lost to a class."""
    found = []
    if cells.flipped > limits.max_flip_rate * cells.cells:
        found.append(
            f"{cells.flipped} of {cells.cells} cells flip ({share_text(cells.flip_rate)}, "
            f"allowed {share_text(limits.max_flip_rate)})"
        )
    if cells.failed:
        found.append(f"{cells.failed} of {cells.cells} cells get no usable answer")
    found += [
        f"{recall.cells - recall.kept} of {recall.cells} cells of {recall.name} are lost, "
        f"allowed {share_text(limits.max_recall_drop)}"
        for recall in cells.recalls
        if _too_many_lost(recall, limits)
    ]
    return found


def difference_problems(cells: CellComparison, limits: LimitsSpec) -> list[str]:
    """Return the roles whose probability differs by more than the limit."""
    return [
        f"{role.role} differs by {role.p99:.3f} for one cell in a hundred, "
        f"allowed {limits.max_difference:g}"
        for role in cells.roles
        if not role.p99 <= limits.max_difference
    ]


def _too_many_lost(recall: Recall, limits: LimitsSpec) -> bool:
    """Return whether too many cells are lost; a single one says nothing about a share."""
    return recall.cells - recall.kept > max(1.0, limits.max_recall_drop * recall.cells)


def slide_problems(slides: Sequence[SlideComparison], limits: LimitsSpec) -> list[str]:
    """Return what is beyond the limits: slides without a probability, verdicts that change."""
    found = [
        f"slide {slide.name} gets no probability"
        for slide in slides
        if slide.candidate.probability is None and slide.reference.probability is not None
    ]
    changed = [slide for slide in slides if slide.changed]
    if len(changed) <= limits.max_verdict_changes * len(slides):
        return found
    first = changed[0]
    text = (
        f"the verdict of {len(changed)} of {len(slides)} slides changes, e.g. of {first.name} "
        f"from {first.reference.decision} to {first.candidate.decision}"
    )
    return [*found, text]


def share_text(share: float) -> str:
    """Return a share in per cent, to three digits."""
    return f"{100 * share:.3g} %"
