"""A cascade before the two stages of `tests.distilling`, its student written by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper

from edgeapl.bundle.load import Bundle
from edgeapl.model.sealer import seal_bundle
from tests.distilling import two_stages
from tests.small_bundle import SIZE, drawn_field, model, png

SPEC = {"network": "student", "margin": 3.0, "error": 0.005, "cells": 1000, "otherwise": 2}


def student(sharp: float = 1.0) -> bytes:
    """Return a student that answers as the two stages do, as surely as `sharp` says."""
    weights = np.array([[-20, -20, 40], [0, 0, 0], [0, 0, 0], [30, -30, 0]], np.float32) * sharp
    names = ("first-benign", "first-malignant", "second-other", "second-apl")
    nodes = [
        helper.make_node("Cast", ["cells"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["float", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["same"]),
        helper.make_node("ReduceMean", ["same", "axes"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        helper.make_node("Reshape", ["logits", "pairs"], ["paired"]),
        helper.make_node("Softmax", ["paired"], ["shares"], axis=2),
        helper.make_node("Reshape", ["shares", "flat"], ["all"]),
        helper.make_node("Split", ["all"], [f"p{n}" for n in range(4)], axis=1, num_outputs=4),
        # Benign cells are not shown to the second stage.
        helper.make_node("Greater", ["p1", "half"], ["is_malignant"]),
        helper.make_node("Cast", ["is_malignant"], ["shown"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["p2", "shown"], ["q2"]),
        helper.make_node("Mul", ["p3", "shown"], ["q3"]),
        *(
            helper.make_node("Squeeze", [one, "one"], [name])
            for one, name in zip(("p0", "p1", "q2", "q3"), names, strict=True)
        ),
    ]
    return model(
        nodes,
        [helper.make_tensor_value_info("cells", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n"]) for name in names],
        {
            "scale": np.float32(1 / 255),
            "kernel": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
            "axes": np.array([2, 3]),
            "one": np.array([1]),
            "half": np.float32(0.5),
            "weights": weights.T.copy(),
            "pairs": np.array([-1, 2, 2]),
            "flat": np.array([-1, 4]),
        },
    )


def cascade_bundle(folder: Path, *, sharp: float = 1.0, **spec: Any) -> Bundle:
    """Write a cascade: the student answers where it is sure, else the two stages."""
    parent = two_stages(folder.with_name(folder.name + "-parent"))
    given = parent.manifest.model_dump(
        mode="json", exclude={"schema_version", "files"}, exclude_none=True
    )
    given["networks"]["student"] = {"file": "student.onnx", "input": "cells"}
    given["cascade"] = {**SPEC, **spec}
    golden = (parent.manifest.golden.frame, parent.manifest.golden.expected)
    files: dict[str, bytes | Path] = {
        name: parent.folder / name for name in parent.manifest.files if name not in golden
    }
    files["student.onnx"] = student(sharp)
    return seal_bundle(folder, given, files, png(drawn_field()))
