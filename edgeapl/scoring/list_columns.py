"""What the user's list says about slides, as columns of tables and fields of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeapl.report.user_columns import FurtherColumns
from edgeapl.sources.discover import SlideInput

PATIENT = "patient"


def listed_texts(slide: SlideInput) -> dict[str, tuple[str, ...]]:
    """Return the list's other columns: name to one text per file."""
    texts = {column.name: column.values for column in slide.listed}
    if not slide.patient:
        return texts
    return {PATIENT: (slide.patient,) * len(slide.files), **texts}


def further_columns(slides: Sequence[SlideInput]) -> FurtherColumns:
    """Return the list's other columns for tables; the same ones for all slides."""
    headings = dict.fromkeys(name for slide in slides for name in listed_texts(slide))
    values = {}
    for slide in slides:
        texts = listed_texts(slide)
        for place, file in enumerate(slide.files):
            values[str(file)] = tuple(
                texts[name][place] if name in texts else "" for name in headings
            )
    return FurtherColumns(tuple(headings), values if headings else {})


def listed_to_json(slide: SlideInput) -> dict[str, Any]:
    """Return the same for a record: one text if all files share it, else one per file."""
    document: dict[str, Any] = {PATIENT: slide.patient} if slide.patient else {}
    if slide.listed:
        document["listed"] = {
            column.name: column.values[0] if len(set(column.values)) == 1 else [*column.values]
            for column in slide.listed
        }
    return document
