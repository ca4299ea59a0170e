"""The laboratory's cells and the parent's answers about them, kept on disk until a student is made.

The parent is asked once: a distillation that was killed, or whose student was refused, goes on with
the answers that are there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.load import Bundle
from edgeapl.calibration.calibration_set import HOLD_BACK_FROM, slides_to_hold_back
from edgeapl.calibration.calibrator import gather_cells
from edgeapl.calibration.cell_collection import OVER, CollectionOptions
from edgeapl.calibration.cells import Cell, CollectedCells
from edgeapl.cores import cpu_cores
from edgeapl.distillation.request import DistillRequest, Say
from edgeapl.errors import InputError, StorageError, UsageError
from edgeapl.export.training.run_state import write_whole
from edgeapl.inference import InferenceResult
from edgeapl.sources.discover import SlideInput
from edgeapl.types import CellScores, Float32, Int64, UInt8
from edgeapl.wording.numbers import plural
from edgeapl.wording.printable import printable

CROPS, ANSWERS, ABOUT = "crops.rows", "answers.npy", "cells.json"

PROVE, MEASURE = 2, 3
"""Places, among every five slides in order of suspicion, of the slide that a student is proven on
and of the one that its doubts are measured on; see `slides_to_hold_back`."""


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredCells:
    """Cells with the parent's answers, one row each.

    crops : uint8 (N, size, size, 3) RGB, mapped from disk. answers : column of `with_classes` to
        float32 (N,). slides, images : name of each cell's slide, and SHA-256 (hex) of its image.
    learn, measure, prove : int64, rows of the slides that the student learns from, that its doubts
        are measured on, and that it is proven on.
    """

    crops: UInt8
    answers: Mapping[str, Float32]
    slides: tuple[str, ...]
    images: tuple[str, ...]
    learn: Int64
    measure: Int64
    prove: Int64

    def of_slides(self, rows: Int64) -> list[tuple[str, Int64]]:
        """Return these rows slide by slide."""
        found: dict[str, list[int]] = {}
        for row in rows.tolist():
            found.setdefault(self.slides[row], []).append(row)
        return [(name, np.array(own, dtype=np.int64)) for name, own in found.items()]

    def wanted(self, rows: Int64) -> InferenceResult:
        """Return the parent's answers about some cells, numbered from 0."""
        roles = {name: values[rows] for name, values in self.answers.items()}
        nothing = np.empty((len(rows), 0), dtype=np.float32)
        scores = CellScores(np.arange(len(rows), dtype=np.int64), roles, nothing)
        return InferenceResult(scores, np.empty(0, dtype=np.int64))


def answered_cells(
    bundle: Bundle, slides: Sequence[SlideInput], key: str, request: DistillRequest, say: Say
) -> AnsweredCells:
    """Return the cells of slides with the parent's answers, from the work folder if they are there.

    Parameters
    ----------
    key : of what the answers depend on; a work folder of something else is refused.

    Raises InputError for too few slides or cells, EngineError when a network fails, UsageError for
    a work folder of another distillation, StorageError.
    """
    about = _read(request.work, key)
    if about is None:
        about = _collected(bundle, slides, key, request, say)
    size = bundle.manifest.crop.size_px
    count = len(about["slides"])
    crops = np.memmap(request.work / CROPS, np.uint8, "r", shape=(count, size, size, 3))
    table = np.load(request.work / ANSWERS, allow_pickle=False)
    rows = about["rows"]
    return AnsweredCells(
        crops,
        {name: table[:, column].copy() for column, name in enumerate(about["columns"])},
        tuple(about["slides"]),
        tuple(about["images"]),
        *(np.array(rows[name], dtype=np.int64) for name in ("learn", "measure", "prove")),
    )


def key_of(bundle: Bundle, images: Mapping[str, str], request: DistillRequest) -> str:
    """Return the digest of what the parent's answers depend on. images : digest to slide."""
    how = (request.crops, request.um_per_px, request.most_cells)
    parts = [bundle.digest, repr(how), *(f"{one} {images[one]}" for one in sorted(images))]
    return sha256_of_parts(parts)


def check_slides(slides: Sequence[SlideInput]) -> None:
    """Raise InputError when no slide could be held back."""
    if len(slides) < HOLD_BACK_FROM:
        mend = f"give {HOLD_BACK_FROM} or more, each in a folder: some are held back for its proof"
        raise InputError("too few slides to prove a student on", len(slides), mend)


def _collected(
    bundle: Bundle, slides: Sequence[SlideInput], key: str, request: DistillRequest, say: Say
) -> dict[str, Any]:
    work = request.work
    work.mkdir(parents=True, exist_ok=True)
    (work / CROPS).unlink(missing_ok=True)
    how = CollectionOptions(
        request.crops, request.um_per_px, math.ceil(request.most_cells / OVER), classes=True
    )
    gathered = gather_cells(
        bundle, slides, how, work, lambda text, _: say(text), threads=cpu_cores()
    )
    unusable = sum(len(slide.unusable) for slide in gathered.slides)
    if unusable:
        say(f"{plural(unusable, 'image')} could not be used")
    rows = _rows(gathered, {printable(one.name): one.patient for one in slides})
    columns = gathered.answers
    about = {
        "key": key,
        "columns": list(columns),
        "slides": [cell.slide for cell in gathered.cells],
        "images": [cell.image for cell in gathered.cells],
        "rows": {name: own.tolist() for name, own in rows.items()},
    }
    try:
        with (work / ANSWERS).open("wb") as file:
            np.save(file, np.stack(list(columns.values()), axis=1), allow_pickle=False)
    except OSError as error:
        raise StorageError("cannot be written", work / ANSWERS, str(error.strerror)) from error
    # Last: what it names is then whole.
    write_whole(work / ABOUT, json.dumps(about).encode())
    return about


def _rows(gathered: CollectedCells, patients: Mapping[str, str]) -> dict[str, Int64]:
    """Part the cells by slide, those of one patient together."""
    whose = [replace(cell, slide=patients.get(cell.slide) or cell.slide) for cell in gathered.cells]
    held = {name: set(slides_to_hold_back(whose, place)) for name, place in _PLACES.items()}
    if not all(held.values()):
        mend = f"cells of {HOLD_BACK_FROM} slides, or patients, are needed"
        raise InputError("too few slides with cells to prove a student on", _named(whose), mend)
    taken = held["measure"] | held["prove"]
    return {
        **{name: _of(whose, units) for name, units in held.items()},
        "learn": _of(whose, {cell.slide for cell in whose} - taken),
    }


_PLACES = {"measure": MEASURE, "prove": PROVE}


def _of(cells: Sequence[Cell], units: set[str]) -> Int64:
    rows = [row for row, cell in enumerate(cells) if cell.slide in units]
    return np.array(rows, dtype=np.int64)


def _named(cells: Sequence[Cell]) -> str:
    return ", ".join(sorted({cell.slide for cell in cells})[:3]) or "none"


def _read(work: Path, key: str) -> dict[str, Any] | None:
    mend = "name another --out, or remove it"
    try:
        about = json.loads((work / ABOUT).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StorageError("cells cannot be read", work / ABOUT, mend) from error
    if about.get("key") != key:
        raise UsageError("folder holds another distillation", work, mend)
    return dict(about)
