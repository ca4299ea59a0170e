"""Inputs and outputs of a plan, and how much room the largest batch takes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeapl.errors import EngineError
from edgeapl.protocols import Arrays

DTYPES = {
    "UINT8": "uint8",
    "FLOAT": "float32",
    "HALF": "float16",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}
"""TensorRT's DataType to numpy."""

HALVED = 4
"""Sizes of batches, each half of the next."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    shape : -1 is free. largest : the shape in the largest batch.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    largest: tuple[int, ...]

    @property
    def room(self) -> int:
        """Numbers in the largest batch."""
        return math.prod(self.largest)

    @property
    def free(self) -> bool:
        """Whether the first dimension is a free batch."""
        return self.shape[:1] == (-1,)

    def shape_of(self, rows: int) -> tuple[int, ...]:
        """Return its shape in a batch of so many rows."""
        return (rows, *self.shape[1:]) if self.free else self.shape


@dataclass(frozen=True, slots=True)
class Layout:
    """All tensors of a plan. batches : smallest and largest batch, (0, 0) where none is free."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    batches: tuple[int, int]

    @property
    def bytes(self) -> int:
        """Of all tensors in the largest batch."""
        tensors = (*self.inputs, *self.outputs)
        return sum(tensor.room * np.dtype(tensor.dtype).itemsize for tensor in tensors)

    @property
    def divisible(self) -> bool:
        """Whether a large batch may be run in parts: every answer must be one row per row.

        An output without the batch was made from all rows at once, and parts would change it.
        """
        return all(tensor.free for tensor in (*self.inputs, *self.outputs))


def sizes_of(batches: tuple[int, int]) -> tuple[int, ...]:
    """Return the few sizes that batches are padded to, smallest first; none where none is free.

    Each new shape costs a plan time, and room for a graph.

    Parameters
    ----------
    batches : smallest and largest.
    """
    smallest, largest = batches
    return tuple(sorted({max(smallest, largest >> halved) for halved in range(HALVED)} - {0}))


def padded(rows: int, sizes: Sequence[int]) -> int:
    """Return the size that a batch is padded to; its own where there are none."""
    return next((size for size in sizes if size >= rows), rows)


def layout_of(name: str, api: Any, engine: Any, context: Any, most: int | None = None) -> Layout:
    """Read the tensors of a plan; the context is left at the shapes of the largest batch.

    most : rows of the largest batch, if that is less than the plan takes.
    """
    reading = api.TensorIOMode.INPUT
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs, outputs, smallest, largest = [], [], 0, 0
    for key in names:
        if engine.get_tensor_mode(key) != reading:
            continue
        low, _, high = (tuple(shape) for shape in engine.get_tensor_profile_shape(key, 0))
        if most is not None and engine.get_tensor_shape(key)[0] == -1:
            high = (min(most, high[0]), *high[1:])
        if not context.set_input_shape(key, high):
            raise EngineError("plan refuses its own shapes", f"{name}.{key}", str(high))
        tensor = Tensor(key, _dtype(name, engine, key), tuple(engine.get_tensor_shape(key)), high)
        if tensor.free:
            smallest, largest = low[0], high[0]
        inputs.append(tensor)
    for key in names:
        if engine.get_tensor_mode(key) == reading:
            continue
        room = shape_now(name, context, key)
        shape = tuple(engine.get_tensor_shape(key))
        outputs.append(Tensor(key, _dtype(name, engine, key), shape, room))
    return Layout(tuple(inputs), tuple(outputs), (smallest, largest))


def parts_of(name: str, layout: Layout, inputs: Arrays) -> Iterator[Arrays]:
    """Cut inputs into parts that the plan takes at once; most often that is one.

    Raises EngineError when the plan takes no such batch, or answers it only as a whole.
    """
    smallest, largest = layout.batches
    rows = {t.name: inputs[t.name].shape[0] for t in layout.inputs if t.free}
    if not rows:
        yield inputs
        return
    count = max(rows.values())
    if len(set(rows.values())) > 1 or count < smallest:
        text = f"plan takes {smallest} to {largest} rows, the same for all inputs"
        raise EngineError("network input does not fit", f"{name} {rows}", text)
    if count <= largest:
        yield inputs
        return
    if not layout.divisible:
        text = f"plan takes {largest} at once: build it with a larger batch"
        raise EngineError("batch cannot be run in parts", f"{name}: {count}", text)
    # Equal parts, so that no part falls below the smallest batch.
    for part in np.array_split(np.arange(count), -(-count // largest)):
        yield {key: value[part[0] : part[-1] + 1] for key, value in inputs.items()}


def shape_now(name: str, context: Any, key: str) -> tuple[int, ...]:
    """Return the shape of an output for the inputs that are set."""
    shape = tuple(context.get_tensor_shape(key))
    if any(size < 0 for size in shape):
        text = f"{shape}: its size depends on the values"
        raise EngineError("output size is not known before the run", f"{name}.{key}", text)
    return shape


def _dtype(name: str, engine: Any, key: str) -> str:
    kind = str(engine.get_tensor_dtype(key).name)
    if kind not in DTYPES:
        raise EngineError("tensor type is not supported", f"{name}.{key}", kind)
    return DTYPES[kind]
