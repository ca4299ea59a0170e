"""A bundle made ready to run: networks opened, reducer and domain built, self-test passed."""

from __future__ import annotations

from pathlib import Path

from edgeapl.bundle.manifest import Manifest
from edgeapl.model.assembled import Model
from edgeapl.model.opener import open_model
from edgeapl.model.request import ModelRequest
from edgeapl.types import Origin

__all__ = ["DEMONSTRATION", "EMBEDDED", "Model", "ModelRequest", "open_model", "origin_of"]

EMBEDDED = Path(__file__).parent.parent / "models" / "apl-demo"
"""The bundle that is used when none is named."""

DEMONSTRATION = "apl-demo"
"""Name of the demonstration and of what is calibrated from it: no answer of it is a patient's."""


def origin_of(
    manifest: Manifest, results: Path, *, drawn: bool = False, sitting: str = ""
) -> Origin:
    """Say which bundle answers and where its results lie; `drawn` slides are no patient's."""
    return Origin(
        bundle=manifest.name,
        version=manifest.version,
        demonstration=drawn or manifest.name == DEMONSTRATION,
        sitting=sitting,
        results=str(results.resolve()),
    )
