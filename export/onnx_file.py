"""A torch module as one ONNX file."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Sequence

import onnx
import onnxslim
import torch
from torch import nn

OPSET = 18
"""Oldest with all operators that the exporter writes, so that older runtimes can read the file."""

MOST_ROWS = 4096


def onnx_bytes(
    module: nn.Module,
    example: torch.Tensor,
    input_name: str,
    outputs: Sequence[str],
    *,
    batch: bool,
    shared: tuple[str, torch.Tensor] | None = None,
) -> bytes:
    """Export a module in evaluation mode; the same module gives the same bytes.

    Parameters
    ----------
    module : takes one tensor, or two where there is a shared one.
    example : an input; with `batch` its first dimension is free afterwards.
    input_name, outputs : names in the file.
    shared : name and example of a second input, which all rows have in common.
    """
    names, examples = [input_name], [example]
    if shared is not None:
        names.append(shared[0])
        examples.append(shared[1])
    rows = {0: torch.export.Dim("batch", min=1, max=MOST_ROWS)}
    shapes = (rows, *(None for _ in examples[1:])) if batch else None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            module.eval(),
            tuple(examples),
            input_names=names,
            output_names=list(outputs),
            dynamo=True,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    slim = onnxslim.slim(program.model_proto)
    # The exporter writes where in the source each node came from: paths of this machine.
    for node in slim.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in [*slim.graph.value_info, *slim.graph.input, *slim.graph.output]:
        del value.metadata_props[:]
    del slim.metadata_props[:]
    del slim.graph.metadata_props[:]
    onnx.checker.check_model(slim)
    file = io.BytesIO()
    onnx.save(slim, file)
    return file.getvalue()
