"""Build a plan from an ONNX file: parse, set the range of the batch, build, with progress."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgeapl.engines.trt.interrupt import run_interruptible
from edgeapl.engines.trt.library import Library, starting
from edgeapl.engines.trt.monitor import Progress, monitor_of
from edgeapl.engines.trt.uint8 import cast_before_use
from edgeapl.errors import EngineError

DEFAULT_WORKSPACE = 2 << 30
"""2 GiB of scratch memory fit beside the system on a Jetson with 8 GB. The most greedy published
network, yan2025 at 448 px in FP32, asked TensorRT-RTX 1.7 for 2.16 GiB at a batch of 64, and for
half of that at 32, the largest that `Profile` takes unless told otherwise."""


Ranges = Mapping[str, tuple[int, int, int]]
"""Input to the smallest, typical and largest size of its free first dimension."""


@dataclass(frozen=True, slots=True)
class Profile:
    """The batches that a plan takes: smallest, the one it is tuned for, largest."""

    smallest: int = 1
    typical: int = 16
    largest: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.smallest <= self.typical <= self.largest:
            text = f"{self.smallest}, {self.typical}, {self.largest}"
            raise EngineError("batch sizes are out of order", text, "give 1 <= small <= large")


def build_plan(
    onnx: bytes,
    *,
    name: str,
    library: Library,
    profile: Profile | None = None,
    workspace: int = DEFAULT_WORKSPACE,
    capabilities: tuple[str, ...] = (),
    on_progress: Progress | None = None,
    ranges: Ranges | None = None,
) -> bytes:
    """Build one strongly typed network: the file's own types are the precision.

    Parameters
    ----------
    onnx : the ONNX file; only its first dimensions may be free.
    name : what messages call the network.
    library : see `edgeapl.engines.trt.library.find_library`.
    profile : batches that it must take; without effect on inputs without a free batch.
    workspace : bytes of device memory that a layer may use for scratch.
    capabilities : compute capabilities such as ``"8.9"`` to build for; empty: those of the GPU
        here. Only TensorRT-RTX can build for another GPU, or without one.
    on_progress : told (stage, steps done, steps in all); what it raises ends the build.
    ranges : of inputs whose free first dimension is not the batch of `profile`.

    Ctrl-C ends the build at its next step. Plans are not the same bytes twice: their identity is
    that of what they were made from, their integrity a digest taken now.

    Raises EngineError, with the node at fault, when the library refuses the network.
    """
    library.messages.take()
    profile = profile or Profile()
    api = library.api
    # By name: the flag is 1 in TensorRT 10 and 0 in 11 and RTX.
    flag = 1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    with starting(library, name):
        builder = api.Builder(library.logger)
        network = builder.create_network(flag)
        parser = api.OnnxParser(network, library.logger)
    if not parser.parse(cast_before_use(name, onnx)):
        raise EngineError("network was refused by the parser", name, _first_fault(parser, library))
    config = builder.create_builder_config()
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, workspace)
    _choose_capabilities(api, config, capabilities)
    _add_profile(builder, config, network, name, profile, ranges or {})
    stop = threading.Event()
    monitor = monitor_of(api, stop, on_progress)
    if monitor is not None:
        config.progress_monitor = monitor
    plan = run_interruptible(lambda: builder.build_serialized_network(network, config), stop)
    if monitor is not None and monitor.error is not None:
        raise monitor.error
    if plan is None:
        raise _unbuilt(name, library.messages.take(), workspace, profile)
    return bytes(plan)


def _unbuilt(name: str, reason: str, workspace: int, profile: Profile) -> EngineError:
    if "OutOfMemory" in reason or "workspace" in reason:
        room = f"{workspace >> 20} MiB of scratch memory at a batch of {profile.largest}"
        text = f"{room} were not enough: choose a smaller batch ({reason})"
        return EngineError("network could not be built", name, text)
    return EngineError("network could not be built", name, reason or "no reason given")


def _first_fault(parser: Any, library: Library) -> str:
    if parser.num_errors == 0:
        return library.messages.take() or "the file is no ONNX network"
    fault = parser.get_error(0)
    text = (fault.desc().strip().splitlines() or ["no reason given"])[-1]
    operator, node = _node(fault)
    lines = [line for line in fault.desc().splitlines() if "Error Code" in line]
    text = (lines or [text])[0]
    where = f"node {node or fault.node()} ({operator})" if operator else "not an ONNX network"
    return f"{where}: {' '.join(text.split())}"


def _node(fault: Any) -> tuple[str, str]:
    """Operator and name of the node; TensorRT before 10.0 has neither."""
    if not hasattr(fault, "node_operator"):
        return "", ""
    return str(fault.node_operator()), str(fault.node_name())


def _choose_capabilities(api: Any, config: Any, capabilities: tuple[str, ...]) -> None:
    if not capabilities:
        return
    if not hasattr(config, "set_compute_capability"):
        text = "this TensorRT builds for the GPU it runs on"
        raise EngineError("capability can not be chosen", ", ".join(capabilities), text)
    known = api.ComputeCapability.__members__
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        member = "SM" + capability.replace(".", "")
        if member not in known:
            able = ", ".join(sorted(key for key in known if key.startswith("SM")))
            raise EngineError("GPU is not supported", f"capability {capability}", f"have {able}")
        config.set_compute_capability(known[member], index)


def _add_profile(
    builder: Any, config: Any, network: Any, name: str, profile: Profile, ranges: Ranges
) -> None:
    shapes = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        if -1 in shape[1:]:
            text = f"shape {shape}: only the batch, the first, may be free"
            raise EngineError("network input has a free dimension", f"{name}.{tensor.name}", text)
        if shape[:1] == (-1,):
            batch = (profile.smallest, profile.typical, profile.largest)
            sizes = ranges.get(tensor.name, batch)
            shapes.set_shape(tensor.name, *((size, *shape[1:]) for size in sizes))
        else:
            shapes.set_shape(tensor.name, shape, shape, shape)
    config.add_optimization_profile(shapes)
