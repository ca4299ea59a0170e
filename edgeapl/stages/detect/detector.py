"""Find boxes on a frame with the two networks of Faster R-CNN."""

from __future__ import annotations

from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.specs import DetectorSpec
from edgeapl.errors import EngineError
from edgeapl.protocols import Engine
from edgeapl.stages.detect.boxes import clipped, large_enough, moved, thinned_apart
from edgeapl.stages.detect.proposals import proposals
from edgeapl.stages.detect.roi_align import align
from edgeapl.types import Float32, UInt8

DIVISORS = (10.0, 5.0)
"""Of the box head's shifts and growths (torchvision's `box_coder`)."""

LEVELS = 4
SMALLEST_PX = 1e-2


def detect(
    pixels: UInt8, detector: Engine, box_head: Engine, spec: DetectorSpec
) -> tuple[Float32, Float32]:
    """Find the cells of a frame.

    Parameters
    ----------
    pixels : uint8 (H, W, 3) RGB. detector, box_head, spec : see `DetectorSpec`.

    Returns
    -------
    boxes float32 (N, 4) px of the frame and scores float32 (N,), best first, N at most
    `max_detections`.

    Raises EngineError when a network fails or gives anything that is not finite.
    """
    shrunk, scale = letterbox(pixels, spec.input_height, spec.input_width)
    maps = _run(detector, shrunk[None], "detector")
    regions = proposals(maps, spec.input_height, spec.input_width)
    if not len(regions):
        return np.empty((0, 4), dtype=np.float32), np.empty(0, dtype=np.float32)
    pyramid = [np.asarray(maps[f"features_{level}"], np.float32) for level in range(LEVELS)]
    boxes, scores = _judge(regions, pyramid, box_head, spec)
    boxes = clipped(boxes / np.float32(scale), *pixels.shape[:2])
    rows = np.flatnonzero((scores > spec.score_threshold) & large_enough(boxes, SMALLEST_PX))
    alone = np.zeros(len(rows), dtype=np.int64)
    kept = rows[thinned_apart(boxes[rows], scores[rows], alone, spec.nms_threshold)]
    kept = kept[: spec.max_detections]
    return boxes[kept], scores[kept]


def letterbox(
    pixels: UInt8, height: int, width: int, fill: tuple[int, int, int] = (0, 0, 0)
) -> tuple[UInt8, float]:
    """Bring a frame to the networks' input without changing its proportions.

    Returns uint8 (height, width, 3), of the colour `fill` to the right or below where the frame
    ends, and the scale, input px per frame px.
    """
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    rows = min(height, max(1, round(pixels.shape[0] * scale)))
    columns = min(width, max(1, round(pixels.shape[1] * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    given = np.full((height, width, 3), fill, dtype=np.uint8)
    given[:rows, :columns] = cv2.resize(pixels, (columns, rows), interpolation=how)
    return given, scale


def _judge(
    regions: Float32, pyramid: list[Float32], box_head: Engine, spec: DetectorSpec
) -> tuple[Float32, Float32]:
    """Ask the box head about all regions; boxes and scores of the class `cell`, row by row.

    A detector with several classes of cells returns the best of them.
    """
    boxes, scores = [], []
    for start in range(0, len(regions), spec.batch_size):
        some = regions[start : start + spec.batch_size]
        answers = _run(box_head, align(pyramid, some, spec.input_height), "box head")
        logits = np.asarray(answers["class_logits"], dtype=np.float64)
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        best = 1 + shares[:, 1:].argmax(axis=1)  # class 0 is the background
        rows = np.arange(len(some))
        deltas = np.asarray(answers["box_deltas"], np.float32).reshape(len(some), -1, 4)
        boxes.append(moved(some, deltas[rows, best], DIVISORS))
        scores.append(shares[rows, best].astype(np.float32))
    return np.concatenate(boxes), np.concatenate(scores)


def _run(engine: Engine, rows: NDArray[np.generic], name: str) -> Mapping[str, NDArray[np.generic]]:
    """Run a network of one input, and refuse answers that are no numbers."""
    (given,) = engine.inputs
    answers = engine.run({given: np.ascontiguousarray(rows)})
    for output, values in answers.items():
        if not bool(np.isfinite(values).all()):
            raise EngineError(f"{name} gave something that is no number", output, "export it again")
    return answers
