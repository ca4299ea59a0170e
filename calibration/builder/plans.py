"""The plans of one candidate: built, recorded, and what their builder reported."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from edgeapl.bundle.digest import sha256_file
from edgeapl.bundle.load import Bundle
from edgeapl.bundle.manifest import Manifest
from edgeapl.calibration.builder.files import NetworkFile, write_network
from edgeapl.calibration.builder.layer_fallback import Rewrite, build_with_fallback
from edgeapl.calibration.builder.request import BuildRequest, Say
from edgeapl.engines.registry import PLANS
from edgeapl.engines.store.cache import read_timing, write_timing
from edgeapl.engines.store.local_target import device_here, runs_here, runtime_version
from edgeapl.engines.store.record import CUTTER, BuiltNetwork, PlanNotes, Precision

MOST_CUT = 64
"""Cells per run of the plan that cuts them; see `edgeapl.engines.trt.cutter`."""


@dataclass(frozen=True, slots=True)
class BuiltPlans:
    """files : file name to path. networks, cutter, notes : as in `EngineRecord`.

    sources : network to the ONNX file that its plan was built from: another one than was given
        where the library has no kernel for some layer.
    """

    files: Mapping[str, Path]
    networks: Mapping[str, BuiltNetwork]
    cutter: BuiltNetwork | None
    notes: Mapping[str, PlanNotes]
    sources: Mapping[str, NetworkFile]


def build_plans(
    bundle: Bundle,
    networks: Mapping[str, NetworkFile],
    target: str,
    precision: Precision,
    request: BuildRequest,
    folder: Path,
    say: Say,
) -> BuiltPlans:
    """Build a plan of each network, and one that cuts cells if the bundle looks for cells.

    Parameters
    ----------
    folder : for the plans; it must outlive the result.

    Raises EngineError when the library refuses a network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    builder = _Builder(target, precision, request, say)
    files: dict[str, Path] = {}
    built: dict[str, BuiltNetwork] = {}
    notes: dict[str, PlanNotes] = {}
    sources: dict[str, NetworkFile] = {}
    for name, given in networks.items():
        path = folder / f"{name}.plan"
        rewrite = partial(_rewritten, bundle, name, target, precision, folder)
        network, notes[name] = builder.write(path, name, given, rewrite)
        sources[name] = network
        files[path.name] = path
        kind: Precision = "tf32" if precision == "tf32" else network.precision
        built[name] = built_network(path, kind, network.kept)
    cutter = None
    if cuts_on_device(bundle.manifest, target):
        path = folder / f"{CUTTER}.plan"
        builder.write_cutter(path, bundle.manifest)
        files[path.name] = path
        cutter = built_network(path, "fp32", ())
    return BuiltPlans(files, built, cutter, notes, sources)


def _rewritten(
    bundle: Bundle,
    name: str,
    target: str,
    precision: Precision,
    folder: Path,
    keep: frozenset[str],
    exact: frozenset[str],
) -> NetworkFile:
    """Write a network with layers in more bits; see `layer_fallback.Rewrite`."""
    return write_network(bundle, name, target, precision, keep, folder, exact)


def cuts_on_device(manifest: Manifest, target: str) -> bool:
    """Return whether plans get another one that cuts cells.

    Those of a bundle that judges whole fields do not: a field's one small image is less to copy
    than the field.
    """
    return target in PLANS and manifest.segmenter.kind != "field"


def built_network(path: Path, precision: Precision, kept: tuple[str, ...]) -> BuiltNetwork:
    """Describe a built file."""
    return BuiltNetwork(
        file=path.name,
        sha256=sha256_file(path),
        size=path.stat().st_size,
        precision=precision,
        kept=kept,
    )


class _Builder:
    """Builds all plans of one candidate alike. TensorRT's modules are imported only here."""

    def __init__(self, target: str, precision: Precision, request: BuildRequest, say: Say) -> None:
        self._build = importlib.import_module("edgeapl.engines.trt.build")
        options = importlib.import_module("edgeapl.engines.trt.options")
        libraries = importlib.import_module("edgeapl.engines.trt.library")
        drivers = importlib.import_module("edgeapl.engines.trt.driver")
        self._library: Any = libraries.find_library(target)
        self._say = say
        here = runs_here(target, request.device)
        self._driver: Any = drivers.load_driver() if here else None
        self._timing = (target, runtime_version(target), device_here(target, request.device).name)
        self._most = request.max_batch or options.Profile().largest
        self._options: Any = options.BuildOptions(
            profile=options.profile_up_to(self._most),
            workspace=(
                options.DEFAULT_WORKSPACE
                if request.workspace_mib is None
                else request.workspace_mib << 20
            ),
            tf32=precision == "tf32",
            capabilities=request.capabilities,
            level=request.optimization_level,
            timing_cache=read_timing(*self._timing) if request.timing_cache else None,
            device=request.device if here else None,
        )

    def write(
        self, path: Path, name: str, network: NetworkFile, rewrite: Rewrite
    ) -> tuple[NetworkFile, PlanNotes]:
        """Build the plan of a network into a file; return what it was built from, and its notes."""
        self._say(f"build plan of {name}")

        def build(onnx: bytes) -> Any:
            return self._make(name, onnx)

        def say(text: str) -> None:
            self._say(f"build plan of {name}: {text}")

        built = build_with_fallback(network, build, rewrite, say)
        made: Any = built.plan
        path.write_bytes(made.plan)
        if made.timing_cache:
            write_timing(*self._timing, made.timing_cache)
        layers = tuple(
            (layer.name, layer.kind, layer.types, layer.bytes_a_row) for layer in made.layers
        )
        fallbacks = tuple((one.layer, one.precision, one.why) for one in built.fallbacks)
        return built.network, PlanNotes(layers=layers, scratch=made.scratch, fallbacks=fallbacks)

    def _make(self, name: str, onnx: bytes) -> Any:
        def progress(stage: str, done: int, total: int) -> None:
            self._say(f"build plan of {name}: {stage} {done} of {total}")

        return self._build.make_plan(
            onnx,
            name=name,
            library=self._library,
            options=self._options,
            on_progress=progress,
            driver=self._driver,
        )

    def write_cutter(self, path: Path, manifest: Manifest) -> None:
        """Build the plan that cuts cells into a file. It is always FP32."""
        crop = importlib.import_module("edgeapl.engines.trt.crop_network")
        self._say("build plan that cuts cells")
        plan = self._build.build_plan(
            crop.crop_network(manifest.crop),
            name=crop.NAME,
            library=self._library,
            options=self._options.with_fp32(),
            ranges=crop.crop_ranges(manifest.crop, manifest.um_per_px, min(self._most, MOST_CUT)),
            driver=self._driver,
        )
        path.write_bytes(plan)
