"""TensorRT's runtime over the fake GPU. A plan is an ONNX file, and onnxruntime computes it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.engine import TrtEngine, open_plan
from edgeapl.engines.trt.library import Library, library_of
from edgeapl.engines.trt.plan import Place, StoredPlan, record_of
from edgeapl.errors import EngineError
from edgeapl.testing import FakeDriver

VERSION = "10.3.0"
NAMES = {
    "float32": "FLOAT",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "HALF",
}
SCRATCH = 1000
"""Bytes that every plan claims to need while it runs."""


class Logger:
    """What ILogger is: its __init__ must be called."""

    INTERNAL_ERROR, ERROR, WARNING = range(3)

    def __init__(self) -> None:
        self.ready = True

    def log(self, severity: int, msg: str) -> None:
        raise NotImplementedError


class Mode(Enum):
    INPUT = 0
    OUTPUT = 1


class Strategy(Enum):
    USER_MANAGED = 2


def scratch_for(rows: int, largest: int, whole: int) -> int:
    """Bytes that a plan claims to need for a batch."""
    return -(-whole * rows // largest)


class FakeTensorRt:
    """Makes the API module; what goes wrong is switched on here.

    largest : rows of the largest batch. others : largest first dimension of inputs that are no
    batch.

    silent : execution is accepted and never writes an answer.
    refuses : name of the call that answers False or None, with an error logged.
    complains : execution logs an error and still says that all went well.

    contexts : how each context was made. alive : those that somebody still holds.
    scratch : bytes that every network claims to need for its largest batch. capturable : contexts
    can be captured as graphs. caches : compiled kernels, one for each runtime cache that was made.
    shapes : those that plans were run in.
    """

    def __init__(
        self, driver: FakeDriver, largest: int = 8, others: Mapping[str, int] | None = None
    ) -> None:
        self.driver = driver
        self.largest = largest
        self.others = dict(others or {})
        self.silent = False
        self.refuses = ""
        self.complains = False
        self.scratch = SCRATCH
        self.capturable = True
        self.caches: list[FakeCache] = []
        self.shapes: set[tuple[str, tuple[int, ...]]] = set()
        self.deserialised = 0
        self.contexts: list[str] = []
        self.execution: type[FakeExecution] = FakeExecution
        self.alive: weakref.WeakSet[FakeExecution] = weakref.WeakSet()
        self.api = SimpleNamespace(
            __version__=VERSION,
            ILogger=Logger,
            TensorIOMode=Mode,
            ExecutionContextAllocationStrategy=Strategy,
            Runtime=lambda logger: FakeRuntime(self, logger),
        )

    def offer_graphs(self) -> None:
        """Have what TensorRT-RTX has."""
        self.api.CudaGraphStrategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE="graphs")
        self.api.DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="eager")

    @property
    def library(self) -> Library:
        return library_of("tensorrt", self.api)

    @property
    def place(self) -> Place:
        major, minor = self.driver.capability
        return Place("tensorrt", VERSION, self.driver.name, f"{major}.{minor}", "this machine")

    def open(self, plan: bytes, name: str = "cells") -> TrtEngine:
        """Open a plan as one that was built here."""
        stored = StoredPlan("tensorrt", name, plan, record_of(plan, self.place), "this machine")
        return open_plan(stored, driver=self.driver, library=self.library)


class FakeRuntime:
    def __init__(self, fake: FakeTensorRt, logger: Any) -> None:
        assert logger.ready
        self._fake = fake
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> FakeCudaEngine | None:
        self._fake.deserialised += 1
        try:
            return FakeCudaEngine.of(self._fake, self._logger, plan)
        except EngineError:
            self._logger.log(Logger.ERROR, "deserialize: Error Code 4:\nbad magic number")
            return None


class FakeCudaEngine:
    graph: Any = None
    """For stand-ins that do not compute with onnxruntime."""

    @classmethod
    def of(cls, fake: FakeTensorRt, logger: Any, plan: bytes) -> FakeCudaEngine:
        """Read what is taken for a plan; raises EngineError."""
        return cls(fake, logger, OrtEngine("plan", plan))

    def __init__(self, fake: FakeTensorRt, logger: Any, engine: OrtEngine) -> None:
        self._fake = fake
        self._logger = logger
        self.engine = engine
        # What cuts cells needs next to nothing.
        self.device_memory_size_v2 = SCRATCH if "places" in engine.inputs else fake.scratch
        largest = {
            key: np.zeros(self._shape(key, self.largest(key)), kind)
            for key, (kind, _) in engine.inputs.items()
        }
        self.answers = engine.run(largest)
        self.num_io_tensors = len(engine.inputs) + len(engine.outputs)

    def largest(self, key: str) -> int:
        return self._fake.others.get(key, self._fake.largest)

    @property
    def batch(self) -> str:
        """The input whose rows are those of the answers."""
        free = [key for key, (_, shape) in self.engine.inputs.items() if shape[0] is None]
        return next((key for key in free if key not in self._fake.others), "")

    def _shape(self, key: str, rows: int) -> tuple[int, ...]:
        return tuple(rows if size is None else size for size in self.engine.inputs[key][1])

    def get_tensor_name(self, index: int) -> str:
        return [*self.engine.inputs, *self.engine.outputs][index]

    def get_tensor_mode(self, key: str) -> Mode:
        return Mode.INPUT if key in self.engine.inputs else Mode.OUTPUT

    def get_tensor_dtype(self, key: str) -> Any:
        inputs = self.engine.inputs
        name = inputs[key][0] if key in inputs else self.answers[key].dtype.name
        return SimpleNamespace(name=NAMES[name])

    def get_tensor_shape(self, key: str) -> tuple[int, ...]:
        if key in self.engine.inputs:
            return self._shape(key, -1)
        free = any(None in shape for _, shape in self.engine.inputs.values())
        shape = self.answers[key].shape
        return (-1, *shape[1:]) if free and shape[:1] == (self._fake.largest,) else shape

    def get_tensor_profile_shape(self, key: str, profile: int) -> list[tuple[int, ...]]:
        assert profile == 0
        return [self._shape(key, rows) for rows in (1, 2, self.largest(key))]

    def create_runtime_config(self) -> FakeConfig:
        assert hasattr(self._fake.api, "CudaGraphStrategy")
        return FakeConfig(self._fake)

    def create_execution_context(self, how: Any = None) -> FakeExecution | None:
        if self._fake.refuses == "create_execution_context":
            self._logger.log(Logger.ERROR, "out of memory")
            return None
        config = how if isinstance(how, FakeConfig) else FakeConfig(self._fake, strategy=how)
        lent = config.strategy is Strategy.USER_MANAGED
        made = (("lent", lent), ("graphs", config.cuda_graph_strategy == "graphs"))
        self._fake.contexts.append(", ".join(word for word, true in made if true))
        run = self._fake.execution(self._fake, self._logger, self, lent=lent, cache=config.cache)
        run.graphs = config.cuda_graph_strategy == "graphs"
        return run


class FakeCache:
    """Compiled kernels: the name of each network, and a shape that it was run in."""

    def __init__(self) -> None:
        self.kernels: set[bytes] = set()
        self.compiled = 0

    def deserialize(self, blob: bytes) -> bool:
        self.kernels |= set(bytes(blob).split(b"|"))
        return True

    def serialize(self) -> bytes:
        return b"|".join(sorted(self.kernels))

    def compile(self, kernel: str) -> None:
        self.compiled += kernel.encode() not in self.kernels
        self.kernels.add(kernel.encode())


@dataclass
class FakeConfig:
    fake: FakeTensorRt
    cache: FakeCache | None = None
    dynamic_shapes_kernel_specialization_strategy: str = ""

    def create_runtime_cache(self) -> FakeCache:
        self.fake.caches.append(FakeCache())
        return self.fake.caches[-1]

    def set_runtime_cache(self, cache: FakeCache) -> bool:
        self.cache = cache
        return True

    strategy: Strategy | None = None
    cuda_graph_strategy: str = ""

    def set_execution_context_allocation_strategy(self, strategy: Strategy) -> None:
        self.strategy = strategy


class FakeExecution:
    graphs = False

    def __init__(
        self,
        fake: FakeTensorRt,
        logger: Any,
        engine: FakeCudaEngine,
        *,
        lent: bool,
        cache: FakeCache | None = None,
    ) -> None:
        self._cache = cache
        self._needs = engine.device_memory_size_v2
        self._fake = fake
        self._logger = logger
        self._engine = engine
        self._lent = lent
        fake.alive.add(self)
        self._scratch = None if lent else np.zeros(self._needs, np.uint8)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, key: str, shape: tuple[int, ...]) -> bool:
        if self._refused("set_input_shape") or shape[0] > self._engine.largest(key):
            return False
        self._shapes[key] = shape
        return True

    def get_tensor_shape(self, key: str) -> tuple[int, ...]:
        rows = self._shapes.get(self._engine.batch, (0,))[0]
        whole = self._engine.get_tensor_shape(key)
        return tuple(rows if size == -1 else size for size in whole)

    def set_tensor_address(self, key: str, address: int) -> bool:
        # TensorRT takes no others.
        if self._refused("set_tensor_address") or address % 256:
            return False
        self._addresses[key] = address
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        assert self._lent
        assert address % 256 == 0
        assert size >= self._needs
        self._scratch = self._fake.driver.memory(address)

    def update_device_memory_size_for_shapes(self) -> int:
        """Lay the memory out for the shapes that are set: it is lent anew."""
        rows = self._shapes[self._engine.batch][0]
        self._scratch = None
        self._needs = scratch_for(
            rows, self._engine.largest(""), self._engine.device_memory_size_v2
        )
        return self._needs

    def is_stream_capturable(self, stream: int) -> bool:
        assert stream
        assert self._scratch is not None
        assert self._addresses
        return self._fake.capturable

    def execute_async_v3(self, stream: int) -> bool:
        self._fake.driver.record("execute_async_v3")
        if self._scratch is None or self._refused("execute_async_v3"):
            return False
        rows = scratch_for(
            self._shapes.get(self._engine.batch, (0,))[0],
            self._engine.largest(""),
            self._engine.device_memory_size_v2,
        )
        assert rows <= self._needs
        for key, shape in self._shapes.items():
            self._fake.shapes.add((key, shape))
            if self._cache is not None:
                self._cache.compile(f"{key} {shape}")
        if self._fake.complains:
            self._logger.log(Logger.ERROR, "kernel failed")
        # Taken now: who calls may set others for the next run while this one waits.
        shapes, addresses = dict(self._shapes), dict(self._addresses)
        if not self._fake.silent:
            self._fake.driver.enqueue(stream, lambda: self._compute(shapes, addresses))
        return True

    def _compute(self, shapes: Mapping[str, tuple[int, ...]], addresses: Mapping[str, int]) -> None:
        engine = self._engine.engine
        inputs: dict[str, NDArray[np.generic]] = {}
        for key, (kind, _) in engine.inputs.items():
            data = self._fake.driver.memory(addresses[key]).view(kind)
            inputs[key] = data[: int(np.prod(shapes[key]))].reshape(shapes[key])
        assert self._scratch is not None
        self._scratch[: self._needs] = 0
        for key, value in self._run(inputs).items():
            raw = np.ascontiguousarray(value).view(np.uint8).reshape(-1)
            self._fake.driver.memory(addresses[key])[: raw.size] = raw

    def _run(self, inputs: Mapping[str, NDArray[np.generic]]) -> Mapping[str, Any]:
        return self._engine.engine.run(inputs)

    def _refused(self, call: str) -> bool:
        if self._fake.refuses == call:
            self._logger.log(Logger.ERROR, f"{call}: refused")
            return True
        return False
