"""A box detector in the place of a segmenter."""

from __future__ import annotations

import numpy as np

from edgeapl.bundle.specs import DetectorSpec
from edgeapl.protocols import Engine
from edgeapl.stages.detect.detector import detect
from edgeapl.types import Detections, Float32, Frame, UInt16


class FasterRcnnSegmenter:
    """Finds cells with Faster R-CNN.

    A box detector gives no masks: the label of a cell is the ellipse in its box, as Eckardt 2022
    draws it (Fig. 2A). A pixel in several ellipses belongs to the cell whose centre is nearest,
    measured in that cell's own radii.

    Parameters
    ----------
    detector, box_head : its two networks. spec : the numbers between them.
    """

    def __init__(self, detector: Engine, box_head: Engine, spec: DetectorSpec) -> None:
        self._detector = detector
        self._box_head = box_head
        self._spec = spec

    def segment(self, frame: Frame) -> Detections:
        """Find the cells, best first; raises EngineError when a network fails."""
        boxes, scores = detect(frame.pixels, self._detector, self._box_head, self._spec)
        return Detections(
            frame=frame,
            boxes=boxes,
            labels=ellipses(boxes, frame.height, frame.width),
            scores=scores,
        )


def ellipses(boxes: Float32, height: int, width: int) -> UInt16:
    """Draw the ellipse of every box; row i is i + 1.

    Returns uint16 (height, width).
    """
    labels = np.zeros((height, width), dtype=np.uint16)
    nearest = np.ones((height, width), dtype=np.float32)
    for row, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
        left, top = max(0, int(x0)), max(0, int(y0))
        right, bottom = min(width, int(np.ceil(x1))), min(height, int(np.ceil(y1)))
        x = (np.arange(left, right) + 0.5 - (x0 + x1) / 2) / ((x1 - x0) / 2)
        y = (np.arange(top, bottom) + 0.5 - (y0 + y1) / 2) / ((y1 - y0) / 2)
        away = (x[None] ** 2 + y[:, None] ** 2).astype(np.float32)
        place = (slice(top, bottom), slice(left, right))
        mine = away < nearest[place]
        labels[place][mine] = row + 1
        nearest[place][mine] = away[mine]
    return labels
