"""Put the cast of a uint8 input first: TensorRT computes nothing else with uint8."""

from __future__ import annotations

from typing import Any

from edgeapl.errors import EngineError


def cast_before_use(name: str, model: bytes) -> bytes:
    """Return the network with every uint8 input cast to float32 before anything else.

    Only operators that move values stand between the input and the network's own cast (a
    transpose, a slice), so the numbers stay the same: every uint8 is a float32 exactly.

    Raises EngineError when the bytes are no ONNX file or the extra ``build`` is missing.
    """
    try:
        import onnx  # noqa: PLC0415 - needed to build, never to run
    except ImportError as error:
        mend = "pip install 'edgeapl[build]'"
        raise EngineError("runtime is missing", "onnx", mend) from error
    try:
        made = onnx.load_model_from_string(model)
    except Exception as error:  # protobuf's DecodeError is not public in every version
        raise EngineError("network was refused by the parser", name, "no ONNX file") from error
    graph = made.graph
    if not graph.node:
        raise EngineError("network was refused by the parser", name, "no ONNX file")
    weights = {tensor.name for tensor in graph.initializer}
    bytes_in = [
        value.name
        for value in graph.input
        if value.name not in weights and value.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    ]
    changed = False
    for tensor in bytes_in:
        changed |= _cast(onnx, graph, tensor)
    return bytes(made.SerializeToString()) if changed else model


def _cast(onnx: Any, graph: Any, tensor: str) -> bool:
    users = [node for node in graph.node if tensor in node.input]
    if all(node.op_type in ("Cast", "QuantizeLinear") for node in users):
        return False
    floats = f"{tensor}_as_float"
    for node in users:
        node.input[:] = [floats if name == tensor else name for name in node.input]
    first = onnx.helper.make_node(
        "Cast", [tensor], [floats], name=f"{floats}_cast", to=onnx.TensorProto.FLOAT
    )
    graph.node.insert(0, first)
    # The types written beside the moved values are stale; the parser finds them anew.
    del graph.value_info[:]
    return True
