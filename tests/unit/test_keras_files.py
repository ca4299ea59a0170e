"""Keras' Xception and VGG-19 answer here as Keras computes them; other HDF5 files are refused."""

from __future__ import annotations

import io
import itertools
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the export extra")
h5py = pytest.importorskip("h5py", reason="Keras files need h5py")

pytestmark = pytest.mark.filterwarnings("ignore")

from torch.nn import functional as F  # noqa: E402, N812

from edgeapl.errors import BundleError  # noqa: E402
from edgeapl.export.architectures import from_keras, vgg19, xception  # noqa: E402
from edgeapl.export.checkpoints import read_checkpoint  # noqa: E402
from edgeapl.export.checkpoints.keras_file import Layer  # noqa: E402
from edgeapl.export.recipes import eckardt2022, manescu2023  # noqa: E402
from edgeapl.export.recipes.recipe import NetworkRecipe  # noqa: E402
from edgeapl.export.weights import Weights  # noqa: E402

Layers = dict[str, dict[str, Any]]
RNG = np.random.default_rng(4)
EPSILON = 1e-3


def kernel(*shape: int) -> Any:
    inside = int(np.prod(shape[:-1])) or 1
    return (RNG.standard_normal(shape) * np.sqrt(2 / inside)).astype(np.float32)


def numbers(width: int, low: float, high: float) -> Any:
    return RNG.uniform(low, high, width).astype(np.float32)


def norm(width: int) -> dict[str, Any]:
    return {
        "gamma": numbers(width, 0.8, 1.2),
        "beta": numbers(width, -0.1, 0.1),
        "moving_mean": numbers(width, -0.1, 0.1),
        # Small, so that it is seen when epsilon is another one.
        "moving_variance": numbers(width, 0.01, 0.5),
    }


def separable(inside: int, outside: int) -> dict[str, Any]:
    depthwise = (RNG.standard_normal((3, 3, inside, 1)) / 3).astype(np.float32)
    return {"depthwise_kernel": depthwise, "pointwise_kernel": kernel(1, 1, inside, outside)}


# The networks of the papers are larger; narrow ones take the same names and way.
MIDDLE, FEATURES = 48, 64
XCEPTION = {
    2: (64, 128, 128),
    3: (128, 256, 256),
    4: (256, MIDDLE, MIDDLE),
    **dict.fromkeys(range(5, 13), (MIDDLE,) * 4),
    13: (MIDDLE, MIDDLE, 1024),
    14: (1024, 1536, FEATURES),
}
VGG_19 = ((2, 4), (2, 6), (4, 8), (4, 10), (4, 12))


def xception_layers() -> Layers:
    """All layers under the names of keras.applications, its head a row of two dense layers."""
    layers: Layers = {
        "block1_conv1": {"kernel": kernel(3, 3, 3, 32)},
        "block1_conv1_bn": norm(32),
        "block1_conv2": {"kernel": kernel(3, 3, 32, 64)},
        "block1_conv2_bn": norm(64),
    }
    for number, (block, inside) in enumerate(((2, 64), (3, 128), (4, 256), (13, MIDDLE))):
        end = f"_{number}" if number else ""
        layers[f"conv2d{end}"] = {"kernel": kernel(1, 1, inside, XCEPTION[block][-1])}
        layers[f"batch_normalization{end}"] = norm(XCEPTION[block][-1])
    for block, widths in XCEPTION.items():
        for number, (inside, outside) in enumerate(itertools.pairwise(widths), start=1):
            layers[f"block{block}_sepconv{number}"] = separable(inside, outside)
            layers[f"block{block}_sepconv{number}_bn"] = norm(outside)
    layers["dense"] = {"kernel": kernel(FEATURES, 5), "bias": numbers(5, -1, 1)}
    layers["dense_1"] = {"kernel": kernel(5, 1), "bias": numbers(1, -1, 1)}
    return layers


def tensor(array: Any) -> Any:
    return torch.from_numpy(np.asarray(array, dtype=np.float32))


def same(x: Any, side: int, stride: int, value: float = 0.0) -> Any:
    """Pad as TensorFlow does: what is needed in all, the smaller half first."""
    pads = []
    for length in (x.shape[3], x.shape[2]):
        needed = max((-(-length // stride) - 1) * stride + side - length, 0)
        pads += [needed // 2, needed - needed // 2]
    return F.pad(x, pads, value=value)


def conv(x: Any, layer: dict[str, Any], stride: int = 1, pad: bool = True) -> Any:
    weight = tensor(layer["kernel"]).permute(3, 2, 0, 1)
    bias = tensor(layer["bias"]) if "bias" in layer else None
    return F.conv2d(same(x, weight.shape[-1], stride) if pad else x, weight, bias, stride)


def sep(x: Any, layer: dict[str, Any]) -> Any:
    depthwise = tensor(layer["depthwise_kernel"]).permute(2, 3, 0, 1)
    x = F.conv2d(same(x, 3, 1), depthwise, groups=x.shape[1])
    return F.conv2d(x, tensor(layer["pointwise_kernel"]).permute(3, 2, 0, 1))


def bn(x: Any, layer: dict[str, Any]) -> Any:
    mean, variance, gamma, beta = (
        tensor(layer[name])[:, None, None]
        for name in ("moving_mean", "moving_variance", "gamma", "beta")
    )
    return (x - mean) / torch.sqrt(variance + EPSILON) * gamma + beta


def keras_xception(layers: Layers, x: Any) -> Any:
    """What Keras computes: Chollet's network with TensorFlow's paddings."""
    for number, stride in ((1, 2), (2, 1)):
        name = f"block1_conv{number}"
        x = torch.relu(bn(conv(x, layers[name], stride, pad=False), layers[f"{name}_bn"]))
    shortcuts = {2: "", 3: "_1", 4: "_2", 13: "_3"}
    for block in range(2, 14):
        short = x
        for number in range(1, len(XCEPTION[block])):
            if block > 2 or number > 1:
                x = torch.relu(x)
            name = f"block{block}_sepconv{number}"
            x = bn(sep(x, layers[name]), layers[f"{name}_bn"])
        if block in shortcuts:
            end = shortcuts[block]
            short = bn(conv(short, layers[f"conv2d{end}"], 2), layers[f"batch_normalization{end}"])
            x = F.max_pool2d(same(x, 3, 2, -torch.inf), 3, 2)
        x = x + short
    for number in (1, 2):
        name = f"block14_sepconv{number}"
        x = torch.relu(bn(sep(x, layers[name]), layers[f"{name}_bn"]))
    x = x.mean((2, 3))
    x = torch.relu(x @ tensor(layers["dense"]["kernel"]) + tensor(layers["dense"]["bias"]))
    return (x @ tensor(layers["dense_1"]["kernel"]) + tensor(layers["dense_1"]["bias"]))[:, 0]


def write_h5(target: Any, layers: Layers, under: str = "") -> None:
    """As save_weights of Keras 2 does; `under` as model.save does."""
    with h5py.File(target, "w") as file:
        top = file.require_group(under) if under else file
        for layer, arrays in layers.items():
            for name, array in arrays.items():
                top[f"{layer}/{layer}/{name}:0"] = array


KINDS = {"kernel": "Conv2D", "gamma": "BatchNormalization", "depthwise_kernel": "SeparableConv2D"}
SNAKE = {"Conv2D": "conv2d", "BatchNormalization": "batch_normalization", "Dense": "dense"}


def write_keras(file: Path, layers: Layers, own_names: bool) -> None:
    """As model.save('.keras') does: by layer names, or by kinds and numbers."""
    described, counts = [], dict[str, int]()
    inner = io.BytesIO()
    with h5py.File(inner, "w") as weights:
        for layer, arrays in layers.items():
            kind = KINDS[next(iter(arrays))]
            if "kernel" in arrays and arrays["kernel"].ndim == 2:
                kind = "Dense"
            plain = SNAKE.get(kind, "separable_conv2d")
            number = counts[plain] = counts.get(plain, -1) + 1
            place = layer if own_names else f"{plain}_{number}" if number else plain
            described.append({"class_name": kind, "config": {"name": layer}})
            for position, array in enumerate(arrays.values()):
                weights[f"layers/{place}/vars/{position}"] = array
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", json.dumps({"config": {"layers": described}}))
        archive.writestr("model.weights.h5", inner.getvalue())


WRITERS: dict[str, Callable[[Path, Layers], None]] = {
    "weights.h5": write_h5,
    "model.h5": lambda file, layers: write_h5(file, layers, "model_weights"),
    "named.keras": lambda file, layers: write_keras(file, layers, True),
    "numbered.keras": lambda file, layers: write_keras(file, layers, False),
}


def promyelocyte() -> NetworkRecipe:
    return next(n for n in eckardt2022.recipe().networks if n.name == "promyelocyte")


def test_xception_answers_as_in_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (xception, from_keras):
        monkeypatch.setattr(module, "MIDDLE", MIDDLE)
        monkeypatch.setattr(module, "FEATURES", FEATURES)
    layers = xception_layers()
    write_h5(tmp_path / "w.h5", layers)
    recipe = eckardt2022.recipe()
    pixels = torch.from_numpy(RNG.integers(0, 256, (1, 299, 299, 3), dtype=np.uint8))
    weights = Weights(recipe, dict.fromkeys(recipe.weight_roles, tmp_path / "w.h5"))
    with torch.no_grad():
        logit = float(weights.graph(promyelocyte(), explain=False)(pixels)[0])
        wanted = float(keras_xception(layers, pixels.permute(0, 3, 1, 2) / 127.5 - 1))
    assert weights.used["promyelocyte"]["kind"] == "keras"
    assert abs(logit - wanted) < 1e-3 * max(1.0, abs(wanted))


FEW: Layers = {
    "first": {"kernel": kernel(3, 3, 3, 4)},
    "first_bn": norm(4),
    "second": separable(4, 5),
    "third": {"kernel": kernel(3, 3, 5, 6), "bias": numbers(6, -1, 1)},
    "second_bn": norm(6),
    "last": {"kernel": kernel(6, 2), "bias": numbers(2, -1, 1)},
}


def named(layers: Sequence[Layer]) -> dict[str, Any]:
    return {f"{each.name}.{name}": tensor(a) for each in layers for name, a in each.arrays.items()}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_keras_file_gives_the_same_tensors(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name, FEW)
    found = read_checkpoint(tmp_path / name, keras=named)
    assert found.kind == "keras"
    wanted = named([Layer(layer, arrays) for layer, arrays in FEW.items()])
    assert found.tensors.keys() == wanted.keys()
    assert all(torch.equal(found.tensors[key], wanted[key]) for key in wanted)


def test_vgg_19_answers_as_in_keras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for changed in (vgg19, from_keras):
        monkeypatch.setattr(changed, "CONFIGURATION_E", VGG_19)
    layers: Layers = {}
    inside = 3
    for stage, (many, width) in enumerate(VGG_19, start=1):
        for number in range(1, many + 1):
            array = kernel(3, 3, inside, width)
            layers[f"block{stage}_conv{number}"] = {"kernel": array, "bias": numbers(width, 0, 0.1)}
            inside = width
    for name, shape in (("fc1", (12 * 6 * 6, 8)), ("fc2", (8, 4)), ("predictions", (4, 2))):
        layers[name] = {"kernel": kernel(*shape), "bias": numbers(shape[1], -0.1, 0.1)}
    write_h5(tmp_path / "w.h5", layers)
    recipe = manescu2023.recipe()
    weights = Weights(recipe, {"model": tmp_path / "w.h5"})
    x = torch.randn(1, 3, 200, 200)
    wanted = x
    for stage, many in enumerate((2, 2, 4, 4, 4), start=1):
        for number in range(1, many + 1):
            wanted = torch.relu(conv(wanted, layers[f"block{stage}_conv{number}"]))
        wanted = F.max_pool2d(wanted, 2)
    wanted = wanted.permute(0, 2, 3, 1).flatten(1)
    for name in ("fc1", "fc2", "predictions"):
        wanted = wanted @ tensor(layers[name]["kernel"]) + tensor(layers[name]["bias"])
        wanted = torch.relu(wanted) if name != "predictions" else wanted
    encoder = next(n for n in recipe.networks if n.name == "encoder")
    module = weights._loaded(encoder).eval()
    with torch.no_grad():
        given = module(x)
    assert torch.allclose(given, wanted[0], atol=1e-3)


def hostile(make: Callable[[Any], None]) -> bytes:
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        make(file)
    return data.getvalue()


def in_circles(file: Any) -> None:
    group = file.create_group("a")
    group["again"] = group


def elsewhere(file: Any) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[0:2] = h5py.VirtualSource("/etc/hostname", "x", (2,))
    file.create_virtual_dataset("a/kernel:0", layout)


HOSTILE: dict[str, tuple[Callable[[Any], None], str]] = {
    "a link to another file": (
        lambda file: file.__setitem__("a", h5py.ExternalLink("/etc/passwd", "/x")),
        "leads to other places",
    ),
    "a link that is soft": (
        lambda file: file.__setitem__("a", h5py.SoftLink("/b")),
        "leads to other places",
    ),
    "numbers in another file": (
        lambda file: file.create_dataset(
            "a/kernel:0", (4,), "f4", external=[("/etc/hostname", 0, 16)]
        ),
        "leads to other files",
    ),
    "numbers put together from other files": (elsewhere, "leads to other files"),
    "circles": (in_circles, "no end"),
    "a bomb": (
        lambda file: file.create_dataset("a/kernel:0", (1 << 30,), "f4", compression="gzip"),
        "far larger than their file",
    ),
    "names of Keras 3 alone": (
        lambda file: file.create_dataset("layers/dense/vars/0", data=np.ones((2, 2))),
        "does not name its layers",
    ),
    "another network": (
        lambda file: file.create_dataset("dense/dense/kernel:0", data=np.ones((2, 2))),
        "block1_conv1 is not in the file",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_wrong_hdf5_file_is_one_line(case: str, tmp_path: Path) -> None:
    make, words = HOSTILE[case]
    (tmp_path / "w.h5").write_bytes(hostile(make))
    with pytest.raises(BundleError, match=words) as caught:
        read_checkpoint(tmp_path / "w.h5", keras=promyelocyte().keras_reader)
    assert "\n" not in str(caught.value)


def test_keras_files_of_other_networks_say_how_to_convert(tmp_path: Path) -> None:
    (tmp_path / "w.h5").write_bytes(hostile(lambda file: file.create_group("a")))
    with pytest.raises(BundleError, match=r"Keras file.*\(out, in, height, width\)"):
        read_checkpoint(tmp_path / "w.h5")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "saved_model.pb").write_bytes(b"\x08\x01\x12\x00")
    for path in (tmp_path / "model", tmp_path / "model" / "saved_model.pb"):
        with pytest.raises(BundleError, match=r"SavedModel.*save_weights"):
            read_checkpoint(path)
