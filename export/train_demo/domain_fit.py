"""Fits the domain guard of a bundle by running the station's own stages over drawn slides."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.load import Bundle
from edgeapl.export.train_demo.pool import drawn_frame
from edgeapl.export.train_demo.trainer import Say
from edgeapl.inference import classify
from edgeapl.model import Model, ModelRequest, open_model
from edgeapl.model.sealer import add_files
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.domain_fit import fit_domain_model
from edgeapl.stages.frame_descriptor import describe_frame
from edgeapl.stages.slide_descriptor import describe_slide

FITTED, LIMITING = range(3000, 3120), range(4000, 4060)
"""Slide numbers: means and covariances come from the first, limits from the second."""

FRAMES = 2


def fit_domain(folder: Path, say: Say) -> Bundle:
    """Describe drawn slides through the bundle's own networks and store the guard in it."""
    with open_model(ModelRequest(folder, self_test=False)) as model:
        fitted = [_describe(model, number) for number in FITTED]
        say(f"{len(fitted)} slides described")
        limiting = [_describe(model, number) for number in LIMITING]
        # A later version would say that its certificate is the old one's.
        version = model.bundle.manifest.version.split("+")[0]
    file = io.BytesIO()
    fit_domain_model(fitted, limiting).save(file)
    settings = {"version": version, "domain": {"file": "domain.npz"}}
    return add_files(folder, settings, {"domain.npz": file.getvalue()})


def _describe(model: Model, number: int) -> dict[str, NDArray[np.float64]]:
    manifest = model.bundle.manifest
    frames = []
    for index in range(FRAMES):
        _, frame = drawn_frame(number, index)
        found = model.segmenter.segment(frame)
        crops = cut_cells(found, manifest.crop)
        scores = classify(manifest, model.engines, crops).checked().scores
        frames.append(describe_frame(frame, found, scores.features))
    return describe_slide(frames)
