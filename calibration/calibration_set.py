"""The calibration set: which cells were chosen, which slides are held back, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeapl.calibration.cell_selection import Stratum, select_diverse, without_near_duplicates
from edgeapl.calibration.cells import Cell, CollectedCells, SlideSeen
from edgeapl.errors import InputError, UsageError
from edgeapl.types import ScaleOrigin
from edgeapl.wording.printable import printable

FEWEST_CELLS = 20
"""A smaller set says nothing about a model; a slide needs as many to be described."""

MOST_CHOSEN = 256
"""Most cells in a set, if no size is given."""

HOLD_BACK_FROM = 5
"""With this many slides every fifth is held back; with fewer, all are needed for the ranges."""

NAMED = 3
"""Images named in one sentence; the others are counted."""


@dataclass(frozen=True, slots=True)
class ChosenSet:
    """The choice. Rows are those of the collected cells.

    rows : cells for the ranges, in the order of choice.
    held_back : slides without chosen cells, on which engines can be proven.
    near_duplicates : cells dropped because another one looks the same.
    """

    rows: tuple[int, ...]
    held_back: tuple[str, ...]
    near_duplicates: int


def choose(gathered: CollectedCells, size: int | None) -> ChosenSet:
    """Choose the cells for the ranges, and the slides to hold back.

    Parameters
    ----------
    gathered : all candidates. size : cells to choose; None for as many as may be needed.

    Raises UsageError when more cells are requested than there are different ones.
    """
    distinct = without_near_duplicates(gathered.hashes, gathered.features)
    held_back = slides_to_hold_back(gathered.cells)
    rows = [row for row in distinct.tolist() if gathered.cells[row].slide not in held_back]
    if size is not None and size > len(rows):
        raise UsageError(
            f"calibration set has {len(rows)} cells to choose from",
            f"--size {size}",
            "give more slides, or a smaller --size",
        )
    kinds = [Stratum(gathered.cells[row].slide, gathered.cells[row].predicted) for row in rows]
    order = select_diverse(gathered.features[rows], kinds, size or MOST_CHOSEN)
    return ChosenSet(
        rows=tuple(rows[place] for place in order.tolist()),
        held_back=held_back,
        near_duplicates=len(gathered.cells) - len(distinct),
    )


def slides_to_hold_back(cells: Sequence[Cell], first: int = 2) -> tuple[str, ...]:
    """Return every fifth slide, in order of their share of suspicious cells.

    So the held-back slides range from harmless to suspicious as all slides do.

    first : place of the first of them, 0 to 4; other places give other slides.
    """
    by_slide: dict[str, list[float]] = {}
    for cell in cells:
        by_slide.setdefault(cell.slide, []).append(cell.suspicion)
    order = sorted(by_slide, key=lambda name: (sum(by_slide[name]) / len(by_slide[name]), name))
    return tuple(sorted(order[first::HOLD_BACK_FROM])) if len(order) >= HOLD_BACK_FROM else ()


def check_collected(
    gathered: CollectedCells, *, leave_out_unusable: bool, scale_matters: bool = True
) -> None:
    """Raise InputError when the set is unfit: images of no use, too few cells, one slide.

    scale_matters : cells are looked for, so that a slide of unknown scale is unfit too.
    """
    if not leave_out_unusable:
        _check_images(gathered.slides)
    with_cells = [slide.name for slide in gathered.slides if slide.cells]
    if len(gathered.cells) < FEWEST_CELLS:
        raise InputError(
            f"calibration set has {len(gathered.cells)} cells",
            ", ".join(slide.name for slide in gathered.slides[:NAMED]),
            f"give at least {FEWEST_CELLS}, from several slides",
        )
    if len(with_cells) < 2:
        raise one_slide(with_cells[0])
    if scale_matters:
        _check_scale(gathered.slides)


def _check_scale(slides: Sequence[SlideSeen]) -> None:
    unknown = [
        slide.name
        for slide in slides
        if any(origin is ScaleOrigin.ASSUMED for origin, _ in slide.scales)
    ]
    if unknown:
        more = f" and {len(unknown) - NAMED} more" if len(unknown) > NAMED else ""
        raise InputError(
            "scale of calibration slides is neither stated nor measurable",
            ", ".join(unknown[:NAMED]) + more,
            "give --um-per-px: cells of the wrong size would be taken for the usual ones",
        )


def one_slide(name: str) -> InputError:
    """Return the error for a set that shows one stain, one patient and one day only."""
    return InputError(
        "calibration set has cells of one slide only",
        printable(name),
        "give several slides, each in a folder of its own",
    )


def _check_images(slides: Sequence[SlideSeen]) -> None:
    found = [(f"{slide.name}/{file}", why) for slide in slides for file, why in slide.unusable]
    if found:
        named = "; ".join(f"{file} ({why})" for file, why in found[:NAMED])
        more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
        images = "image" if len(found) == 1 else "images"
        raise InputError(
            f"calibration set holds {len(found)} {images} that cannot be used",
            named + more,
            "take them out, or add --leave-out-unusable",
        )
