"""How far two bundles agree: verdict by verdict, and cell by cell."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError
from edgeapl.evaluation.confusion import share
from edgeapl.evaluation.results import SlideResult, files_of

VERDICTS = ("FLAG", "REVIEW", "CLEAR")

NO_CLASS = "without a score"

PLACE = ("slide", "frame_number", "x0", "y0", "x1", "y1")
"""Columns that tell cells apart: slide, number of the frame, and the edges of the box."""

Place = tuple[str, ...]


def changed_verdicts(
    old: Sequence[SlideResult], new: Sequence[SlideResult]
) -> list[dict[str, Any]]:
    """Return the slides whose verdicts differ, lost flags first."""
    there = {one.slide: one for one in new}
    changed = [
        {
            "slide": one.slide,
            "from": one.verdict,
            "to": there[one.slide].verdict,
            "probability_from": one.probability,
            "probability_to": there[one.slide].probability,
        }
        for one in old
        if one.slide in there and there[one.slide].verdict != one.verdict
    ]
    return sorted(changed, key=lambda one: (one["from"] != "FLAG", str(one["slide"])))


def verdict_concordance(
    old: Sequence[SlideResult], new: Sequence[SlideResult]
) -> dict[str, dict[str, Any]]:
    """Return for each verdict of the old bundle what the new one says of the same slides."""
    there = {one.slide: one.verdict for one in new}
    pairs = Counter((one.verdict, there[one.slide]) for one in old if one.slide in there)
    return _by_class(pairs, VERDICTS)


def cell_concordance(old: Path, new: Path) -> dict[str, Any]:
    """Return for each class of cells of the old bundle what the new one calls the same cells.

    old, new : result folders of the same images. Cells are the same when slide, frame and box are;
    bundles that find cells in another way have few or none in common.
    """
    before, after = classes_of_cells(old), classes_of_cells(new)
    both = before.keys() & after.keys()
    pairs = Counter((before[place], after[place]) for place in both)
    names = dict.fromkeys(sorted(name for pair in pairs for name in pair))
    return {
        "cells": len(both),
        "only_old": len(before) - len(both),
        "only_new": len(after) - len(both),
        "classes": _by_class(pairs, tuple(names)),
    }


def classes_of_cells(results: Path) -> dict[Place, str]:
    """Return what every cell of a result folder is shown as. Raises InputError."""
    found: dict[Place, str] = {}
    for path in files_of(results, "cells.csv", "cells.csv"):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                for row in csv.DictReader(file):
                    place = tuple(row[name] for name in PLACE)
                    found[place] = row["class"] or NO_CLASS
        except (OSError, ValueError, KeyError) as error:
            mend = "score the slides again"
            raise InputError("table of cells cannot be read", path, mend) from error
    return found


def _by_class(pairs: Counter[tuple[str, str]], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        to = {other: pairs[name, other] for other in names if pairs[name, other]}
        count = sum(to.values())
        if count or any(pairs[other, name] for other in names):
            found[name] = {
                "old": count,
                "new": sum(pairs[other, name] for other in names),
                "same": share(pairs[name, name], count),
                "to": to,
            }
    return found
