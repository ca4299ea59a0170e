"""TensorRT's runtime where there is none: a plan is an ONNX file, and torch computes it.

On a GPU the work goes to the stream that it is asked for, as TensorRT's does, so that streams,
events, page-locked copies and the arithmetic of the network that cuts cells can be tried on real
hardware. On the fake GPU of tests/fake_tensorrt.py it is done by torch on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as nnf
from onnx import numpy_helper

from edgeapl.errors import EngineError
from tests.fake_tensorrt import FakeCudaEngine, FakeExecution, FakeTensorRt, Logger

Tensor = Any
Step = Callable[[dict[str, Tensor]], None]

DTYPES = {
    "uint8": torch.uint8,
    "int32": torch.int32,
    "int64": torch.int64,
    "float16": torch.float16,
    "float32": torch.float32,
}
TO = {1: "float32", 2: "uint8", 6: "int32", 7: "int64", 10: "float16"}


class TorchTensorRt(FakeTensorRt):
    """Makes the API module; device : ``cpu`` over the fake GPU, ``cuda`` over the real one."""

    def __init__(self, driver: Any, device: str, **ranges: Any) -> None:
        super().__init__(driver, **ranges)
        # By default torch multiplies convolutions of FP32 in TF32, which keeps 10 bits.
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        self.device = device
        self.execution = TorchExecution
        self.api.Runtime = lambda logger: TorchRuntime(self, logger)


class TorchRuntime:
    def __init__(self, fake: TorchTensorRt, logger: Any) -> None:
        self._fake = fake
        self._logger = logger

    def deserialize_cuda_engine(self, plan: bytes) -> FakeCudaEngine | None:
        self._fake.deserialised += 1
        try:
            engine = FakeCudaEngine.of(self._fake, self._logger, plan)
        except EngineError:
            self._logger.log(Logger.ERROR, "no ONNX file")
            return None
        engine.graph = TorchGraph(plan, self._fake.device)
        return engine


class TorchExecution(FakeExecution):
    """Computes with torch; on a GPU at once, on the stream, so that nothing is waited for."""

    def execute_async_v3(self, stream: int) -> bool:
        fake, graph = self._fake, self._engine.graph
        assert isinstance(fake, TorchTensorRt)
        if fake.device == "cpu":
            return super().execute_async_v3(stream)
        with torch.cuda.stream(torch.cuda.ExternalStream(stream)), torch.inference_mode():
            given = {
                key: _on_gpu(self._addresses[key], self._shapes[key], kind)
                for key, (kind, _) in self._engine.engine.inputs.items()
            }
            for key, value in graph(given).items():
                shape = self.get_tensor_shape(key)
                kind = self._engine.answers[key].dtype.name
                _on_gpu(self._addresses[key], shape, kind).copy_(value)
        return True

    def set_device_memory(self, address: int, size: int) -> None:
        assert isinstance(self._fake, TorchTensorRt)
        if self._fake.device == "cpu":
            super().set_device_memory(address, size)
        assert address % 256 == 0  # torch takes memory of its own

    def _run(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        with torch.inference_mode():
            given = {key: torch.from_numpy(value.copy()) for key, value in inputs.items()}
            return {key: value.numpy() for key, value in self._engine.graph(given).items()}


def _on_gpu(address: int, shape: tuple[int, ...], kind: str) -> Tensor:
    """Give memory of the GPU as a tensor, nothing copied."""
    view = {
        "data": (address, False),
        "shape": tuple(shape),
        "typestr": np.dtype(kind).str,
        "version": 2,
    }
    return torch.as_tensor(SimpleNamespace(__cuda_array_interface__=view), device="cuda")


class TorchGraph:
    """The operators that our networks have, one after another."""

    def __init__(self, model: bytes, device: str) -> None:
        # A process's first logarithm may be coarse (1e-5) in one thread when several make it at
        # once: https://github.com/pytorch/pytorch/issues/188792. One number is one thread's.
        torch.ones(1).log()
        graph = onnx.load_model_from_string(model).graph
        self._outputs = [value.name for value in graph.output]
        self._weights = {
            tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(device)
            for tensor in graph.initializer
        }
        # Shapes, axes and limits are needed by the host, and must not be waited for.
        self._numbers = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        self._steps = [self._step(node) for node in graph.node]

    def __call__(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        values = {**self._weights, **inputs}
        for step in self._steps:
            step(values)
        return {name: values[name] for name in self._outputs}

    def _step(self, node: Any) -> Step:
        options = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
        numbers = [self._numbers.get(name) for name in node.input]
        work = OPERATORS[node.op_type]

        def step(values: dict[str, Tensor]) -> None:
            made = work([values[name] for name in node.input if name], options, numbers)
            made = made if isinstance(made, (list, tuple)) else [made]
            values.update(zip(node.output, made, strict=True))

        return step


Numbers = list[Any]
Options = dict[str, Any]


def _axes(numbers: Numbers, place: int = 1) -> list[int]:
    return [int(axis) for axis in numbers[place]]


def _slice(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    axes = _axes(n, 3) if len(n) > 3 else range(len(n[1]))
    made = x[0]
    for axis, start, end in zip(axes, _axes(n, 1), _axes(n, 2), strict=True):
        size = made.shape[axis]
        first, last = (place + size if place < 0 else min(place, size) for place in (start, end))
        made = made.narrow(axis, first, last - first)
    return made


def _unsqueeze(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    made = x[0]
    for axis in sorted(_axes(n)):
        made = made.unsqueeze(axis)
    return made


def _gather(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    axis = options.get("axis", 0)
    data, where = x
    made = data.index_select(axis, where.reshape(-1).long())
    return made.reshape(*data.shape[:axis], *where.shape, *data.shape[axis + 1 :])


def _reduce(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    axes = _axes(n) if len(n) > 1 else list(range(x[0].ndim))
    return options["how"](x[0], axes, bool(options.get("keepdims", 1)))


def _reduced(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, options, n: _reduce(x, {**options, "how": how}, n)


def _conv(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    pads = _pads(options)
    bias = x[2] if len(x) > 2 else None
    return nnf.conv2d(
        x[0], x[1], bias, options["strides"], pads, options["dilations"], options["group"]
    )


def _max_pool(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    return nnf.max_pool2d(x[0], options["kernel_shape"], options["strides"], _pads(options))


def _pads(options: Options) -> list[int]:
    top, left, bottom, right = options["pads"]
    assert (top, left) == (bottom, right)
    return [top, left]


def _gemm(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    weights = x[1].T if options.get("transB") else x[1]
    return x[0] @ weights + (x[2] if len(x) > 2 else 0)


def _clip(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    low, high = (*(None if limit is None else float(limit.item()) for limit in n[1:]), None)[:2]
    return x[0].clamp(low, high)


def _split(x: list[Tensor], options: Options, n: Numbers) -> list[Tensor]:
    axis, count = options.get("axis", 0), options["num_outputs"]
    return list(x[0].split(math.ceil(x[0].shape[axis] / count), axis))


def _squeeze(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    return x[0].squeeze(tuple(_axes(n)))


def _reshape(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    return x[0].reshape(_axes(n))


def _arg_max(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    return x[0].argmax(options.get("axis", 0), keepdim=bool(options.get("keepdims", 1)))


def _batch_norm(x: list[Tensor], options: Options, n: Numbers) -> Tensor:
    data, weight, bias, mean, variance = x
    return nnf.batch_norm(data, mean, variance, weight, bias, eps=options["epsilon"])


OPERATORS: dict[str, Callable[[list[Tensor], Options, Numbers], Any]] = {
    "Abs": lambda x, o, n: x[0].abs(),
    "Add": lambda x, o, n: x[0] + x[1],
    "And": lambda x, o, n: x[0] & x[1],
    "ArgMax": _arg_max,
    "BatchNormalization": _batch_norm,
    "Cast": lambda x, o, n: x[0].to(DTYPES[TO[o["to"]]]),
    "Clip": _clip,
    "Concat": lambda x, o, n: torch.cat(x, o["axis"]),
    "Conv": _conv,
    "Div": lambda x, o, n: x[0] / x[1],
    "Elu": lambda x, o, n: nnf.elu(x[0], o.get("alpha", 1.0)),
    "Equal": lambda x, o, n: x[0] == x[1],
    "Gather": _gather,
    "Gemm": _gemm,
    "Greater": lambda x, o, n: x[0] > x[1],
    "Log": lambda x, o, n: x[0].log(),
    "MatMul": lambda x, o, n: x[0] @ x[1],
    "Max": lambda x, o, n: torch.maximum(*x),
    "MaxPool": _max_pool,
    "Min": lambda x, o, n: torch.minimum(*x),
    "Mul": lambda x, o, n: x[0] * x[1],
    "ReduceMax": _reduced(torch.amax),
    "ReduceMean": _reduced(torch.mean),
    "ReduceSum": _reduced(torch.sum),
    "Relu": lambda x, o, n: x[0].relu(),
    "Reshape": _reshape,
    "Round": lambda x, o, n: x[0].round(),
    "Sigmoid": lambda x, o, n: x[0].sigmoid(),
    "Slice": _slice,
    "Softmax": lambda x, o, n: x[0].softmax(o.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": lambda x, o, n: x[0] - x[1],
    "Transpose": lambda x, o, n: x[0].permute(*o["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": lambda x, o, n: torch.where(*x),
}
