"""Read what was said: the result folder of `edgeapl score`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError

NOT_ROLES = frozenset(
    {
        *("slide", "frame", "frame_number", "cell", "x0", "y0", "x1", "y1", "area_um2"),
        *("um_per_px", "detection_score", "status", "suspicion"),
    }
)
"""Columns of `cells.csv` that are no role's."""


@dataclass(frozen=True, slots=True)
class SlideResult:
    """The verdict on one slide; probability is None where there is none."""

    slide: str
    verdict: str
    probability: float | None


@dataclass(frozen=True, slots=True)
class CellResult:
    """The scores of one cell. file : the image it is from. roles : role to probability."""

    slide: str
    file: str
    roles: Mapping[str, float]


def read_slides(folder: Path) -> list[SlideResult]:
    """Read `verdicts.jsonl`. Raises InputError when the folder holds no results."""
    path = folder / "verdicts.jsonl"
    try:
        records: list[dict[str, Any]] = [
            json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line
        ]
    except (OSError, ValueError) as error:
        mend = "give the result folder of edgeapl score"
        raise InputError("no results there", folder, mend) from error
    return [SlideResult(r["slide"], r["verdict"], r["probability"]) for r in records]


def read_cells(folder: Path) -> tuple[list[CellResult], int]:
    """Read the scored cells of `cells.csv`, and count those without a score."""
    path = folder / "cells.csv"
    cells = []
    unscored = 0
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["status"] != "scored":
                    unscored += 1
                    continue
                roles = {name: float(v) for name, v in row.items() if name not in NOT_ROLES}
                cells.append(CellResult(row["slide"], row["frame"], roles))
    except (OSError, ValueError, KeyError) as error:
        mend = "give the result folder of edgeapl score"
        raise InputError("no table of cells there", path, mend) from error
    return cells, unscored
