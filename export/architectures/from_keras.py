"""Converts the weights of Keras' Xception and VGG-19 to the names and layouts of our modules.

Layer names are those of ``keras.applications``. Dense layers are ordered by matching their
sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from edgeapl.errors import BundleError
from edgeapl.export.architectures.vgg19 import CONFIGURATION_E
from edgeapl.export.architectures.xception import FEATURES, MIDDLE
from edgeapl.export.checkpoints.keras_file import Layer, channels_first

Tensors = Mapping[str, torch.Tensor]
TORCH_EPSILON = 1e-5


def xception_tensors(layers: Sequence[Layer]) -> Tensors:
    """Return `Xception`'s tensors.

    Keras adds 0.001 to variances and torch 0.00001: the difference is added to the variances.
    Raises BundleError that names a layer which is missing or has another shape.
    """
    by_name = {layer.name: layer for layer in layers}
    made: dict[str, NDArray[Any]] = {}
    for number in (1, 2):
        _conv(made, f"conv{number}", _taken(by_name, f"block1_conv{number}"))
        _norm(made, f"bn{number}", _taken(by_name, f"block1_conv{number}_bn"))
    for block in range(2, 14):
        # Without the activation before the first convolution, everything is one place earlier.
        shift = 0 if block == 2 else 1
        for number in range(1, 4 if 5 <= block <= 12 else 3):
            place = f"block{block - 1}.rep.{3 * (number - 1) + shift}"
            after = f"block{block - 1}.rep.{3 * (number - 1) + shift + 1}"
            _separable(made, place, _taken(by_name, f"block{block}_sepconv{number}"))
            _norm(made, after, _taken(by_name, f"block{block}_sepconv{number}_bn"))
    for number in (1, 2):
        _separable(made, f"conv{number + 2}", _taken(by_name, f"block14_sepconv{number}"))
        _norm(made, f"bn{number + 2}", _taken(by_name, f"block14_sepconv{number}_bn"))
    # A session names shortcuts by their order of creation; their widths identify them.
    for block, width in ((1, 128), (2, 256), (3, MIDDLE), (12, 1024)):
        _conv(made, f"block{block}.skip", _only(by_name, "kernel", 4, width))
        _norm(made, f"block{block}.skipbn", _only(by_name, "gamma", 1, width))
    dense = _dense(by_name, FEATURES)
    for number, layer in enumerate(dense):
        place = "fc" if len(dense) == 1 else f"fc.{3 * number}"
        made[f"{place}.weight"] = layer.arrays["kernel"].T
        made[f"{place}.bias"] = layer.arrays["bias"]
    return _tensors(made)


def vgg19_tensors(layers: Sequence[Layer]) -> Tensors:
    """Return `Millie`'s tensors: VGG-19's convolutions and three fully connected layers.

    Keras flattens (row, column, channel), torch (channel, row, column): the first fully connected
    layer's inputs are reordered for torch. Raises BundleError as `xception_tensors` does.
    """
    by_name = {layer.name: layer for layer in layers}
    made: dict[str, NDArray[Any]] = {}
    place = 0
    for stage, (convolutions, _) in enumerate(CONFIGURATION_E, start=1):
        for number in range(1, convolutions + 1):
            layer = _taken(by_name, f"block{stage}_conv{number}")
            _conv(made, f"features.{place}", layer)
            made[f"features.{place}.bias"] = layer.arrays["bias"]
            place += 2
        place += 1
    channels = CONFIGURATION_E[-1][1]
    first = max((_inputs(layer) for layer in by_name.values()), default=0)
    for number, layer in enumerate(_dense(by_name, first)):
        kernel = layer.arrays["kernel"]
        if number == 0:
            side = round((first / channels) ** 0.5)
            if side * side * channels != first:
                raise _wrong(layer.name, f"takes {first} numbers, no square of {channels}")
            kernel = kernel.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)
            kernel = kernel.reshape(first, -1)
        made[f"classifier.{3 * number}.weight"] = kernel.T
        made[f"classifier.{3 * number}.bias"] = layer.arrays["bias"]
    return _tensors(made)


def _taken(layers: dict[str, Layer], name: str) -> Layer:
    if name not in layers:
        raise _wrong(name, "is not in the file")
    return layers.pop(name)


def _only(layers: dict[str, Layer], array: str, dimensions: int, width: int) -> Layer:
    """Take the only remaining layer whose array has this width."""
    found = [
        layer
        for layer in layers.values()
        if array in layer.arrays
        and layer.arrays[array].ndim == dimensions
        and layer.arrays[array].shape[-1] == width
    ]
    if len(found) != 1:
        raise _wrong(f"shortcut of {width} channels", f"stands {len(found)} times in the file")
    return layers.pop(found[0].name)


def _inputs(layer: Layer) -> int:
    kernel = layer.arrays.get("kernel")
    return int(kernel.shape[0]) if kernel is not None and kernel.ndim == 2 else 0


def _dense(layers: dict[str, Layer], first: int) -> list[Layer]:
    """Take all fully connected layers, each after the one whose outputs it takes."""
    left = [layer for layer in layers.values() if _inputs(layer) and "bias" in layer.arrays]
    made: list[Layer] = []
    takes = first
    while left:
        fitting = [layer for layer in left if _inputs(layer) == takes]
        if len(fitting) != 1:
            names = ", ".join(layer.name for layer in fitting or left)
            raise _wrong(names, f"{len(fitting)} dense layers take {takes} numbers, not one")
        made.append(fitting[0])
        left.remove(fitting[0])
        takes = int(fitting[0].arrays["kernel"].shape[1])
    return made


def _conv(made: dict[str, NDArray[Any]], name: str, layer: Layer) -> None:
    made[f"{name}.weight"] = _array(layer, "kernel", channels_first)


def _separable(made: dict[str, NDArray[Any]], name: str, layer: Layer) -> None:
    depthwise = _array(layer, "depthwise_kernel", lambda k: channels_first(k, depthwise=True))
    made[f"{name}.conv1.weight"] = depthwise
    made[f"{name}.pointwise.weight"] = _array(layer, "pointwise_kernel", channels_first)


def _norm(made: dict[str, NDArray[Any]], name: str, layer: Layer) -> None:
    for here, there in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean")):
        made[f"{name}.{here}"] = _array(layer, there)
    variance = _array(layer, "moving_variance").astype(np.float64)
    made[f"{name}.running_var"] = variance + (layer.epsilon - TORCH_EPSILON)


def _array(
    layer: Layer, name: str, change: Callable[[NDArray[Any]], NDArray[Any]] | None = None
) -> NDArray[Any]:
    array = layer.arrays.get(name)
    if array is None or array.ndim != (4 if change else 1):
        raise _wrong(layer.name, f"has no {name} of {4 if change else 1} dimensions")
    return change(array) if change else array


def _tensors(made: Mapping[str, NDArray[Any]]) -> Tensors:
    return {
        name: torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        for name, array in made.items()
    }


def _wrong(layer: str, what: str) -> BundleError:
    mend = "layers must have the names that keras.applications gives; else port the weights"
    return BundleError("Keras file is another network", f"{layer} {what}", mend)
