"""A bundle small enough to be made in a test: networks of one layer on the mean colour."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgeapl.bundle.load import Bundle
from edgeapl.model.sealer import seal_bundle
from edgeapl.testing import ScriptedSource
from edgeapl.types import Frame, UInt8

ROLES = ("promyelocyte", "myeloblast", "auer_rod")
SIZE = 32

Weights = NDArray[np.float32]


def model(nodes: Sequence[Any], inputs: Any, outputs: Any, weights: Mapping[str, Any]) -> bytes:
    """Put a graph together and give the bytes of its ONNX file."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def cell_network(weights: Weights | None = None, bias: Weights | None = None) -> bytes:
    """Mean colour (0 to 1) times weights (3, 3) plus bias (3,), through a sigmoid, one per role.

    By default a red cell is a promyelocyte, a green one a myeloblast, a blue one has Auer rods.
    """
    weights = np.asarray(20 * np.eye(3) if weights is None else weights, dtype=np.float32)
    bias = np.asarray(np.full(3, -12) if bias is None else bias, dtype=np.float32)
    before = [helper.make_node("ReduceMean", ["scaled", "axes"], ["features"], keepdims=0)]
    return pooled_network(before, {"axes": np.array([1, 2]), "weights": weights, "bias": bias})


def pooled_network(before: Sequence[onnx.NodeProto], values: dict[str, Any]) -> bytes:
    """Cells, scaled to 0 to 1, through nodes that make `features` of `scaled`, to one per role."""
    nodes = [
        helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        *before,
        helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
        helper.make_node("Split", ["probabilities"], ["p0", "p1", "p2"], axis=1, num_outputs=3),
        *[
            helper.make_node("Squeeze", [f"p{row}", "one"], [role])
            for row, role in enumerate(ROLES)
        ],
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            *[helper.make_tensor_value_info(role, TensorProto.FLOAT, ["n"]) for role in ROLES],
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["n", 3]),
        ],
        {"scale": np.float32(1 / 255), "one": np.array([1]), **values},
    )


def head_network(weights: Sequence[float] = (12, 0, 12), bias: float = -3) -> bytes:
    """One logistic unit on the ratios: `apl`."""
    nodes = [
        helper.make_node("Gemm", ["ratios", "weights", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["p"]),
        helper.make_node("Squeeze", ["p", "one"], ["apl"]),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("ratios", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor_value_info("apl", TensorProto.FLOAT, ["n"])],
        {
            "weights": np.asarray(weights, dtype=np.float32).reshape(3, 1),
            "bias": np.array([bias], dtype=np.float32),
            "one": np.array([1]),
        },
    )


def drawn_field(
    cells: Sequence[tuple[int, int]] = ((60, 60), (150, 130)),
    nucleus: tuple[int, int, int] = (105, 55, 140),
) -> UInt8:
    """Draw a field 200x200 px at 0.2 µm per px: red cells, and nucleated cells at the points."""
    image = np.full((200, 200, 3), (235, 230, 232), np.uint8)
    for x in range(20, 200, 45):
        for y in range(20, 200, 45):
            cv2.circle(image, (x, y), 18, (222, 178, 172), -1)
    for x, y in cells:
        cv2.circle(image, (x, y), 32, (205, 195, 225), -1)
        cv2.circle(image, (x, y), 24, nucleus, -1)
    # No two frames of a camera share their noise.
    noise = np.random.default_rng(zlib.crc32(repr(cells).encode())).normal(0, 3, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 1) + noise, 0, 255).astype(np.uint8)


def png(pixels: UInt8) -> bytes:
    """Encode RGB pixels as PNG."""
    done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()


def settings(**changes: Any) -> dict[str, Any]:
    """Give the manifest of the small bundle, with changes at the top level."""
    suspicious = {"promyelocyte": True, "myeloblast": False, "auer_rod": True}
    return {
        "name": "small",
        "version": "1.0",
        "intended_use": "Tests.",
        "trained": True,
        "um_per_px": 0.2,
        "model_card": "MODEL_CARD.md",
        "segmenter": {"kind": "hsv-watershed"},
        "crop": {"window_um": 6.4, "size_px": SIZE},
        "networks": {
            "cells": {"file": "cells.onnx", "input": "cells"},
            "head": {"file": "head.onnx", "input": "ratios"},
        },
        "roles": [
            {"name": r, "network": "cells", "output": r, "threshold": 0.5, "suspicious": s}
            for r, s in suspicious.items()
        ],
        "reducer": {"kind": "ratio", "head": "head", "head_outputs": ["apl"]},
        "rule": {
            "flag_at": 0.5,
            "clear_below": 0.5,
            "suspicious_share": 0.2,
            "min_scored": 2,
            "max_lost_share": 0.1,
        },
        "gate": {"min_focus": 0.0},
        "golden": {
            "frame": "golden.png",
            "expected": "golden.npz",
            "um_per_px": 0.2,
            "tolerance": 0.02,
        },
        "features": "cells.features",
        **changes,
    }


def small_bundle(folder: Path, *, cells: bytes | None = None, **changes: Any) -> Bundle:
    """Write the small bundle, sealed with its own golden answers."""
    files = {
        "cells.onnx": cells or cell_network(),
        "head.onnx": head_network(),
        "MODEL_CARD.md": b"# small\nFor tests.\n",
    }
    return seal_bundle(folder, settings(**changes), files, png(drawn_field()))


def scripted(
    steps: Sequence[UInt8 | Exception], name: str = "script", *, live: bool = False
) -> ScriptedSource:
    """Give a source of pictures, uint8 (height, width, 3) RGB, and errors; only pictures count."""
    numbers = itertools.count()

    def frame(pixels: UInt8) -> Frame:
        index = next(numbers)
        return Frame(pixels, index, index, 0.2, f"{name}/{index}.png", f"{index:064d}")

    made = (step if isinstance(step, Exception) else frame(step.copy()) for step in steps)
    return ScriptedSource(made, live=live, name=name)
