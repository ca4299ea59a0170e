"""The layers of a network, as far as precision is concerned."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeapl.calibration.quantise.graph import (
    downstream,
    inputs_of,
    read_graph,
    upstream,
    weighted_nodes,
)

MOST_GROUPS = 40
"""Most groups that are measured one by one; in deeper networks neighbours share one."""


@dataclass(frozen=True, slots=True)
class Layers:
    """A group of neighbouring layers.

    name : of the first node with weights. nodes : names of all nodes, including those between the
    layers with weights. weighed : nodes with weights among them.
    """

    name: str
    nodes: frozenset[str]
    weighed: tuple[str, ...]


def layer_groups(model: bytes, most: int = MOST_GROUPS) -> tuple[Layers, ...]:
    """Split a network into at most `most` groups of layers, in order.

    A layer is a node with weights and everything up to the next one; what precedes the first, the
    normalisation of the image, belongs to none.
    """
    graph = read_graph(model).graph
    starts = {node.name for node in weighted_nodes(graph)}
    layers: list[list[str]] = []
    for node in graph.node:
        if node.name in starts:
            layers.append([])
        if layers:
            layers[-1].append(node.name)
    size = -(-len(layers) // most) if layers else 1
    groups = []
    for first in range(0, len(layers), size):
        nodes = [name for layer in layers[first : first + size] for name in layer]
        weighed = tuple(name for name in nodes if name in starts)
        groups.append(Layers(weighed[0], frozenset(nodes), weighed))
    return tuple(groups)


def before_weights(model: bytes) -> frozenset[str]:
    """Return the nodes before any layer with weights: the normalisation of images."""
    graph = read_graph(model).graph
    made = [name for node in weighted_nodes(graph) for name in node.output]
    later = downstream(graph, made) | {node.name for node in weighted_nodes(graph)}
    given = downstream(graph, inputs_of(graph))
    return frozenset(given - later)


def after_weights(model: bytes) -> frozenset[str]:
    """Return the nodes that lead to no layer with weights: pooling, softmax, splitting."""
    graph = read_graph(model).graph
    taken = [name for node in weighted_nodes(graph) for name in node.input]
    earlier = upstream(graph, taken) | {node.name for node in weighted_nodes(graph)}
    return frozenset(node.name for node in graph.node if node.name not in earlier)


def explaining(model: bytes) -> frozenset[str]:
    """Return the nodes after an ArgMax: they explain the answer (Grad-CAM).

    They select weights by the number of the class, which per-channel quantisation does not allow.
    """
    graph = read_graph(model).graph
    chosen = [name for node in graph.node if node.op_type == "ArgMax" for name in node.output]
    return frozenset(downstream(graph, chosen))


def only_for(model: bytes, outputs: Iterable[str]) -> frozenset[str]:
    """Return the nodes that serve these outputs only, e.g. the arithmetic of a Grad-CAM map."""
    graph = read_graph(model).graph
    names = set(outputs)
    others = [value.name for value in graph.output if value.name not in names]
    return frozenset(upstream(graph, names) - upstream(graph, others))
