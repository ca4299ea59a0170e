"""Treat an image as one cell, as CellaVision-style systems deliver them, or as one field."""

from __future__ import annotations

import numpy as np

from edgeapl.protocols import Segmenter
from edgeapl.types import Detections, Float32, Frame, UInt16


def whole_crop(frame: Frame, segmenter: Segmenter) -> Detections:
    """Return one detection whose box is the whole image.

    Its label is the cell that the segmenter finds nearest to the middle, where the delivering
    system puts it; when none is found, the whole image is the label and the score is 0.
    """
    found = segmenter.segment(frame)
    if len(found):
        middle = np.array([frame.width / 2, frame.height / 2], dtype=np.float32)
        row = int(np.linalg.norm(found.centres - middle, axis=1).argmin())
        labels: UInt16 = (found.labels == row + 1).astype(np.uint16)
        scores: Float32 = found.scores[row : row + 1].copy()
    else:
        labels = np.ones((frame.height, frame.width), dtype=np.uint16)
        scores = np.zeros(1, dtype=np.float32)
    box = np.array([[0, 0, frame.width, frame.height]], dtype=np.float32)
    return Detections(frame=frame, boxes=box, labels=labels, scores=scores)


class WholeField:
    """Stands where a segmenter does, for networks that judge a field of view as one.

    Every frame gives one row: its box and its label are the whole frame.
    """

    def segment(self, frame: Frame) -> Detections:
        """Return the frame as one detection."""
        return Detections(
            frame=frame,
            boxes=np.array([[0, 0, frame.width, frame.height]], dtype=np.float32),
            labels=np.ones((frame.height, frame.width), dtype=np.uint16),
            scores=np.ones(1, dtype=np.float32),
        )
