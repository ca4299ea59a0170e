"""Small bundles that explain: a map output, pooled features, ratios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle
from edgeapl.model.sealer import seal_bundle
from tests.small_bundle import (
    SIZE,
    cell_network,
    drawn_field,
    head_network,
    model,
    png,
    settings,
)


def map_network(channel: int) -> bytes:
    """One colour, 0 to 1: its mean over the crop as `here`, the rest as `there`; `map` is it."""
    nodes = [
        helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Gather", ["scaled", "channel"], ["map"], axis=3),
        helper.make_node("ReduceMean", ["map", "axes"], ["here"], keepdims=0),
        helper.make_node("Sub", ["whole", "here"], ["there"]),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [
            helper.make_tensor_value_info("here", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("there", TensorProto.FLOAT, ["n"]),
            helper.make_tensor_value_info("map", TensorProto.FLOAT, ["n", SIZE, SIZE]),
        ],
        {
            "scale": np.float32(1 / 255),
            "channel": np.array(channel),
            "axes": np.array([1, 2]),
            "whole": np.float32(1),
        },
    )


def map_bundle(folder: Path) -> Bundle:
    """Red decides the way: red cells go to a second network, which looks at blue."""
    changes: dict[str, Any] = {
        "networks": {
            "first": {"file": "first.onnx", "input": "cells", "classes": ["here", "there"]},
            "second": {"file": "second.onnx", "input": "cells", "when": "first.there"},
        },
        "roles": [
            {"name": "first", "network": "first", "output": "here", "threshold": 0.5},
            {
                "name": "second",
                "network": "second",
                "output": "here",
                "threshold": 0.5,
                "suspicious": True,
            },
        ],
        "reducer": {"kind": "vote"},
        "features": None,
        "explanation": {"kind": "map", "title": "Map", "maps": ["first.map", "second.map"]},
    }
    files = {"first.onnx": map_network(0), "second.onnx": map_network(2)}
    return _sealed(folder, files, changes)


def ratio_bundle(folder: Path, **changes: Any) -> Bundle:
    """The small bundle with an occlusion map: blue cells have Auer rods."""
    # Blue of 0.5 and above is positive, so that a drawn nucleus is one and grey is none.
    network = cell_network(bias=np.array([-12, -12, -11]))
    files = {"cells.onnx": network, "head.onnx": head_network((1, 0, 6), -2)}
    explanation = {"kind": "occlusion", "title": "Occlusion"}
    return _sealed(folder, files, {"explanation": explanation, **changes})


def pooled_bundle(folder: Path) -> Bundle:
    """Features are the mean colours; the slide's are the largest of them."""
    changes: dict[str, Any] = {
        "networks": {
            "cells": {"file": "cells.onnx", "input": "cells"},
            "head": {"file": "head.onnx", "input": "ratios", "after": "cells.features"},
        },
        "roles": [
            {
                "name": "apl_cell",
                "network": "head",
                "output": "apl",
                "threshold": 0.5,
                "suspicious": True,
            }
        ],
        "reducer": {"kind": "max", "head": "head", "head_outputs": ["apl"]},
        "explanation": {"kind": "contributions", "title": "Contributions"},
    }
    files = {"cells.onnx": cell_network(), "head.onnx": head_network((4, 4, 4), -6)}
    return _sealed(folder, files, changes)


def _sealed(folder: Path, files: dict[str, bytes], changes: dict[str, Any]) -> Bundle:
    given = {name: value for name, value in settings(**changes).items() if value is not None}
    card = {"MODEL_CARD.md": b"# small\nFor tests.\n"}
    return seal_bundle(folder, given, {**files, **card}, png(drawn_field()))
