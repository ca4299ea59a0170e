"""Measure the segmenter on the real sets and print the README's table.

    python tests/data/measure_segmentation.py DATA [--json] [--stated] [--factor 1.0] [--set NAME]

A hit is an annotated box that holds the centre of a detection, one to one. IoU hits match boxes
with intersection over union of at least 0.5, one to one. The scale is measured from the image
itself unless --stated, which uses the scale in SCALES.
"""

from __future__ import annotations

import argparse
import csv
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.pixel_size import SlideScale
from edgeapl.sources.decode import read_image
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import Detections, Frame, ScaleOrigin, UInt8

Boxes = NDArray[np.float64]
Item = tuple[Path, Boxes]

# µm per px judged once from red cells of 7.3 µm, measured by hand on five images per set.
SCALES = {
    "bccd": 0.077,
    "chula_wbc": 0.097,
    "chula_rbc_negative": 0.186,
    "draaslan": 0.128,
    "segpc": 0.043,
    "segmentation_wbc": 0.16,
    "violet_rbc": 0.058,
}
ASSUMED = 0.2


def boxes_of(rows: list[list[float]]) -> Boxes:
    return np.array(rows, dtype=np.float64).reshape(-1, 4)


def bccd(data: Path) -> Iterator[Item]:
    for image in sorted((data / "bccd/JPEGImages").glob("*.jpg")):
        root = ET.parse(data / "bccd/Annotations" / f"{image.stem}.xml").getroot()
        rows = []
        for thing in root.iter("object"):
            if thing.findtext("name") == "WBC":
                box = thing.find("bndbox")
                assert box is not None
                rows.append([float(box.findtext(k, "")) for k in ("xmin", "ymin", "xmax", "ymax")])
        yield image, boxes_of(rows)


def chula_wbc(data: Path) -> Iterator[Item]:
    for image in sorted((data / "chula_wbc/images").glob("*.jpg")):
        rows = []
        for line in (data / "chula_wbc/labels" / f"{image.stem}.txt").read_text().splitlines():
            x, y, w, h = (float(value) for value in line.split()[1:5])
            rows.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        yield image, boxes_of(rows) * [1440, 900, 1440, 900]


def chula_rbc_negative(data: Path) -> Iterator[Item]:
    for image in sorted((data / "chula_rbc_negative/images").glob("*.jpg")):
        yield image, boxes_of([])


def draaslan(data: Path) -> Iterator[Item]:
    with (data / "draaslan/annotations.csv").open() as file:
        marks = list(csv.DictReader(file))
    for image in sorted((data / "draaslan/images").glob("*.png")):
        rows = [
            [256 * float(mark[key]) for key in ("xmin", "ymin", "xmax", "ymax")]
            for mark in marks
            if mark["image"] == image.name and mark["label"] == "wbc"
        ]
        yield image, boxes_of(rows)


def mask_of(path: Path) -> UInt8:
    mask = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    return np.asarray(mask, dtype=np.uint8)


def components(mask: UInt8, smallest: int) -> Boxes:
    _, _, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    return boxes_of([[x, y, x + w, y + h] for x, y, w, h, a in stats[1:] if a > smallest])


def segpc(data: Path) -> Iterator[Item]:
    for image in sorted((data / "segpc_bone_marrow/images").glob("*.jpg")):
        yield image, components(mask_of(data / "segpc_bone_marrow/masks" / image.name), 1500)


def segmentation_wbc(data: Path) -> Iterator[Item]:
    for image in sorted((data / "segmentation_wbc/dataset1").glob("*.bmp")):
        rows, columns = np.nonzero(mask_of(image.with_suffix(".png")) > 60)
        yield (
            image,
            boxes_of([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]),
        )


def violet_rbc(data: Path) -> Iterator[Item]:
    for image in sorted((data / "violet_rbc/images").glob("*.jpg")):
        rows = []
        for line in (data / "violet_rbc/labels" / f"{image.stem}.txt").read_text().splitlines():
            kind, x, y, w, h = (float(value) for value in line.split())
            if kind == 0:
                rows.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        yield image, boxes_of(rows) * 575


SETS: dict[str, Callable[[Path], Iterator[Item]]] = {
    "bccd": bccd,
    "chula_wbc": chula_wbc,
    "chula_rbc_negative": chula_rbc_negative,
    "draaslan": draaslan,
    "segpc": segpc,
    "segmentation_wbc": segmentation_wbc,
    "violet_rbc": violet_rbc,
}
# Surplus cells that a person looked at and found to be nucleated cells that the annotation lacks,
# nearly all cut by the frame: image and a point in them, px.
UNANNOTATED = {
    "bccd": {
        "BloodImage_00041.jpg": (617, 45),
        "BloodImage_00133.jpg": (207, 48),
        "BloodImage_00134.jpg": (35, 113),
        "BloodImage_00135.jpg": (102, 406),
        "BloodImage_00171.jpg": (261, 106),
        "BloodImage_00178.jpg": (309, 90),
        "BloodImage_00198.jpg": (530, 19),
        "BloodImage_00228.jpg": (347, 74),
        "BloodImage_00242.jpg": (233, 33),
        "BloodImage_00327.jpg": (64, 269),
    },
    "chula_wbc": {"L-3B_0479.jpg": (29, 348), "M-3B_0480.jpg": (345, 856)},
}
PRECISION_KNOWN = {"bccd", "chula_wbc", "draaslan", "segmentation_wbc", "violet_rbc"}


@dataclass
class Counts:
    frames: int = 0
    annotated: int = 0
    found: int = 0
    centre_hits: int = 0
    iou_hits: int = 0
    measured: int = 0
    seconds: float = 0.0
    scales: list[float] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    surplus: list[str] = field(default_factory=list)
    unannotated: int = 0
    mask_ious: list[float] = field(default_factory=list)


def one_to_one(fits: NDArray[np.bool_], worth: NDArray[np.float64]) -> set[tuple[int, int]]:
    """Match rows to columns greedily, best worth first."""
    pairs: set[tuple[int, int]] = set()
    rows, columns = set[int](), set[int]()
    for at in np.argsort(-worth, axis=None):
        row, column = divmod(int(at), worth.shape[1])
        if fits[row, column] and row not in rows and column not in columns:
            pairs.add((row, column))
            rows.add(row)
            columns.add(column)
    return pairs


def overlap(a: Boxes, b: Boxes) -> NDArray[np.float64]:
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.asarray(common / np.maximum(union, 1e-9), dtype=np.float64)


def measure(name: str, data: Path, *, stated: bool, factor: float, stride: int = 1) -> Counts:
    counts = Counts()
    segmenter = HsvWatershed()
    for image, truth in list(SETS[name](data))[::stride]:
        decoded = read_image(image)
        scale = SlideScale(SCALES[name] if stated else None, ASSUMED)
        um_per_px, origin = scale(decoded.pixels)
        frame = Frame(decoded.pixels, 0, 0, um_per_px * factor, str(image), decoded.sha256)
        start = time.perf_counter()
        found = segmenter.segment(frame)
        counts.seconds += time.perf_counter() - start
        counts.scales.append(um_per_px)
        counts.measured += origin is ScaleOrigin.MEASURED
        add_hits(counts, image.name, truth, found.boxes.astype(np.float64))
        counts.unannotated += shows_unannotated(name, image.name, found)
        if name == "segmentation_wbc":
            cell = mask_of(image.with_suffix(".png")) > 60
            counts.mask_ious.append(best_mask_iou(found, cell))
    return counts


def shows_unannotated(name: str, image: str, found: Detections) -> bool:
    """Whether a detection holds the point of a known cell without annotation."""
    point = UNANNOTATED.get(name, {}).get(image)
    if point is None:
        return False
    low, high = found.boxes[:, :2], found.boxes[:, 2:]
    return bool(((low <= point) & (point <= high)).all(axis=1).any())


def best_mask_iou(found: Detections, cell: NDArray[np.bool_]) -> float:
    ious = [
        float((mask & cell).sum() / (mask | cell).sum())
        for row in range(len(found))
        for mask in (found.labels == row + 1,)
    ]
    return max(ious, default=0.0)


def add_hits(counts: Counts, image: str, truth: Boxes, found: Boxes) -> None:
    centres = (found[:, :2] + found[:, 2:]) / 2
    inside = (truth[:, None, :2] <= centres[None]).all(axis=2) & (
        centres[None] <= truth[:, None, 2:]
    ).all(axis=2)
    iou = overlap(truth, found)
    hits = one_to_one(np.asarray(inside), iou)
    counts.frames += 1
    counts.annotated += len(truth)
    counts.found += len(found)
    counts.centre_hits += len(hits)
    counts.iou_hits += len(one_to_one(iou >= 0.5, iou))
    for row in set(range(len(truth))) - {pair[0] for pair in hits}:
        counts.missed.append(f"{image} {truth[row].astype(int).tolist()}")
    for row in set(range(len(found))) - {pair[1] for pair in hits}:
        counts.surplus.append(f"{image} {found[row].astype(int).tolist()}")


def summary(name: str, counts: Counts) -> dict[str, object]:
    known = name in PRECISION_KNOWN

    def share(hits: int, of: int) -> float | None:
        return round(hits / of, 4) if of else None

    return {
        "set": name,
        "frames": counts.frames,
        "annotated": counts.annotated,
        "found": counts.found,
        "recall": share(counts.centre_hits, counts.annotated),
        "precision": share(counts.centre_hits, counts.found) if known else None,
        "recall_iou": share(counts.iou_hits, counts.annotated),
        "precision_iou": share(counts.iou_hits, counts.found) if known else None,
        "precision_with_unannotated": (
            share(counts.centre_hits + counts.unannotated, counts.found) if known else None
        ),
        "mask_iou": round(float(np.mean(counts.mask_ious)), 3) if counts.mask_ious else None,
        "surplus_per_frame": round(len(counts.surplus) / max(counts.frames, 1), 3),
        "scale_measured": counts.measured,
        "scale_median": round(float(np.median(counts.scales)), 4),
        "ms_per_frame": round(1000 * counts.seconds / max(counts.frames, 1), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--stated", action="store_true")
    parser.add_argument("--factor", type=float, default=1.0)
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--set", choices=list(SETS), action="append")
    parser.add_argument("--list", action="store_true", help="name every miss and surplus")
    options = parser.parse_args()
    results = []
    for name in options.set or SETS:
        counts = measure(
            name,
            options.data,
            stated=options.stated,
            factor=options.factor,
            stride=options.stride,
        )
        results.append(summary(name, counts))
        if not options.json:
            if len(results) == 1:
                print("| " + " | ".join(results[0]) + " |")
                print("|" + "---|" * len(results[0]))
            print(
                "| " + " | ".join("-" if v is None else str(v) for v in results[-1].values()) + " |"
            )
        if options.list:
            for line in counts.missed:
                print("  missed", line)
            for line in counts.surplus:
                print("  surplus", line)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
