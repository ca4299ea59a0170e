"""Open an engine by the name of its target; a runtime is imported only when it is needed."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Protocol, cast

from edgeapl.engines.onnxruntime_package import onnxruntime_package
from edgeapl.engines.trt.plan import PlanRecord, StoredPlan
from edgeapl.errors import EngineError
from edgeapl.protocols import CellChain, Engine, Link

CUDA = "onnxruntime-cuda"
"""onnxruntime's CUDA provider: runs an ONNX file on GPUs that TensorRT-RTX does not serve."""

# target: (module, class, package that brings the runtime)
BACKENDS = {
    "onnxruntime": ("edgeapl.engines.ort", "OrtEngine", "onnxruntime"),
    "openvino": ("edgeapl.engines.openvino", "OpenVinoEngine", "'edgeapl[openvino]'"),
    CUDA: ("edgeapl.engines.ort_cuda", "CudaEngine", "onnxruntime-gpu"),
}
"""Targets that run an ONNX file."""

PLANS = {
    "tensorrt": ("tensorrt", "'edgeapl[tensorrt-cu13]', or [tensorrt-cu12] before driver r580"),
    "tensorrt-rtx": ("tensorrt_rtx", "'edgeapl[rtx]'"),
}
"""Targets that run a plan: (module, package)."""

ALONE = (
    "pip uninstall -y onnxruntime && pip install --force-reinstall --no-deps onnxruntime-gpu: both "
    "bring one module, and the last one installed wins"
)

TARGETS = (*BACKENDS, *PLANS)

ON_GPU = (CUDA, *PLANS)
"""Targets that run on a GPU."""

QUEUES = {"openvino": 1}
"""Runs that wait inside the runtime while all its workers are busy: a worker then has its next one
at once. In onnxruntime, where the calling thread computes, they would take turns on the cores."""


def waiting_runs(target: str, workers: int) -> int:
    """Return the runs that may wait inside the runtime; none where one worker does all."""
    return QUEUES.get(target, 0) if workers > 1 else 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a plan comes from.

    record : written when it was built. machine : id of this one. device : number of its GPU.
    """

    record: PlanRecord
    machine: str
    device: int = 0

    def stored_plan(self, target: str, name: str, data: bytes) -> StoredPlan:
        """Return a plan of this origin. name : what messages call it. data : its bytes."""
        return StoredPlan(target, name, data, self.record, self.machine, self.device)


@dataclass(frozen=True, slots=True)
class Availability:
    """What can be done here for one target; an empty text means yes, others say why not."""

    target: str
    build: str
    run: str


def open_engine(
    target: str,
    name: str,
    model: bytes,
    *,
    threads: int = 1,
    workers: int = 1,
    pin_cores: bool = False,
    origin: Origin | None = None,
    arena: bool = True,
    device: int = 0,
) -> Engine:
    """Open a network.

    Parameters
    ----------
    target : one of `TARGETS`.
    name : what error messages call the network.
    model : bytes of its file: ONNX, or a plan for TensorRT.
    threads : CPU threads inside one run; a GPU has no use for it.
    workers : parallel runs; onnxruntime takes any number, OpenVINO must know it.
    pin_cores : for OpenVINO: pin its threads to a core each, where this process has them all; only
        for callers that run one network at a time.
    origin : of a plan, which is never loaded without it.
    arena : of onnxruntime: keep the memory of a run for the next one.
    device : number of the GPU for targets that run an ONNX file; a plan's is in its origin.

    Raises EngineError when the target is unknown, its runtime is not installed, or the network
    is refused.
    """
    if target in PLANS:
        if origin is None:
            text = "only a plan that this machine built is loaded: edgeapl build-engine"
            raise EngineError("plan has no record", name, text)
        plans = importlib.import_module("edgeapl.engines.trt.engine")
        return cast(Engine, _warm(plans.open_plan(origin.stored_plan(target, name, model))))
    if target not in BACKENDS:
        raise EngineError("unknown target", target, f"choose one of: {', '.join(TARGETS)}")
    module, kind, package = BACKENDS[target]
    try:
        backend = importlib.import_module(module)
    except ImportError as error:
        raise EngineError("runtime is missing", target, f"pip install {package}") from error
    settings: dict[str, dict[str, object]] = {
        "onnxruntime": {"arena": arena},
        CUDA: {"device": device},
    }
    more = settings.get(target, {"workers": workers, "pin_cores": pin_cores})
    opened = getattr(backend, kind)(name, model, threads=threads, **more)
    return cast(Engine, _warm(opened) if target == CUDA else opened)


def open_chain(
    target: str,
    plan: bytes,
    links: Sequence[Link],
    engines: Mapping[str, Engine],
    origin: Origin | None,
) -> CellChain:
    """Chain networks that were opened for a target of `PLANS`, behind a plan that cuts cells.

    Parameters
    ----------
    plan : what `edgeapl build-engine` built to cut cells. origin : of it.
    links : the networks, each after the one that it takes its input from.
    engines : network to engine; they stay open longer than the chain.

    Raises EngineError when the plan may not be loaded, or a network cannot be chained.
    """
    if target not in PLANS or origin is None:
        raise EngineError("engines cannot be chained", target, f"only {', '.join(PLANS)} can")
    chains = importlib.import_module("edgeapl.engines.trt.chain")
    stored = origin.stored_plan(target, chains.NAME, plan)
    return cast(CellChain, _warm(chains.open_chain(stored, links, engines)))


class _Warmable(Protocol):
    """Something whose first runs are slow."""

    def warm_up(self) -> None: ...

    def close(self) -> None: ...


def _warm(opened: _Warmable) -> _Warmable:
    """Warm it up; close it when that fails."""
    try:
        opened.warm_up()
    except BaseException:
        with suppress(EngineError):
            opened.close()
        raise
    return opened


def available_targets() -> tuple[Availability, ...]:
    """Return for every target what this machine can do; no runtime is imported for it."""
    found = []
    no_gpu = "" if _nvidia_driver() else "no NVIDIA driver on this machine"
    for target, (_, _, package) in BACKENDS.items():
        why = _no_provider(package) or no_gpu if target == CUDA else _missing(target, package)
        found.append(Availability(target, why, why))
    for target, (module, package) in PLANS.items():
        library = _missing(module, package)
        run = library or no_gpu or _no_interface()
        # TensorRT measures kernels on the GPU it builds for; TensorRT-RTX does that when it runs.
        build = library or (no_gpu if target == "tensorrt" else "")
        found.append(Availability(target, build, run))
    return tuple(found)


def _missing(module: str, package: str) -> str:
    if importlib.util.find_spec(module):
        return ""
    only = "only tensorrt_lean, which runs no plans of ours" if _lean(module) else "not installed"
    return f"{only}: pip install {package}"


def _lean(module: str) -> bool:
    return module == "tensorrt" and importlib.util.find_spec("tensorrt_lean") is not None


def _no_interface() -> str:
    """Return why there is no interface to the driver; see `edgeapl.engines.trt.driver`."""
    if importlib.util.find_spec("pycuda"):
        return ""
    try:
        found = importlib.util.find_spec("cuda.bindings")
    except ModuleNotFoundError:  # not even the package that it is in
        found = None
    return "" if found else "not installed: pip install cuda-bindings, or pycuda"


def _no_provider(package: str) -> str:
    """Return why there is no CUDA provider: two packages bring the module, one with it."""
    try:
        version(package)
    except PackageNotFoundError:
        return f"not installed: pip install 'edgeapl[{CUDA}]', then {ALONE}"
    found = onnxruntime_package()
    if found is None:
        return _missing("onnxruntime", package)
    if found.name == "nothing":
        return f"its files are gone: {ALONE}"
    return "" if found.name == package else f"hidden by {found.name} {found.version}: {ALONE}"


def _nvidia_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True
