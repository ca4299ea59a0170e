"""ONNX Runtime: runs a network on any CPU, or on a GPU through its CUDA provider."""

from __future__ import annotations

import threading

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.engines.checking import Declared, check_inputs, first_line
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

NUMPY_NAMES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CUDA_MEND = "install onnxruntime-gpu and its CUDA and cuDNN, or use the CPU"
# TF32 keeps 10 bits of the mantissa: answers would change unsaid. The default search for the
# fastest convolution may choose another one at every start.
CUDA_OPTIONS = {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}
LOG_FATAL = 4  # errors come as exceptions; the log would only repeat them on stderr


class OrtEngine(Declared):
    """One ONNX network in an onnxruntime session.

    Parameters
    ----------
    name : what error messages call it.
    model : bytes of the ONNX file; external data is not followed.
    threads : threads inside one run, 1 or more.
    arena : keep the memory of a run for the next one. Without it networks of pictures run as fast
        and take less: one of 448 px on 16 cells 1.2 GB in place of 1.9 GB.
    provider : a key of `PROVIDERS`. CUDA is a provider and no target of its own: it takes the
        same file, so that proof and digest hold, and needs only another wheel of onnxruntime.

    Raises EngineError when the bytes are not a network that this runtime can run, or the provider
    is not there: onnxruntime itself would go on with the CPU.
    """

    def __init__(
        self,
        name: str,
        model: bytes,
        *,
        threads: int = 1,
        provider: str = "cpu",
        arena: bool = True,
    ) -> None:
        options = ort.SessionOptions()
        options.enable_cpu_mem_arena = arena
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_FATAL
        # Spinning threads take the core that decoding and segmenting need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._provider, chosen = _provider(provider)
        try:
            session = ort.InferenceSession(model, options, providers=chosen)
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise EngineError(
                "network was refused by onnxruntime", name, first_line(error)
            ) from error
        if self._provider not in session.get_providers():
            raise EngineError("provider could not be started", f"{name}: {provider}", CUDA_MEND)
        self._session: ort.InferenceSession | None = session
        self._under_way: dict[int, ort.RunOptions] = {}
        inputs = {node.name: _describe(name, node) for node in session.get_inputs()}
        outputs = tuple(node.name for node in session.get_outputs())
        super().__init__(name, sha256(model), inputs, outputs)

    @property
    def runtime(self) -> str:
        """Library, version and provider."""
        return f"onnxruntime {ort.__version__} {self._provider}"

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        if self._session is None:
            raise EngineError("network was closed", self._name, "open it again")
        check_inputs(self._name, self._inputs, inputs)
        # Fresh options each time: a terminated RunOptions stays terminated.
        options = ort.RunOptions()
        thread = threading.get_ident()
        self._under_way[thread] = options
        try:
            values = self._session.run(self._outputs, dict(inputs), options)
        except Exception as error:  # as above
            raise EngineError(
                "network failed while running", self._name, first_line(error)
            ) from error
        finally:
            del self._under_way[thread]
        return dict(zip(self._outputs, values, strict=True))

    def cancel(self, thread: int) -> None:
        """End the run that a thread (`threading.get_ident`) has under way, if it has one.

        It raises EngineError after the node that is being computed; one node is never cut short.
        """
        options = self._under_way.get(thread)
        if options is not None:
            options.terminate = True

    def close(self) -> None:
        """Release the session."""
        self._session = None


def _describe(name: str, node: ort.NodeArg) -> tuple[str, tuple[int | None, ...]]:
    if node.type not in NUMPY_NAMES:
        raise EngineError("network input type is not supported", f"{name}.{node.name}", node.type)
    shape = tuple(size if isinstance(size, int) else None for size in node.shape)
    return NUMPY_NAMES[node.type], shape


def _provider(provider: str) -> tuple[str, list[str | tuple[str, dict[str, str]]]]:
    if provider not in PROVIDERS:
        raise EngineError("unknown provider", provider, f"choose one of: {', '.join(PROVIDERS)}")
    name = PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise EngineError("provider is missing", provider, CUDA_MEND)
    if provider == "cpu":
        return name, [name]
    # Operators without a CUDA kernel, such as shapes, run on the CPU.
    return name, [(name, CUDA_OPTIONS), PROVIDERS["cpu"]]
