"""A taught student as one ONNX file that takes cells as a station cuts them."""

from __future__ import annotations

from edgeapl.export.architectures.student import Student
from edgeapl.export.graph import Graph
from edgeapl.export.onnx_file import onnx_bytes
from edgeapl.export.recipes.recipe import Images, NetworkRecipe, Output
from edgeapl.export.single_cells import check_single_cells
from edgeapl.stages.cascade import student_output

INPUT = "cells"
TOLERANCE = 1e-4


def student_images(side: int) -> Images:
    """Return how the student wants its cells: `side` px, colours from 0 to 1."""
    return Images(side, side)


def student_bytes(student: Student, name: str, side: int) -> bytes:
    """Return the ONNX file of a student.

    Parameters
    ----------
    student : in evaluation mode, on the processor. name : of the network in its bundle.
    side : of a cell's image, px.

    It takes `INPUT`, uint8 (N, side, side, 3) RGB, and gives one probability (N,) for each output
    of the parent's networks, named by `student_output`. Raises CodeError when it does not answer
    every cell independently and reproducibly.
    """
    recipe = NetworkRecipe(
        name=name,
        weights=name,
        build=lambda shapes: student,
        part=lambda module, explain: module,
        input_name=INPUT,
        input=student_images(side),
        outputs=tuple(
            Output(
                f"table{number}",  # a name that neither the input nor an answer can have
                "given",
                tuple(student_output(head.network, output) for output in head.outputs),
            )
            for number, head in enumerate(student.heads)
        ),
    )
    graph = Graph(student, recipe, explain=False)
    check_single_cells(graph, recipe, TOLERANCE)
    return onnx_bytes(graph, graph.example(), INPUT, graph.output_names, batch=True)
