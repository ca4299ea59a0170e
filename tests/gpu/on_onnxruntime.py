"""onnxruntime's CUDA provider: built, proven and timed as a user would."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.calibration.builder.build import build_engine
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.engines.registry import CUDA, available_targets
from edgeapl.engines.store.record import Precision
from edgeapl.errors import EdgeAplError
from edgeapl.inference import classify
from edgeapl.model import EMBEDDED, ModelRequest, open_model
from edgeapl.stages.crop import cut_cells
from tests.data.measure_gpu import noise
from tests.gpu.record import UnmetError
from tests.gpu.site import FRAME, Site

CELLS = 169
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def onnxruntime_cuda(site: Site) -> dict[str, Any]:
    """Build all bundles in FP32 and FP16 for it, and time a frame of 169 cells with each."""
    why = {one.target: one.run for one in available_targets()}[CUDA]
    if site.dry or why:
        raise UnmetError(why or "there is no GPU")
    found: dict[str, Any] = {}
    failed: list[str] = []
    for folder in (EMBEDDED, *site.bundles):
        for precision in PRECISIONS:
            name = f"{folder.name} {precision}"
            try:
                found[name] = _built(site, folder, precision)
            except EdgeAplError as error:
                failed.append(f"{name}: {error}")
    if failed:
        raise UnmetError(f"{'; '.join(failed)}; {found}")
    return found


def _built(site: Site, folder: Path, precision: Precision) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as work:
        request = BuildRequest(folder, precision, CUDA, Path(work) / "e", frames=site.frames)
        engines = build_engine(request, lambda _: None)
        record = engines.record
        with open_model(ModelRequest(folder, engines=engines)) as model:
            cells = cut_cells(noise(model, CELLS, *FRAME), model.bundle.manifest.crop)
            times = []
            for _ in range(site.rounds(20, 2)):
                start = time.perf_counter()
                classify(model.bundle.manifest, model.engines, cells, model.batch_size).checked()
                times.append(time.perf_counter() - start)
    return {
        "proof": record.proof["candidates"],
        "seconds_for_16_cells": record.timing["seconds_for_16_cells"],
        "speed_against_bundle": record.timing["speed_against_bundle"],
        "frame_ms": 1e3 * float(np.median(times[1:])),
    }
