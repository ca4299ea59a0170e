"""Frames as a detector takes them, with the boxes that people drew."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeapl.export.training.box_files import BoxedImage
from edgeapl.sources.decode import read_image
from edgeapl.stages.detect.detector import letterbox
from edgeapl.types import Float32, UInt8


@dataclass(frozen=True, slots=True, eq=False)
class FramePool:
    """Frames, one row each.

    pixels : uint8 (N, H, W, 3) RGB. boxes : float32 (K, 4) each, px of these frames.
    files, digests : of the images.
    """

    pixels: UInt8
    boxes: tuple[Float32, ...]
    files: tuple[Path, ...]
    digests: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.files)


def load_frames(
    images: Sequence[BoxedImage], height: int, width: int, advance: Callable[[int, int], None]
) -> FramePool:
    """Decode images and bring them to one size as the station does, boxes with them.

    Raises InputError for the first image that cannot be read.
    """
    pixels = np.empty((len(images), height, width, 3), dtype=np.uint8)
    boxes: list[Float32] = []
    digests: list[str] = []
    for row, image in enumerate(images):
        advance(row, len(images))
        decoded = read_image(image.file)
        pixels[row], scale = letterbox(decoded.pixels, height, width)
        boxes.append((image.boxes * scale).astype(np.float32))
        digests.append(decoded.digest)
    advance(len(images), len(images))
    return FramePool(pixels, tuple(boxes), tuple(image.file for image in images), tuple(digests))
