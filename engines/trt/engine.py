"""A plan as an Engine: page-locked buffers, asynchronous copies, one stream."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from traceback import clear_frames
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.checking import check_inputs, first_line
from edgeapl.engines.trt.library import Library, find_library
from edgeapl.engines.trt.loading import deserialise, make_context, reason, runtime_text
from edgeapl.engines.trt.memory import Buffer, GpuMemory, describe_gpu, load_driver
from edgeapl.engines.trt.plan import Place, PlanRecord, check_plan
from edgeapl.engines.trt.tensors import Layout, layout_of, parts_of, shape_now
from edgeapl.errors import DeviceError, EngineError
from edgeapl.protocols import Arrays, Moved

CLOSED = "network was closed"


def place_here(target: str, machine: str, driver: Any = None, library: Any = None) -> Place:
    """Describe this machine as a place for plans; raises EngineError without library or GPU."""
    library = library or find_library(target)
    gpu = describe_gpu(driver or load_driver())
    return Place(target, library.version, gpu.name, gpu.compute_capability, machine)


def open_plan(
    target: str,
    name: str,
    plan: bytes,
    built: PlanRecord,
    *,
    machine: str,
    driver: Any = None,
    library: Library | None = None,
) -> TrtEngine:
    """Check a plan against its record and this machine, then load it.

    Parameters
    ----------
    target : ``tensorrt`` or ``tensorrt-rtx``.
    name : what messages call it.
    built : what was written down when it was built.
    machine : id of this machine.
    driver, library : stand-ins for tests.

    Raises EngineError when it may not be loaded, or the library refuses it.
    """
    library = library or find_library(target)
    driver = driver or load_driver()
    check_plan(name, plan, built, place_here(target, machine, driver, library))
    return TrtEngine(name, plan, built.sha256, library, driver)


class TrtEngine:
    """One plan on one GPU. Made by `open_plan` alone, which knows that the plan may be loaded.

    Calls from several threads take turns. After a run that failed on the GPU, which raises
    DeviceError, all further runs raise it too: what it left half done could end in the next answer.
    """

    def __init__(self, name: str, plan: bytes, digest: str, library: Library, driver: Any) -> None:
        self._name = name
        self._digest = digest
        self._library = library
        self._driver = driver
        self._turn = threading.Lock()
        self._refusal = ""
        self._engine: Any = None
        self._context: Any = None
        self._memory: GpuMemory | None = None
        self._buffers: dict[str, Buffer] = {}
        try:
            self._memory = GpuMemory(driver)
            with self._memory.active():
                self._load(plan, self._memory)
        except (EngineError, driver.Error) as error:
            clear_frames(error.__traceback__)
            self._release()
            if isinstance(error, EngineError):
                raise
            raise EngineError("plan could not be loaded", name, first_line(error)) from error
        except BaseException:
            self._release()
            raise
        self._runtime = runtime_text(library, describe_gpu(driver).name)

    @property
    def runtime(self) -> str:
        """Library, version and GPU."""
        return self._runtime

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the plan."""
        return self._digest

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        return {
            tensor.name: (tensor.dtype, tuple(None if s < 0 else s for s in tensor.shape))
            for tensor in self._layout.inputs
        }

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return tuple(tensor.name for tensor in self._layout.outputs)

    @property
    def layout(self) -> Layout:
        """Its tensors."""
        return self._layout

    @property
    def moved(self) -> Moved:
        """Bytes that went over the bus so far."""
        return Moved() if self._memory is None else self._memory.moved

    def bare_seconds(self, rows: int, runs: int) -> float:
        """Time the kernels alone: seconds for one run on what lies on the GPU, nothing copied.

        Parameters
        ----------
        rows : of the batch, within what the plan takes at once. runs : one after another, after
            a first one that does not count.
        """
        with self._turn:
            memory = self._memory
            self._check_refusal()
            assert memory is not None
            try:
                with memory.active():
                    return self._timed(memory, rows, runs)
            except self._driver.Error as error:
                self._refusal = "network failed before"
                text = first_line(error)
                raise DeviceError("network failed while running", self._name, text) from error

    def contexts(self, count: int) -> list[Any]:
        """Make more contexts on the same weights, for a chain that lends them scratch memory."""
        return [
            make_context(self._name, self._library, self._engine, lent=True) for _ in range(count)
        ]

    @property
    def scratch(self) -> int:
        """Bytes of memory that such a context needs while it runs."""
        return int(self._engine.device_memory_size_v2)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once, in parts when the batch is larger than the plan takes."""
        with self._turn:
            self._check_refusal()
            check_inputs(self._name, self.inputs, inputs)
            memory = self._memory
            assert memory is not None
            parts = [
                self._guarded(memory, part) for part in parts_of(self._name, self._layout, inputs)
            ]
        if len(parts) == 1:
            return parts[0]
        return {key: np.concatenate([part[key] for part in parts]) for key in self.outputs}

    def close(self) -> None:
        """Free all that is held on the GPU."""
        with self._turn:
            self._refusal = CLOSED
            error = self._release()
        if error is not None:
            raise EngineError("GPU memory could not be freed", self._name, first_line(error))

    def _check_refusal(self) -> None:
        if self._refusal:
            kind = EngineError if self._refusal == CLOSED else DeviceError
            raise kind(self._refusal, self._name, "open it again")

    def _load(self, plan: bytes, memory: GpuMemory) -> None:
        self._engine = deserialise(self._name, plan, self._library)
        self._context = make_context(self._name, self._library, self._engine)
        self._layout = layout_of(self._name, self._library.api, self._engine, self._context)
        for tensor in (*self._layout.inputs, *self._layout.outputs):
            buffer = memory.buffer(tensor.room, tensor.dtype)
            self._buffers[tensor.name] = buffer
            if not self._context.set_tensor_address(tensor.name, buffer.address):
                raise EngineError("plan could not be loaded", self._name, self._reason())

    def _guarded(self, memory: GpuMemory, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        try:
            with memory.active():
                return self._once(memory, inputs)
        except (EngineError, self._driver.Error) as error:
            self._refusal = "network failed before"
            # The context in their variables must not outlive the memory of the GPU.
            clear_frames(error.__traceback__)
            text = first_line(error) if not isinstance(error, EngineError) else error.mend
            raise DeviceError("network failed while running", self._name, text) from error
        except BaseException:
            self._refusal = "network was interrupted before"
            raise

    def _once(self, memory: GpuMemory, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        context, name = self._context, self._name
        self._library.messages.take()
        for key, values in inputs.items():
            if not context.set_input_shape(key, tuple(values.shape)):
                raise EngineError("shape was refused", f"{name}.{key}", self._reason())
            memory.send(self._buffers[key], values)
        shapes = {key: shape_now(name, context, key) for key in self.outputs}
        for key in shapes:
            memory.clear(self._buffers[key])
        if not context.execute_async_v3(memory.stream.handle):
            raise EngineError("execution was refused", name, self._reason())
        counts = {key: int(np.prod(shape)) for key, shape in shapes.items()}
        for key, count in counts.items():
            memory.fetch(self._buffers[key], count)
        memory.wait()
        logged = self._library.messages.take()
        if logged:  # the library logged an error and yet said that all went well
            raise EngineError("execution failed", name, logged)
        # Copies: the buffers are written again by the next run.
        return {
            key: np.array(self._buffers[key].host[: counts[key]]).reshape(shape)
            for key, shape in shapes.items()
        }

    def _timed(self, memory: GpuMemory, rows: int, runs: int) -> float:
        for tensor in self._layout.inputs:
            shape = (rows, *tensor.shape[1:]) if tensor.free else tensor.shape
            if not self._context.set_input_shape(tensor.name, shape):
                raise EngineError("shape was refused", f"{self._name}.{tensor.name}", str(shape))
        start, end = memory.event(), memory.event()
        for number in range(runs + 1):
            if number == 1:
                start.raw.record(memory.stream)
            if not self._context.execute_async_v3(memory.stream.handle):
                raise EngineError("execution was refused", self._name, self._reason())
        end.raw.record(memory.stream)
        end.raw.synchronize()
        return float(start.raw.time_till(end.raw)) / 1e3 / runs

    def _reason(self) -> str:
        return reason(self._library)

    def _release(self) -> Exception | None:
        """Free everything in the order that the library needs; gives the first error."""
        memory, self._memory = self._memory, None
        self._buffers = {}
        if memory is None:
            return None
        errors: list[Exception] = []
        try:
            self._forget(memory)
        except self._driver.Error as error:
            errors.append(error)
        try:
            memory.close()
        except self._driver.Error as error:
            errors.append(error)
        self._context = self._engine = None
        return errors[0] if errors else None

    def _forget(self, memory: GpuMemory) -> None:
        with memory.active():
            try:
                # Its work must be over before the plan goes, the plan before its memory.
                memory.wait()
            finally:
                self._context = None
                self._engine = None
