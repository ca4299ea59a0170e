"""Compares the cells found with boxes that people drew: average precision and recall as in COCO."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from edgeapl.errors import InputError, UsageError
from edgeapl.evaluation.labels import label_of_file
from edgeapl.evaluation.results import HOW, files_of
from edgeapl.wording.names import canonical_name
from edgeapl.wording.printable import printable

MOST_CELLS = 1000
"""Cells per image that count; COCO's own limit of 100 is meant for photographs."""

NO_CELL = "none"
"""Supercategory of what people marked as not a cell."""

Box = tuple[float, float, float, float, float]
T = TypeVar("T")

HOW_COCO = "give COCO JSON with images, annotations and categories"


@dataclass(frozen=True, slots=True)
class FoundCells:
    """Cells of one image. file : its path. boxes : x0 y0 x1 y1, px, with their score."""

    file: str
    used: bool
    boxes: tuple[Box, ...]


def read_found(folder: Path) -> list[FoundCells]:
    """Read all images of a result folder with the cells found in them. Raises InputError."""
    boxes: dict[tuple[str, str], list[Box]] = {}
    frames: list[tuple[str, str, str, bool]] = []
    for path in files_of(folder, "cells.csv", "cells.csv"):
        for key, corners in _rows(path, _box_of):
            boxes.setdefault(key, []).append(corners)
    for path in files_of(folder, "frames.csv", "frames.csv"):
        frames += _rows(path, _frame_of)
    return [
        FoundCells(file, used, tuple(boxes.get((slide, number), ())))
        for slide, number, file, used in frames
    ]


def box_document(found: Sequence[FoundCells], coco: Path) -> dict[str, Any]:
    """Return average precision and recall at IoU 0.5 and 0.5 to 0.95, as plain JSON values.

    All cells are one class. Images without drawn boxes, or that were not examined, are listed but
    not counted. Raises InputError when no image is in both, UsageError without pycocotools.
    """
    truth = read_coco(coco)
    images = {
        canonical_name(str(image["file_name"]).replace("\\", "/")): str(image["id"])
        for image in truth["images"]
    }
    named = [(one, label_of_file(images, one.file)) for one in found if one.used]
    both = [(one, number) for one, number in named if number is not None]
    if not both:
        mend = f"the boxes are about: {', '.join(printable(name) for name in sorted(images)[:3])}"
        raise InputError("no examined image has boxes", coco, mend)
    wanted = {number for _, number in both}
    cells = {one["id"] for one in truth["categories"] if one.get("supercategory") != NO_CELL}
    drawn = [
        one
        for one in truth["annotations"]
        if str(one["image_id"]) in wanted and one.get("category_id") in cells
    ]
    missing = sorted(name for name, number in images.items() if number not in wanted)
    said = {number: one.boxes for one, number in both}
    return {
        "images": len(wanted),
        "drawn": len(drawn),
        "found": sum(len(one.boxes) for one, _ in both),
        "images_without_result": missing,
        **_coco_figures(drawn, said),
    }


def _coco_figures(
    drawn: Sequence[Mapping[str, Any]], said: Mapping[str, Sequence[Box]]
) -> dict[str, Any]:
    try:
        from pycocotools.coco import COCO  # noqa: PLC0415 - an optional library
        from pycocotools.cocoeval import COCOeval  # noqa: PLC0415
    except ModuleNotFoundError as error:
        mend = "pip install pycocotools"
        raise UsageError("boxes need one more package", error.name or "", mend) from error
    truth, answers = COCO(), COCO()
    numbers = {name: number for number, name in enumerate(said, start=1)}
    images = [{"id": number} for number in numbers.values()]
    category = [{"id": 1, "name": "cell"}]
    truth.dataset = {
        "images": images,
        "categories": category,
        "annotations": [
            {
                "id": number,
                "image_id": numbers[str(one["image_id"])],
                "category_id": 1,
                "bbox": one["bbox"],
                "area": one["bbox"][2] * one["bbox"][3],
                "iscrowd": one.get("iscrowd", 0),
            }
            for number, one in enumerate(drawn, start=1)
        ],
    }
    rows = [(numbers[name], box) for name, boxes in said.items() for box in boxes]
    answers.dataset = {
        "images": images,
        "categories": category,
        "annotations": [
            {
                "id": place,
                "image_id": number,
                "category_id": 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": 0,
                "score": score,
            }
            for place, (number, (x0, y0, x1, y1, score)) in enumerate(rows, start=1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth.createIndex()
        answers.createIndex()
        judged = COCOeval(truth, answers, "bbox")
        judged.params.maxDets = [1, 100, MOST_CELLS]
        judged.evaluate()
        judged.accumulate()
    precision = np.asarray(judged.eval["precision"])[:, :, 0, 0, -1]  # (IoU, recall)
    recall = np.asarray(judged.eval["recall"])[:, 0, 0, -1]  # (IoU,)
    return {
        "average_precision_50": _mean(precision[0]),
        "average_precision_50_95": _mean(precision),
        "recall_50": _mean(recall[0]),
        "recall_50_95": _mean(recall),
    }


def _mean(values: Any) -> float | None:
    """Return the mean of the valid values; -1 marks invalid ones."""
    known = np.asarray(values)[np.asarray(values) > -1]
    return float(known.mean()) if known.size else None


def _rows(path: Path, read: Callable[[dict[str, str]], T]) -> list[T]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return [read(row) for row in csv.DictReader(file)]
    except (OSError, ValueError, KeyError) as error:
        raise InputError("table of cells cannot be read", path, HOW) from error


def _box_of(row: dict[str, str]) -> tuple[tuple[str, str], Box]:
    names = ("x0", "y0", "x1", "y1", "detection_score")
    x0, y0, x1, y1, score = (float(row[name]) for name in names)
    return (row["slide"], row["frame_number"]), (x0, y0, x1, y1, score)


def _frame_of(row: dict[str, str]) -> tuple[str, str, str, bool]:
    return row["slide"], row["frame_number"], row["frame"], row["used"] == "yes"


def read_coco(path: Path) -> dict[str, Any]:
    """Read COCO JSON. Raises InputError when it is not understood, or a box has no area."""
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
        for name in ("images", "annotations", "categories"):
            if not isinstance(document[name], list):
                raise TypeError(f"{name} is not a list")
        for one in document["annotations"]:
            x, y, width, height = map(float, one["bbox"])
            if not (np.isfinite([x, y]).all() and width > 0 and height > 0):
                raise ValueError(f"annotation {one.get('id')} has no area")
            str(one["image_id"])
        if not all({"id", "file_name"} <= set(image) for image in document["images"]):
            raise KeyError("file_name")
    except OSError as error:
        raise InputError("boxes cannot be read", path, error.strerror or HOW_COCO) from error
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("boxes not understood", path, f"{error}: {HOW_COCO}") from error
    return dict(document)
