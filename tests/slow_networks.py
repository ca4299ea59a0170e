"""Networks that take as long as they are asked to, and the files that a host opens them from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, TensorProto, helper, numpy_helper

from edgeapl.bundle.digest import sha256
from edgeapl.engines.hosted.networks import NetworkFile
from edgeapl.protocols import Arrays
from tests.small_bundle import model

ENDLESS = 2**62


def adding_body() -> GraphProto:
    """Give the body of a loop that adds one to a value of shape (1,)."""
    boolean, number = TensorProto.BOOL, TensorProto.FLOAT
    return helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["go_on"]),
            helper.make_node("Add", ["value", "one_more"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", boolean, []),
            helper.make_tensor_value_info("value", number, [1]),
        ],
        [
            helper.make_tensor_value_info("go_on", boolean, []),
            helper.make_tensor_value_info("next", number, [1]),
        ],
        [numpy_helper.from_array(np.ones(1, np.float32), "one_more")],
    )


def loop_network() -> bytes:
    """`y` is `x` plus one, `count` times over; 100,000 take about 0.1 s, `ENDLESS` for ever."""
    number = TensorProto.FLOAT
    return model(
        [helper.make_node("Loop", ["count", "yes", "x"], ["y"], body=adding_body())],
        [
            helper.make_tensor_value_info("count", TensorProto.INT64, [1]),
            helper.make_tensor_value_info("x", number, [1]),
        ],
        [helper.make_tensor_value_info("y", number, [1])],
        {"yes": np.array(True)},
    )


def count(times: int, start: float = 0.0) -> dict[str, NDArray[np.generic]]:
    """Give the inputs of the loop."""
    return {"count": np.array([times]), "x": np.array([start], np.float32)}


def chain_network() -> bytes:
    """A recurrent layer over a sequence: a single node, which no cancel can cut short."""
    hidden = 512
    return model(
        [helper.make_node("RNN", ["x", "w", "r"], ["", "y"], hidden_size=hidden)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["steps", 1, 1])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, hidden])],
        {
            "w": np.full((1, hidden, 1), 0.01, np.float32),
            "r": np.full((1, hidden, hidden), 0.001, np.float32),
        },
    )


def steps(number: int) -> dict[str, NDArray[np.generic]]:
    """Give the inputs of the chain; 20,000 steps take about 0.8 s, `HUGE` 20 s."""
    return {"x": np.ones((number, 1, 1), np.float32)}


HUGE = 500_000


def non_zero_network() -> bytes:
    """Where `x` is not zero: an answer whose shape only the run can tell, and may be empty."""
    return model(
        [
            helper.make_node("NonZero", ["x"], ["places"]),
            helper.make_node("IsNaN", ["x"], ["nan"]),
            helper.make_node("Identity", ["x"], ["same"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n"])],
        [
            helper.make_tensor_value_info("places", TensorProto.INT64, [1, "m"]),
            helper.make_tensor_value_info("nan", TensorProto.BOOL, ["n"]),
            helper.make_tensor_value_info("same", TensorProto.FLOAT, ["n"]),
        ],
        {},
    )


def zeros_network() -> bytes:
    """Zeros of the size asked for; fails when that is negative."""
    return model(
        [helper.make_node("ConstantOfShape", ["size"], ["zeros"])],
        [helper.make_tensor_value_info("size", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("zeros", TensorProto.FLOAT, ["h", "w"])],
        {},
    )


def written(folder: Path, **networks: bytes) -> tuple[NetworkFile, ...]:
    """Write networks to files and describe them for a host."""
    files = []
    for name, data in networks.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(data)
        files.append(NetworkFile(name, "onnxruntime", path, sha256(data)))
    return tuple(files)


def same_bits(have: Arrays, want: Arrays) -> bool:
    """Say whether arrays agree in name, type, shape and every bit."""
    return list(have) == list(want) and all(
        have[name].dtype == array.dtype
        and have[name].shape == array.shape
        and have[name].tobytes() == array.tobytes()
        for name, array in want.items()
    )
