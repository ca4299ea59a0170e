"""The cells of a frame: where they are, their scores, and what became of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from edgeapl.types.arrays import Float32, Int64, UInt16, check_array, read_only
from edgeapl.types.frame import Frame


class CellStatus(str, Enum):
    """What became of one cell."""

    SCORED = "scored"
    NOT_EXAMINED = "not_examined"  # its time was up, or it cannot be seen well enough
    FAILED = "failed"
    NOT_NEEDED = "not_needed"  # left out on purpose: the flag was decided without it


@dataclass(frozen=True, slots=True, eq=False)
class Detections:
    """The nucleated cells found in one frame, one row each.

    frame : the frame they were found in.
    boxes : float32 (N, 4), x0 y0 x1 y1 in px, half-open, inside the frame.
    labels : uint16 (H, W); pixels of the cell in row i are i + 1, all others 0.
    scores : float32 (N,), confidence that the row is a nucleated cell, 0 to 1.
    """

    frame: Frame
    boxes: Float32
    labels: UInt16
    scores: Float32

    def __post_init__(self) -> None:
        check_array("Detections.boxes", self.boxes, np.float32, (None, 4))
        check_array(
            "Detections.labels", self.labels, np.uint16, (self.frame.height, self.frame.width)
        )
        check_array("Detections.scores", self.scores, np.float32, (len(self.boxes),))
        if len(self.boxes):
            x0, y0, x1, y1 = self.boxes.T
            inside = (x0 >= 0) & (y0 >= 0) & (x1 <= self.frame.width) & (y1 <= self.frame.height)
            if not bool(np.all(inside & (x0 < x1) & (y0 < y1))):
                raise ValueError("Detections.boxes: every box must have an area inside the frame")
        if int(self.labels.max(initial=0)) > len(self.boxes):
            raise ValueError(
                f"Detections.labels: expected labels up to {len(self.boxes)}, "
                f"got {int(self.labels.max())}"
            )
        for array in (self.boxes, self.labels, self.scores):
            read_only(array)

    def __len__(self) -> int:
        return len(self.boxes)

    def only(self, rows: Int64) -> Detections:
        """Keep some rows, int64 (K,), in the order given; labels are numbered anew."""
        number = np.zeros(len(self) + 1, dtype=np.uint16)
        number[rows + 1] = np.arange(1, len(rows) + 1)
        return Detections(
            frame=self.frame,
            boxes=self.boxes[rows],
            labels=number[self.labels],
            scores=self.scores[rows],
        )

    @property
    def centres(self) -> Float32:
        """Box centres, float32 (N, 2), x y in px."""
        return np.asarray((self.boxes[:, :2] + self.boxes[:, 2:]) / 2, dtype=np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class CellScores:
    """The networks' answers about some cells of a slide, one row per cell.

    ids : int64 (N,), numbers of the cells within the slide.
    roles : role name to float32 (N,) probabilities, finite, 0 to 1.
    features : float32 (N, D), finite; D is 0 when the networks give none.
    """

    ids: Int64
    roles: Mapping[str, Float32]
    features: Float32

    def __post_init__(self) -> None:
        check_array("CellScores.ids", self.ids, np.int64, (None,))
        count = len(self.ids)
        for role, values in self.roles.items():
            name = f"CellScores.roles[{role!r}]"
            check_array(name, values, np.float32, (count,))
            if not bool(np.all((values >= 0) & (values <= 1))):
                raise ValueError(f"{name}: expected finite probabilities from 0 to 1")
            read_only(values)
        check_array("CellScores.features", self.features, np.float32, (count, None))
        if not bool(np.all(np.isfinite(self.features))):
            raise ValueError("CellScores.features: expected finite numbers")
        read_only(self.ids)
        read_only(self.features)

    def __len__(self) -> int:
        return len(self.ids)

    def shifted(self, by: int) -> CellScores:
        """Return the same answers about cells whose numbers are larger by so many."""
        return replace(self, ids=self.ids + by)

    @classmethod
    def none(cls) -> CellScores:
        """Return answers about no cell."""
        return cls(np.empty(0, dtype=np.int64), {}, np.empty((0, 0), dtype=np.float32))

    @classmethod
    def joined(cls, parts: Sequence[CellScores]) -> CellScores:
        """Return the answers of one part or more together, by the numbers of their cells."""
        ids = np.concatenate([part.ids for part in parts])
        rows = np.argsort(ids, kind="stable")
        return cls(
            ids=ids[rows],
            roles={
                name: np.concatenate([part.roles[name] for part in parts])[rows]
                for name in parts[0].roles
            },
            features=np.concatenate([part.features for part in parts])[rows],
        )
