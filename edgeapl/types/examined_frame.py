"""A frame with all its answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeapl.types.arrays import Float32, Int64, check_array
from edgeapl.types.cells import CellStatus, Detections
from edgeapl.types.frame import Frame
from edgeapl.types.tiles import Tiles
from edgeapl.types.verdict import Reason


@dataclass(frozen=True, slots=True, eq=False)
class ExaminedFrame:
    """One frame after examination, with a row for every cell found in it.

    frame, detections : the frame and its N cells; N is 0 for a rejected frame.
    ids : int64 (N,), numbers of the cells within the slide.
    status : N entries, what became of each cell.
    roles : role name to float32 (N,) probabilities; NaN where the status is not SCORED.
    suspicion : float32 (N,), how strongly a cell speaks for APL, 0 to 1; NaN where not scored.
    features : float32 (N, D), what the slide's answer is pooled from, NaN where not scored; D is 0
        unless they are needed to explain the answer.
    rejected : why the gate did not let the frame pass; empty for a frame that was used.
    tiles : which parts of the frame were examined; None when they were not judged.
    """

    frame: Frame
    detections: Detections
    ids: Int64
    status: tuple[CellStatus, ...]
    roles: Mapping[str, Float32]
    suspicion: Float32
    rejected: tuple[Reason, ...] = ()
    features: Float32 = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    tiles: Tiles | None = None

    @property
    def examined_share(self) -> float:
        """Share of the frame that was examined, 0 to 1; 0 for a rejected frame."""
        if self.rejected:
            return 0.0
        return 1.0 if self.tiles is None else self.tiles.examined_share

    def __post_init__(self) -> None:
        count = len(self.detections)
        check_array("ExaminedFrame.ids", self.ids, np.int64, (count,))
        check_array("ExaminedFrame.suspicion", self.suspicion, np.float32, (count,))
        for role, values in self.roles.items():
            check_array(f"ExaminedFrame.roles[{role!r}]", values, np.float32, (count,))
        if self.features.size:
            check_array("ExaminedFrame.features", self.features, np.float32, (count, None))
        if len(self.status) != count:
            raise ValueError(f"ExaminedFrame.status: expected {count} rows, got {len(self.status)}")
        scored = np.array([status is CellStatus.SCORED for status in self.status], dtype=bool)
        if not np.array_equal(scored, np.isfinite(self.suspicion)):
            raise ValueError("ExaminedFrame.suspicion: expected a number for scored cells only")
