"""Labelled slides, examined as at the station, with nothing but the rule to clear them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgeapl.errors import InputError
from edgeapl.evaluation.evaluator import label_of_slide
from edgeapl.evaluation.labels import SlideLabel
from edgeapl.evaluation.results import SlideResult
from edgeapl.model import Model
from edgeapl.pipeline import (
    Barrier,
    Observer,
    SlideJob,
    SlideOptions,
    SlideOutcome,
    examine_slides,
)
from edgeapl.pixel_size import SlideScale, measure_ahead
from edgeapl.sources.digests import image_digests
from edgeapl.sources.discover import SlideInput, split_left_out
from edgeapl.sources.files import FilesSource
from edgeapl.stages.clearance import Clearing
from edgeapl.stages.domain import FEWEST_CELLS
from edgeapl.types import Decision, Look, Verdict
from edgeapl.wording.names import canonical_name, disambiguated
from edgeapl.wording.printable import printable

Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A slide whose diagnosis is known. images : SHA-256 (hex) of each image to its file."""

    slide: SlideInput
    label: str
    patient: str
    images: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Examined:
    """The rule's own answer for a labelled slide.

    clears_below : 0 to 1, the upper end of the interval that the rule cleared it with; infinite if
    it did not. A limit above it clears the slide. cells : number of scored cells.
    """

    labelled: Labelled
    decision: Decision
    clears_below: float
    look: Look | None
    cells: int

    @property
    def describable(self) -> bool:
        """Whether it has enough cells to be compared with other slides, and so to be cleared."""
        return self.look is not None and self.cells >= FEWEST_CELLS


@dataclass(frozen=True, slots=True)
class ExaminationOptions:
    """How slides are examined.

    crops : every image is one cell. um_per_px : scale of all images; None to measure it.
    """

    crops: bool = False
    um_per_px: float | None = None


def labelled_slides(
    slides: Sequence[SlideInput], labels: Mapping[str, SlideLabel], positive: str
) -> tuple[list[Labelled], list[str]]:
    """Match slides with labels; return also the names of those without a label.

    Raises InputError when no slide has a label, or a positive one is missing among the slides:
    ignored evidence might be exactly what contradicts the limits.
    """
    positive = canonical_name(positive)
    labelled, unlabelled, used = [], [], set()
    for slide in slides:
        label = label_of_slide(labels, SlideResult(slide.name, "", None, slide.patient))
        if label is None:
            unlabelled.append(slide.name)
            continue
        used |= {canonical_name(slide.name), label.patient}
        images = {digest: file for file in slide.files for digest in image_digests(file)}
        labelled.append(Labelled(slide, label.label, label.patient, images))
    if not labelled:
        shown = disambiguated([slides[0].name, *sorted(labels)[:3]])
        mend = f"the labels name: {', '.join(shown[name] for name in sorted(labels)[:3])}"
        raise InputError("no slide has a label", shown[slides[0].name], mend)
    for name, label in sorted(labels.items()):
        if label.label == positive and name not in used:
            mend = "add its images, or take it out of the labels and say why"
            raise InputError(f"slide with label {positive} is not there", printable(name), mend)
    if all(one.label != positive for one in labelled):
        have = ", ".join(sorted({one.label for one in labelled}))
        raise InputError("no slide has the label", positive, f"give --positive: {have}")
    return labelled, unlabelled


def examine(
    model: Model, labelled: Sequence[Labelled], how: ExaminationOptions, step: Step
) -> list[Examined]:
    """Examine slides as `edgeapl score` does, but without requiring a certificate to clear them.

    step : called with the number of slides done and their total. Raises EngineError when a network
    fails.
    """
    earning = replace(model, clearing=Clearing(earning=True))
    verdicts: list[Verdict] = []

    def keep(outcome: SlideOutcome) -> None:
        verdicts.append(outcome.verdict)
        step(len(verdicts), len(labelled))

    step(0, len(labelled))
    examine_slides(earning, _jobs(model, labelled, how, keep))
    return [
        Examined(one, v.decision, clears_below(v), v.look, v.tally.scored)
        for one, v in zip(labelled, verdicts, strict=True)
    ]


def clears_below(verdict: Verdict) -> float:
    """Return the upper end that a slide was cleared with; infinite for FLAG and REVIEW."""
    if verdict.decision is not Decision.CLEAR:
        return math.inf
    if verdict.interval is not None:
        return verdict.interval.high
    assert verdict.probability is not None  # no slide is cleared without one
    return verdict.probability


def _jobs(
    model: Model,
    labelled: Sequence[Labelled],
    how: ExaminationOptions,
    keep: Callable[[SlideOutcome], None],
) -> Iterator[SlideJob | Barrier]:
    manifest = model.bundle.manifest
    for one in labelled:
        leave_out = manifest.crop.leave_out if how.crops else ()
        kept, _ = split_left_out(one.slide.files, leave_out)
        scale = SlideScale(one.slide.um_per_px or how.um_per_px, manifest.um_per_px)
        measure_ahead(scale, kept)
        name = printable(one.slide.name)
        with FilesSource(kept, name, scale) as source:
            options = SlideOptions(crops=how.crops)
            yield SlideJob(name, source, options, Observer(), on_outcome=keep)


def by_patient(examined: Sequence[Examined]) -> dict[str, float]:
    """Map each patient to the lowest limit that clears one of the patient's slides.

    Clearing one is enough for nobody to look again.
    """
    lowest: dict[str, float] = {}
    for one in examined:
        patient = one.labelled.patient
        lowest[patient] = min(lowest.get(patient, math.inf), one.clears_below)
    return lowest
