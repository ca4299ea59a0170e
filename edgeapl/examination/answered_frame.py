"""A frame with its cells and all their answers, kept so that it need not be examined again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from edgeapl.types import CellScores, Detections, Frame


@dataclass(frozen=True, slots=True, eq=False)
class AnsweredFrame:
    """A frame and what the networks said of it.

    detections : the cells as they were found. scores : of all of them; their ids are the rows.

    Raises ValueError when a cell has no answer.
    """

    detections: Detections
    scores: CellScores

    def __post_init__(self) -> None:
        if not np.array_equal(self.scores.ids, np.arange(len(self.detections))):
            raise ValueError("AnsweredFrame.scores: expected one row per cell, in their order")


class FrameStore(Protocol):
    """Keeps answered frames between two runs."""

    def find(self, frame: Frame) -> AnsweredFrame | None:
        """Return what was kept of a frame; None without. Several threads may ask."""

    def keep(self, answered: AnsweredFrame) -> None:
        """Keep a frame. Raises StorageError."""
