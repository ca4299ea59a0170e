"""What a check is made on: a driver, what computes networks on it, bundles and images."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from edgeapl.bundle.specs import CropSpec
from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.engines.registry import CUDA, ON_GPU, PLANS, available_targets, open_engine
from edgeapl.engines.trt.build import Profile, build_plan
from edgeapl.engines.trt.chain import TrtChain, open_chain
from edgeapl.engines.trt.crop_network import crop_network, crop_ranges, widest
from edgeapl.engines.trt.cuda_bindings import BindingsDriver, open_driver
from edgeapl.engines.trt.driver import describe_gpu, load_driver
from edgeapl.engines.trt.engine import TrtEngine, open_plan
from edgeapl.engines.trt.library import find_library
from edgeapl.engines.trt.local_runtime import place_here
from edgeapl.engines.trt.plan import StoredPlan, record_of
from edgeapl.inference.routing import chain_links
from edgeapl.model import Model, open_model
from edgeapl.protocols import Engine, Link
from edgeapl.testing import FakeDriver
from tests.fake_tensorrt import FakeTensorRt
from tests.gpu.record import UnmetError
from tests.gpu_chain import chain_on

MACHINE = "gpu check"
BATCH = 16
FRAME = (1920, 2560)
"""Height and width of the published system's frame."""

DRY_FRAME = (300, 400)


class Opener(Protocol):
    """Computes single networks on a GPU."""

    @property
    def name(self) -> str:
        """What records call it."""

    def open(self, onnx: bytes, name: str, batch: int) -> Engine:
        """Make a network ready to run."""


@dataclass(frozen=True, slots=True)
class Provider:
    """onnxruntime's CUDA provider. name : its target."""

    name: str = CUDA

    def open(self, onnx: bytes, name: str, batch: int) -> Engine:
        """Open it at once, and warm it up."""
        return open_engine(CUDA, name, onnx)


class Runtime(Protocol):
    """Computes networks on a GPU, and chains them."""

    @property
    def name(self) -> str:
        """What records call it."""

    def open(self, onnx: bytes, name: str, batch: int) -> TrtEngine:
        """Make a network ready to run."""

    def chain(
        self, engines: Mapping[str, TrtEngine], links: Sequence[Link], spec: CropSpec, scale: float
    ) -> TrtChain:
        """Chain them; scale : µm per px of the frames."""


@dataclass(frozen=True, slots=True)
class Plans:
    """A real TensorRT. name : its target."""

    name: str

    def open(self, onnx: bytes, name: str, batch: int) -> TrtEngine:
        """Build, and open what was built."""
        library = find_library(self.name)
        plan = build_plan(onnx, name=name, library=library, profile=Profile(1, batch, batch))
        record = record_of(plan, place_here(self.name, MACHINE))
        return open_plan(StoredPlan(self.name, name, plan, record, MACHINE))

    def chain(
        self, engines: Mapping[str, TrtEngine], links: Sequence[Link], spec: CropSpec, scale: float
    ) -> TrtChain:
        """Build what cuts cells as well."""
        ranges = crop_ranges(spec, scale, BATCH)
        library = find_library(self.name)
        plan = build_plan(crop_network(spec), name="crop", library=library, ranges=ranges)
        record = record_of(plan, place_here(self.name, MACHINE))
        return open_chain(StoredPlan(self.name, "crop", plan, record, MACHINE), links, engines)


@dataclass(frozen=True, slots=True, eq=False)
class Stand:
    """Our own part on a real GPU with torch in TensorRT's place, or all of it on a fake one.

    name : ``torch`` or ``fake``. pixels : of the largest frame.
    """

    name: str
    driver: Any
    pixels: int = FRAME[0] * FRAME[1]

    def open(self, onnx: bytes, name: str, batch: int) -> TrtEngine:
        """Open it at once: its plan is the ONNX file."""
        return self._library(batch, 1).open(onnx, name)

    def chain(
        self, engines: Mapping[str, TrtEngine], links: Sequence[Link], spec: CropSpec, scale: float
    ) -> TrtChain:
        """Chain them."""
        return chain_on(self._library(BATCH, widest(spec, scale)), engines, links, spec)

    def _library(self, batch: int, wide: int) -> FakeTensorRt:
        others = {"frame": self.pixels, "labels": self.pixels, "steps": wide}
        if self.name == "fake":
            return FakeTensorRt(self.driver, batch, others)
        from tests.torch_runtime import TorchTensorRt  # noqa: PLC0415 - torch is seldom there

        return TorchTensorRt(self.driver, "cuda", largest=batch, others=others)


@dataclass(frozen=True, eq=False)
class Site:
    """Where a check is made.

    dry : on a GPU that is not there, and so with few rounds. bundles : besides the demonstration.
    frames : folder of real slides; None where they are not there. short : few rounds as well.
    """

    dry: bool
    bundles: tuple[Path, ...] = ()
    frames: Path | None = None
    short: bool = False

    @functools.cached_property
    def driver(self) -> Any:
        """CUDA's driver."""
        if self.dry:
            return FakeDriver(capacity=64 << 30)
        if not find_spec("torch"):
            return load_driver()
        from tests.data.measure_torch_gpu import RealDriver  # noqa: PLC0415 - needs torch

        return RealDriver()

    def other_driver(self) -> Any:
        """Give the driver through the interface that `driver` does not use."""
        if self.dry:
            return FakeDriver()
        below = getattr(self.driver, "_driver", self.driver)
        if isinstance(below, BindingsDriver):
            raise UnmetError("pycuda is not installed, so only cuda-bindings were tried")
        try:
            other = open_driver()
        except (ImportError, OSError) as error:
            raise UnmetError(
                f"cuda-bindings are not here, only pycuda was tried: {error}"
            ) from error
        other.init()
        return other

    def rounds(self, real: int, dry: int) -> int:
        """Give how often something is done."""
        return dry if self.dry or self.short else real

    def refusal(self, target: str) -> str:
        """Say why a library that is installed does not serve this GPU; '' where it does.

        TensorRT-RTX knows the GPUs it compiles for, and those of data centres are not among them.
        """
        if target != "tensorrt-rtx" or self.dry:
            return ""
        capability = describe_gpu(self.driver).compute_capability
        known = find_library(target).api.ComputeCapability.__members__
        return (
            "" if f"SM{capability.replace('.', '')}" in known else f"serves no GPU of {capability}"
        )

    def missing_provider(self) -> str:
        """Say why onnxruntime's CUDA provider is not to be had; '' where it is."""
        if self.dry:
            return "there is no GPU"
        return {one.target: one.run for one in available_targets()}[CUDA]

    def openers(self) -> Sequence[Opener]:
        """Give all that compute single networks here; raises UnmetError without any."""
        if self.missing_provider():
            return self.runtimes()
        try:
            return [Provider(), *self.runtimes()]
        except UnmetError:
            return [Provider()]

    def runtimes(self) -> list[Runtime]:
        """Give all that compute networks here, TensorRT first; raises UnmetError without any."""
        if self.dry:
            return [Stand("fake", self.driver, DRY_FRAME[0] * DRY_FRAME[1])]
        there = {one.target for one in available_targets() if not one.build and not one.run}
        served = [target for target in PLANS if target in there and not self.refusal(target)]
        found: list[Runtime] = [Plans(target) for target in served]
        if find_spec("torch"):
            found.append(Stand("torch", self.driver))
        if not found:
            why = "; ".join(
                f"{one.target}: {one.run or self.refusal(one.target)}"
                for one in available_targets()
                if one.target in ON_GPU and (one.run or one.target in PLANS)
            )
            raise UnmetError(f"nothing computes networks on this GPU: {why}; no torch either")
        return found


def model_on(runtime: Runtime, folder: Path, precision: str) -> Model:
    """Open a bundle whose networks of cells run there, chained."""
    model = open_model(folder)
    manifest = model.bundle.manifest
    links = chain_links(manifest)
    engines: dict[str, TrtEngine] = {}
    for link in links:
        onnx = model.bundle.read(manifest.networks[link.network].file)
        written = to_fp16(onnx, frozenset())[0] if precision == "fp16" else onnx
        engines[link.network] = runtime.open(written, link.network, BATCH)
    chain = runtime.chain(engines, links, manifest.crop, manifest.um_per_px)
    every: dict[str, Engine] = {**model.engines, **engines}
    return replace(model, engines=every, chain=chain, batch_size=BATCH)
