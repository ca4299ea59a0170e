"""Which results of a slide count when several parts have some; contradictions are refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeapl.errors import StorageError
from edgeapl.journal import same_verdict
from edgeapl.merging.part_results import FinishedSlide, PartResults
from edgeapl.wording.printable import printable


@dataclass(frozen=True, slots=True)
class Selection:
    """Slides of all parts, each once.

    slides : name to the results that count, in the order of the parts.
    duplicates : results of slides that an earlier part has too, and that say the same.
    """

    slides: dict[str, FinishedSlide]
    duplicates: tuple[FinishedSlide, ...]


def select_slides(parts: Sequence[PartResults]) -> Selection:
    """Choose the first part's results of every slide.

    Raises StorageError when two parts were scored with two bundles, or a slide was scored twice
    with another outcome, of other images or with other settings.
    """
    chosen: dict[str, FinishedSlide] = {}
    duplicates = []
    first: FinishedSlide | None = None
    for part in parts:
        for slide in part.slides:
            first = first or slide
            if slide.bundle != first.bundle:
                which = f"{_shown(first)} and {_shown(slide)}"
                raise StorageError("two bundles scored the parts", which, "score one part again")
            other = chosen.setdefault(slide.name, slide)
            if other is not slide:
                _refuse_conflict(other, slide)
                duplicates.append(slide)
    return Selection(chosen, tuple(duplicates))


def _refuse_conflict(one: FinishedSlide, other: FinishedSlide) -> None:
    which = f"{_shown(one)} and {_shown(other)}"
    if one.key != other.key:
        raise StorageError(
            "a slide was scored twice, of other images or with other settings",
            which,
            "keep one: move the other's folder away",
        )
    here, there = one.record, other.record
    if not same_verdict(here, there):
        verdicts = f"{here['verdict']} and {there['verdict']}"
        raise StorageError(
            "two parts answer otherwise for one slide",
            f"{which}: {verdicts}",
            "find out why; then keep one: move the other's folder away",
        )


def _shown(slide: FinishedSlide) -> str:
    return printable(str(slide.home))
