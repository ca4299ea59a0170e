"""A bundle that is ready to run: networks opened, reducer and domain built, self-test passed."""

from __future__ import annotations

from pathlib import Path

from edgeapl.bundle.manifest import Manifest
from edgeapl.model.assembled import Model
from edgeapl.model.opener import open_model
from edgeapl.model.request import ModelRequest
from edgeapl.types import Origin

__all__ = [
    "BLOOD_CELLS",
    "DEMONSTRATION",
    "EMBEDDED",
    "Model",
    "ModelRequest",
    "is_embedded",
    "open_model",
    "origin_of",
]

_BUNDLES = Path(__file__).parent.parent / "models"

EMBEDDED = _BUNDLES / "apl-demo"
"""The demonstration, for drawn images: used where none is named and the images are drawn."""

BLOOD_CELLS = _BUNDLES / "blood-cells"
"""The bundle for real images where none is named: it counts kinds of cells and never clears."""

DEMONSTRATION = "apl-demo"
"""Name of the demonstration and of what is calibrated from it: no answer of it is a patient's."""


def is_embedded(folder: Path) -> bool:
    """Whether a bundle is part of the program."""
    return folder.resolve() in (EMBEDDED.resolve(), BLOOD_CELLS.resolve())


def origin_of(
    manifest: Manifest, results: Path, *, drawn: bool = False, sitting: str = ""
) -> Origin:
    """Return which bundle answers and where its results lie; `drawn` slides are no patient's."""
    return Origin(
        bundle=manifest.name,
        version=manifest.version,
        demonstration=drawn or manifest.name == DEMONSTRATION,
        sitting=sitting,
        results=str(results.resolve()),
    )
