"""Build a plan from an ONNX file: parse, set the range of the batch, build, with progress."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from edgeapl.engines.trt.interrupt import run_interruptible
from edgeapl.engines.trt.layers import PlanLayer, read_layers
from edgeapl.engines.trt.library import Library, starting
from edgeapl.engines.trt.memory import GpuMemory
from edgeapl.engines.trt.missing_kernel import MissingKernelError, missing_kernel
from edgeapl.engines.trt.monitor import Progress, monitor_of
from edgeapl.engines.trt.options import BuildOptions, Profile
from edgeapl.engines.trt.uint8 import cast_before_use
from edgeapl.errors import EngineError

__all__ = ["BuildOptions", "BuiltPlan", "Profile", "Ranges", "build_plan", "make_plan"]

MEMORY = re.compile("OutOfMemory|workspace|out of memory", re.IGNORECASE)
"""What a builder logs when memory is short: that too leaves layers without a kernel."""

Ranges = Mapping[str, tuple[int, int, int]]
"""Input to the smallest, typical and largest size of its free first dimension."""


@dataclass(frozen=True, slots=True, eq=False)
class BuiltPlan:
    """A plan, and what its builder logged of it.

    layers : as it lists them; none where the library lists them in no way that is known.
    scratch : bytes that a run of the largest batch needs besides inputs, answers and weights; None
        where the builder does not log it.
    timing_cache : see `BuildOptions`; b"" where none was kept.
    """

    plan: bytes
    layers: tuple[PlanLayer, ...]
    scratch: int | None
    timing_cache: bytes


def build_plan(
    onnx: bytes,
    *,
    name: str,
    library: Library,
    profile: Profile | None = None,
    options: BuildOptions | None = None,
    on_progress: Progress | None = None,
    ranges: Ranges | None = None,
    driver: Any = None,
) -> bytes:
    """Return the plan alone; see `make_plan`. profile : in place of that of the options."""
    options = options or BuildOptions()
    return make_plan(
        onnx,
        name=name,
        library=library,
        options=options if profile is None else replace(options, profile=profile),
        on_progress=on_progress,
        ranges=ranges,
        driver=driver,
    ).plan


def make_plan(
    onnx: bytes,
    *,
    name: str,
    library: Library,
    options: BuildOptions | None = None,
    on_progress: Progress | None = None,
    ranges: Ranges | None = None,
    driver: Any = None,
) -> BuiltPlan:
    """Build one strongly typed network: the file's own types are the precision.

    Parameters
    ----------
    onnx : the ONNX file; only its first dimensions may be free.
    name : what messages call the network.
    library : see `edgeapl.engines.trt.library.find_library`.
    options : without effect on inputs without a free batch is their profile.
    on_progress : told (stage, steps done, steps in all); what it raises ends the build.
    ranges : of inputs whose free first dimension is not the batch of the profile.
    driver : of the GPU that `options.device` numbers.

    Ctrl-C ends the build at its next step. Plans are not the same bytes twice: their identity is
    that of what they were made from, their integrity a digest taken now.

    Raises EngineError, with the node at fault, when the library refuses the network, and
    MissingKernelError when it has no kernel for one of its layers.
    """
    options = options or BuildOptions()
    with library.build_lock:
        library.messages.take()
        library.messages.take_notes()
        api = library.api
        # By name: the flag is 1 in TensorRT 10 and 0 in 11 and RTX.
        flag = 1 << int(api.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        with starting(library, name):
            builder = api.Builder(library.logger)
            network = builder.create_network(flag)
            parser = api.OnnxParser(network, library.logger)
        if not parser.parse(cast_before_use(name, onnx)):
            fault = _first_fault(parser, library)
            raise EngineError("network was refused by the parser", name, fault)
        config = builder.create_builder_config()
        _configure(api, config, options)
        _add_profile(builder, config, network, name, options.profile, ranges or {})
        cache: Any = _timing_cache(library, config, options)
        stop = threading.Event()
        monitor = monitor_of(api, stop, on_progress)
        if monitor is not None:
            config.progress_monitor = monitor

        def build() -> Any:
            return builder.build_serialized_network(network, config)

        plan = run_interruptible(_on_device(build, options, driver), stop)
        if monitor is not None and monitor.error is not None:
            raise monitor.error
        if plan is None:
            raise _unbuilt(name, library.messages.take_all(), options)
        notes = library.messages.take_notes()
        kept = b"" if cache is None else bytes(cache.serialize())
        return BuiltPlan(bytes(plan), read_layers(notes.layers), notes.scratch, kept)


def _on_device(build: Callable[[], Any], options: BuildOptions, driver: Any) -> Callable[[], Any]:
    """Return the build bound to the chosen GPU, that of the thread's context."""
    if options.device is None or driver is None:
        return build
    number = options.device

    def on_device() -> Any:
        memory = GpuMemory(driver, number)
        try:
            with memory.active():
                return build()
        finally:
            memory.close()

    return on_device


def _configure(api: Any, config: Any, options: BuildOptions) -> None:
    config.set_memory_pool_limit(api.MemoryPoolType.WORKSPACE, options.workspace)
    # On by default: what is called FP32 would be multiplied with 10 bits of each number.
    if options.tf32:
        config.set_flag(api.BuilderFlag.TF32)
    else:
        config.clear_flag(api.BuilderFlag.TF32)
    # So that the builder lists its layers with their types, and `engines inspect` can.
    config.profiling_verbosity = api.ProfilingVerbosity.DETAILED
    if options.level is not None:
        config.builder_optimization_level = options.level
    _choose_capabilities(api, config, options)


def _timing_cache(library: Library, config: Any, options: BuildOptions) -> Any:
    """Load the timings of an earlier build; those of another library or GPU are refused.

    TensorRT-RTX measures nothing while it builds, and warns of being given any.
    """
    if options.timing_cache is None or library.target != "tensorrt":
        return None
    cache: Any = config.create_timing_cache(options.timing_cache)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return cache


def _unbuilt(name: str, lines: Sequence[str], options: BuildOptions) -> EngineError:
    """Return the error for what the builder logged: the first line is the cause of the others."""
    reason = next((line for line in lines if MEMORY.search(line)), "")
    if reason:
        room = f"{options.workspace >> 20} MiB of scratch memory at a batch of "
        room += f"{options.profile.largest} were not enough"
        mend = "choose a smaller batch with --max-batch, or give more with --workspace"
        return EngineError("network could not be built", name, f"{room}: {mend} ({reason})")
    fused = missing_kernel(lines)
    if fused:
        return MissingKernelError(name, fused)
    reason = next(iter(lines), "no reason given")
    return EngineError("network could not be built", name, reason)


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


def _choose_capabilities(api: Any, config: Any, options: BuildOptions) -> None:
    named = options.capabilities
    if not hasattr(config, "set_compute_capability"):
        if named:
            text = "this TensorRT builds for the GPU it runs on"
            raise EngineError("capability cannot be chosen", ", ".join(named), text)
        return
    known = api.ComputeCapability.__members__
    if not named:
        if options.device is not None:
            # Without a word TensorRT-RTX builds for all from 8.6 on, and not for 7.5 and 8.0.
            config.num_compute_capabilities = 1
            config.set_compute_capability(known["CURRENT"], 0)
        return
    config.num_compute_capabilities = len(named)
    for index, capability in enumerate(named):
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
