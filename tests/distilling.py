"""Slides of drawn cells whose colour says what they are, and a parent in two stages."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle
from edgeapl.model.sealer import seal_bundle
from edgeapl.types import UInt8
from tests.small_bundle import SIZE, drawn_field, model, png, settings

COLOURS = {"red": (190, 60, 90), "green": (90, 170, 80), "blue": (80, 70, 190)}


def cell(colour: str, random: np.random.Generator) -> UInt8:
    """Draw one cell as an image of its own, `SIZE` px."""
    side = 2 * SIZE
    y, x = np.mgrid[:side, :side] - side / 2
    inside = np.hypot(x, y) < side * random.uniform(0.3, 0.4)
    image = np.full((side, side, 3), (235, 228, 230), np.float64)
    image[inside] = np.array(COLOURS[colour]) + random.normal(0, 6, 3)
    image += random.normal(0, 5, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def write_cells(folder: Path, shares: Sequence[float], cells: int = 40, seed: int = 1) -> Path:
    """Write slides of single cells; of each this share is red, the others are green or blue."""
    random = np.random.default_rng(seed)
    for number, share in enumerate(shares):
        slide = folder / f"slide{seed}-{number}"
        slide.mkdir(parents=True)
        for place in range(cells):
            red = place < share * cells
            colour = "red" if red else ("green", "blue")[place % 2]
            (slide / f"{place:03d}.png").write_bytes(png(cell(colour, random)))
    return folder


def stage(weights: Sequence[Sequence[float]], names: Sequence[str]) -> bytes:
    """Return a network: softmax of weights (classes, 3) times the mean colour, 0 to 1."""
    nodes = [
        helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("ReduceMean", ["scaled", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["all"], axis=1),
        helper.make_node("Split", ["all"], [f"p{n}" for n in names], axis=1, num_outputs=2),
        *(helper.make_node("Squeeze", [f"p{name}", "one"], [name]) for name in names),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in names],
        {
            "scale": np.float32(1 / 255),
            "axes": np.array([1, 2]),
            "one": np.array([1]),
            "weights": np.asarray(weights, dtype=np.float32).T,
        },
    )


def two_stages(folder: Path, **changes: Any) -> Bundle:
    """Write a bundle: blue cells are benign; of the others, red ones are APL."""
    kinds = {"benign": "first", "malignant": "first", "apl": "second", "other": "second"}
    given = {
        "networks": {
            "first": {
                "file": "first.onnx",
                "input": "cells",
                "classes": ["benign", "malignant"],
            },
            "second": {
                "file": "second.onnx",
                "input": "cells",
                "classes": ["other", "apl"],
                "when": "first.malignant",
            },
        },
        "roles": [
            {
                "name": name,
                "network": kinds[name],
                "output": name,
                "threshold": 0.5,
                "suspicious": name == "apl",
            }
            for name in ("malignant", "apl")
        ],
        "reducer": {"kind": "vote"},
        "crop": {"window_um": 6.4, "size_px": SIZE, "cell_image_cut": "square"},
    }
    made = settings(**{**given, **changes})
    made.pop("features")
    files = {
        "first.onnx": stage([[-20, -20, 40], [0, 0, 0]], ["benign", "malignant"]),
        "second.onnx": stage([[0, 0, 0], [30, -30, 0]], ["other", "apl"]),
        "MODEL_CARD.md": b"# two stages\nFor tests.\n",
    }
    return seal_bundle(folder, made, files, png(drawn_field()))
