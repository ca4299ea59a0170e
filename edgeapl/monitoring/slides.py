"""What a journal says about each closed slide that is worth following over weeks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from edgeapl.journal import Record, verdict_from_json
from edgeapl.types import Certificate, Look
from edgeapl.wording.questions import APL, question_of


@dataclass(frozen=True, slots=True)
class MonitoredSlide:
    """One closed slide. sequence : number of its row. suspicious : most positive role's share.

    figure : what the probability is.
    """

    sequence: int
    time: datetime
    decision: str
    bundle: str
    digest: str
    probability: float | None
    look: Look | None
    certificate: Certificate | None
    record: Record
    figure: str = APL.figure


def monitored_slides(
    records: Iterable[Record], *, demonstrations: bool = False
) -> list[MonitoredSlide]:
    """Return the closed slides of a journal, oldest first: patients' or, if asked, demonstrations.

    Raises StorageError when a record is not a verdict.
    """
    slides = []
    for record in records:
        if record.demonstration is not demonstrations:
            continue
        verdict = verdict_from_json(record.content)
        name = f"{verdict.origin.bundle} {verdict.origin.version}".strip()
        slides.append(
            MonitoredSlide(
                sequence=record.row.sequence,
                time=parse_time(record.row.time),
                decision=verdict.decision.value,
                bundle=name or verdict.bundle_digest[:12],
                digest=verdict.bundle_digest,
                probability=verdict.probability,
                look=verdict.look,
                certificate=verdict.certificate,
                record=record,
                figure=question_of([reason.code for reason in verdict.reasons]).figure,
            )
        )
    return slides


def parse_time(time: str) -> datetime:
    """Parse the time of a row, UTC."""
    return datetime.fromisoformat(time.replace("Z", "+00:00"))


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a slide. group, place : its position in the look. text : its name."""

    text: str
    unit: str
    group: str
    place: int

    def of(self, look: Look) -> float | None:
        """Return its value; None if the slide has none."""
        values = look.groups.get(self.group, ())
        if self.place >= len(values):
            return None
        value = values[self.place]
        if self.group == "size":
            return math.exp(value)
        return math.exp(-value) if self.group == "focus" else value


MEASURES = (
    Measure("stain, red light", "optical density", "stain", 0),
    Measure("stain, green light", "optical density", "stain", 1),
    Measure("stain, red less blue", "optical density", "stain", 3),
    Measure("size of cells", "µm²", "size", 0),
    Measure("sharpness", "focus measure", "focus", 0),
)


def newest_bundle(slides: Sequence[MonitoredSlide]) -> list[MonitoredSlide]:
    """Return the slides that the newest bundle judged; others have another reference."""
    return [slide for slide in slides if slide.digest == slides[-1].digest] if slides else []
