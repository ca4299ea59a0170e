"""A network that cuts cells out of a frame, so that a GPU can do it beside the networks of cells.

It does what `edgeapl.stages.crop.cut_cells` does: two products with matrices of weights, which
average areas where a cut shrinks and interpolate linearly where it grows. Its arithmetic is that
of floats, OpenCV's partly that of integers, so that a value may differ by one grey level.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeapl.bundle.colour_space import (
    AXES,
    CONES,
    FROM_AXES,
    FROM_CONES,
    GREYS,
    MOST_LOGARITHM,
)
from edgeapl.bundle.specs import ColoursSpec, CropSpec
from edgeapl.engines.trt.build import Ranges
from edgeapl.errors import EngineError

NAME = "crop"
"""What messages and files call it."""

OUTPUT = "cells"

MOST_CELLS = 32
"""Cells in one run: the largest batch of the other plans."""

TYPICAL_PIXELS = 2560 * 1920
MOST_PIXELS = 4096 * 3072
"""Of a frame: the published scanner's, and the largest microscope cameras in use (12 Mpx)."""

ROOM = 2.0
"""How much wider than at the bundle's own scale a window may be: scales from half of it on."""

LEAST_REACH = 256
"""Widest cut, in px, that is taken in any case."""


def widest(spec: CropSpec, um_per_px: float) -> int:
    """Return the widest cut in px that the network takes.

    Parameters
    ----------
    um_per_px : the bundle's own scale.
    """
    # A cut as large as what it becomes must fit as well: cells that were cut before are proven so.
    side = max(ROOM * spec.window_um / um_per_px, spec.resized_px or spec.size_px)
    return max(LEAST_REACH, int(np.ceil(side / 32)) * 32)


def crop_ranges(spec: CropSpec, um_per_px: float, most_cells: int = MOST_CELLS) -> Ranges:
    """Return smallest, typical and largest first dimension of every input, for `build_plan`.

    most_cells : in one run: the largest batch of the other plans.
    """
    reach = widest(spec, um_per_px)
    window = min(reach, max(1, round(spec.window_um / um_per_px)))
    pixels = (1, TYPICAL_PIXELS, MOST_PIXELS)
    cells = (1, min(16, most_cells), most_cells)
    ranges = {"frame": pixels, "places": cells, "steps": (1, window, reach)}
    if spec.colours is not None:
        ranges = {**ranges, "colours": (2, 2, 2)}
    if spec.views > 1:
        ranges = {**ranges, "views": cells}
    return {**ranges, "labels": pixels, "numbers": cells} if spec.mask else ranges


def crop_network(spec: CropSpec) -> bytes:
    """Write the network.

    Inputs: ``frame`` uint8 (pixels, 3) RGB, row by row; ``extent`` int32 (2,), its rows and
    columns; ``places`` int32 (N, 4), left, top, width and height of each cut in px, which may
    reach over the edge; ``steps`` int32 (P,), 0 to P - 1, P being the longest side of all cuts.
    Where the bundle masks: ``labels`` uint8 (pixels, 2), the label image as its bytes, low byte
    first; ``numbers`` int32 (N,), the label of each cell. Where it moves colours: ``colours``
    float32 (2, 3), mean and deviation of the frame's own. Where it shows several views: ``views``
    int32 (N, 3), `edgeapl.stages.views.flags_of` each.

    Output: ``cells`` uint8 (N, size_px, size_px, 3) RGB.

    Raises EngineError when the extra ``build`` is missing.
    """
    graph = _Graph()
    graph.take("frame", "UINT8", ["pixels", 3])
    graph.take("extent", "INT32", [2])
    graph.take("places", "INT32", ["n", 4])
    graph.take("steps", "INT32", ["reach"])
    left, top, width, height = (_column(graph, n) for n in range(4))  # (N, 1)
    rows, columns = (
        graph.node("Slice", "extent", graph.ints([n]), graph.ints([n + 1])) for n in (0, 1)
    )
    down = graph.node("Add", top, "steps")  # (N, P)
    right = graph.node("Add", left, "steps")
    down_in = _clamp(graph, down, rows)
    right_in = _clamp(graph, right, columns)
    line = graph.node("Unsqueeze", graph.node("Mul", down_in, columns), graph.longs([2]))
    where = graph.node("Add", line, graph.node("Unsqueeze", right_in, graph.longs([1])))
    # Half holds 0 to 255 exactly, in half the memory of a float.
    halves = graph.node("Cast", "frame", to="FLOAT16")
    cut = graph.node("Cast", graph.node("Gather", halves, where, axis=0), to="FLOAT")
    if spec.colours is not None:
        cut = _moved(graph, cut, spec.colours)
    if spec.mask:
        inside = (down, down_in, right, right_in)
        cut = graph.node("Mul", cut, _own(graph, where, inside))
    planes = graph.node("Transpose", cut, perm=[0, 3, 1, 2])  # (N, 3, P, P)
    shrinks = _shrinks(graph, width, height, spec)
    mirrored, flipped, turned = _flags(graph) if spec.views > 1 else ("", "", "")
    upright = _weights(graph, height, shrinks, spec, flipped)  # (N, 1, size, P)
    across = graph.node(
        "Transpose", _weights(graph, width, shrinks, spec, mirrored), perm=[0, 1, 3, 2]
    )  # (N, 1, P, size)
    sized = graph.node("MatMul", graph.node("MatMul", upright, planes), across)
    grey = graph.node("Clip", graph.node("Round", sized), graph.number(0.0), graph.number(255.0))
    pixels = graph.node("Transpose", grey, perm=[0, 2, 3, 1])
    if turned:
        quarter = graph.node("Transpose", grey, perm=[0, 3, 2, 1])
        turns = graph.node("Unsqueeze", turned, graph.longs([3]))
        there = graph.node("Greater", turns, graph.number(0.5))
        pixels = graph.node("Where", there, quarter, pixels)
    graph.node("Cast", pixels, to="UINT8", named=OUTPUT)
    return graph.model(["n", spec.size_px, spec.size_px, 3])


def _column(graph: _Graph, number: int) -> str:
    start, end = graph.ints([number]), graph.ints([number + 1])
    return graph.node("Slice", "places", start, end, graph.ints([1]))


def _clamp(graph: _Graph, values: str, count: str) -> str:
    """Repeat the edge: what lies beyond it is the first, or the last, of `count` lines."""
    last = graph.node("Sub", count, graph.ints([1]))
    return graph.node("Max", graph.node("Min", values, last), graph.ints([0]))


def _own(graph: _Graph, where: str, inside: tuple[str, str, str, str]) -> str:
    """Add nodes for 1 where a pixel is the cell's own, else 0, (N, P, P, 1)."""
    graph.take("labels", "UINT8", ["pixels", 2])
    graph.take("numbers", "INT32", ["n"])
    down, down_in, right, right_in = inside
    halves = graph.node("Cast", "labels", to="FLOAT16")
    both = graph.node("Cast", graph.node("Gather", halves, where, axis=0), to="FLOAT")
    parts = graph.node("Mul", both, graph.floats([1.0, 256.0]))
    label = graph.node("ReduceSum", parts, graph.longs([3]), keepdims=1)  # (N, P, P, 1)
    number = graph.node("Cast", "numbers", to="FLOAT")
    number = graph.node("Unsqueeze", number, graph.longs([1, 2, 3]))
    row_in = graph.node("Unsqueeze", graph.node("Equal", down, down_in), graph.longs([2, 3]))
    column_in = graph.node("Unsqueeze", graph.node("Equal", right, right_in), graph.longs([1, 3]))
    own = graph.node("And", graph.node("Equal", label, number), row_in)
    return graph.node("Cast", graph.node("And", own, column_in), to="FLOAT")


def _moved(graph: _Graph, cut: str, wanted: ColoursSpec) -> str:
    """Add nodes for a cut in other colours, (N, P, P, 3), as `edgeapl.stages.colour_transfer`.

    Sums of products, not products of matrices: TensorRT may round what these multiply to 10 bits,
    and the way back from the cones' responses multiplies errors by up to nine.
    """
    graph.take("colours", "FLOAT", [2, 3])
    mean, deviation = (
        graph.node("Gather", "colours", graph.longs([n]), axis=0) for n in (0, 1)
    )  # (1, 3)
    ratio = graph.node("Div", graph.floats([wanted.deviation]), deviation)
    added = graph.node("Sub", graph.floats([wanted.mean]), graph.node("Mul", ratio, mean))
    colours = [graph.node("Gather", cut, graph.longs([n]), axis=3) for n in range(3)]
    shown = [graph.node("Add", one, graph.number(1.0)) for one in colours]
    logarithms = [graph.node("Log", one) for one in _summed(graph, shown, CONES / GREYS)]
    axes = []
    for n, one in enumerate(_summed(graph, logarithms, AXES)):
        first, second = (
            graph.node("Gather", row, graph.longs([n]), axis=1) for row in (ratio, added)
        )
        axes.append(graph.node("Add", graph.node("Mul", one, first), second))
    bounds = graph.number(-MOST_LOGARITHM), graph.number(MOST_LOGARITHM)
    cones = [
        graph.node("Exp", graph.node("Clip", one, *bounds))
        for one in _summed(graph, axes, FROM_AXES)
    ]
    back = [
        graph.node("Sub", one, graph.number(1.0))
        for one in _summed(graph, cones, FROM_CONES * GREYS)
    ]
    together = graph.node("Concat", *back, axis=3)
    return graph.node("Clip", together, graph.number(0.0), graph.number(255.0))


def _summed(graph: _Graph, planes: Sequence[str], weights: np.ndarray) -> list[str]:
    """Add nodes for weighted sums of planes, one for each row of the weights."""
    return [
        graph.node(
            "Add",
            graph.node(
                "Add",
                graph.node("Mul", planes[0], graph.number(row[0])),
                graph.node("Mul", planes[1], graph.number(row[1])),
            ),
            graph.node("Mul", planes[2], graph.number(row[2])),
        )
        for row in weights.tolist()
    ]


def _shrinks(graph: _Graph, width: str, height: str, spec: CropSpec) -> str:
    """Tell, as bool (N, 1, 1), which cuts are no smaller than what they are brought to."""
    size = graph.ints([(spec.resized_px or spec.size_px) - 1])
    both = graph.node("Min", width, height)
    return graph.node("Unsqueeze", graph.node("Greater", both, size), graph.longs([2]))


def _flags(graph: _Graph) -> tuple[str, str, str]:
    """Take the views, and add nodes for their three flags, 0 or 1 as float (N, 1, 1) each."""
    graph.take("views", "INT32", ["n", 3])
    views = graph.node("Unsqueeze", graph.node("Cast", "views", to="FLOAT"), graph.longs([2]))
    mirrored, flipped, turned = (
        graph.node("Gather", views, graph.longs([n]), axis=1) for n in range(3)
    )
    return mirrored, flipped, turned


def _weights(graph: _Graph, side: str, shrinks: str, spec: CropSpec, reverse: str) -> str:
    """Add nodes for the weight of each line of a cut in each line of the crop, (N, 1, size, P).

    reverse : flags of the cells whose lines come last to first; empty where none do.
    """
    size = spec.resized_px or spec.size_px
    edge = (size - spec.size_px) // 2
    lines = np.arange(edge, edge + spec.size_px, dtype=np.float32)[:, None]

    def place_of(part: float) -> str:
        """Return where each line begins, ends or has its middle, in lines of the whole."""
        if not reverse:
            return graph.floats(lines + np.float32(part))
        back = graph.node("Mul", reverse, graph.floats(lines[::-1] - lines))
        return graph.node("Add", graph.floats(lines + np.float32(part)), back)  # (N, size, 1)

    length = graph.node("Unsqueeze", graph.node("Cast", side, to="FLOAT"), graph.longs([2]))
    step = graph.node("Mul", length, graph.number(1.0 / size))  # (N, 1, 1), px per line
    place = graph.node("Cast", "steps", to="FLOAT")  # (P,)
    begin = graph.node("Mul", step, place_of(0.0))  # (N, size, 1)
    end = graph.node("Mul", step, place_of(1.0))
    last = graph.node("Min", graph.node("Add", place, graph.number(1.0)), end)
    shared = graph.node("Sub", last, graph.node("Max", place, begin))
    area = graph.node("Div", graph.node("Max", shared, graph.number(0.0)), step)
    centre = graph.node("Mul", step, place_of(0.5))
    centre = graph.node("Sub", centre, graph.number(0.5))
    furthest = graph.node("Sub", length, graph.number(1.0))
    centre = graph.node("Max", graph.node("Min", centre, furthest), graph.number(0.0))
    away = graph.node("Abs", graph.node("Sub", place, centre))
    linear = graph.node("Max", graph.node("Sub", graph.number(1.0), away), graph.number(0.0))
    weights = graph.node("Where", shrinks, area, linear)
    return graph.node("Unsqueeze", weights, graph.longs([1]))


class _Graph:
    """Writes nodes one after another; a node is called by its output."""

    def __init__(self) -> None:
        try:
            import onnx  # noqa: PLC0415 - needed to build, never to run
        except ImportError as error:
            mend = "pip install 'edgeapl[build]'"
            raise EngineError("runtime is missing", "onnx", mend) from error
        self._onnx: Any = onnx
        self._nodes: list[Any] = []
        self._inputs: list[Any] = []
        self._numbers: dict[tuple[object, ...], tuple[str, Any]] = {}

    def take(self, name: str, dtype: str, shape: list[int | str]) -> None:
        """Add an input."""
        self._inputs.append(self._value(name, dtype, shape))

    def node(
        self, kind: str, *inputs: str, to: str = "", named: str = "", **attributes: object
    ) -> str:
        """Add a node and give its output; to : the type that a Cast gives."""
        name = named or f"{kind.lower()}_{len(self._nodes)}"
        if to:
            attributes["to"] = getattr(self._onnx.TensorProto, to)
        made = self._onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        self._nodes.append(made)
        return name

    def number(self, value: float) -> str:
        """Return a float that fits every shape."""
        return self.floats([value])

    def floats(self, values: object) -> str:
        """Return a constant of floats."""
        return self._constant(np.asarray(values, dtype=np.float32))

    def ints(self, values: list[int]) -> str:
        """Return a constant of int32."""
        return self._constant(np.array(values, dtype=np.int32))

    def longs(self, values: list[int]) -> str:
        """Return a constant of int64, as axes are."""
        return self._constant(np.array(values, dtype=np.int64))

    def model(self, shape: list[int | str]) -> bytes:
        """Return the file."""
        made = self._onnx.helper.make_graph(
            self._nodes,
            NAME,
            self._inputs,
            [self._value(OUTPUT, "UINT8", shape)],
            [tensor for _, tensor in self._numbers.values()],
        )
        opset = [self._onnx.helper.make_opsetid("", 18)]
        # 8 is what ONNX Runtime 1.20, the oldest that we take, reads.
        model = self._onnx.helper.make_model(made, opset_imports=opset, ir_version=8)
        self._onnx.checker.check_model(model)
        return bytes(model.SerializeToString())

    def _constant(self, values: np.ndarray) -> str:
        key = (values.dtype.name, values.shape, values.tobytes())
        if key not in self._numbers:
            name = f"number_{len(self._numbers)}"
            self._numbers[key] = (name, self._onnx.numpy_helper.from_array(values, name))
        return self._numbers[key][0]

    def _value(self, name: str, dtype: str, shape: list[int | str]) -> Any:
        kind = getattr(self._onnx.TensorProto, dtype)
        return self._onnx.helper.make_tensor_value_info(name, kind, shape)
