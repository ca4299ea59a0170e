"""JSON stored beside a verdict's figures: the bundle's certificate and the slide's look."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edgeapl.types import Certificate, Look


def certificate_to_json(certificate: Certificate | None) -> dict[str, Any] | None:
    """Return a certificate as plain JSON values."""
    return None if certificate is None else asdict(certificate)


def certificate_from_json(data: Any) -> Certificate | None:
    """Restore a certificate; older records have none. Raises TypeError for anything else."""
    return None if data is None else Certificate(**data)


def look_to_json(look: Look | None) -> dict[str, Any] | None:
    """Return each group's numbers, with its distance and limit where known."""
    if look is None:
        return None
    return {
        name: {
            "values": [float(value) for value in look.groups.get(name, ())],
            "distance": float(look.distances[name][0]) if name in look.distances else None,
            "limit": float(look.distances[name][1]) if name in look.distances else None,
        }
        for name in sorted({*look.groups, *look.distances})
    }


def look_from_json(data: Any) -> Look | None:
    """Restore a look; older records have none. Raises KeyError or TypeError."""
    if data is None:
        return None
    groups = {name: tuple(map(float, one["values"])) for name, one in data.items() if one["values"]}
    distances = {
        name: (float(one["distance"]), float(one["limit"]))
        for name, one in data.items()
        if one["distance"] is not None
    }
    return Look(groups, distances)
