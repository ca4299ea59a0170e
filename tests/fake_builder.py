"""TensorRT's builder over the fake GPU: a plan is the ONNX file that it is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import onnx

from tests.fake_tensorrt import FakeTensorRt, Logger

VERBOSE = 4
LAYERS = (
    "Layers:\nName: only, LayerType: CaskConvolution, Inputs: [ { Name: x, Dimensions: [-1,2], "
    "Datatype: Int8 } ], Outputs: [ { Name: y, Dimensions: [-1,4], Datatype: Half } ]\n"
)
NO_KERNEL = (
    "IBuilder::buildSerializedNetwork: Error Code 10: Internal Error "
    "(Could not find any implementation for node {}.)"
)


@dataclass
class Builds:
    """What was built. configs : of each build, in order. plans : as often as each was made.

    measured : what the builder says it has timed. out_of_memory : every build fails for that.
    change : what becomes of a network before it is a plan.
    without_kernel : the layer of a network that there is no kernel for, as the builder names it.
    """

    configs: list[Config] = field(default_factory=list)
    plans: list[bytes] = field(default_factory=list)
    measured: bytes = b"measured"
    out_of_memory: bool = False
    change: Callable[[bytes], bytes] = bytes
    without_kernel: Callable[[bytes], str] = field(default=lambda _: "")


class Config:
    """What IBuilderConfig is, where we use it."""

    def __init__(self) -> None:
        self.flags = {"tf32"}
        self.workspace = 0
        self.builder_optimization_level = 3
        self.profiling_verbosity = "names"
        self.progress_monitor: Any = None
        self.given: bytes | None = None
        self.profiles: list[dict[str, Any]] = []
        self.contexts: tuple[int, ...] = ()

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        assert pool == "workspace"
        self.workspace = size

    def create_timing_cache(self, data: bytes) -> Any:
        return SimpleNamespace(data=data, serialize=lambda: b"measured")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.data not in (b"", b"measured"):
            return False
        self.given = cache.data
        return True

    def add_optimization_profile(self, profile: Any) -> None:
        self.profiles.append(profile.shapes)


def offer_builder(fake: FakeTensorRt) -> Builds:
    """Give a fake TensorRT what builds plans."""
    builds = Builds()

    class Network:
        model: Any = None

        @property
        def num_inputs(self) -> int:
            return len(self._inputs())

        def get_input(self, index: int) -> Any:
            value = self._inputs()[index]
            sizes = value.type.tensor_type.shape.dim
            shape = [size.dim_value if size.HasField("dim_value") else -1 for size in sizes]
            return SimpleNamespace(name=value.name, shape=tuple(shape))

        def _inputs(self) -> list[Any]:
            weights = {tensor.name for tensor in self.model.graph.initializer}
            return [value for value in self.model.graph.input if value.name not in weights]

    class Parser:
        num_errors = 0

        def __init__(self, network: Network, logger: Any) -> None:
            self._network = network

        def parse(self, data: bytes) -> bool:
            self._network.model = onnx.load_model_from_string(data)
            return True

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def create_network(self, flags: int) -> Network:
            assert flags == 1
            return Network()

        def create_builder_config(self) -> Config:
            return Config()

        def create_optimization_profile(self) -> Any:
            shapes: dict[str, Any] = {}
            return SimpleNamespace(
                shapes=shapes, set_shape=lambda name, *sizes: shapes.update({name: sizes})
            )

        def build_serialized_network(self, network: Network, config: Config) -> bytes | None:
            config.contexts = fake.driver.contexts
            builds.configs.append(config)
            if builds.out_of_memory:
                self._logger.log(Logger.ERROR, "Error Code 10: OutOfMemory: not enough")
                return None
            fused = builds.without_kernel(network.model.SerializeToString())
            if fused:
                self._logger.log(
                    Logger.ERROR, f"Could not find any implementation for node {fused}."
                )
                self._logger.log(Logger.ERROR, NO_KERNEL.format(fused))
                return None
            self._logger.log(VERBOSE, LAYERS)
            self._logger.log(VERBOSE, "Total Activation Memory: 4096 bytes")
            plan = builds.change(network.model.SerializeToString())
            builds.plans.append(plan)
            return plan

    fake.api.Builder = Builder
    fake.api.OnnxParser = Parser
    fake.api.NetworkDefinitionCreationFlag = SimpleNamespace(STRONGLY_TYPED=0)
    fake.api.MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    fake.api.BuilderFlag = SimpleNamespace(TF32="tf32")
    fake.api.ProfilingVerbosity = SimpleNamespace(DETAILED="detailed")
    return builds
