"""A small bundle that holds a Segment Anything: for a box it answers with the ellipse inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle
from edgeapl.model.sealer import seal_bundle
from tests.small_bundle import cell_network, drawn_field, head_network, model, png, settings

SIDE = 128
GRID, FINE = SIDE // 16, SIDE // 4
STEEP = 200.0
"""Logit in the middle of a mask: so steep that its edge hardly moves with the threshold."""


def sam_encoder(side: int = SIDE) -> bytes:
    """Image uint8 (1, side, side, 3) to an embedding that is its mean colour everywhere."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["grey"]),
        helper.make_node("ReduceMean", ["grey"], ["mean"], keepdims=1),
        helper.make_node("Expand", ["mean", "shape"], ["embedding"]),
    ]
    grid = side // 16
    return model(
        nodes,
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [1, side, side, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 256, grid, grid])],
        {
            "kernel": np.full((1, 3, 1, 1), 1 / 3, np.float32),
            "shape": np.array([1, 256, grid, grid]),
        },
    )


def sam_decoder(predicted: float = 0.97, side: int = SIDE, grown: float = 1.0) -> bytes:
    """Four times the ellipse in each box, its radii times `grown`; predicted IoU as given."""
    grid, fine = side // 16, side // 4
    steps = ((np.arange(fine) + 0.5) * 4).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["prompts", "first"], ["low"], axis=1),
        helper.make_node("Gather", ["prompts", "second"], ["high"], axis=1),
        helper.make_node("Add", ["low", "high"], ["sum"]),
        helper.make_node("Mul", ["sum", "half"], ["middle"]),
        helper.make_node("Sub", ["high", "low"], ["width"]),
        helper.make_node("Mul", ["width", "half_grown"], ["radius"]),
        *(
            node
            for axis in ("x", "y")
            for node in (
                helper.make_node("Gather", ["middle", f"of_{axis}"], [f"m_{axis}"], axis=2),
                helper.make_node("Gather", ["radius", f"of_{axis}"], [f"r_{axis}"], axis=2),
                helper.make_node("Unsqueeze", [f"m_{axis}", "last"], [f"mm_{axis}"]),
                helper.make_node("Unsqueeze", [f"r_{axis}", "last"], [f"rr_{axis}"]),
                helper.make_node("Sub", [f"steps_{axis}", f"mm_{axis}"], [f"d_{axis}"]),
                helper.make_node("Div", [f"d_{axis}", f"rr_{axis}"], [f"q_{axis}"]),
                helper.make_node("Mul", [f"q_{axis}", f"q_{axis}"], [f"s_{axis}"]),
            )
        ),
        helper.make_node("Add", ["s_x", "s_y"], ["away"]),
        helper.make_node("Sub", ["one", "away"], ["inside"]),
        helper.make_node("Mul", ["inside", "steep"], ["mask"]),
        helper.make_node("Concat", ["mask"] * 4, ["masks"], axis=1),
        # The embedding must be there, though nothing of it counts.
        helper.make_node("ReduceMean", ["embedding"], ["colour"], keepdims=0),
        helper.make_node("Mul", ["colour", "zero"], ["nothing"]),
        helper.make_node("ReduceMean", ["masks", "axes"], ["means"], keepdims=0),
        helper.make_node("Mul", ["means", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "quality"], ["predicted_iou"]),
    ]
    return model(
        nodes,
        [
            helper.make_tensor_value_info("prompts", TensorProto.FLOAT, ["n", 2, 3]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 256, grid, grid]),
        ],
        [
            helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["n", 4, fine, fine]),
            helper.make_tensor_value_info("predicted_iou", TensorProto.FLOAT, ["n", 4]),
        ],
        {
            "first": np.array([0]),
            "second": np.array([1]),
            "half": np.float32(0.5),
            "half_grown": np.float32(0.5 * grown),
            "of_x": np.array([0]),
            "of_y": np.array([1]),
            "last": np.array([3]),
            "steps_x": steps.reshape(1, 1, 1, fine),
            "steps_y": steps.reshape(1, 1, fine, 1),
            "one": np.float32(1),
            "zero": np.float32(0),
            "steep": np.float32(STEEP),
            "axes": np.array([2, 3]),
            "quality": np.float32(predicted),
        },
    )


def sam_settings(**changes: Any) -> dict[str, Any]:
    """Give the manifest's segmenter; changes are of its section sam."""
    sam = {"encoder": "sam_encoder", "decoder": "sam_decoder", "side": SIDE, **changes}
    return {"kind": "sam", "sam": sam}


def sam_bundle(
    folder: Path, *, cells: bytes | None = None, decoder: bytes | None = None, **changes: Any
) -> Bundle:
    """Write the small bundle with Segment Anything, sealed with its own golden answers."""
    made = settings(segmenter=sam_settings(), **changes)
    made["networks"] |= {
        "sam_encoder": {"file": "sam_encoder.onnx", "input": "image"},
        "sam_decoder": {"file": "sam_decoder.onnx", "input": "prompts"},
    }
    files = {
        "cells.onnx": cells or cell_network(),
        "head.onnx": head_network(),
        "sam_encoder.onnx": sam_encoder(),
        "sam_decoder.onnx": decoder or sam_decoder(),
        "MODEL_CARD.md": b"# small\nFor tests.\n",
    }
    return seal_bundle(folder, made, files, png(drawn_field()))
