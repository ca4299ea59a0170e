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
"""Digits of scores and areas after the point."""


def feature_collection(
    slide: str,
    examined: ExaminedFrame,
    kinds: Sequence[CellKind],
    outlines: Sequence[tuple[Ring, ...]],
    areas: Sequence[float],
) -> bytes:
    """Return the GeoJSON file of one frame, UTF-8; coordinates are px of the full frame.

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
    """Position of a frame on a scan, px of the scan, and scan px per frame px."""

    @property
    def x(self) -> int:
        """Left side, px of the scan."""

    @property
    def y(self) -> int:
        """Upper side, px of the scan."""

    @property
    def shrink(self) -> float:
        """Scan px per frame px."""


def joined_features(folder: Path, place_of: Callable[[int], Placing]) -> Iterator[bytes]:
    """Yield the parts of one GeoJSON file made of all frames' files in a folder.

    place_of : position of a frame by its index, with which its file's name begins.
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
    """Convert points of a frame, in nested lists, to coordinates of the scan."""
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
