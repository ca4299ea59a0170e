"""ONNX Runtime: runs a network on any CPU."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

NUMPY_NAMES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
}
LOG_FATAL = 4  # errors come as exceptions; the log would only repeat them on stderr


class OrtEngine:
    """One ONNX network in an onnxruntime session on the CPU.

    Parameters
    ----------
    name : what error messages call it.
    model : bytes of the ONNX file; external data is not followed.
    threads : threads inside one run, 1 or more.

    Raises EngineError when the bytes are not a network that this runtime can run.
    """

    def __init__(self, name: str, model: bytes, *, threads: int = 1) -> None:
        self._name = name
        self._digest = sha256(model)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_FATAL
        # Spinning threads take the core that decoding and segmenting need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise EngineError("network was refused by onnxruntime", name, _first(error)) from error
        self._session: ort.InferenceSession | None = session
        self._inputs = {node.name: _describe(name, node) for node in session.get_inputs()}
        self._outputs = tuple(node.name for node in session.get_outputs())

    @property
    def runtime(self) -> str:
        """Library, version and provider."""
        return f"onnxruntime {ort.__version__} CPUExecutionProvider"

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the ONNX file."""
        return self._digest

    @property
    def inputs(self) -> Mapping[str, tuple[str, tuple[int | None, ...]]]:
        """Input name to (numpy dtype name, shape)."""
        return self._inputs

    @property
    def outputs(self) -> tuple[str, ...]:
        """Output names."""
        return self._outputs

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        if self._session is None:
            raise EngineError("network was closed", self._name, "open it again")
        self._check(inputs)
        try:
            # Fresh options each time: a terminated RunOptions stays terminated.
            values = self._session.run(self._outputs, dict(inputs), ort.RunOptions())
        except Exception as error:  # as above
            raise EngineError("network failed while running", self._name, _first(error)) from error
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Release the session."""
        self._session = None

    def _check(self, inputs: Arrays) -> None:
        if set(inputs) != set(self._inputs):
            raise EngineError(
                "network got other inputs than it has",
                self._name,
                f"expected {sorted(self._inputs)}, got {sorted(inputs)}",
            )
        for name, (dtype, shape) in self._inputs.items():
            array = inputs[name]
            fits = len(array.shape) == len(shape) and all(
                want is None or want == have for want, have in zip(shape, array.shape, strict=True)
            )
            if array.dtype.name != dtype or not fits or 0 in array.shape:
                raise EngineError(
                    "network input does not fit",
                    f"{self._name}.{name}",
                    f"expected {dtype} {shape}, got {array.dtype.name} {array.shape}",
                )


def _describe(name: str, node: ort.NodeArg) -> tuple[str, tuple[int | None, ...]]:
    if node.type not in NUMPY_NAMES:
        raise EngineError("network input type is not supported", f"{name}.{node.name}", node.type)
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return NUMPY_NAMES[node.type], shape


def _first(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
