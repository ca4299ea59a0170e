"""Build a TensorRT-RTX plan of every network of every recipe, at random weights: figures.

    python -m tests.data.measure_plans [--precision fp32 --precision fp16 --precision int8]

Scratch memory is that of a batch of 32; bytes a cell are those of activations that kernels read and
write.

Needs the extras ``export``, ``build`` and ``rtx``, and no GPU. Ranges for INT8 are made up, since
what is asked is whether the plan builds; peak memory is about 3 GB.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import onnx

from edgeapl.calibration.quantise.fp16 import to_fp16
from edgeapl.calibration.quantise.qdq import qdq_tensorrt
from edgeapl.engines.trt.build import make_plan
from edgeapl.engines.trt.layers import count_layers
from edgeapl.engines.trt.library import find_library
from edgeapl.errors import EdgeAplError
from edgeapl.export.onnx_file import onnx_bytes
from edgeapl.export.recipes.recipe import Images
from edgeapl.export.recipes.registry import PUBLISHED, find_recipe
from edgeapl.export.weights import Weights

PRECISIONS = ("fp32", "fp16", "int8")
EMBEDDED = Path(__file__).parents[2] / "edgeapl" / "models" / "apl-demo"


def networks(recipes: tuple[str, ...] = (*PUBLISHED, "apl-demo")) -> Iterator[tuple[str, bytes]]:
    """Give (recipe/network, ONNX file), one at a time."""
    for name in recipes:
        if name == EMBEDDED.name:
            for file in sorted(EMBEDDED.glob("*.onnx")):
                yield f"{name}/{file.stem}", file.read_bytes()
            continue
        recipe = find_recipe(name)
        weights = Weights(recipe, {}, seed=0)
        for network in recipe.networks:
            graph = weights.graph(network, explain=False)
            many = not isinstance(network.input, Images) or network.input.many
            yield (
                f"{name}/{network.name}",
                onnx_bytes(
                    graph, graph.example(), network.input_name, graph.output_names, batch=many
                ),
            )


def in_precision(model: bytes, precision: str) -> bytes:
    """Write the network in a precision, as a build for TensorRT does."""
    graph = onnx.load_model_from_string(model).graph
    if precision == "fp32" or not any(node.op_type == "Conv" for node in graph.node):
        return model
    if precision == "fp16":
        return to_fp16(model, frozenset())[0]
    tensors = {name for node in graph.node for name in (*node.input, *node.output) if name}
    return to_fp16(qdq_tensorrt(model, dict.fromkeys(tensors, (-3.0, 3.0))), frozenset())[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", action="append", choices=PRECISIONS)
    parser.add_argument("--recipe", action="append", choices=(*PUBLISHED, EMBEDDED.name))
    chosen = parser.parse_args()
    library = find_library("tensorrt-rtx")
    failed = 0
    print(f"tensorrt_rtx {library.version}")
    for name, model in networks(tuple(chosen.recipe or (*PUBLISHED, EMBEDDED.name))):
        for precision in chosen.precision or PRECISIONS:
            begun = time.perf_counter()
            try:
                written = in_precision(model, precision)
                made = make_plan(written, name=name, library=library)
                counted = count_layers(made.layers)
                text = (
                    f"{len(made.plan) / 2**20:6.1f} MiB plan, "
                    f"{(made.scratch or 0) / 2**20:7.1f} MiB scratch, {counted.layers:4} layers, "
                    f"{counted.leaving_int8:3} leave int8, "
                    f"{counted.bytes_a_row / 1e6:7.1f} MB a cell"
                )
            except EdgeAplError as error:
                failed += 1
                text = f"FAILED {error}"
            print(f"{name:40} {precision} {time.perf_counter() - begun:6.1f} s {text}", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
