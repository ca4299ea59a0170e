"""Collects the cells of a slide while its frames are finished."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeapl.api.cells import Cells
from edgeapl.api.pixels import PixelStore
from edgeapl.report.cell_classes import cell_kinds, role_kinds
from edgeapl.report.context import ReportContext
from edgeapl.report.tables import cell_areas
from edgeapl.types import ExaminedFrame, Float32, Int64

Number = TypeVar("Number", bound=np.generic)


class CellCollector:
    """Keeps what is known of every finished frame's cells, but no label images.

    Parameters
    ----------
    context : the model, whose roles name and colour the cells.
    """

    def __init__(self, context: ReportContext) -> None:
        self.pixels = PixelStore()
        self._context = context
        self._kinds = role_kinds(context)
        self._sources: dict[int, str] = {}
        self._ids: list[Int64] = []
        self._frames: list[Int64] = []
        self._boxes: list[Float32] = []
        self._areas: list[Float32] = []
        self._found: list[Float32] = []
        self._suspicion: list[Float32] = []
        self._roles: dict[str, list[Float32]] = {role: [] for role in context.roles}
        self._status: list[str] = []
        self._classes: list[str] = []

    def add(self, examined: ExaminedFrame) -> None:
        """Add a finished frame; a rejected one has no cells."""
        if examined.rejected:
            return
        frame, found = examined.frame, examined.detections
        self._sources[frame.index] = frame.source
        self.pixels.add(frame)
        self._ids.append(examined.ids)
        self._frames.append(np.full(len(found), frame.index, dtype=np.int64))
        self._boxes.append(found.boxes)
        self._areas.append(np.asarray(cell_areas(found), dtype=np.float32))
        self._found.append(found.scores)
        self._suspicion.append(examined.suspicion)
        for role, values in self._roles.items():
            values.append(examined.roles[role])
        self._status += [status.value for status in examined.status]
        kinds = cell_kinds(examined, self._context, self._kinds)
        self._classes += [kind.table_class for kind in kinds]

    def cells(self) -> Cells:
        """Return all cells so far, in the order in which their frames were finished."""
        return Cells(
            ids=_joined(self._ids, np.int64),
            frames=_joined(self._frames, np.int64),
            boxes=_joined(self._boxes, np.float32).reshape(-1, 4),
            areas_um2=_joined(self._areas, np.float32),
            detection_scores=_joined(self._found, np.float32),
            status=np.array(self._status, dtype=np.str_),
            classes=np.array(self._classes, dtype=np.str_),
            roles={role: _joined(parts, np.float32) for role, parts in self._roles.items()},
            suspicion=_joined(self._suspicion, np.float32),
            sources=dict(self._sources),
            pixels=self.pixels,
            colours={kind.table_class: kind.colour for kind in self._kinds.values()},
        )


def _joined(parts: Sequence[NDArray[Number]], dtype: type[Number]) -> NDArray[Number]:
    joined = np.concatenate(parts) if parts else np.empty(0, dtype=dtype)
    joined.flags.writeable = False
    return joined
