"""Cells as COCO's object detection format (cocodataset.org/#format-data).

CVAT, Label Studio and pycocotools read it. A COCO annotation must have a category, so a cell
without a class has none here: it is counted at its image and listed in `labels.csv`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from edgeapl import __version__
from edgeapl.labelling.cell import LabelledCell, LabelledFrame, LabelledSlide, Polygon
from edgeapl.labelling.image_names import image_names
from edgeapl.wording.printable import printable

NAME = "coco.json"

NOT_A_CELL = "not a cell"
LATER_CLASSES = ("other cell", NOT_A_CELL)
"""Always follows the bundle's roles, so that a class keeps its number even if no cell has it."""


def classes_of(slides: Sequence[LabelledSlide]) -> tuple[str, ...]:
    """Return all classes: those of the bundles in their order, then all others that occur."""
    roles = (role for slide in slides for role in slide.roles)
    found = sorted({cell.label for slide in slides for cell in slide.cells if cell.label})
    return tuple(dict.fromkeys([*roles, *LATER_CLASSES, *found]))


def coco_bytes(slides: Sequence[LabelledSlide]) -> bytes:
    """Return the JSON file, ASCII."""
    classes = classes_of(slides)
    root, names = image_names(slides)
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for slide in slides:
        for frame in slide.frames:
            file = names[slide.home.name, frame.number]
            images.append(_image(len(images) + 1, slide, frame, file))
            for cell in frame.cells:
                if cell.label:
                    place = {"id": len(annotations) + 1, "image_id": len(images)}
                    category = classes.index(cell.label) + 1
                    annotations.append(place | _annotation(slide, cell, category))
    document = {
        "info": _info(slides, root),
        "licenses": [{"id": 1, "name": "not stated; research use only", "url": ""}],
        "categories": [
            {"id": number, "name": name, "supercategory": _kind(name)}
            for number, name in enumerate(classes, start=1)
        ],
        "images": images,
        "annotations": annotations,
    }
    return (json.dumps(document, allow_nan=False, ensure_ascii=True) + "\n").encode("ascii")


def _info(slides: Sequence[LabelledSlide], root: str) -> Mapping[str, Any]:
    """Describe the file; its time is that of its newest content, so exports are reproducible."""
    words = (word.time for slide in slides for cell in slide.cells for word in cell.corrections)
    newest = max([*(slide.time for slide in slides), *words], default="")
    return {
        "description": "Cells with labels. Research use only. Not for diagnosis.",
        "url": "",
        "version": f"edgeapl {__version__}",
        "year": int(newest[:4]) if newest else 0,
        "contributor": ", ".join(_people(slides)),
        "date_created": newest,
        "research_use_only": True,
        "image_folder": printable(root),
    }


def _people(slides: Sequence[LabelledSlide]) -> list[str]:
    words = (word for slide in slides for cell in slide.cells for word in cell.corrections)
    return sorted({printable(word.person) for word in words if word.person})


def _kind(name: str) -> str:
    return "none" if name == NOT_A_CELL else "cell"


def _image(number: int, slide: LabelledSlide, frame: LabelledFrame, file: str) -> dict[str, Any]:
    return {
        "id": number,
        "width": frame.width,
        "height": frame.height,
        "file_name": file,
        "license": 1,
        "slide": printable(slide.slide),
        "record": slide.record,
        "sha256": frame.digest,
        "um_per_px": frame.um_per_px,
        "cells_without_class": sum(not cell.label for cell in frame.cells),
    }


def _annotation(slide: LabelledSlide, cell: LabelledCell, category: int) -> dict[str, Any]:
    x0, y0, x1, y1 = cell.box
    made: dict[str, Any] = {
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "area": (x1 - x0) * (y1 - y0),
        "iscrowd": 0,
        "attributes": _attributes(slide, cell),
    }
    if cell.outline:
        made["segmentation"] = [
            [edge for corner in ring for edge in corner] for ring in cell.outline
        ]
        made["area"] = sum(_area(ring) for ring in cell.outline)
    return made


def _attributes(slide: LabelledSlide, cell: LabelledCell) -> dict[str, Any]:
    """Return plain values only: annotation programs show nothing else."""
    attributes: dict[str, Any] = {
        "slide": printable(slide.slide),
        "cell": cell.number,
        "status": cell.status,
        "labelled_by": cell.labelled_by,
        "machine_class": cell.machine_class,
        **{f"probability_{role}": float(cell.scores[role]) for role in _scored(slide, cell)},
    }
    word = cell.correction
    if word is not None:
        attributes |= {
            "corrected_class": printable(word.label),
            "corrected_by": printable(word.person),
            "corrected_at": word.time,
            "corrections": len(cell.corrections),
        }
    return attributes


def _scored(slide: LabelledSlide, cell: LabelledCell) -> Iterable[str]:
    return (role for role in slide.roles if cell.scores[role])


def _area(ring: Polygon) -> float:
    """Return the area of a polygon, px² (shoelace formula)."""
    following = (*ring[1:], ring[0])
    doubled = sum(x * v - u * y for (x, y), (u, v) in zip(ring, following, strict=True))
    return abs(doubled) / 2
