"""What stands in for TensorRT on a real GPU computes what onnxruntime does; here on the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
import edgeapl
from edgeapl.bundle.specs import CropSpec
from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.crop_network import crop_network
from edgeapl.testing import FakeDriver
from tests.data.measure_gpu import measured
from tests.data.measure_gpu import noise as noise_frame
from tests.data.measure_torch_gpu import difference_from_here, put_on
from tests.gpu_chain import (
    LARGEST,
    LINKS,
    MASKED,
    NAMES,
    NETWORKS,
    OTHERS,
    SPEC,
    Chained,
    chain_on,
    engines_on,
    field,
    plainly,
)
from tests.small_bundle import small_bundle
from tests.torch_runtime import TorchGraph, TorchTensorRt
from tests.unit.test_trt_crop import SPECS, spec_of
from tests.unit.test_trt_crop import field as noise

EMBEDDED = Path(edgeapl.__file__).parent / "models" / "apl-demo"


def test_fp32_is_not_multiplied_in_tf32() -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    TorchTensorRt(FakeDriver(), "cpu")
    assert not torch.backends.cudnn.allow_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


def compared(model: bytes, inputs: dict[str, np.ndarray], atol: float) -> None:
    import torch  # noqa: PLC0415 - only where it is installed

    wanted = OrtEngine("wanted", model).run(inputs)
    given = {key: torch.from_numpy(value.copy()) for key, value in inputs.items()}
    got = TorchGraph(model, "cpu")(given)
    assert set(got) == set(wanted)
    for key, value in wanted.items():
        assert tuple(got[key].shape) == value.shape
        np.testing.assert_allclose(got[key].numpy().astype(float), value.astype(float), atol=atol)


@pytest.mark.parametrize("name", [*NETWORKS, "embedded"])
def test_networks_give_the_same(name: str) -> None:
    model = (EMBEDDED / "cells.onnx").read_bytes() if name == "embedded" else NETWORKS[name]
    engine = OrtEngine(name, model)
    rng = np.random.default_rng(0)
    inputs: dict[str, np.ndarray] = {}
    for key, (kind, shape) in engine.inputs.items():
        sizes = [5 if size is None else size for size in shape]
        inputs[key] = rng.integers(0, 255 if kind == "uint8" else 2, sizes).astype(kind)
    compared(model, inputs, 1e-5)


@pytest.mark.parametrize("name", SPECS)
def test_cells_are_cut_alike(name: str) -> None:
    spec, found = spec_of(name), noise()
    given: dict[str, np.ndarray] = {
        "frame": found.frame.pixels.reshape(-1, 3),
        "extent": np.array(found.frame.pixels.shape[:2], np.int32),
        "places": np.array([(100, 50, 180, 180), (-30, -20, 90, 90)], np.int32),
        "steps": np.arange(192, dtype=np.int32),
    }
    if spec.mask:
        given["labels"] = found.labels.reshape(-1, 1).view(np.uint8)
        given["numbers"] = np.array([3, 5], np.int32)
    # Floats are added in another order: a value that lies between two grey levels may fall.
    compared(crop_network(spec), given, 1.0)


@pytest.mark.parametrize("spec", [SPEC, MASKED], ids=["plain", "masked"])
def test_a_chain_over_it_answers_as_the_networks_alone_do(spec: CropSpec) -> None:
    fake = TorchTensorRt(FakeDriver(), "cpu", largest=LARGEST, others=OTHERS)
    engines = engines_on(fake)
    made = Chained(fake, engines, chain_on(fake, engines, LINKS, spec))
    for seed in range(3):
        one = field(seed)
        place = made.chain.put(one.frame, one.labels)
        assert place is not None
        made.chain.start([one.on(place)], NAMES)
        made.chain.drop(place)
        got, wanted = made.chain.finish(), plainly([(one, slice(None))], spec)
        for network, outputs in wanted.items():
            for key, values in outputs.items():
                # A grey level of some pixels is a hundredth of a mean colour at most.
                np.testing.assert_allclose(
                    got[network][key].astype(float), values.astype(float), atol=0.01
                )
    made.close()
    assert not any(made.driver.live.values())


def test_what_measures_on_a_gpu_without_tensorrt_runs(tmp_path: Path) -> None:
    small_bundle(tmp_path / "bundle")
    fake = TorchTensorRt(FakeDriver(), "cpu", largest=4, others=OTHERS)
    with put_on(fake, tmp_path / "bundle", "fp32") as model:
        found = noise_frame(model, 11, 200, 200)
        timed = measured(model, found, frames=2)
        assert difference_from_here(model, tmp_path / "bundle", found) < 0.01
    assert timed.difference < 0.01
    assert timed.moved.up == 200 * 200 * 3 + 8 + 16 * 12
    assert not any(fake.driver.live.values())
