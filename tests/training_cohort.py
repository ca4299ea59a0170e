"""A small cohort of drawn cells: a folder per patient, below it folders named like classes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from edgeapl.report.pictures import png_bytes
from edgeapl.types import UInt8

SIDE = 64
LABELS = ("AML", "APL")
FOLDERS = {"AML": "Blast_no_lineage_spec", "APL": "Promyelocyte"}


def drawn_cell(label: str, seed: int) -> UInt8:
    """Draw one cell: those of APL have a smaller, redder nucleus and grains."""
    random = np.random.default_rng(seed)
    picture = np.full((SIDE, SIDE, 3), 225, dtype=np.uint8)
    middle = tuple((SIDE // 2 + random.integers(-5, 6, 2)).tolist())
    apl = label == "APL"
    cv2.circle(picture, middle, int(random.integers(20, 26)), (190, 170, 215), -1)
    nucleus = (160, 60, 120) if apl else (95, 60, 150)
    size = int(random.integers(9, 12) if apl else random.integers(14, 18))
    cv2.ellipse(picture, middle, (size, size - 3), random.uniform(0, 180), 0, 360, nucleus, -1)
    for at in random.integers(8, SIDE - 8, (30 if apl else 6, 2)).tolist():
        cv2.circle(picture, tuple(at), 1, (170, 40, 90), -1)
    noise = random.normal(0, 6, picture.shape)
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def write_cohort(folder: Path, patients: int = 8, cells: int = 6) -> Path:
    """Write ``slides/`` and ``labels.csv``; half of the patients have APL."""
    rows = ["patient,diagnosis"]
    for number in range(patients):
        label = LABELS[number % 2]
        rows.append(f"P{number},{label}")
        home = folder / "slides" / f"P{number}" / FOLDERS[label]
        home.mkdir(parents=True)
        for cell in range(cells):
            seed = 1000 * number + cell
            (home / f"{seed}.png").write_bytes(png_bytes(drawn_cell(label, seed)))
    write_labels(folder, rows)
    return folder


def write_labels(folder: Path, rows: Iterable[str]) -> Path:
    """Write the labels anew."""
    path = folder / "labels.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
