"""The collected cells of a calibration set, and what was seen of each slide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.cell_selection import picture_hashes, with_length_one
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.stages.frame_descriptor import FrameDescriptor
from edgeapl.types import CellScores, Float32, ScaleOrigin, UInt8

NO_ROLE = "none of the roles"

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Cell:
    """A candidate cell.

    slide, image : name of the slide and SHA-256 (hex) of the image. file : the image's name.
    box : x0 y0 x1 y1 in px; None for an image of one cell. predicted : the role with the highest
    probability among those at or above their threshold. suspicion : 1 if that role suggests APL.
    """

    slide: str
    image: str
    file: str
    box: Box | None
    predicted: str
    suspicion: float


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """A whole frame for the detector: its path and scale."""

    slide: str
    path: Path
    um_per_px: float
    digest: str


@dataclass(slots=True, eq=False)
class SlideSeen:
    """What was seen of one slide.

    images : image files it has. looked_at : of those. left_out : files the bundle is not made for.
    unusable : file name and reason of each image that could not be used. duplicates : images that
    were there before. excluded : names of images of test slides, which were not used. cells : found
    on the images looked at. scales : origin and µm per px of these, and how many have them.
    """

    name: str
    images: int
    left_out: int = 0
    looked_at: int = 0
    duplicates: int = 0
    cells: int = 0
    unusable: list[tuple[str, str]] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)
    frames: list[FrameDescriptor] = field(default_factory=list)
    scales: Counter[tuple[ScaleOrigin, float]] = field(default_factory=Counter)


@dataclass(slots=True, eq=False)
class CollectedCells:
    """All candidates; row i of crops, features and hashes is cell i.

    crops : uint8 (size, size, 3) each, on disk. features : float32 (N, D) of length 1.
    hashes : uint64 (N,) of the pictures. fields : frames for the detector.
    """

    crops: DiskArray
    slides: list[SlideSeen] = field(default_factory=list)
    cells: list[Cell] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    _features: list[Float32] = field(default_factory=list)
    _hashes: list[NDArray[np.uint64]] = field(default_factory=list)
    _answers: list[CellScores] = field(default_factory=list)

    @property
    def answers(self) -> dict[str, Float32]:
        """What the networks answered about all cells: role to float32 (N,).

        With `CollectionOptions.classes` the columns of `with_classes` are among the roles.
        """
        names = self._answers[0].roles if self._answers else ()
        return {
            name: np.concatenate([part.roles[name] for part in self._answers]) for name in names
        }

    @property
    def features(self) -> Float32:
        """Features of all cells, float32 (N, D), rows of length 1."""
        return with_length_one(np.concatenate(self._features))

    @property
    def hashes(self) -> NDArray[np.uint64]:
        """Hashes of all cells, uint64 (N,)."""
        return np.concatenate(self._hashes)

    def add(
        self,
        cells: Sequence[Cell],
        crops: UInt8,
        features: Float32,
        scores: CellScores | None = None,
    ) -> None:
        """Add cells of one slide, and what the networks answered about them."""
        self.cells.extend(cells)
        self.crops.append(crops)
        self._features.append(features)
        self._hashes.append(picture_hashes(crops))
        if scores is not None:
            self._answers.append(scores)


def predictions(manifest: Manifest, scores: CellScores) -> list[str]:
    """Return for each cell the likeliest role among those at or above their threshold."""
    names = [role.name for role in manifest.roles]
    columns = np.stack([scores.roles[name] for name in names], axis=1)
    thresholds = np.array([role.threshold for role in manifest.roles], dtype=np.float32)
    positive = np.where(columns >= thresholds, columns, -1)
    best = positive.argmax(axis=1)
    return [names[role] if positive[row, role] >= 0 else NO_ROLE for row, role in enumerate(best)]


def appearance_features(scores: CellScores, crops: UInt8) -> Float32:
    """Return a stand-in for features if the networks output none: the cell's look and its roles.

    The look is the crop reduced to 8 x 8 px minus its mean colour, so that illumination cancels.
    """
    small = np.stack([cv2.resize(crop, (8, 8), interpolation=cv2.INTER_AREA) for crop in crops])
    look = small.reshape(len(crops), -1, 3).astype(np.float32)
    look = look - look.mean(axis=1, keepdims=True)
    roles = np.stack(list(scores.roles.values()), axis=1)
    parts = [with_length_one(look.reshape(len(crops), -1)), roles]
    return np.asarray(np.concatenate(parts, axis=1), dtype=np.float32)


def count_by_class(cells: Sequence[Cell]) -> dict[str, int]:
    """Count cells per predicted class."""
    return dict(sorted(Counter(cell.predicted for cell in cells).items()))
