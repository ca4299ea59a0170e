"""Which identifiers a person may open a slide under."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from edgeapl.errors import IdentifierUsed, UsageError
from edgeapl.journal import VERDICT, rows_with
from edgeapl.wording.local_time import local_time
from edgeapl.wording.names import canonical_name

LONGEST_NAME = 200


def checked_identifier(text: str) -> str:
    """Return an identifier in its canonical form. Raises UsageError for one nobody could read."""
    slide = canonical_name(text.strip())
    if not slide or len(slide) > LONGEST_NAME or not slide.isprintable():
        mend = f"give 1 to {LONGEST_NAME} printable characters"
        raise UsageError("slide identifier is wrong", slide[:40], mend)
    return slide


def check_unused(journal: Path, slide: str) -> None:
    """Raise IdentifierUsed when the journal already has a final verdict for this identifier."""
    known = rows_with(journal, VERDICT, "slide", slide)
    if known:
        last = known[-1]
        verdict, time = last.content["verdict"], local_time(last.time)
        which = f"{slide} ({verdict}, {time}, row {last.sequence})"
        mend = "take another identifier, or open one more record of this one (--again)"
        raise IdentifierUsed("slide has a record already", which, mend)


def check_interrupted(slide: str, interrupted: Collection[str]) -> None:
    """Raise UsageError unless the slide is one of those left open by the last run."""
    if slide not in interrupted:
        left = ", ".join(interrupted) or "none"
        raise UsageError("slide was not left open", slide, f"slides that were: {left}")


def check_not_interrupted(slide: str, interrupted: Collection[str]) -> None:
    """Raise UsageError when the slide is one of those left open by the last run."""
    if slide in interrupted:
        mend = "continue it (--resume), or close it and open one more of its name (--again)"
        raise UsageError("slide was left open when the station stopped", slide, mend)
