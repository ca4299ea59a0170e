"""Cells of one frame as GeoJSON that QuPath reads: File, Import objects from file.

The keys are those of QuPath 0.4 and later (``QuPathTypeAdapters.java``): ``objectType``,
``classification`` with ``name`` and ``color``, ``measurements`` as numbers, ``metadata`` as text.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from typing import Any

from edgeapl.report.kinds import CellKind
from edgeapl.report.outline import Ring
from edgeapl.sources.names import printable
from edgeapl.types import CellStatus, ExaminedFrame

DECIMALS = 4
"""Digits kept of scores and areas."""


def feature_collection(
    slide: str,
    examined: ExaminedFrame,
    kinds: Sequence[CellKind],
    outlines: Sequence[tuple[Ring, ...]],
    areas: Sequence[float],
) -> bytes:
    """Give the GeoJSON file of one frame, UTF-8; coordinates are px of the full frame.

    Parameters
    ----------
    kinds, outlines, areas : one per cell; areas in µm².
    """
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{examined.frame.digest}:{cell}")),
            "geometry": _geometry(outlines[row]),
            "properties": {
                "objectType": "detection",
                "name": f"cell {cell}",
                "classification": {"name": kinds[row].name, "color": list(kinds[row].colour)},
                "measurements": _measurements(examined, row, areas[row]),
                "metadata": {"slide": printable(slide), "status": examined.status[row].value},
            },
        }
        for row, cell in enumerate(examined.ids.tolist())
    ]
    collection = {"type": "FeatureCollection", "features": features}
    return json.dumps(collection, allow_nan=False, ensure_ascii=True).encode("ascii")


def _measurements(examined: ExaminedFrame, row: int, area: float) -> dict[str, float]:
    measured = {
        "Area µm^2": round(area, DECIMALS),
        "Detection score": round(float(examined.detections.scores[row]), DECIMALS),
    }
    if examined.status[row] is CellStatus.SCORED:
        for role, values in examined.roles.items():
            measured[f"Probability {role}"] = round(float(values[row]), DECIMALS)
        measured["Suspicion"] = round(float(examined.suspicion[row]), DECIMALS)
    return measured


def _geometry(rings: tuple[Ring, ...]) -> dict[str, Any]:
    closed = [[*ring.tolist(), ring[0].tolist()] for ring in rings]
    if len(closed) == 1:
        return {"type": "Polygon", "coordinates": closed}
    return {"type": "MultiPolygon", "coordinates": [[ring] for ring in closed]}
