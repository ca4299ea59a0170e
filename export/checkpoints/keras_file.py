"""Weights as Keras saves them, by layer: ``.h5`` files with names, and ``.keras`` files."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.errors import BundleError
from edgeapl.export.checkpoints.file_formats import AGAIN, DAMAGE
from edgeapl.export.checkpoints.hdf5 import CONVERT, hdf5_arrays

MOST_CONFIG = 16 << 20
"""Largest configuration, bytes; Xception's has about 80 kB."""

EPSILON = 1e-3
"""Epsilon of Keras' batch norms, if the file does not state it."""

VARIABLES = {
    "Conv2D": ("kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "SeparableConv2D": ("depthwise_kernel", "pointwise_kernel", "bias"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""In the order in which ``.keras`` files number them."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """One layer: its name, its arrays by name, and a batch norm's epsilon."""

    name: str
    arrays: Mapping[str, NDArray[Any]]
    epsilon: float = EPSILON


def keras_layers(path: Path, data: bytes, most: int) -> tuple[Layer, ...]:
    """Return the layers of a file that hold numbers.

    Parameters
    ----------
    most : numbers that all arrays may have together.

    Raises BundleError when the file is damaged or does not name its layers.
    """
    if data.startswith(b"PK"):
        return _of_archive(path, data, most)
    arrays = hdf5_arrays(path, data, most)
    layers: dict[str, dict[str, NDArray[Any]]] = {}
    for name, array in arrays.items():
        parts = name.split("/")
        if parts[0] == "optimizer_weights" or len(parts) < 2:
            continue
        if parts[-2] == "vars":
            mend = "save it with its configuration: model.save('model.keras')"
            raise BundleError("Keras file does not name its layers", path, mend)
        layers.setdefault(parts[-2], {})[parts[-1].partition(":")[0]] = array
    return tuple(Layer(name, arrays) for name, arrays in layers.items())


def _of_archive(path: Path, data: bytes, most: int) -> tuple[Layer, ...]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if archive.getinfo("config.json").file_size > MOST_CONFIG:
                raise BundleError("Keras configuration is too large", path, CONVERT)
            config = json.loads(archive.read("config.json"))
            stored = archive.read("model.weights.h5")
        described = list(_described(config))
    except BundleError:
        raise
    except (RecursionError, *DAMAGE) as error:
        raise BundleError("Keras file is cut off or damaged", path, AGAIN) from error
    arrays = hdf5_arrays(path, stored, most)
    by_place = {place: (name, kind, epsilon) for place, name, kind, epsilon in described}
    names = {name: (name, kind, epsilon) for _, name, kind, epsilon in described}
    given: dict[str, dict[int, NDArray[Any]]] = {}
    for name, array in arrays.items():
        found = re.fullmatch(r"(?:_layer_checkpoint_dependencies|layers)[/\\](.+)/vars/(\d+)", name)
        if found:
            given.setdefault(found[1], {})[int(found[2])] = array
    # Some versions of Keras store a layer under its own name, some under its kind and a number.
    known = names if set(given) <= set(names) else by_place
    layers = []
    for place, numbered in given.items():
        if place not in known:
            raise BundleError("Keras file holds layers in layers", path, CONVERT)
        name, kind, epsilon = known[place]
        words = VARIABLES.get(kind, ())
        arrays_of = {words[n]: array for n, array in numbered.items() if n < len(words)}
        if arrays_of:
            layers.append(Layer(name, arrays_of, epsilon))
    return tuple(layers)


def _described(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str, float]]:
    """Yield path in the file, name, kind and epsilon of every layer in a configuration."""
    counts: Counter[str] = Counter()
    for layer in config["config"]["layers"]:
        kind = str(layer["class_name"])
        plain = re.sub(r"([a-z])([A-Z])", r"\1_\2", re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", kind))
        plain = plain.lower()
        place = f"{plain}_{counts[plain]}" if counts[plain] else plain
        counts[plain] += 1
        inside = layer["config"]
        yield place, str(inside["name"]), kind, float(inside.get("epsilon", EPSILON))


def channels_first(kernel: NDArray[Any], *, depthwise: bool = False) -> NDArray[np.float32]:
    """Transpose a kernel (H, W, in, out) to (out, in, H, W); a depthwise one to (in, 1, H, W)."""
    order = (2, 3, 0, 1) if depthwise else (3, 2, 0, 1)
    return np.ascontiguousarray(kernel.transpose(order), dtype=np.float32)
