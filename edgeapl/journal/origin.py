"""Where a verdict comes from, as JSON: part of the payload of a journal row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeapl.types import Origin


def origin_to_json(origin: Origin) -> dict[str, Any]:
    """Return the fields for a record; none if nothing is known, as in older records."""
    if origin == Origin():
        return {}
    return {
        "bundle": {"name": origin.bundle, "version": origin.version},
        "demonstration": origin.demonstration,
        "sitting": origin.sitting,
        "results": origin.results,
        **({"slide_key": origin.slide_key} if origin.slide_key else {}),
    }


def origin_from_json(data: Mapping[str, Any]) -> Origin:
    """Read an origin from a record. Raises TypeError or AttributeError for other types."""
    bundle = data.get("bundle", {})
    return Origin(
        bundle=text_of(bundle.get("name", "")),
        version=text_of(bundle.get("version", "")),
        demonstration=data.get("demonstration", False) is True,
        sitting=text_of(data.get("sitting", "")),
        results=text_of(data.get("results", "")),
        slide_key=text_of(data.get("slide_key", "")),
    )


def text_of(value: object) -> str:
    """Return a value that must be text. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value
