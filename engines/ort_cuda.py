"""ONNX Runtime's CUDA provider: the same file on a GPU that TensorRT-RTX does not serve."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeapl.engines.ort import OrtEngine
from edgeapl.engines.trt.tensors import padded, sizes_of
from edgeapl.errors import DeviceError, EngineError
from edgeapl.protocols import Arrays

SHORT = ("failed to allocate", "out of memory", "available memory")
"""What onnxruntime says, in small letters, when the GPU's memory is short."""

LARGEST = 32
"""Rows of the largest run; more are run in parts. `build-engine` tries no larger batches."""


class CudaEngine(OrtEngine):
    """One ONNX network in onnxruntime's CUDA provider.

    Parameters
    ----------
    device : number of the GPU. Other parameters and errors as in `OrtEngine`.

    Images go to the GPU as uint8, and only answers come back. cuDNN chooses its kernels anew for
    each shape, which takes far longer than a run: so batches are padded to a few sizes, and
    `warm_up` runs each.
    """

    def __init__(self, name: str, model: bytes, *, threads: int = 1, device: int = 0) -> None:
        super().__init__(name, model, threads=threads, provider="cuda", device=device)
        self._sizes = sizes_of((1, LARGEST)) if self._divisible else ()

    def warm_up(self) -> None:
        """Run once in every size, smallest first; sizes for which memory is short are left out.

        Raises EngineError when memory is short for the smallest, DeviceError for other reasons.
        """
        if any(size is None for _, shape in self.inputs.values() for size in shape[1:]):
            return
        for number, rows in enumerate(self._sizes or (1,)):
            zeros = {
                name: np.zeros([rows if size is None else size for size in shape], dtype)
                for name, (dtype, shape) in self.inputs.items()
            }
            try:
                self.run(zeros)
            except DeviceError as error:
                if not any(text in error.mend.lower() for text in SHORT):
                    raise
                if number == 0:
                    mend = f"{error.mend}: end other programs on the GPU, or use the CPU"
                    raise EngineError("GPU memory is short", self._name, mend) from error
                self._sizes = self._sizes[:number]
                return

    @property
    def _divisible(self) -> bool:
        """Whether every input and every answer has one row for each row of the batch."""
        assert self._session is not None
        nodes = (*self._session.get_inputs(), *self._session.get_outputs())
        batches = {node.shape[0] if node.shape else None for node in nodes}
        return len(batches) == 1 and all(isinstance(batch, str) for batch in batches)

    def _answers(self, session: Any, inputs: Arrays, options: Any) -> list[NDArray[np.generic]]:
        if not self._sizes:
            return self._bound(session, inputs, options)
        rows = len(next(iter(inputs.values())))
        most = self._sizes[-1]
        parts = []
        for first in range(0, max(rows, 1), most):
            count = min(most, rows - first)
            more = padded(count, self._sizes) - count
            part = {name: _rows(values[first:][:count], more) for name, values in inputs.items()}
            parts.append([answer[:count] for answer in self._bound(session, part, options)])
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(answers) for answers in zip(*parts, strict=True)]

    def _bound(self, session: Any, inputs: Arrays, options: Any) -> list[NDArray[np.generic]]:
        # Bound, so that each answer is copied once, when all are there. Of its own for each run:
        # several threads may call.
        binding = session.io_binding()
        for name, given in inputs.items():
            binding.bind_cpu_input(name, given)
        for name in self._outputs:
            binding.bind_output(name)
        session.run_with_iobinding(binding, options)
        values: list[NDArray[np.generic]] = binding.copy_outputs_to_cpu()
        return values


def _rows(values: NDArray[np.generic], more: int) -> NDArray[np.generic]:
    """Return the rows with so many more behind them, whose answers nobody reads."""
    if not more:
        return values
    return np.concatenate([values, np.zeros((more, *values.shape[1:]), values.dtype)])
