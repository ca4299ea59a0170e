"""Replace the segmenter of a model."""

from __future__ import annotations

from dataclasses import replace

from edgeapl.bundle.digest import sha256_of_parts
from edgeapl.bundle.specs import SegmenterSpec
from edgeapl.errors import UsageError
from edgeapl.model.assembled import Model
from edgeapl.protocols import Segmenter
from edgeapl.stages.sam import SamSegmenter
from edgeapl.stages.segment import HsvWatershed

CLASSICAL, SAM = "hsv-watershed", "sam"
PROMPTED: dict[str, str] = {"sam-boxes": "boxes", "sam-grid": "grid"}
"""Segment Anything with prompts that are not the bundle's own."""

NAMES = (CLASSICAL, SAM, *PROMPTED)


def check_segmenter(spec: SegmenterSpec, name: str) -> None:
    """Raise UsageError when a bundle cannot find cells in the way that is named."""
    if is_own(spec, name):
        return
    which = f"--segmenter {name}"
    if name not in NAMES:
        own = "" if spec.kind in NAMES else f", or leave it out for {spec.kind}"
        raise UsageError("no such segmenter", which, f"choose one of: {', '.join(NAMES)}{own}")
    if spec.kind == "field":
        mend = "leave --segmenter out: this bundle judges whole fields"
        raise UsageError("bundle does not search for cells", which, mend)
    if name != CLASSICAL and spec.sam is None:
        mend = "export it with edgeapl export RECIPE --segmenter sam --weights sam=FILE"
        raise UsageError("bundle has no Segment Anything", which, mend)


def is_own(spec: SegmenterSpec, name: str) -> bool:
    """Return whether a name stands for the bundle's own segmenter."""
    return name == spec.kind or (spec.sam is not None and name == f"sam-{spec.sam.prompts}")


def with_segmenter(model: Model, name: str | None) -> Model:
    """Return a model that finds cells in the way that is named; None for the bundle's own.

    Parameters
    ----------
    name : that `check_segmenter` accepted.

    What was proven was proven with the bundle's own segmenter: with another, no slide is cleared.
    """
    spec = model.bundle.manifest.segmenter
    if name is None or is_own(spec, name):
        return model
    words = f"cells are found by {name} here, and what was proven was proven with {spec.kind}"
    proven = model.clearing.certificate is not None
    return replace(
        model,
        segmenter=_segmenter(model, name),
        engine_digest=sha256_of_parts([model.engine_digest, "cells are found by", name]),
        clearing=replace(model.clearing, without=words) if proven else model.clearing,
    )


def _segmenter(model: Model, name: str) -> Segmenter:
    spec = model.bundle.manifest.segmenter.sam
    if name == CLASSICAL or spec is None:
        return HsvWatershed()
    sam = spec.model_copy(update={"prompts": PROMPTED[name]})
    return SamSegmenter(model.engines[sam.encoder], model.engines[sam.decoder], sam)
