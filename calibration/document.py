"""The file `calibration-set.json` of a bundle: the origin of its ranges and fingerprint."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeapl import __version__
from edgeapl.calibration.calibration_set import ChosenSet
from edgeapl.calibration.cells import Cell, CollectedCells, Field, count_by_class
from edgeapl.calibration.fingerprint import Fingerprint
from edgeapl.calibration.range_measurement import NetworkRanges
from edgeapl.calibration.ranges import MeasuredRanges
from edgeapl.errors import BundleError
from edgeapl.slide_findings import scale_doubts

SCHEMA = 1
FILE = "calibration-set.json"


@dataclass(frozen=True, slots=True, eq=False)
class CalibrationResult:
    """All results of a calibration.

    parent : digest of the measured bundle. crops : every image was one cell.
    used : cells behind the ranges. fields : frames shown to a detector.
    excluded : names of test slides that were skipped.
    """

    parent: str
    crops: bool
    gathered: CollectedCells
    chosen: ChosenSet
    used: Sequence[Cell]
    fields: Sequence[Field]
    excluded: Sequence[str]
    measured: MeasuredRanges
    networks: Mapping[str, NetworkRanges]
    fingerprint: Fingerprint


@dataclass(frozen=True, slots=True)
class CalibrationSet:
    """The parts of a bundle's set that others need.

    crops : every image was one cell. used : SHA-256 (hex) of the images behind the ranges.
    held_back : SHA-256 (hex) of images on which engines may be proven, to the slide's name.
    looked_at : SHA-256 (hex) of all images behind ranges, gate and look of slides.
    """

    crops: bool
    used: frozenset[str]
    held_back: Mapping[str, str]
    looked_at: frozenset[str] = frozenset()


def read_set(data: bytes) -> CalibrationSet:
    """Read the bytes of `calibration-set.json`. Raises BundleError when they are malformed."""
    try:
        document = json.loads(data)
        if document["schema"] != SCHEMA:
            raise ValueError(f"schema {document['schema']}")
        return CalibrationSet(
            crops=document["kind"] == "cells",
            used=frozenset(str(item["image"]) for item in document["items"]),
            held_back={str(image["image"]): str(image["slide"]) for image in document["held_back"]},
            looked_at=frozenset(
                str(image["image"])
                for key in ("items", "detector_frames", "held_back", "looked_at")
                for image in document.get(key, ())  # older sets lack the last
            ),
        )
    except (ValueError, KeyError, TypeError) as error:
        mend = f"{error}; run edgeapl calibrate again"
        raise BundleError("calibration set not understood", FILE, mend) from error


def set_document(facts: CalibrationResult) -> dict[str, Any]:
    """Return the file as plain JSON values."""
    return {
        "schema": SCHEMA,
        "research_use_only": True,
        "software": f"edgeapl {__version__}",
        "bundle_digest": facts.parent,
        "kind": "cells" if facts.crops else "frames",
        "slides": _slides(facts),
        "classes": count_by_class(facts.used),
        "classes_seen": count_by_class(facts.gathered.cells),
        "items": [_item(cell) for cell in facts.used],
        "detector_frames": [
            {"image": field.digest, "slide": field.slide} for field in facts.fields
        ],
        "held_back": _held_back(facts),
        # All images behind ranges, limits of the gate and the look of slides.
        "looked_at": [
            {"image": field.digest, "slide": field.slide} for field in facts.gathered.fields
        ],
        "near_duplicates": facts.chosen.near_duplicates,
        "excluded_slides": sorted(facts.excluded),
        "stability": {
            name: [
                {"images": line.images, "change": line.change, "tensor": line.tensor}
                for line in network.stability
            ]
            for name, network in facts.networks.items()
        },
        "kept_in_fp32": dict(facts.measured.kept),
        "fingerprint": {
            "strength": facts.fingerprint.strength.value,
            "slides": list(facts.fingerprint.slides),
            "min_focus": facts.fingerprint.min_focus,
            "min_detail": facts.fingerprint.min_detail,
        },
    }


def set_json(facts: CalibrationResult) -> bytes:
    """Return the file's bytes; the same facts give the same bytes."""
    document = set_document(facts)
    return (json.dumps(document, sort_keys=True, indent=1, allow_nan=False) + "\n").encode()


def _slides(facts: CalibrationResult) -> list[dict[str, Any]]:
    used = Counter(cell.slide for cell in facts.used)
    return [
        {
            "name": slide.name,
            "images": slide.images,
            "left_out": slide.left_out,
            "looked_at": slide.looked_at,
            "duplicates": slide.duplicates,
            "unusable": len(slide.unusable),
            "excluded": len(slide.excluded),
            "cells": slide.cells,
            "used": used[slide.name],
            "held_back": slide.name in facts.chosen.held_back,
            "scale_doubts": list(scale_doubts(slide.scales)),
        }
        for slide in facts.gathered.slides
    ]


def _item(cell: Cell) -> dict[str, Any]:
    return {
        "image": cell.image,
        "file": cell.file,
        "slide": cell.slide,
        "box": None if cell.box is None else list(cell.box),
        "predicted": cell.predicted,
    }


def _held_back(facts: CalibrationResult) -> list[dict[str, str]]:
    """Return the images of the held-back slides, each once, without any that was used."""
    held = set(facts.chosen.held_back)
    used = {cell.image for cell in facts.used}
    images = {
        cell.image: cell.slide
        for cell in facts.gathered.cells
        if cell.slide in held and cell.image not in used
    }
    return [{"image": image, "slide": slide} for image, slide in images.items()]
