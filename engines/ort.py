"""ONNX Runtime: runs a network on any CPU, or on a GPU through its CUDA provider."""

from __future__ import annotations

import ctypes
import functools
import io
import threading
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.engines.input_checks import Declared, check_inputs, first_line
from edgeapl.errors import DeviceError, EngineError
from edgeapl.free_memory import return_free_memory
from edgeapl.protocols import Arrays

NUMPY_NAMES = {
    "tensor(uint8)": "uint8",
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
}
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
CUDA_MEND = "pip install 'onnxruntime-gpu[cuda,cudnn]', or use the CPU"
CUDA_LIBRARY = "capi/libonnxruntime_providers_cuda.so"
CUDA_ARENA = 4 << 30
"""Bytes of GPU memory that one network may take: onnxruntime's own arena grows until nothing is
left, and doubles each time."""

# TF32 keeps 10 bits of the mantissa: answers would change unsaid. The default search for the
# fastest convolution may choose another one at every start.
CUDA_OPTIONS = {
    "use_tf32": "0",
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
    "gpu_mem_limit": str(CUDA_ARENA),
}
LOG_FATAL = 4  # errors come as exceptions; the log would only repeat them on stderr


class OrtEngine(Declared):
    """One ONNX network in an onnxruntime session.

    Parameters
    ----------
    name : what error messages call it.
    model : bytes of the ONNX file; external data is not followed.
    threads : threads inside one run, 1 or more.
    arena : keep the memory of a run for the next one. Without it networks of images run as fast
        and take less: one of 448 px on 16 cells takes 1.2 GB instead of 1.9 GB.
    provider : a key of `PROVIDERS`. CUDA takes the same file, and needs another wheel of
        onnxruntime; see `edgeapl.engines.ort_cuda`.
    device : number of the GPU.

    Raises EngineError when the bytes are not a network that this runtime can run, or the provider
    is missing: onnxruntime itself would fall back to the CPU.
    """

    def __init__(
        self,
        name: str,
        model: bytes,
        *,
        threads: int = 1,
        provider: str = "cpu",
        arena: bool = True,
        device: int = 0,
    ) -> None:
        if not hasattr(ort, "InferenceSession"):
            # Left by the removal of one of the two packages that bring this module.
            mend = "pip install --force-reinstall --no-deps onnxruntime, or onnxruntime-gpu"
            raise EngineError("runtime is damaged", "onnxruntime", mend)
        options = ort.SessionOptions()
        options.enable_cpu_mem_arena = arena
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = LOG_FATAL
        # Spinning threads take the core that decoding and segmenting need.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._provider, chosen = _provider(provider, device)
        try:
            session = ort.InferenceSession(model, options, providers=chosen)
        except Exception as error:  # onnxruntime's own exceptions share no public base class
            raise EngineError(
                "network was refused by onnxruntime", name, first_line(error)
            ) from error
        if self._provider not in session.get_providers():
            text = "; ".join(filter(None, (_library_fault(), CUDA_MEND)))
            raise EngineError("provider could not be started", f"{name}: {provider}", text)
        # It keeps the file to make itself anew with other providers, which is never wanted here: as
        # much memory as the weights once more.
        session.disable_fallback()
        session._model_bytes = None
        return_free_memory()
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
            values = self._answers(self._session, inputs, options)
        except Exception as error:  # as above
            # CUDA answers all that this process asks of it after a fault with the same fault.
            lost = self._provider != PROVIDERS["cpu"] and not options.terminate
            kind = DeviceError if lost else EngineError
            raise kind("network failed while running", self._name, first_line(error)) from error
        finally:
            del self._under_way[thread]
        return dict(zip(self._outputs, values, strict=True))

    def _answers(
        self, session: ort.InferenceSession, inputs: Arrays, options: ort.RunOptions
    ) -> list[NDArray[np.generic]]:
        values: list[NDArray[np.generic]] = session.run(self._outputs, dict(inputs), options)
        return values

    def cancel(self, thread: int) -> None:
        """Cancel the current run of a thread (`threading.get_ident`), if it has one.

        The run raises EngineError after the current node; a single node is never cut short.
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


@functools.cache
def _load_cuda() -> None:
    """Load CUDA and cuDNN from NVIDIA's wheels, where these are installed: once a process.

    The provider alone looks on the system's paths, and a machine with wheels alone has them not.
    """
    # What is missing it would log in several lines, whatever the session's own level.
    ort.set_default_logger_severity(LOG_FATAL)
    if hasattr(ort, "preload_dlls"):
        # It prints what it does not find; what is missing is said when the session is made.
        with redirect_stdout(io.StringIO()):
            ort.preload_dlls()


def _library_fault() -> str:
    """Return why the provider's library cannot be loaded, such as what it lacks; '' if it can."""
    library = Path(ort.__file__).parent / CUDA_LIBRARY
    try:
        ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return ""


def _provider(provider: str, device: int) -> tuple[str, list[str | tuple[str, dict[str, str]]]]:
    if provider not in PROVIDERS:
        raise EngineError("unknown provider", provider, f"choose one of: {', '.join(PROVIDERS)}")
    name = PROVIDERS[provider]
    if name not in ort.get_available_providers():
        raise EngineError("provider is missing", provider, CUDA_MEND)
    if provider == "cpu":
        return name, [name]
    _load_cuda()
    # Operators without a CUDA kernel, such as shapes, run on the CPU.
    return name, [(name, {**CUDA_OPTIONS, "device_id": str(device)}), PROVIDERS["cpu"]]
