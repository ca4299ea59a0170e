"""OpenVINO: runs a network on Intel and AMD processors, INT8 networks faster than others do."""

from __future__ import annotations

import io
import os
import sys
import threading
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.bundle.digest import sha256
from edgeapl.cores import cpu_cores
from edgeapl.engines.input_checks import Declared, check_inputs, first_line
from edgeapl.engines.registry import waiting_runs
from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

TELEMETRY = "openvino_telemetry"

ELEMENTS = {"u8": "uint8", "f32": "float32", "f16": "float16", "i64": "int64", "i32": "int32"}
PRECISIONS = ("f32", "bf16", "f16")


def _import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which reports every import to its maker.

    With the telemetry package absent OpenVINO takes its own silent stand-in; so it is made absent
    for as long as the import takes.
    """
    missing = object()
    found = sys.modules.get(TELEMETRY, missing)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: PLC0415 - under the guard
    finally:
        del sys.modules[TELEMETRY]
        if isinstance(found, ModuleType):
            sys.modules[TELEMETRY] = found
    # Its table of element types is made at the first call; two threads that make theirs at the same
    # time wait for each other for ever (2026.4). Here one makes it.
    openvino.Type.u8.to_dtype()
    module: ModuleType = openvino
    return module


ov = _import_openvino()


class OpenVinoEngine(Declared):
    """One ONNX network, compiled for this processor.

    Parameters
    ----------
    name : what error messages call it.
    model : bytes of the ONNX file; external data is not followed.
    threads : threads inside one run, 1 or more.
    workers : runs at the same time, 1 or more; each has a stream of OpenVINO's to itself.
    precision : one of `PRECISIONS`, for what the file leaves open. OpenVINO's own default on a
        processor with AMX is bf16, which changes answers silently; here that is a choice.
    pin_cores : keep each stream to a core of its own if there are as many cores; for callers that
        run one network at a time. Streams of two networks may keep to the same core.

    Of calls from more threads than `workers` one waits inside OpenVINO, the others here. Raises
    EngineError when the network is refused.
    """

    def __init__(
        self,
        name: str,
        model: bytes,
        *,
        threads: int = 1,
        workers: int = 1,
        pin_cores: bool = False,
        precision: str = "f32",
    ) -> None:
        if precision not in PRECISIONS:
            text = f"choose one of: {', '.join(PRECISIONS)}"
            raise EngineError("unknown precision", f"{name}: {precision}", text)
        self._precision = precision
        settings = {
            # Of all streams together.
            "INFERENCE_NUM_THREADS": threads * workers,
            "NUM_STREAMS": workers,
            "INFERENCE_PRECISION_HINT": precision,
            # Off: it would round activations to INT8 without a calibration.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
            "ENABLE_CPU_PINNING": pin_cores and _has_all_cores(threads, workers),
        }
        if not model:
            raise EngineError("network was refused by openvino", name, "the file is empty")
        try:
            core = ov.Core()
            compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings)
            requests = workers + waiting_runs("openvino", workers)
            self._free = [compiled.create_infer_request() for _ in range(requests)]
            used = {key: _text(compiled.get_property(key)) for key in settings}
        except Exception as error:  # openvino raises RuntimeError and classes of its own
            text = _cause(error)
            raise EngineError("network was refused by openvino", name, text) from error
        if used["INFERENCE_PRECISION_HINT"] != precision:
            text = f"this processor computes in {used['INFERENCE_PRECISION_HINT']}"
            raise EngineError("precision is not supported", f"{name}: {precision}", text)
        self._open = True
        self._change = threading.Condition()
        self._used = used
        inputs = {
            port.any_name: (
                _dtype(name, port),
                tuple(
                    None if size.is_dynamic else size.get_length() for size in port.partial_shape
                ),
            )
            for port in compiled.inputs
        }
        outputs = tuple(port.any_name for port in compiled.outputs)
        super().__init__(name, sha256(model), inputs, outputs)

    @property
    def runtime(self) -> str:
        """Library, version, device and precision."""
        version = ov.get_version().split("-")[0]
        return f"openvino {version} CPU {self._precision}"

    def used(self, setting: str) -> str:
        """Return a setting as OpenVINO reports it, e.g. ``INFERENCE_PRECISION_HINT``."""
        return self._used[setting]

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.generic]]:
        """Run once; see `edgeapl.protocols.Engine.run`."""
        check_inputs(self._name, self._inputs, inputs)
        request = self._request()
        try:
            # The inputs are read where they are: nobody writes to them before this returns.
            answer = request.infer(dict(inputs), share_inputs=True, share_outputs=True)
            # Copies: the request's own memory is written again by its next run.
            return {name: np.array(answer[name]) for name in self._outputs}
        except Exception as error:  # as above
            raise EngineError("network failed while running", self._name, _cause(error)) from error
        finally:
            self._release(request)

    def close(self) -> None:
        """Release the network; runs that were started still end."""
        with self._change:
            self._open = False
            self._free.clear()
            self._change.notify_all()

    def _request(self) -> Any:
        """Return a free inference request; waits for one."""
        with self._change:
            self._change.wait_for(lambda: self._free or not self._open)
            if not self._open:
                raise EngineError("network was closed", self._name, "open it again")
            return self._free.pop()

    def _release(self, request: Any) -> None:
        with self._change:
            if self._open:
                self._free.append(request)
                self._change.notify()


def _has_all_cores(threads: int, workers: int) -> bool:
    """Whether there is a worker for each core of the machine; see `edgeapl.cores.OwnCores`.

    Where this process may not use all, OpenVINO is not told to choose among them.
    """
    return threads == 1 and 1 < workers == cpu_cores() == os.cpu_count()


def _dtype(name: str, port: object) -> str:
    kind = port.element_type.get_type_name()  # type: ignore[attr-defined]
    if kind not in ELEMENTS:
        raise EngineError("network input type is not supported", name, kind)
    return ELEMENTS[kind]


def _text(value: object) -> str:
    """Return a property as text; types of numbers by the names of `PRECISIONS`."""
    return str(value.get_type_name()) if hasattr(value, "get_type_name") else str(value)


def _cause(error: Exception) -> str:
    """Return the last line: those before it name places in OpenVINO's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else first_line(error)
