"""onnxruntime's CUDA provider: built, proven and timed as a user would."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.calibration.builder.build import build_engine
from edgeapl.calibration.builder.request import BuildRequest
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.engines.registry import CUDA
from edgeapl.engines.store.record import Precision
from edgeapl.inference import classify
from edgeapl.inference.routing import chain_links
from edgeapl.model import EMBEDDED, ModelRequest, open_model
from edgeapl.stages.crop import cut_cells
from tests.data.measure_gpu import noise
from tests.gpu.on_time import three_xceptions
from tests.gpu.record import UnmetError
from tests.gpu.site import BATCH, FRAME, Provider, Site

CELLS = 169
COMPARED = 32
"""Cells that the processor is asked about as well."""

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16")


def onnxruntime_cuda(site: Site) -> dict[str, Any]:
    """Build the demonstration in FP32 and FP16, as a user would, and time a frame with each."""
    why = site.missing_provider()
    if why:
        raise UnmetError(why)
    return {precision: _built(site, EMBEDDED, precision) for precision in PRECISIONS}


def frame(site: Site) -> dict[str, Any]:
    """Time the published frame in FP32 and FP16: 169 cells, three Xceptions."""
    why = site.missing_provider()
    if why:
        raise UnmetError(why)
    folder = three_xceptions(site)
    return {precision: _timed(site, folder, precision) for precision in PRECISIONS}


def _timed(site: Site, folder: Path, precision: Precision) -> dict[str, Any]:
    """Open the networks of cells alone: a detector and a proof would take most of the time."""
    with ExitStack() as opened:
        model = opened.enter_context(open_model(folder))
        manifest = model.bundle.manifest
        engines = dict(model.engines)
        start = time.perf_counter()
        for link in chain_links(manifest):
            onnx = model.bundle.read(manifest.networks[link.network].file)
            written = to_fp16(onnx, frozenset())[0] if precision == "fp16" else onnx
            engines[link.network] = Provider().open(written, link.network, BATCH)
            opened.callback(engines[link.network].close)
        ready = time.perf_counter() - start
        cells = cut_cells(noise(model, CELLS, *FRAME), manifest.crop)
        times, wanted = [], classify(manifest, model.engines, cells[:COMPARED], BATCH)
        got = classify(manifest, engines, cells[:COMPARED], BATCH).checked()
        for _ in range(site.rounds(20, 2)):
            start = time.perf_counter()
            classify(manifest, engines, cells, BATCH).checked()
            times.append(time.perf_counter() - start)
    roles = wanted.scores.roles.items()
    return {
        "open_and_warm_up_s": ready,
        "first_ms": 1e3 * times[0],
        "ms": 1e3 * float(np.median(times[1:])),
        "largest_difference": max(
            float(np.abs(got.scores.roles[role] - values).max()) for role, values in roles
        ),
    }


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
