"""A plan as an Engine: page-locked buffers, asynchronous copies, one stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from traceback import clear_frames
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.input_checks import check_inputs, first_line
from edgeapl.engines.trt.batch_limit import fitted
from edgeapl.engines.trt.device import plan_resources
from edgeapl.engines.trt.driver import describe_gpu
from edgeapl.engines.trt.library import Library
from edgeapl.engines.trt.local_runtime import runtime_for
from edgeapl.engines.trt.memory import Buffer, DeviceObject, GpuMemory
from edgeapl.engines.trt.plan import StoredPlan
from edgeapl.engines.trt.plan_loader import (
    PlanContext,
    deserialise,
    ready_context,
    reason,
    runtime_text,
)
from edgeapl.engines.trt.scratch import Scratch
from edgeapl.engines.trt.tensors import (
    Layout,
    Tensor,
    padded,
    parts_of,
    shape_now,
    sizes_of,
)
from edgeapl.errors import DeviceError, EngineError
from edgeapl.protocols import Arrays, TransferCounts

CLOSED = "network was closed"


def open_plan(plan: StoredPlan, *, driver: Any = None, library: Library | None = None) -> TrtEngine:
    """Check a plan against its record and this machine, then load it.

    Parameters
    ----------
    driver, library : stand-ins for tests.

    Raises EngineError when it may not be loaded, or the library refuses it.
    """
    runtime = runtime_for(plan, driver, library)
    return TrtEngine(plan.name, plan.data, plan.record.sha256, runtime.library, runtime.driver)


class TrtEngine:
    """One plan on one GPU. Made by `open_plan` alone, which knows that the plan may be loaded.

    Calls from several threads wait for each other. After a run that failed on the GPU, which raises
    DeviceError, all further runs raise it too: what it left half done could end in the next answer.
    """

    def __init__(self, name: str, plan: bytes, digest: str, library: Library, driver: Any) -> None:
        self._name = name
        self._digest = digest
        self._library = library
        self._driver = driver
        self._lock = threading.Lock()
        self._refusal = ""
        self._engine: Any = None
        self._plan_context: PlanContext | None = None
        self._shared = plan_resources(driver, library)
        self._needs: int | None = None
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
    def moved(self) -> TransferCounts:
        """Bytes that went over the bus so far."""
        return TransferCounts() if self._memory is None else self._memory.moved

    def bare_seconds(self, rows: int, runs: int) -> float:
        """Time the kernels alone: seconds for one run on what lies on the GPU, nothing copied.

        Parameters
        ----------
        rows : of the batch, within what the plan takes at once. runs : one after another, after
            a first one that does not count.
        """
        with self._lock:
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

    def ready(
        self, stream: Callable[[], DeviceObject], settle: Callable[[PlanContext], None]
    ) -> PlanContext:
        """Make one more context on the same weights, for a chain; see `ready_context`."""
        return ready_context(
            self._name,
            self._library,
            self._engine,
            self._shared,
            stream,
            settle,
            parted=self._parted,
        )

    @property
    def scratch(self) -> Scratch:
        """The memory that it works in, and all other networks of this process."""
        return self._shared.scratch

    def warm_up(self) -> None:
        """Run once in each size that batches are padded to, and keep what was compiled for it.

        A plan that meets a shape for the first time takes up to seconds: before any deadline.
        """
        smallest, largest = self._layout.batches
        for rows in self._sizes or sorted({smallest, largest}):
            self.run({t.name: np.zeros(t.shape_of(rows), t.dtype) for t in self._layout.inputs})
        self._shared.kernels.keep()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once, in parts when the batch is larger than the plan takes."""
        with self._lock:
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
        with self._lock:
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
        fit = fitted(self._name, self._library, self._engine, self._shared, memory)
        self._layout, self._parted = fit.layout, fit.parted
        self._sizes = sizes_of(fit.layout.batches) if fit.layout.divisible else ()
        self._shared.scratch.reserve(fit.scratch)
        self._needs = fit.scratch
        for tensor in (*self._layout.inputs, *self._layout.outputs):
            self._buffers[tensor.name] = memory.buffer(tensor.room, tensor.dtype)
        self._plan_context = plan_context = self.ready(lambda: memory.stream, self._settle)
        name = describe_gpu(self._driver).name
        self._runtime = runtime_text(self._library, name, graphs=plan_context.graphs)

    def _settle(self, plan_context: PlanContext) -> None:
        context: Any = plan_context.context
        fits = all(
            context.set_input_shape(tensor.name, tensor.largest) for tensor in self._layout.inputs
        )
        for name, buffer in self._buffers.items():
            fits = fits and context.set_tensor_address(name, buffer.address)
        if not fits:
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
        plan_context, name = self._plan_context, self._name
        assert plan_context is not None
        context: Any = plan_context.context
        self._library.messages.take()
        rows = max((len(inputs[t.name]) for t in self._layout.inputs if t.free), default=0)
        for tensor in self._layout.inputs:
            self._set_rows(context, tensor, padded(rows, self._sizes))
            memory.send(self._buffers[tensor.name], inputs[tensor.name])
        shapes = {}
        for tensor in self._layout.outputs:
            shape = shape_now(name, context, tensor.name)
            # Padded rows have answers too, which are dropped.
            shapes[tensor.name] = (rows, *shape[1:]) if self._sizes else shape
            memory.clear(self._buffers[tensor.name])
        self._execute(memory, plan_context)
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

    def _set_rows(self, context: Any, tensor: Tensor, rows: int) -> None:
        if not context.set_input_shape(tensor.name, tensor.shape_of(rows)):
            raise EngineError("shape was refused", f"{self._name}.{tensor.name}", self._reason())

    def _execute(self, memory: GpuMemory, plan_context: PlanContext) -> None:
        stream = memory.stream
        with self._shared.scratch.lease(stream) as lent:
            plan_context.lend(lent)
            if not plan_context.context.execute_async_v3(stream.raw.handle):
                raise EngineError("execution was refused", self._name, self._reason())

    def _timed(self, memory: GpuMemory, rows: int, runs: int) -> float:
        plan_context = self._plan_context
        assert plan_context is not None
        for tensor in self._layout.inputs:
            self._set_rows(plan_context.context, tensor, padded(rows, self._sizes))
        start, end = memory.event(timed=True), memory.event(timed=True)
        for number in range(runs + 1):
            if number == 1:
                start.raw.record(memory.stream.raw)
            self._execute(memory, plan_context)
        end.raw.record(memory.stream.raw)
        end.raw.synchronize()
        return float(start.raw.time_till(end.raw)) / 1e3 / runs

    def _reason(self) -> str:
        return reason(self._library)

    def _release(self) -> Exception | None:
        """Free everything in the order that the library needs; return the first error."""
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
        self._plan_context = self._engine = None
        return errors[0] if errors else None

    def _forget(self, memory: GpuMemory) -> None:
        with memory.active():
            try:
                # Its work must be over before the plan goes, the plan before its memory.
                memory.wait()
            finally:
                self._plan_context = None
                self._engine = None
                needs, self._needs = self._needs, None
                if needs is not None:
                    self._shared.scratch.release(needs)
