"""Cells of one frame as GeoJSON that QuPath reads: File, Import objects from file.

The keys are those of QuPath 0.4 and later (``QuPathTypeAdapters.java``): ``objectType``,
``classification`` with ``name`` and ``color``, ``measurements`` as numbers, ``metadata`` as text.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from edgeapl.report.cell_classes import CellKind
from edgeapl.report.outline import Ring
from edgeapl.types import CellStatus, ExaminedFrame
from edgeapl.wording.printable import printable

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


class Placing(Protocol):
    """Where a frame lies on a scan: px of the scan, and how many of them are one of the frame's."""

    @property
    def x(self) -> int:
        """Of its left side."""

    @property
    def y(self) -> int:
        """Of its upper side."""

    @property
    def shrink(self) -> float:
        """Px of the scan in one of the frame's."""


def joined_features(folder: Path, place_of: Callable[[int], Placing]) -> Iterator[bytes]:
    """Give one GeoJSON file of those of all frames in a folder, piece by piece.

    place_of : where a frame lies, by its index, which its file's name begins with.
    """
    yield b'{"type": "FeatureCollection", "features": ['
    first = True
    for file in sorted(folder.glob("cells-*.geojson")):
        place = place_of(int(file.name.split("-")[1]))
        for feature in json.loads(file.read_bytes())["features"]:
            geometry = feature["geometry"]
            geometry["coordinates"] = _moved(geometry["coordinates"], place)
            text = json.dumps(feature, allow_nan=False, ensure_ascii=True)
            yield (text if first else ", " + text).encode("ascii")
            first = False
    yield b"]}"


def _moved(coordinates: Any, place: Placing) -> Any:
    """Bring points of a frame, in lists of lists, to the scan."""
    if isinstance(coordinates[0], list):
        return [_moved(part, place) for part in coordinates]
    x, y = coordinates
    return [round(place.x + x * place.shrink, 2), round(place.y + y * place.shrink, 2)]


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
