"""Groups images into slides by name: a pattern says which part of a name is the slide."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from edgeapl.errors import UsageError
from edgeapl.sources.slide_list import SlideInput
from edgeapl.wording.names import canonical_name
from edgeapl.wording.numbers import plural
from edgeapl.wording.printable import printable

OPTION = "--slide-from"
SLIDE, PATIENT = "slide", "patient"
TWO_FOLDERS = (
    "put the folder into the group, as in ^([^/]+/[^_]+)_; "
    "or (?:.*/)? before the group, if they are one slide"
)
_SHOWN = 3


def group_by_name(files: Sequence[Path], folder: Path, pattern: str) -> tuple[SlideInput, ...]:
    """Group images by the part of their names that a regular expression finds.

    Parameters
    ----------
    files : images below the folder.
    pattern : regular expression, searched for anywhere in a file's name; with a ``/`` in it, in the
        path below the folder. The group ``slide``, or the first one, is the slide; the
        group ``patient``, if there is one, is the patient. Names are in Unicode NFC.

    Slides come in the order of their first image. Raises UsageError when the pattern is invalid or
    has no group, when names do not match, when a slide belongs to two patients, and when it has two
    images of one name from two folders and the pattern says nothing about folders.
    """
    wanted, of_slide = _compiled(pattern)
    slides: dict[str, list[Path]] = {}
    patients: dict[str, str] = {}
    seen: dict[tuple[str, str], str] = {}
    unmatched = []
    for file in files:
        below = canonical_name(file.relative_to(folder).as_posix())
        found = wanted.search(below if "/" in pattern else below.rpartition("/")[2])
        name = _group(found, of_slide)
        patient = _group(found, PATIENT) if PATIENT in wanted.groupindex else ""
        if not name or (not patient and PATIENT in wanted.groupindex):
            unmatched.append(below)
            continue
        slides.setdefault(name, []).append(file)
        twin = seen.setdefault((name, below.rpartition("/")[2]), below)
        if twin != below and "/" not in pattern:
            which = f"{printable(name)}: {printable(twin)} and {printable(below)}"
            raise UsageError(f"{OPTION} may join two slides of two folders", which, TWO_FOLDERS)
        if patients.setdefault(name, patient) != patient:
            which = f"{printable(name)}: {printable(patients[name])} and {printable(patient)}"
            raise UsageError(f"{OPTION} finds one slide of two patients", which, "mend the pattern")
    if unmatched:
        shown = ", ".join(printable(name) for name in unmatched[:_SHOWN])
        more = ", ..." if len(unmatched) > _SHOWN else ""
        what = f"{len(unmatched)} of {plural(len(files), 'image')} do not match {OPTION}"
        raise UsageError(what, shown + more, "change the pattern or move these files away")
    return tuple(
        SlideInput(name, tuple(images), patient=patients[name]) for name, images in slides.items()
    )


def _compiled(pattern: str) -> tuple[re.Pattern[str], int]:
    """Return the expression and the number of the group for the slide."""
    try:
        compiled = re.compile(canonical_name(pattern))
    except re.error as error:
        what = f"{OPTION} is no regular expression ({error})"
        raise UsageError(what, printable(pattern), r"for S1_002.png write ^([^_]+)_") from error
    group = _slide_group(compiled)
    if group is None:
        what = f"{OPTION} has no group that could be the slide"
        raise UsageError(what, printable(pattern), r"put brackets around it: ^([^_]+)_")
    return compiled, group


def _slide_group(pattern: re.Pattern[str]) -> int | None:
    """Return the number of the group ``slide``, else of the first that is not the patient."""
    patient = pattern.groupindex.get(PATIENT)
    others = [number for number in range(1, pattern.groups + 1) if number != patient]
    return pattern.groupindex.get(SLIDE, others[0] if others else None)


def _group(found: re.Match[str] | None, group: str | int) -> str:
    return "" if found is None else (found.group(group) or "").strip()
