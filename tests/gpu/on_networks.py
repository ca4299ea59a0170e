"""FP32, FP16 and INT8 on real crops, against onnxruntime on the processor."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgeapl.bundle.load import Bundle, open_bundle
from edgeapl.calibration.builder.files import ranges_of
from edgeapl.calibration.builder.proof_slides import proof_slides
from edgeapl.calibration.disk_array import DiskArray
from edgeapl.calibration.inputs import NetworkInputs
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.qdq import qdq_tensorrt
from edgeapl.calibration.range_measurement import MeasurementOptions, measure
from edgeapl.calibration.ranges import Range
from edgeapl.cores import cpu_cores
from edgeapl.engines.ort import OrtEngine
from edgeapl.errors import EdgeAplError
from edgeapl.inference.routing import chain_links
from edgeapl.model import EMBEDDED
from edgeapl.model.assembled import segmenter_of
from edgeapl.model.golden import golden_frame
from edgeapl.stages.crop import cut_cells
from edgeapl.stages.segment import HsvWatershed
from edgeapl.types import UInt8
from tests.gpu.record import UnmetError
from tests.gpu.site import BATCH, Opener, Site

LIMITS = {"fp32": 1e-3, "fp16": 2e-2, "int8": float("inf")}
"""Largest difference of an output, relative to its largest value; INT8 is judged by flips alone."""

MOST_FLIPS = {"fp32": 0.0, "fp16": 0.01, "int8": 0.02}
"""Share of cells that are called otherwise, of networks that were trained."""

CELLS = 300


def parity(site: Site, precision: str) -> dict[str, Any]:
    """Compare all networks of cells of all bundles; raises UnmetError beyond the limits."""
    if site.frames is None and not site.dry:
        raise UnmetError("no real crops: give --frames FOLDER with slides")
    found: dict[str, Any] = {}
    beyond: list[str] = []
    for folder in (EMBEDDED, *site.bundles):
        bundle = open_bundle(folder)
        crops = _crops(site, folder)
        for runtime in _openers(site, precision):
            for network, figures in _compared(bundle, runtime, precision, crops).items():
                name = f"{bundle.manifest.name} {network} {runtime.name}"
                found[name] = figures
                if figures.get("error") or not figures["within"]:
                    beyond.append(f"{name}: {figures}")
    if beyond:
        raise UnmetError("; ".join(beyond), found)
    return found


def _openers(site: Site, precision: str) -> Sequence[Opener]:
    """Give what computes a precision: of INT8 the others know nothing, or compute it in floats."""
    if precision != "int8":
        return site.openers()
    able = [runtime for runtime in site.runtimes() if runtime.name != "torch"]
    if not able:
        raise UnmetError("only TensorRT computes INT8, and it does not run here")
    return able


@functools.cache
def _crops(site: Site, folder: Path) -> UInt8:
    """Cut cells out of the real slides; a dry run makes do with those of the golden frame."""
    bundle = open_bundle(folder)
    if site.dry:
        golden = bundle.manifest.golden
        frame = golden_frame(bundle.read(golden.frame), golden)
        found = segmenter_of(bundle.manifest, {}).segment(frame)
        return cut_cells(found, bundle.manifest.crop)
    # A bundle's own detector would take minutes on the processor, and has no part in what is asked.
    with tempfile.TemporaryDirectory() as work:
        slides = proof_slides(
            bundle, HsvWatershed(), site.frames, Path(work), cell_images=False, um_per_px=None
        )
        crops = np.concatenate([np.asarray(cells) for _, cells in slides.slides])
    return np.ascontiguousarray(crops[:CELLS])


def _compared(
    bundle: Bundle, runtime: Opener, precision: str, crops: UInt8
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    manifest = bundle.manifest
    for link in chain_links(manifest):
        if link.after is not None:
            continue  # it takes what another gave, and is compared in the chain
        onnx = bundle.read(manifest.networks[link.network].file)
        ask = partial(_one, runtime, onnx, link.network, link.input, crops)
        try:
            written = _written(bundle, link.network, onnx, precision, crops)
            found[link.network] = ask(written, precision, trained=manifest.trained)
        except EdgeAplError as error:
            found[link.network] = {"error": str(error)}
    return found


def _written(bundle: Bundle, network: str, onnx: bytes, precision: str, crops: UInt8) -> bytes:
    if precision == "fp32":
        return onnx
    if precision == "fp16":
        return to_fp16(onnx, frozenset())[0]
    return to_fp16(qdq_tensorrt(onnx, _ranges(bundle, network, onnx, crops)), frozenset())[0]


def _ranges(bundle: Bundle, network: str, onnx: bytes, crops: UInt8) -> Mapping[str, Range]:
    """Give the bundle's own; where it has none, those of every other one of the crops."""
    if bundle.manifest.calibration is not None:
        return ranges_of(bundle)[network]
    with tempfile.TemporaryDirectory() as folder:
        shown = DiskArray(Path(folder) / "crops")
        shown.append(crops[::2])
        inputs = NetworkInputs(bundle.manifest.networks[network].input, shown)
        return measure(
            network, onnx, inputs, MeasurementOptions(grow=False), lambda *_: None
        ).tensors


def _one(
    runtime: Opener,
    onnx: bytes,
    network: str,
    given: str,
    crops: UInt8,
    written: bytes,
    precision: str,
    *,
    trained: bool,
) -> dict[str, Any]:
    reference = OrtEngine(network, onnx, threads=cpu_cores())
    engine = runtime.open(written, network, BATCH)
    worst, flips = 0.0, 0
    try:
        for first in range(0, len(crops), BATCH):
            part = {given: crops[first : first + BATCH]}
            wanted, got = reference.run(part), engine.run(part)
            worst = max(worst, worst_difference(got, wanted))
            flips += _flips(got, wanted)
    finally:
        engine.close()
    share = flips / max(1, len(crops))
    within = worst <= LIMITS[precision] and (not trained or share <= MOST_FLIPS[precision])
    return {"cells": len(crops), "difference": worst, "flips": flips, "within": within}


def _flips(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> int:
    """Count the rows that are called otherwise in any output of probabilities."""
    changed = None
    for name, value in wanted.items():
        a, b = np.asarray(got[name], np.float64), np.asarray(value, np.float64)
        if b.min(initial=0) < 0 or b.max(initial=0) > 1:
            continue
        a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
        other = (a.argmax(1) != b.argmax(1)) if a.shape[1] > 1 else ((a > 0.5) != (b > 0.5))[:, 0]
        changed = other if changed is None else changed | other
    return 0 if changed is None else int(changed.sum())


def worst_difference(got: Mapping[str, Any], wanted: Mapping[str, Any]) -> float:
    """Give the largest difference of any output, relative to its largest value; NaN is worst."""
    worst = 0.0
    for name, value in wanted.items():
        a, b = np.asarray(got[name], np.float64), np.asarray(value, np.float64)
        difference = float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-6))
        worst = max(worst, difference if np.isfinite(difference) else np.inf)
    return worst
