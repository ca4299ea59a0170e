"""Reads the result folder of `edgeapl score` or `edgeapl watch`."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeapl.errors import InputError
from edgeapl.report.results import newest_folders
from edgeapl.report.tables import role_columns

HOW = "name the result folder of edgeapl score or watch"


@dataclass(frozen=True, slots=True)
class SlideResult:
    """The verdict on one slide.

    probability : None if there is none. patient : as in the slide list; empty without one.
    counts : role to its positive cells and its scored ones.
    """

    slide: str
    verdict: str
    probability: float | None
    patient: str = ""
    counts: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellResult:
    """The scores of one cell. file : its image. roles : role to probability."""

    slide: str
    file: str
    roles: Mapping[str, float]


def read_slides(folder: Path) -> list[SlideResult]:
    """Read all verdicts of a result folder. Raises InputError when there are none."""
    slides = []
    for path in files_of(folder, "verdicts.jsonl", "verdict.json"):
        try:
            for line in path.read_text(encoding="utf-8").splitlines():
                record: dict[str, Any] = json.loads(line)
                verdict, patient = record["verdict"], str(record.get("patient", ""))
                counts = {
                    str(one["role"]): (int(one["positive"]), int(one["scored"]))
                    for one in record.get("counts", ())
                }
                slides.append(
                    SlideResult(record["slide"], verdict, record["probability"], patient, counts)
                )
        except (OSError, ValueError, KeyError) as error:
            raise InputError("verdicts cannot be read", path, HOW) from error
    return slides


def read_cells(folder: Path) -> tuple[list[CellResult], int]:
    """Read the scored cells of a result folder, and count those without a score."""
    cells = []
    unscored = 0
    for path in files_of(folder, "cells.csv", "cells.csv"):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                table = csv.DictReader(file)
                columns = role_columns(table.fieldnames or ())
                for row in table:
                    if row["status"] != "scored":
                        unscored += 1
                        continue
                    roles = {name: float(row[name]) for name in columns}
                    cells.append(CellResult(row["slide"], row["frame"], roles))
        except (OSError, ValueError, KeyError) as error:
            raise InputError("table of cells cannot be read", path, HOW) from error
    return cells, unscored


def files_of(folder: Path, together: str, single: str) -> list[Path]:
    """Find the table of all slides, as `score` writes it, or those of single slides (`watch`).

    If a slide has several records the newest counts.
    """
    if (folder / together).is_file():
        return [folder / together]
    found = [home / single for home in newest_folders(folder) if (home / single).is_file()]
    if not found:
        raise InputError("no results there", folder, HOW)
    return found
